//! Where sessions, their streams and tasks are kept: one boundary, several engines.
//!
//! A [`SessionEngine`] decides, atomically, everything two nodes could disagree about: whether a
//! session lives and whose it is, which calls are in flight, what stands in each stream's log and
//! who reads it, which question was answered first, what became of a task. A [`Doorbell`] only
//! wakes: it may lose, repeat or reorder, and nothing is wrong afterwards.
//!
//! A task belongs to no session: it is a document that outlives the call that made it, so that a
//! client can come back for what became of it, to any node.
//!
//! A session store and an event store apart cannot do this: "the session lives *and* the principal
//! fits *and* the id is registered" is one decision or none. Engines:
//!
//! | engine | survives | nodes |
//! |---|---|---|
//! | [`MemoryEngine`] (default) | nothing | one process; several services may share one |
//! | `FileEngine` (feature `file`) | `kill -9`, or a loss of power | the same; one process for each folder |
//! | `RedisEngine` (feature `redis`) | what its Redis server survives | many, on many machines |
//!
//! Every engine passes the same public suite, `store::contract` (feature `testing`).

mod announcements;
mod engine;
#[cfg(feature = "file")]
mod file;
mod journal;
mod log;
mod lost;
pub(crate) mod memory;
mod policy;
#[cfg(feature = "redis")]
mod redis;
mod step;

#[cfg(feature = "testing")]
pub mod contract;

#[cfg(feature = "redis")]
pub use self::redis::{ConnectError, RedisEngine, RedisOptions};
pub(crate) use announcements::TOPICS;
pub use announcements::{Announced, Deliver};
pub use engine::{
    Append, Appended, Attach, Attached, Begin, Begun, Create, CreateTask, Doorbell, EndReason, Ended, Event, EventKind,
    Loaded, LoadedTask, News, NodeId, OWN_STATE, Page, Ring, STANDALONE, SessionEngine, SessionSummary, StateValue,
    StoreTask, Stored, StreamNo,
};
#[cfg(feature = "file")]
pub use file::{Durability, FileEngine, OpenError, Recovery};
pub use memory::MemoryEngine;
pub use policy::Policy;
pub use step::Step;
