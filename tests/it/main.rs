//! The crate's behaviour at the wire, one module for each theme. `acceptance.rs` says which
//! behaviour is tested where, and fails when one is not.

mod support;

mod announcements;
mod expiry;
mod house;
mod layers;
mod mounting;
mod nodes;
mod opening;
mod owners;
mod races;
mod revisions;
mod rmcp_client;
mod sessions;
mod shutdown;
mod smoke;
mod stateless;
