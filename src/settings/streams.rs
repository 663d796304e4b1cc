//! Decides what can be set about answers and streams.

use std::time::Duration;

use super::{at_least_one, positive, positive_if_set};
use crate::error::ConfigError;
use crate::store::Policy;

/// Which form an answer to a POST has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ResponseMode {
    /// JSON, unless the call streams something or stays silent for a while: then SSE. The client
    /// accepts both, so each call gets the cheaper one.
    #[default]
    Auto,
    /// Always SSE. In a session each event can be come back for, since revision 2025-11-25 from the first
    /// byte of the response on.
    Sse,
    /// Always JSON. What a call streams is dropped, and it cannot ask a client of the session revisions; one
    /// of 2026-07-28 is asked by rounds, as always.
    Json,
}

/// How answers travel and how long they wait for a client that went away. Give it to
/// [`McpServiceBuilder::streams`](crate::McpServiceBuilder::streams).
#[derive(Debug, Clone)]
pub struct Streams {
    pub(crate) response_mode: ResponseMode,
    pub(crate) silence: Duration,
    pub(crate) keep_alive: Option<Duration>,
    pub(crate) retry_interval: Option<Duration>,
    pub(crate) resumable: bool,
    pub(crate) exclusive: bool,
    pub(crate) slow_reader: Duration,
    pub(crate) write_timeout: Option<Duration>,
    kept_events: usize,
    kept_bytes: usize,
    kept_bytes_per_session: usize,
    kept_bytes_in_all: usize,
    finished: usize,
    finished_for: Duration,
}

impl Streams {
    /// Half a second: a call that takes longer is worth a connection that can be resumed.
    pub const DEFAULT_SILENCE: Duration = Duration::from_millis(500);

    /// Fifteen seconds: below the idle limits of common proxies (30 s and more).
    pub const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(15);

    /// One second: quick enough not to be felt, slow enough that a fleet of clients does not
    /// hammer a server that is just starting.
    pub const DEFAULT_RETRY_INTERVAL: Duration = Duration::from_secs(1);

    /// Ten seconds: several times what TCP needs to recover a lost packet.
    pub const DEFAULT_SLOW_READER: Duration = Duration::from_secs(10);

    /// Thirty seconds, as [`McpListener::WRITE_TIMEOUT`](crate::McpListener::WRITE_TIMEOUT): longer than a phone takes
    /// to change from one network to another.
    pub const DEFAULT_WRITE_TIMEOUT: Duration = Duration::from_secs(30);

    /// 1,024 notifications and 1 MiB of them: a chatty call and a client away for a minute.
    pub const DEFAULT_KEPT: (usize, usize) = (1_024, 1 << 20);

    /// 4 MiB in one session: four streams that are full, or many that are not.
    pub const DEFAULT_KEPT_PER_SESSION: usize = 4 << 20;

    /// 256 MiB for all sessions: sixty-four that keep all they may, or 26 KB for each of ten thousand.
    pub const DEFAULT_KEPT_IN_ALL: usize = Policy::DEFAULT_KEPT_BYTES;

