//! What every [`SessionEngine`] must do, as a suite any backend can run.
//!
//! 1. [`RULES`] is the whole contract: each [`Rule`] has a number that never changes, and can be
//!    run alone, by its number or as the function it names.
//! 2. Each rule is run on a new engine, by one node and by two nodes ([`Nodes`]), whose second
//!    half of the work goes through another handle.
//! 3. A broken rule panics with its number and name: `rule 22, attach racing append: event 17
//!    after 15`.
//! 4. Bells are expected to ring in the end, in any order and any number; [`Ring::Resync`] counts
//!    as any of them.
//!
//! An engine on the clock of the machine says in [`Backend::tick`] how long the unit of the timed
//! rules is, and one that cannot wait at all skips them. The races are as strong as the runtime:
//! run the suite on one with several threads too.
//!
//! ```
//! use std::sync::Arc;
//! use mcp_http::store::contract::{self, Backend, Nodes};
//! use mcp_http::store::{MemoryEngine, SessionEngine, Step};
//!
//! struct Memory;
//!
//! impl Backend for Memory {
//!     fn fresh(&self) -> Step<[Arc<dyn SessionEngine>; 2]> {
//!         let engine = MemoryEngine::new();
//!         Step::ready([Arc::new(engine.clone()), Arc::new(engine)])
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
//! contract::log::a_repeated_append_is_one_event(&Memory, Nodes::Two).await;
//! contract::run(&Memory).await;
//! # });
//! ```
//!
//! What a node leaves that dies without a word (34 and 35) is asked of engines whose handles can be
//! parted; see [`Backend::part`]. The form of event ids (40) is no matter of an engine.
//!
//! [`Ring::Resync`]: super::Ring::Resync

pub mod announcements;
mod bench;
pub mod calls;
pub mod doorbell;
pub mod eviction;
pub mod leases;
pub mod lifecycle;
pub mod limits;
pub mod log;
pub mod questions;
pub mod readers;
pub mod retention;
mod rules;
pub mod task_limits;
pub mod tasks;

use std::sync::Arc;
use std::time::Duration;

use super::{SessionEngine, Step};

pub use rules::{RULES, Rule};

/// A kind of engine, as the suite sees it.
pub trait Backend: Sync {
    /// A new, empty engine, and two handles to it as two processes would have them; the same one
    /// twice if that is what sharing means here. What an earlier engine kept must not be seen.
    fn fresh(&self) -> Step<[Arc<dyn SessionEngine>; 2]>;

    /// The unit of time of the timed rules: a session or a task of theirs expires after ten. Ten
    /// of them must be much longer than a step takes. `None` skips these rules.
    fn tick(&self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }

    /// Lets time pass for the engine. The default sleeps, which takes no time where tokio's clock
    /// is paused.
    fn pass(&self, time: Duration) -> Step<()> {
        Step::later(tokio::time::sleep(time))
    }

    /// Parts the second handle of the newest engine from what it shares with the first, until its
    /// nodes count as dead; whether that can be. The default says that it cannot, as for handles
    /// of one process, which live and die together.
    fn part(&self) -> Step<bool> {
        Step::ready(false)
    }

    /// Joins again what was parted.
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
/// When the engine breaks a rule.
pub async fn run(backend: &dyn Backend) {
    for nodes in [Nodes::One, Nodes::Two] {
        for rule in RULES {
            rule.check(backend, nodes).await;
        }
    }
}
