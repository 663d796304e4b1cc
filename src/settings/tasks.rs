//! Decides what can be set about tasks.

use std::time::Duration;

use super::{at_least_one, positive, positive_if_set};
use crate::error::ConfigError;
use crate::store::Policy;

/// How long tasks are kept and how many (extension `io.modelcontextprotocol/tasks`, for clients of 2026-07-28 and tools that
/// [may become one](crate::server::Tool::task)). Give it to
/// [`McpServiceBuilder::tasks`](crate::McpServiceBuilder::tasks). They are kept where sessions are, see
/// [`McpServiceBuilder::engine`](crate::McpServiceBuilder::engine).
#[derive(Debug, Clone)]
pub struct Tasks {
    pub(crate) ttl: Option<Duration>,
    pub(crate) poll_interval: Duration,
    max: usize,
    max_per_principal: usize,
    bytes: usize,
    bytes_per_principal: usize,
    max_per_peer: Option<usize>,
    bytes_per_peer: Option<usize>,
}

impl Tasks {
    /// An hour from its beginning: longer than nearly all work takes, and time to come back for the
    /// result.
    pub const DEFAULT_TTL: Duration = Duration::from_secs(3600);

    /// A second: soon enough for a person who waits, and no load.
    pub const DEFAULT_POLL_INTERVAL: Duration = Duration::from_secs(1);

    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            ttl: Some(Self::DEFAULT_TTL),
            poll_interval: Self::DEFAULT_POLL_INTERVAL,
            max: Policy::DEFAULT_MAX_TASKS,
            max_per_principal: Policy::DEFAULT_MAX_TASKS_PER_PRINCIPAL,
            bytes: Policy::DEFAULT_TASK_BYTES,
            bytes_per_principal: Policy::DEFAULT_TASK_BYTES_PER_PRINCIPAL,
            max_per_peer: Some(Policy::DEFAULT_MAX_TASKS_PER_PEER),
            bytes_per_peer: Some(Policy::DEFAULT_TASK_BYTES_PER_PEER),
        }
    }

    /// How long a task is kept, from its beginning, whether it is done or not; one that still runs
    /// then is stopped. Longer than zero; `None`: until others need the room. Default
    /// [`Tasks::DEFAULT_TTL`].
    #[must_use]
    pub fn ttl(mut self, ttl: impl Into<Option<Duration>>) -> Self {
        self.ttl = ttl.into();
        self
    }

    /// How often clients are told to ask. Longer than zero, default [`Tasks::DEFAULT_POLL_INTERVAL`].
    #[must_use]
    pub fn poll_interval(mut self, every: Duration) -> Self {
        self.poll_interval = every;
        self
    }

    /// How many tasks there may be. At the limit tasks that are done, or whose node is gone, make
    /// room; a call that finds none fails. At least 1, default [`Policy::DEFAULT_MAX_TASKS`].
    #[must_use]
    pub fn max(mut self, tasks: usize) -> Self {
        self.max = tasks;
        self
    }

    /// The same for the tasks of one principal. At least 1, default
    /// [`Policy::DEFAULT_MAX_TASKS_PER_PRINCIPAL`].
    #[must_use]
    pub fn max_per_principal(mut self, tasks: usize) -> Self {
        self.max_per_principal = tasks;
        self
    }

    /// How many bytes all tasks hold together, their results above all. At least 1,
    /// default [`Policy::DEFAULT_TASK_BYTES`].
    #[must_use]
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// The same for the tasks of one principal: its results, and what its tasks ask their clients. At this limit
    /// its own tasks that are done make room; a call that finds none fails. At least 1, default
    /// [`Policy::DEFAULT_TASK_BYTES_PER_PRINCIPAL`].
    #[must_use]
    pub fn bytes_per_principal(mut self, bytes: usize) -> Self {
        self.bytes_per_principal = bytes;
        self
    }

    /// How many tasks without a principal one [`Peer`](crate::Peer) may have, where the connection's address is
    /// known, see [`Sessions::max_per_peer`](crate::Sessions::max_per_peer). At least 1; `None`: peers have no share.
    /// Default [`Policy::DEFAULT_MAX_TASKS_PER_PEER`].
    #[must_use]
    pub fn max_per_peer(mut self, tasks: impl Into<Option<usize>>) -> Self {
        self.max_per_peer = tasks.into();
        self
    }

    /// How many bytes they hold together. At least 1; `None`: peers have no share. Default
    /// [`Policy::DEFAULT_TASK_BYTES_PER_PEER`].
    #[must_use]
    pub fn bytes_per_peer(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.bytes_per_peer = bytes.into();
        self
    }

    pub(super) fn check(&self, error: &mut ConfigError) {
        positive_if_set(error, "Tasks::ttl", self.ttl);
        positive(error, "Tasks::poll_interval", self.poll_interval);
        at_least_one(error, "Tasks::max", self.max);
        at_least_one(error, "Tasks::max_per_principal", self.max_per_principal);
        at_least_one(error, "Tasks::bytes", self.bytes);
        at_least_one(error, "Tasks::bytes_per_principal", self.bytes_per_principal);
        at_least_one(error, "Tasks::max_per_peer", self.max_per_peer.unwrap_or(usize::MAX));
        at_least_one(error, "Tasks::bytes_per_peer", self.bytes_per_peer.unwrap_or(usize::MAX));
    }

    pub(super) fn apply(&self, policy: &mut Policy) {
        policy.max_tasks = self.max;
        policy.max_tasks_per_principal = self.max_per_principal;
        policy.task_bytes = self.bytes;
        policy.task_bytes_per_principal = self.bytes_per_principal;
        policy.max_tasks_per_peer = self.max_per_peer.unwrap_or(usize::MAX);
        policy.task_bytes_per_peer = self.bytes_per_peer.unwrap_or(usize::MAX);
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}
