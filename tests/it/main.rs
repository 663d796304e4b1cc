//! The crate's behaviour at the wire, one module for each theme. `acceptance.rs` says which
//! behaviour is tested where, and fails when one is not.

mod support;

mod house;
mod layers;
mod rmcp_client;
mod smoke;
