//! Counters: the statistics of a service for its operators, such as sessions, rejections and drops.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::error::Rejection;
use crate::store::EndReason;

/// The counters of a service. They only grow.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    opened: AtomicU64,
    dropped: AtomicU64,
    slow: AtomicU64,
    answers_refused: AtomicU64,
    answers_lost: AtomicU64,
    ended: Mutex<BTreeMap<EndReason, u64>>,
    rejected: Mutex<BTreeMap<&'static str, u64>>,
}

/// The counts of a service since its start, as
/// [`McpHandle::statistics`](crate::McpHandle::statistics) returns them. Serialized, its members
/// have the names of the fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Statistics {
    /// The sessions that exist now, at all nodes of the engine. `None`: the engine cannot be reached.
    pub sessions: Option<usize>,
    /// The subscription streams of 2026-07-28 that are open now.
    pub listens: usize,
    /// The sessions opened.
    pub opened: u64,
    /// The sessions that have ended, by reason.
    pub ended: BTreeMap<EndReason, u64>,
    /// The requests rejected, by [kind](Rejection::kind).
    pub rejected: BTreeMap<&'static str, u64>,
    /// The notifications that reached no client: the response was JSON, no stream was open, or a
    /// stream was over its bounds.
    pub dropped: u64,
    /// The readers detached because they were too slow, and the responses cut. A response is cut if
    /// its client does not read it ([`Streams::write_timeout`](crate::Streams::write_timeout)), or
    /// if all clients together leave too much unread
    /// ([`Limits::max_unread_response_bytes`](crate::Limits::max_unread_response_bytes)).
    pub slow_readers: u64,
    /// The answers replaced by an error. They were too large
    /// ([`Limits::max_response_bytes`](crate::Limits::max_response_bytes)), their streams could not keep them
    /// ([`Streams::max_replay_bytes`](crate::Streams::max_replay_bytes)), or too much was unread
    /// ([`Limits::max_unread_response_bytes`](crate::Limits::max_unread_response_bytes)).
    pub answers_refused: u64,
    /// The answers removed to make room before a client had fetched them.
    pub answers_lost: u64,
}

impl Counters {
    pub(crate) fn opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn dropped(&self, notifications: usize) {
        self.dropped.fetch_add(notifications as u64, Ordering::Relaxed);
    }

    pub(crate) fn slow_reader(&self) {
        self.slow.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn answer_rejected(&self) {
        self.answers_refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn answers_lost(&self, answers: usize) {
        self.answers_lost.fetch_add(answers as u64, Ordering::Relaxed);
    }

    pub(crate) fn ended(&self, reason: EndReason) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1;
    }

    pub(crate) fn rejected(&self, rejection: &Rejection) {
        *self.rejected.lock().unwrap_or_else(PoisonError::into_inner).entry(rejection.kind()).or_default() += 1;
    }

    pub(crate) fn read(&self, sessions: Option<usize>, listens: usize) -> Statistics {
        Statistics {
            sessions,
            listens,
            opened: self.opened.load(Ordering::Relaxed),
            ended: self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            rejected: self.rejected.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            dropped: self.dropped.load(Ordering::Relaxed),
            slow_readers: self.slow.load(Ordering::Relaxed),
            answers_refused: self.answers_refused.load(Ordering::Relaxed),
            answers_lost: self.answers_lost.load(Ordering::Relaxed),
        }
    }
}