    /// 128 finished streams, as many as calls in flight, for a minute each: a client that lost its connection is back by then,
    /// or has started anew.
    pub const DEFAULT_FINISHED: (usize, Duration) = (128, Duration::from_secs(60));

    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            response_mode: ResponseMode::Auto,
            silence: Self::DEFAULT_SILENCE,
            keep_alive: Some(Self::DEFAULT_KEEP_ALIVE),
            retry_interval: Some(Self::DEFAULT_RETRY_INTERVAL),
            resumable: true,
            exclusive: false,
            slow_reader: Self::DEFAULT_SLOW_READER,
            write_timeout: Some(Self::DEFAULT_WRITE_TIMEOUT),
            kept_events: Self::DEFAULT_KEPT.0,
            kept_bytes: Self::DEFAULT_KEPT.1,
            kept_bytes_per_session: Self::DEFAULT_KEPT_PER_SESSION,
            kept_bytes_in_all: Self::DEFAULT_KEPT_IN_ALL,
            finished: Self::DEFAULT_FINISHED.0,
            finished_for: Self::DEFAULT_FINISHED.1,
        }
    }

    /// Which form answers have. Default [`ResponseMode::Auto`].
    #[must_use]
    pub fn response_mode(mut self, mode: ResponseMode) -> Self {
        self.response_mode = mode;
        self
    }

    /// How long a call may be silent before its answer becomes a stream, in
    /// [`ResponseMode::Auto`]. Longer than zero, default [`Streams::DEFAULT_SILENCE`].
    #[must_use]
    pub fn silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// How often a quiet stream sends a comment, so that proxies keep it and dead peers are
    /// noticed. `None` or zero: never. Default [`Streams::DEFAULT_KEEP_ALIVE`].
    #[must_use]
    pub fn keep_alive(mut self, every: impl Into<Option<Duration>>) -> Self {
        self.keep_alive = every.into().filter(|every| !every.is_zero());
        self
    }

    /// The `retry` that a stream ends with where the server closes it and its client can come back.
    /// A client whose connection breaks decides by itself, and so does every client with `None`.
    /// Default [`Streams::DEFAULT_RETRY_INTERVAL`].
    #[must_use]
    pub fn retry_interval(mut self, retry: impl Into<Option<Duration>>) -> Self {
        self.retry_interval = retry.into();
        self
    }

    /// Whether events have ids that a client can come back with. Default: yes, because connections drop; off,
    /// nothing is kept for one that does, and `Last-Event-ID` is refused (400).
    #[must_use]
    pub fn resumable(mut self, resumable: bool) -> Self {
        self.resumable = resumable;
        self
    }

    /// Refuses a second GET stream of a session (409; otherwise the newest wins), and a request id that is
    /// in flight already (400; otherwise both are served). Default: no, so that a client whose connection
    /// is half dead is never locked out of its own session. Without principals the newest GET wins for anyone who has the
    /// session id: see [the advisories](crate::guide::advisories).
    #[must_use]
    pub fn exclusive(mut self, exclusive: bool) -> Self {
        self.exclusive = exclusive;
        self
    }

    /// How long a call that streams waits for a reader that is behind, in all. After it the
    /// reader is cut off; it may come back for what is kept. Longer than zero, default
    /// [`Streams::DEFAULT_SLOW_READER`].
    #[must_use]
    pub fn slow_reader(mut self, after: Duration) -> Self {
        self.slow_reader = after;
        self
    }

    /// How long a response may have something ready that its connection does not take: a stream, or a JSON answer
    /// over 16 KiB. Then it is cut: what it holds is dropped, an HTTP/2 stream is reset as soon as its window opens, an
    /// HTTP/1 connection ends, and the client counts as one that left. This bounds every listener, TLS and HTTP/2 with
    /// closed windows included; over HTTP/1 [`McpListener`](crate::McpListener) also ends the connection of a client
    /// that stays away. A stream that has nothing to say waits as long as it likes.
    ///
    /// A response that has something ready all the time moves at least 2 KiB a second, measured over twice this time: a
    /// slow mobile line carries more, and a client that takes a piece now and then does not keep a large answer for
    /// hours. What all responses hold together is bounded by [`Limits::answers_unread`](super::Limits::answers_unread).
    ///
    /// Longer than zero; `None`: without limit. Default [`Streams::DEFAULT_WRITE_TIMEOUT`].
    #[must_use]
    pub fn write_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.write_timeout = timeout.into();
        self
    }

    /// How many notifications, and how many bytes of them, one stream keeps for a reader that is
    /// away or behind; the oldest go first, and the client is told. Answers and questions do not
    /// count and are always kept. At least 1 each, default [`Streams::DEFAULT_KEPT`].
    #[must_use]
    pub fn kept(mut self, events: usize, bytes: usize) -> Self {
        (self.kept_events, self.kept_bytes) = (events, bytes);
        self
    }

    /// How many bytes all streams of one session keep together; what a client was given makes room first, and an
    /// answer that it was not given last. Such answers may go beyond by [`Limits::answer`](super::Limits::answer) bytes together.
    /// At least 1, default [`Streams::DEFAULT_KEPT_PER_SESSION`].
    #[must_use]
    pub fn kept_per_session(mut self, bytes: usize) -> Self {
        self.kept_bytes_per_session = bytes;
        self
    }

    /// How many bytes the streams of all sessions keep together. Where it is too much, the largest sessions make room:
    /// first with what their clients were given, then with notifications, then with answers that no client has
    /// fetched, which is counted ([`Statistics::answers_lost`](crate::Statistics::answers_lost)). Streams that a client is
    /// reading stay. Where nothing can be given up, notifications are dropped, and an answer of more than 1 KiB is
    /// -32603 (500 while nothing was sent). The engines in memory and files keep this exactly, Redis for
    /// all nodes together, looking at the sixteen largest sessions each time. At least 1, default [`Streams::DEFAULT_KEPT_IN_ALL`].
    #[must_use]
    pub fn kept_in_all(mut self, bytes: usize) -> Self {
        self.kept_bytes_in_all = bytes;
        self
    }

    /// How many finished streams a session keeps for a client that comes back, and for how long:
    /// nobody can know whether the end of a stream was read. At least 1 stream, default
    /// [`Streams::DEFAULT_FINISHED`].
    #[must_use]
    pub fn finished(mut self, streams: usize, for_: Duration) -> Self {
        (self.finished, self.finished_for) = (streams, for_);
        self
    }

    /// As [`Streams::kept`].
    pub(crate) fn bounds(&self) -> (usize, usize) {
        (self.kept_events, self.kept_bytes)
    }

    pub(super) fn check(&self, error: &mut ConfigError) {
        positive(error, "Streams::silence", self.silence);
        positive(error, "Streams::slow_reader", self.slow_reader);
        positive_if_set(error, "Streams::write_timeout", self.write_timeout);
        at_least_one(error, "Streams::kept", self.kept_events);
        at_least_one(error, "Streams::kept", self.kept_bytes);
        at_least_one(error, "Streams::kept_per_session", self.kept_bytes_per_session);
        at_least_one(error, "Streams::kept_in_all", self.kept_bytes_in_all);
        at_least_one(error, "Streams::finished", self.finished);
    }

    pub(super) fn apply(&self, policy: &mut Policy) {
        policy.stream_events = self.kept_events;
        policy.stream_bytes = self.kept_bytes;
        policy.session_bytes = self.kept_bytes_per_session;
        policy.kept_bytes = self.kept_bytes_in_all;
        policy.finished_streams = self.finished;
        // Where nobody can come back, a finished stream waits for its own response only.
        policy.finished_for = if self.resumable { self.finished_for } else { Duration::from_secs(1) };
    }
}

impl Default for Streams {
    fn default() -> Self {
        Self::new()
    }
}
