//! The crate's behaviour at the wire, one module for each theme. `acceptance.rs` says which
//! behaviour is tested where, and fails when one is not.

mod support;

mod asking;
mod bodies;
mod bursts;
mod engines;
mod house;
mod leaving;
mod listening;
mod nodes;
mod polling;
mod races;
mod resuming;
mod smoke;
