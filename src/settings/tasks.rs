//! Settings for tasks: lifetime, number, size.

use std::time::Duration;

use super::{at_least_one, positive, positive_if_set};
use crate::error::ConfigError;
use crate::store::Policy;

/// How many tasks are kept and for how long. Tasks are the extension
/// `io.modelcontextprotocol/tasks`, for clients of 2026-07-28 and tools that [may become
/// one](crate::server::Tool::task). Pass this to
/// [`McpServiceBuilder::tasks`](crate::McpServiceBuilder::tasks). Tasks are stored where sessions
/// are, see [`McpServiceBuilder::engine`](crate::McpServiceBuilder::engine).
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
    /// An hour from the start of the task: longer than nearly all work takes, and time to fetch the
    /// result.
    pub const DEFAULT_TTL: Duration = Duration::from_secs(3600);

    /// One second: soon enough for a person who waits, and negligible load.
    pub const DEFAULT_POLL_INTERVAL: Duration = Duration::from_secs(1);

    /// Returns the defaults.
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

    /// How long a task is kept, counted from its start, done or not. A task that still runs then is
    /// stopped. Longer than zero; `None`: until other tasks need the capacity. Default
    /// [`Tasks::DEFAULT_TTL`].
    #[must_use]
    pub fn ttl(mut self, ttl: impl Into<Option<Duration>>) -> Self {
        self.ttl = ttl.into();
        self
    }

    /// The poll interval that the service suggests to clients. Longer than zero, default
    /// [`Tasks::DEFAULT_POLL_INTERVAL`].
    #[must_use]
    pub fn poll_interval(mut self, every: Duration) -> Self {
        self.poll_interval = every;
        self
    }

    /// How many tasks there may be. At the limit, a new task replaces one that is done or whose
    /// node is gone. If there is none, the call fails. At least 1, default
    /// [`Policy::DEFAULT_MAX_TASKS`].
    #[must_use]
    pub fn max_tasks(mut self, tasks: usize) -> Self {
        self.max = tasks;
        self
    }

    /// How many tasks one principal may have. At least 1, default
    /// [`Policy::DEFAULT_MAX_TASKS_PER_PRINCIPAL`].
    #[must_use]
    pub fn max_tasks_per_principal(mut self, tasks: usize) -> Self {
        self.max_per_principal = tasks;
        self
    }

    /// How many bytes all tasks hold together, mostly results. At least 1, default
    /// [`Policy::DEFAULT_TASK_BYTES`].
    #[must_use]
    pub fn max_task_bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// How many bytes the tasks of one principal hold together: results, and requests to its
    /// clients. At the limit, new tasks replace its own tasks that are done. If there are none, the
    /// call fails. At least 1, default [`Policy::DEFAULT_TASK_BYTES_PER_PRINCIPAL`].
    #[must_use]
    pub fn max_task_bytes_per_principal(mut self, bytes: usize) -> Self {
        self.bytes_per_principal = bytes;
        self
    }

    /// How many tasks without a principal one [`Peer`](crate::Peer) may have. It applies if the
    /// connection's address is known, see
    /// [`Sessions::max_sessions_per_peer`](crate::Sessions::max_sessions_per_peer). At least 1; `None`: no limit per
    /// peer. Default [`Policy::DEFAULT_MAX_TASKS_PER_PEER`].
    #[must_use]
    pub fn max_tasks_per_peer(mut self, tasks: impl Into<Option<usize>>) -> Self {
        self.max_per_peer = tasks.into();
        self
    }

    /// How many bytes the tasks of one peer without a principal hold together. At least 1; `None`:
    /// no limit per peer. Default [`Policy::DEFAULT_TASK_BYTES_PER_PEER`].
    #[must_use]
    pub fn max_task_bytes_per_peer(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.bytes_per_peer = bytes.into();
        self
    }

    pub(super) fn check(&self, error: &mut ConfigError) {
        positive_if_set(error, "Tasks::ttl", self.ttl);
        positive(error, "Tasks::poll_interval", self.poll_interval);
        at_least_one(error, "Tasks::max_tasks", self.max);
        at_least_one(error, "Tasks::max_tasks_per_principal", self.max_per_principal);
        at_least_one(error, "Tasks::max_task_bytes", self.bytes);
        at_least_one(error, "Tasks::max_task_bytes_per_principal", self.bytes_per_principal);
        at_least_one(error, "Tasks::max_tasks_per_peer", self.max_per_peer.unwrap_or(usize::MAX));
        at_least_one(error, "Tasks::max_task_bytes_per_peer", self.bytes_per_peer.unwrap_or(usize::MAX));
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
