//! Decides how much an engine keeps and for how long.

use std::time::Duration;

use super::{Event, EventKind};
use crate::error::StoreErrorKind;
use crate::identity::Account;

/// The bounds an engine holds itself to. A service hands them over when it joins. Services that
/// share an engine should agree: of those in one process the first one's count, and nodes that share a
/// Redis server hold themselves to their own.
///
/// See [`Sessions`](crate::Sessions), [`Streams`](crate::Streams) and [`Limits`](crate::Limits)
/// for the reason of each default; those about tasks stand here.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// A session without calls in flight, open streams and requests ends after this; `None`: never.
    pub idle_timeout: Option<Duration>,
    /// A session ends after this whatever it does; `None`: never.
    pub lifetime: Option<Duration>,
    /// Sessions in all.
    pub max_sessions: usize,
    /// Sessions of one principal.
    pub max_sessions_per_principal: usize,
    /// Sessions of one peer, where a session has one and no principal; `usize::MAX`: as many as there may be.
    pub max_sessions_per_peer: usize,
    /// Calls in flight in one session.
    pub max_calls: usize,
    /// Calls in flight of one principal.
    pub max_calls_per_principal: usize,
    /// Connected readers in one session.
    pub max_streams: usize,
    /// Notifications kept in one stream that its reader has not taken, by number.
    pub stream_events: usize,
    /// The same by size, in bytes.
    pub stream_bytes: usize,
    /// Everything kept in the streams of one session, in bytes, but for [`answer_bytes`](Self::answer_bytes). What a
    /// reader was given goes first.
    pub session_bytes: usize,
    /// How many bytes of answers that no reader was given a session may keep beyond
    /// [`session_bytes`](Self::session_bytes): the size of the largest answer.
    pub answer_bytes: usize,
    /// Everything kept in the streams of all sessions, in bytes. Where it is too much, the account makes room whose sessions
    /// keep most, its largest session first; a session without an account stands for itself.
    /// Default [`Policy::DEFAULT_KEPT_BYTES`].
    pub kept_bytes: usize,
    /// Finished streams kept in one session for clients that come back.
    pub finished_streams: usize,
    /// How long a finished stream is kept.
    pub finished_for: Duration,
    /// Tasks in all; past their ttl they do not count. Default [`Policy::DEFAULT_MAX_TASKS`].
    pub max_tasks: usize,
    /// Tasks of one principal. Default [`Policy::DEFAULT_MAX_TASKS_PER_PRINCIPAL`].
    pub max_tasks_per_principal: usize,
    /// The documents of all tasks together, in bytes, whoever they belong to. Default
    /// [`Policy::DEFAULT_TASK_BYTES`].
    pub task_bytes: usize,
    /// The documents of one principal's tasks together, in bytes. Default
    /// [`Policy::DEFAULT_TASK_BYTES_PER_PRINCIPAL`].
    pub task_bytes_per_principal: usize,
    /// Tasks of one peer, where a task has one and no principal. Default [`Policy::DEFAULT_MAX_TASKS_PER_PEER`];
    /// `usize::MAX`: as many as there may be.
    pub max_tasks_per_peer: usize,
    /// The documents of one peer's tasks together, in bytes. Default [`Policy::DEFAULT_TASK_BYTES_PER_PEER`];
    /// `usize::MAX`: as many as there may be.
    pub task_bytes_per_peer: usize,
}

impl Policy {
    /// 256 MiB: sixty-four sessions that keep all they may, sixteen answers as large as one may be, or 26 KB for each of
    /// ten thousand sessions, of which most keep nothing.
    pub const DEFAULT_KEPT_BYTES: usize = 256 << 20;

    /// The largest answer that an engine takes though [`kept_bytes`](Self::kept_bytes) are kept: 1 KiB, so that what
    /// says that there is no room has some. Those are forgotten like any other.
    pub const ALWAYS_KEPT: usize = 1 << 10;

    /// Whether an event needs no room.
    pub(crate) fn is_always_kept(event: &Event) -> bool {
        event.kind == EventKind::Response && event.payload.len() <= Self::ALWAYS_KEPT
    }

    /// Ten thousand, as many as sessions: one for each client, and what is done is forgotten
    /// before anything new is refused. About three megabytes beside the documents.
    pub const DEFAULT_MAX_TASKS: usize = 10_000;

    /// A tenth of all: one principal cannot take every place.
    pub const DEFAULT_MAX_TASKS_PER_PRINCIPAL: usize = 1_000;

    /// 64 MiB: more than six kilobytes for each of ten thousand tasks, where most results are
    /// smaller, and room for sixteen as large as the largest body a client may send.
    pub const DEFAULT_TASK_BYTES: usize = 64 << 20;

    /// A tenth of all, as of their number, 6.4 MiB: the results and the open requests of one principal cannot
    /// push out those of the others, and one result as large as the largest body still fits.
    pub const DEFAULT_TASK_BYTES_PER_PRINCIPAL: usize = Self::DEFAULT_TASK_BYTES / 10;

    /// Half of all, as with sessions: one address cannot take everything, and many people may share one.
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

/// What one account may have, and how it is refused more.
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
