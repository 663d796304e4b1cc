//! Where sessions and their streams are kept: one boundary, several engines.
//!
//! A [`SessionEngine`] decides, atomically, everything two nodes could disagree about: whether a
//! session lives and whose it is, which calls are in flight, what stands in each stream's log and
//! who reads it, which question was answered first. A [`Doorbell`] only wakes: it may lose,
//! repeat or reorder, and nothing is wrong afterwards.
//!
//! A session store and an event store apart cannot do this: "the session lives *and* the principal
//! fits *and* the id is registered" is one decision or none. Engines:
//!
//! | engine | survives | nodes |
//! |---|---|---|
//! | [`MemoryEngine`] (default) | nothing | one process; several services may share one |
//!
//! Every engine passes the same public suite, `store::contract` (feature `testing`).

mod engine;
mod log;
pub(crate) mod memory;
mod policy;
mod step;

#[cfg(feature = "testing")]
pub mod contract;

pub use engine::{
    Append, Appended, Attach, Attached, Begin, Create, Doorbell, EndReason, Ended, Event, EventKind, Loaded, NodeId,
    Page, Ring, STANDALONE, SessionEngine, SessionSummary, Stored, StreamNo,
};
pub use memory::MemoryEngine;
pub use policy::Policy;
pub use step::Step;
