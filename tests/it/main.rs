//! The crate's behaviour at the wire, one module for each theme. `acceptance.rs` says which
//! behaviour is tested where, and fails when one is not.

mod support;

mod announcements;
mod asking;
mod bodies;
mod bursts;
mod engines;
mod expiry;
mod house;
mod layers;
mod leaving;
mod listening;
mod mounting;
mod nodes;
mod opening;
mod owners;
mod polling;
mod races;
mod resuming;
mod revisions;
mod rmcp_client;
mod sessions;
mod shutdown;
mod smoke;
mod stateless;
mod stream_races;
mod two_nodes;
