//! Settings for tasks: lifetime, number, size.

use std::time::Duration;

use super::group::settings;
use super::{at_least_one, at_least_one_if_set, positive, positive_if_set};
use crate::error::ConfigError;
use crate::store::Policy;

settings! {
    /// How many tasks are kept and for how long. Tasks are the extension
    /// `io.modelcontextprotocol/tasks`, for clients of 2026-07-28 and tools that [may become
    /// one](crate::server::Tool::task). Pass this to
    /// [`McpServiceBuilder::tasks`](crate::McpServiceBuilder::tasks). Tasks are stored where sessions
    /// are, see [`McpServiceBuilder::engine`](crate::McpServiceBuilder::engine).
    #[derive(Debug, Clone)]
    pub struct Tasks {
        /// How long a task is kept, counted from its start, done or not. A task that still runs then is
        /// stopped. Longer than zero; `None`: until other tasks need the capacity. Default
        /// [`Tasks::DEFAULT_TTL`].
        ttl: option Duration = Some(Self::DEFAULT_TTL), positive_if_set;

        /// The poll interval that the service suggests to clients. Longer than zero, default
        /// [`Tasks::DEFAULT_POLL_INTERVAL`].
        poll_interval: value Duration = Self::DEFAULT_POLL_INTERVAL, positive;

        /// How many tasks there may be. At the limit, a new task replaces one that is done or whose
        /// node is gone. If there is none, the call fails. At least 1, default
        /// [`Policy::DEFAULT_MAX_TASKS`].
        max_tasks: value usize = Policy::DEFAULT_MAX_TASKS, at_least_one;

        /// How many tasks one principal may have. At least 1, default
        /// [`Policy::DEFAULT_MAX_TASKS_PER_PRINCIPAL`].
        max_tasks_per_principal: value usize = Policy::DEFAULT_MAX_TASKS_PER_PRINCIPAL, at_least_one;

        /// How many bytes all tasks hold together, mostly results. At least 1, default
        /// [`Policy::DEFAULT_TASK_BYTES`].
        max_task_bytes: value usize = Policy::DEFAULT_TASK_BYTES, at_least_one;

        /// How many bytes the tasks of one principal hold together: results, and requests to its
        /// clients. At the limit, new tasks replace its own tasks that are done. If there are none, the
        /// call fails. At least 1, default [`Policy::DEFAULT_TASK_BYTES_PER_PRINCIPAL`].
        max_task_bytes_per_principal: value usize = Policy::DEFAULT_TASK_BYTES_PER_PRINCIPAL, at_least_one;

        /// How many tasks without a principal one [`Peer`](crate::Peer) may have. It applies if the
        /// connection's address is known, see
        /// [`Sessions::max_sessions_per_peer`](crate::Sessions::max_sessions_per_peer). At least 1; `None`: no limit per
        /// peer. Default [`Policy::DEFAULT_MAX_TASKS_PER_PEER`].
        max_tasks_per_peer: option usize = Some(Policy::DEFAULT_MAX_TASKS_PER_PEER), at_least_one_if_set;

        /// How many bytes the tasks of one peer without a principal hold together. At least 1; `None`:
        /// no limit per peer. Default [`Policy::DEFAULT_TASK_BYTES_PER_PEER`].
        max_task_bytes_per_peer: option usize = Some(Policy::DEFAULT_TASK_BYTES_PER_PEER), at_least_one_if_set;
    }
    other {}
}

impl Tasks {
    /// An hour from the start of the task: longer than nearly all work takes, and time to fetch the
    /// result.
    pub const DEFAULT_TTL: Duration = Duration::from_secs(3600);

    /// One second: soon enough for a person who waits, and negligible load.
    pub const DEFAULT_POLL_INTERVAL: Duration = Duration::from_secs(1);

    pub(super) fn check(&self, error: &mut ConfigError) {
        self.check_each(error);
    }

    pub(super) fn apply(&self, policy: &mut Policy) {
        policy.max_tasks = self.max_tasks;
        policy.max_tasks_per_principal = self.max_tasks_per_principal;
        policy.task_bytes = self.max_task_bytes;
        policy.task_bytes_per_principal = self.max_task_bytes_per_principal;
        policy.max_tasks_per_peer = self.max_tasks_per_peer.unwrap_or(usize::MAX);
        policy.task_bytes_per_peer = self.max_task_bytes_per_peer.unwrap_or(usize::MAX);
    }
}
