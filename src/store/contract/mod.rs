//! The contract suite: tests what every [`SessionEngine`] must do, for any backend.
//!
//! 1. [`RULES`] is the whole contract. Each [`Rule`] has a number that never changes. A rule can be
//!    run alone, by its number or as the function that it names.
//! 2. Each rule runs on a new engine, once with one node and once with two nodes ([`Nodes`]). With
//!    two nodes, the second one does half of the work through another handle.
//! 3. If an engine breaks a rule, the rule panics with its number and name:
//!    `rule 22, attach racing append: event 17 after 15`.
//! 4. Signals may arrive late, in any order and any number of times, but they must arrive.
//!    [`Signal::Resync`] counts as any of them.
//!
//! An engine that uses the machine's clock sets the unit of the timed rules in [`Backend::tick`].
//! An engine that cannot wait at all skips these rules. How strong the races are depends on the
//! runtime, so run the suite on a multi-threaded runtime too.
//!
//! ```
//! use std::sync::Arc;
//! use mcp_http::store::contract::{self, Backend, Nodes};
//! use mcp_http::store::MemoryEngine;
//! use mcp_http::store::engine::{EngineFuture, SessionEngine};
//!
//! struct Memory;
//!
//! impl Backend for Memory {
//!     fn fresh(&self) -> EngineFuture<[Arc<dyn SessionEngine>; 2]> {
//!         let engine = MemoryEngine::new();
//!         EngineFuture::ready([Arc::new(engine.clone()), Arc::new(engine)])
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
//! contract::log::a_repeated_append_is_one_event(&Memory, Nodes::Two).await;
//! contract::run(&Memory).await;
//! # });
//! ```
//!
//! Rules 34 and 35 cover a node that dies without leaving. They run only on engines whose handles
//! can be disconnected; see [`Backend::part`]. There is no rule 40: the form of event ids is not
//! the engine's concern.
//!
//! [`Signal::Resync`]: super::engine::Signal::Resync

pub mod announcements;
mod bench;
pub mod calls;
pub mod client_requests;
pub mod eviction;
pub mod leases;
pub mod lifecycle;
pub mod limits;
pub mod log;
pub mod readers;
pub mod retention;
mod rules;
pub mod signals;
pub mod task_limits;
pub mod tasks;

use std::sync::Arc;
use std::time::Duration;

use super::{EngineFuture, SessionEngine};

pub use rules::{RULES, Rule};

/// An engine under test, as the suite sees it.
pub trait Backend: Sync {
    /// Returns two handles to a new, empty engine, as two processes would have them. If the backend
    /// shares an engine within one process, both may be the same handle. Data of earlier engines
    /// must not be visible.
    fn fresh(&self) -> EngineFuture<[Arc<dyn SessionEngine>; 2]>;

    /// Returns the unit of time of the timed rules, in which sessions and tasks expire after ten
    /// units. Ten units must be much longer than one operation takes. `None` skips these rules.
    fn tick(&self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }

    /// Lets time pass for the engine. The default sleeps, which takes no time if tokio's clock is
    /// paused.
    fn pass(&self, time: Duration) -> EngineFuture<()> {
        EngineFuture::later(tokio::time::sleep(time))
    }

    /// Disconnects the second handle of the newest engine from what it shares with the first, until
    /// its nodes count as dead. Returns `false` if this is not possible. This is the default, for
    /// handles of one process, which live and die together.
    fn part(&self) -> EngineFuture<bool> {
        EngineFuture::ready(false)
    }

    /// Connects the second handle again.
    fn rejoin(&self) {}
}

/// How many nodes work on the sessions of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Nodes {
    /// One node does everything.
    One,
    /// Two nodes on two handles share the work.
    Two,
}

/// Runs every rule, with one node and with two.
///
/// # Panics
///
/// If the engine breaks a rule.
pub async fn run(backend: &dyn Backend) {
    for nodes in [Nodes::One, Nodes::Two] {
        for rule in RULES {
            rule.check(backend, nodes).await;
        }
    }
}
