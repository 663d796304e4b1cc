//! The engine interface: the atomic operations on sessions, calls, streams and tasks, and the
//! signals that an engine sends to its nodes.
//!
//! **Unstable.** This module is for programs that bring an engine of their own, or wrap one. It is
//! exempt from semantic versioning: a minor version may add operations, fields and rules, and
//! `CHANGELOG.md` says what an engine must do then. The engines of this crate, which
//! [`store`](crate::store) exports, are stable, and so is
//! [`McpServiceBuilder::engine`](crate::McpServiceBuilder::engine).
//!
//! [`SessionEngine`] is the sum of five traits:
//!
//! | trait | serves |
//! |---|---|
//! | [`Membership`] | the nodes that use the engine, their signals and their announcements |
//! | [`SessionStore`] | sessions and their state |
//! | [`CallStore`] | calls in flight, and requests to the client |
//! | [`StreamStore`] | the logs of events, their writers and their readers |
//! | [`TaskStore`] | tasks |
//!
//! To change what an existing engine does, implement [`EngineWrapper`].
//!
//! # Operations
//!
//! Each method is one atomic operation. Unless it says otherwise, it can fail in two ways:
//!
//! 1. [`NotFound`](crate::error::StoreErrorKind::NotFound): the session does not exist, has ended
//!    or belongs to another principal. A caller must not be able to distinguish the three.
//! 2. [`Unavailable`](crate::error::StoreErrorKind::Unavailable): the engine is out of reach.
//!
//! An operation may be repeated after a failure that leaves open whether it happened.
//!
//! # Recovery
//!
//! The engine repeats, not its caller:
//!
//! 1. While a caller waits, an engine out of reach tries again for a limited time, and then fails
//!    with `Unavailable`.
//! 2. Operations that release something are performed, now or later: [`CallStore::finish`],
//!    [`StreamStore::detach`], [`CallStore::withdraw_request`] and
//!    [`SessionStore::discard_session`]. They never fail with `Unavailable`.
//! 3. Operations that acquire something for a caller have no effect if the caller does not learn of
//!    them: [`CallStore::begin`] and [`StreamStore::attach`].
//!
//! The service itself repeats only what an engine cannot know to be wanted still: the append that
//! ends a call's stream, announcements and their delivery, and the end of a task.

mod calls;
mod constructors;
mod future;
mod ids;
mod membership;
pub(in crate::store) mod sessions;
mod streams;
mod tasks;
mod wrapper;

pub use calls::{Begin, Begun, CallStore};
pub use future::EngineFuture;
pub use ids::{NodeId, STANDALONE, StreamNo};
pub use membership::{Announced, Membership, SessionUpdate, Signal, SignalHandler};
pub use sessions::{Create, Loaded, OWN_STATE, SessionStore, StateValue};
pub use streams::{
    Append, Appended, Attach, Attached, Deliver, Delivered, Event, EventKind, Page, Stored, StreamStore,
};
pub use tasks::{CreateTask, LoadedTask, StoreTask, TaskStore};
pub use wrapper::{EngineWrapper, Operation};

/// A store of sessions and tasks: the sum of the traits that serve them.
///
/// Every type that implements the five is one. The [module](crate::store) says which decisions an
/// engine makes.
pub trait SessionEngine: Membership + SessionStore + CallStore + StreamStore + TaskStore {}

impl<E: Membership + SessionStore + CallStore + StreamStore + TaskStore + ?Sized> SessionEngine for E {}
