//! The store: sessions, their streams and tasks, behind one interface with several engines.
//!
//! A [`SessionEngine`] makes atomically every decision that two nodes could
//! disagree about:
//!
//! - whether a session exists and which principal owns it,
//! - which calls are in flight,
//! - which events are in the log of each stream, and which reader reads it,
//! - which answer to a request to the client was the first,
//! - which state a task is in.
//!
//! A [`SignalHandler`] receives signals that only wake a service. They may
//! be lost, repeated or reordered without affecting correctness.
//!
//! A task belongs to no session. It is a document that outlives the call that created it, so that a
//! client can fetch the result later, from any node.
//!
//! A separate session store and event store could not do this. "The session exists *and* the
//! principal matches *and* the id is registered" must be one atomic decision. Engines:
//!
//! | engine | survives | nodes |
//! |---|---|---|
//! | [`MemoryEngine`] (default) | nothing | one process; several services may share one |
//! | `FileEngine` (feature `file`) | `kill -9`, or a loss of power | the same; one process for each folder |
//! | `RedisEngine` (feature `redis`) | what its Redis server survives | many, on many machines |
//!
//! To bring an engine of your own, or to wrap one, see [`engine`], which is unstable. Every engine
//! passes the same public test suite, `store::contract` (feature `testing`).

mod announcements;
mod backoff;
pub mod engine;
#[cfg(feature = "file")]
mod file;
mod journal;
mod log;
mod lost;
pub(crate) mod memory;
mod policy;
#[cfg(feature = "redis")]
mod redis;

#[cfg(feature = "testing")]
pub mod contract;

#[cfg(feature = "redis")]
pub use self::redis::{ConnectError, RedisEngine, RedisOptions};
pub(crate) use announcements::TOPICS;
pub(crate) use backoff::Backoff;
pub use engine::sessions::{EndReason, Ended, SessionSummary};
pub(crate) use engine::{
    Announced, Append, Appended, Attach, Attached, Begin, Begun, Create, CreateTask, Deliver, Delivered, EngineFuture,
    Event, EventKind, Loaded, LoadedTask, NodeId, OWN_STATE, Page, STANDALONE, SessionEngine, SessionUpdate, Signal,
    SignalHandler, StateValue, StoreTask, Stored, StreamNo,
};
#[cfg(feature = "file")]
pub use file::{Durability, FileEngine, OpenError, Recovery};
pub use memory::MemoryEngine;
pub use policy::Policy;
