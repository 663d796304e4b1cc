//! The store: sessions, their streams and tasks, behind one interface with several engines.
//!
//! A [`SessionEngine`] makes atomically every decision that two nodes could disagree about:
//!
//! - whether a session exists and which principal owns it,
//! - which calls are in flight,
//! - which events are in the log of each stream, and which reader reads it,
//! - which answer to a request to the client was the first,
//! - which state a task is in.
//!
//! A [`SignalHandler`] receives signals that only wake a service. They may be lost, repeated or
//! reordered without affecting correctness.
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
//! Every engine passes the same public test suite, `store::contract` (feature `testing`).
//!
//! The interface for engines is less stable than the rest of this crate: a minor version may add
//! operations without a default. The contract then says what they must do.

mod announcements;
mod constructors;
mod engine;
#[cfg(feature = "file")]
mod file;
mod future;
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
pub use announcements::{Announced, Deliver, Delivered};
pub use engine::{
    Append, Appended, Attach, Attached, Begin, Begun, Create, CreateTask, EndReason, Ended, Event, EventKind, Loaded,
    LoadedTask, NodeId, OWN_STATE, Page, STANDALONE, SessionEngine, SessionSummary, SessionUpdate, Signal,
    SignalHandler, StateValue, StoreTask, Stored, StreamNo,
};
#[cfg(feature = "file")]
pub use file::{Durability, FileEngine, OpenError, Recovery};
pub use future::EngineFuture;
pub use memory::MemoryEngine;
pub use policy::Policy;
