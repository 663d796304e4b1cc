//! The crate's behaviour at the wire, one module for each theme. `acceptance.rs` says which
//! behaviour is tested where, and fails when one is not.

mod support;

mod batches;
mod faulty;
mod guard;
mod header_rules;
mod hostile;
mod house;
mod layers;
mod media_types;
mod messages;
mod openings;
mod panics;
mod raw_http;
mod rejections;
mod rmcp_client;
mod slow_clients;
mod smoke;
mod table;
