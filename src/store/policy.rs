//! Policy: the limits on what an engine keeps, and for how long.

use std::time::Duration;

use crate::error::StoreErrorKind;
use crate::identity::Account;

/// The limits that an engine enforces. A service passes them when it joins.
///
/// Services that share an engine should agree on them. Of the services in one process, the limits
/// of the first one apply. Nodes that share a Redis server each enforce their own.
///
/// See [`Sessions`](crate::Sessions), [`Streams`](crate::Streams) and [`Limits`](crate::Limits) for
/// the reason of each default. The defaults for tasks are explained here.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// The time after which a session without calls in flight, open streams and requests ends.
    /// `None`: never.
    pub idle_timeout: Option<Duration>,
    /// The time after which a session ends in any case. `None`: never.
    pub lifetime: Option<Duration>,
    /// The maximum number of sessions.
    pub max_sessions: usize,
    /// The maximum number of sessions of one principal.
    pub max_sessions_per_principal: usize,
    /// The maximum number of sessions of one peer, for sessions that have a peer and no principal.
    /// `usize::MAX`: no limit of their own.
    pub max_sessions_per_peer: usize,
    /// The maximum number of calls in flight in one session.
    pub max_calls: usize,
    /// The maximum number of calls in flight of one principal.
    pub max_calls_per_principal: usize,
    /// The maximum number of connected readers in one session.
    pub max_streams: usize,
    /// The maximum number of notifications kept in one stream that its reader has not received.
    pub stream_events: usize,
    /// The same in bytes.
    pub stream_bytes: usize,
    /// The maximum bytes kept in the streams of one session, apart from
    /// [`answer_bytes`](Self::answer_bytes). Events that a reader has received are dropped first.
    pub session_bytes: usize,
    /// The bytes of unread responses that a session may keep beyond
    /// [`session_bytes`](Self::session_bytes): the size of the largest response.
    pub answer_bytes: usize,
    /// The maximum bytes kept in the streams of all sessions. Beyond it, the account whose sessions
    /// keep the most releases events, its largest session first. A session without an account
    /// counts as an account of its own. Default [`Policy::DEFAULT_KEPT_BYTES`].
    pub kept_bytes: usize,
    /// The maximum number of finished streams kept in one session for clients that reconnect.
    pub finished_streams: usize,
    /// How long a finished stream is kept.
    pub finished_for: Duration,
    /// The maximum number of tasks, without those past their TTL. Default
    /// [`Policy::DEFAULT_MAX_TASKS`].
    pub max_tasks: usize,
    /// The maximum number of tasks of one principal. Default
    /// [`Policy::DEFAULT_MAX_TASKS_PER_PRINCIPAL`].
    pub max_tasks_per_principal: usize,
    /// The maximum bytes of the documents of all tasks of all clients together. Default
    /// [`Policy::DEFAULT_TASK_BYTES`].
    pub task_bytes: usize,
    /// The maximum bytes of the documents of one principal's tasks together. Default
    /// [`Policy::DEFAULT_TASK_BYTES_PER_PRINCIPAL`].
    pub task_bytes_per_principal: usize,
    /// The maximum number of tasks of one peer, for tasks that have a peer and no principal.
    /// Default [`Policy::DEFAULT_MAX_TASKS_PER_PEER`]; `usize::MAX`: no limit of their own.
    pub max_tasks_per_peer: usize,
    /// The maximum bytes of the documents of one peer's tasks together. Default
    /// [`Policy::DEFAULT_TASK_BYTES_PER_PEER`]; `usize::MAX`: no limit of their own.
    pub task_bytes_per_peer: usize,
}

impl Policy {
    /// 256 MiB. That is enough for 64 sessions that use all of their limit, or for sixteen of the
    /// largest responses. It is 26 KB for each of ten thousand sessions, most of which keep
    /// nothing.
    pub const DEFAULT_KEPT_BYTES: usize = 256 << 20;

    /// 1 KiB: the size of the largest response that an engine accepts although
    /// [`kept_bytes`](Self::kept_bytes) bytes are kept. So the response that reports the lack of
    /// capacity can be delivered. These responses are forgotten like any other.
    pub const ALWAYS_KEPT: usize = 1 << 10;

    /// Ten thousand, as many as sessions: one for each client. Finished tasks are forgotten before
    /// a new one is rejected. Ten thousand tasks take about three megabytes beside their documents.
    pub const DEFAULT_MAX_TASKS: usize = 10_000;

    /// A tenth of all, so that one principal cannot take all capacity.
    pub const DEFAULT_MAX_TASKS_PER_PRINCIPAL: usize = 1_000;

    /// 64 MiB: more than six kilobytes for each of ten thousand tasks. Most results are smaller. It
    /// is also enough for sixteen documents of the size of the largest request body.
    pub const DEFAULT_TASK_BYTES: usize = 64 << 20;

    /// A tenth of all, as for their number: 6.4 MiB. So the results and the open requests of one
    /// principal cannot evict those of others. One result of the size of the largest request body
    /// still fits.
    pub const DEFAULT_TASK_BYTES_PER_PRINCIPAL: usize = Self::DEFAULT_TASK_BYTES / 10;

    /// Half of all, as for sessions: one address cannot take all capacity, and many people may
    /// share one.
    pub const DEFAULT_MAX_TASKS_PER_PEER: usize = Self::DEFAULT_MAX_TASKS / 2;

    /// Half of all, 32 MiB.
    pub const DEFAULT_TASK_BYTES_PER_PEER: usize = Self::DEFAULT_TASK_BYTES / 2;
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            idle_timeout: Some(Duration::from_secs(1800)),
            lifetime: None,
            max_sessions: 10_000,
            max_sessions_per_principal: 1_000,
            max_sessions_per_peer: 5_000,
            max_calls: 128,
            max_calls_per_principal: 1_024,
            max_streams: 256,
            stream_events: 1_024,
            stream_bytes: 1 << 20,
            session_bytes: 4 << 20,
            answer_bytes: 16 << 20,
            kept_bytes: Self::DEFAULT_KEPT_BYTES,
            finished_streams: 128,
            finished_for: Duration::from_secs(60),
            max_tasks: Self::DEFAULT_MAX_TASKS,
            max_tasks_per_principal: Self::DEFAULT_MAX_TASKS_PER_PRINCIPAL,
            task_bytes: Self::DEFAULT_TASK_BYTES,
            task_bytes_per_principal: Self::DEFAULT_TASK_BYTES_PER_PRINCIPAL,
            max_tasks_per_peer: Self::DEFAULT_MAX_TASKS_PER_PEER,
            task_bytes_per_peer: Self::DEFAULT_TASK_BYTES_PER_PEER,
        }
    }
}

/// The limits of one account, and the error when they are reached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    pub(super) sessions: usize,
    pub(super) tasks: usize,
    pub(super) task_bytes: usize,
    pub(super) full: StoreErrorKind,
}

impl Policy {
    pub(super) fn share_of(&self, account: &Account) -> Share {
        match account {
            Account::Principal(_) => Share {
                sessions: self.max_sessions_per_principal,
                tasks: self.max_tasks_per_principal,
                task_bytes: self.task_bytes_per_principal,
                full: StoreErrorKind::FullForPrincipal,
            },
            Account::Peer(_) => Share {
                sessions: self.max_sessions_per_peer,
                tasks: self.max_tasks_per_peer,
                task_bytes: self.task_bytes_per_peer,
                full: StoreErrorKind::FullForPeer,
            },
        }
    }
}
