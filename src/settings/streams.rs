//! Settings for responses and streams: form, keep-alive, timeouts, replay buffers.

use std::time::Duration;

use super::{at_least_one, positive, positive_if_set};
use crate::error::ConfigError;
use crate::store::Policy;

/// The form of the response to a POST.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ResponseMode {
    /// JSON, unless the call streams something or sends nothing for a while: then SSE. Clients
    /// accept both, so each call gets the cheaper one.
    #[default]
    Auto,
    /// Always SSE. In a session, clients can resume after each event; since revision 2025-11-25
    /// from the first byte of the response.
    Sse,
    /// Always JSON. Notifications of a call are dropped, and handlers cannot send requests to
    /// clients of the session revisions. Clients of 2026-07-28 receive requests in rounds, as in
    /// every mode.
    Json,
}

/// How responses are sent, and how long they wait for a client that disconnected. Pass this to
/// [`McpServiceBuilder::streams`](crate::McpServiceBuilder::streams).
#[derive(Debug, Clone)]
pub struct Streams {
    pub(crate) response_mode: ResponseMode,
    pub(crate) stream_after: Duration,
    pub(crate) keep_alive: Option<Duration>,
    pub(crate) retry_interval: Option<Duration>,
    pub(crate) resumable: bool,
    pub(crate) reject_second_stream: bool,
    pub(crate) reject_duplicate_ids: bool,
    pub(crate) slow_reader_timeout: Duration,
    pub(crate) write_timeout: Option<Duration>,
    pub(crate) expired_token_grace: Duration,
    kept_events: usize,
    kept_bytes: usize,
    kept_bytes_per_session: usize,
    kept_bytes_in_all: usize,
    finished: usize,
    finished_for: Duration,
}

impl Streams {
    /// Half a second: a call that takes longer is worth a connection that can be resumed.
    pub const DEFAULT_STREAM_AFTER: Duration = Duration::from_millis(500);

    /// Fifteen seconds: below the idle limits of common proxies (30 s and more).
    pub const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(15);

    /// One second: too short for a person to notice, long enough that a fleet of clients does not
    /// overload a server that is just starting.
    pub const DEFAULT_RETRY_INTERVAL: Duration = Duration::from_secs(1);

    /// Ten seconds: several times what TCP needs to recover a lost packet.
    pub const DEFAULT_SLOW_READER_TIMEOUT: Duration = Duration::from_secs(10);

    /// Thirty seconds, as [`McpListener::WRITE_TIMEOUT`](crate::McpListener::WRITE_TIMEOUT): longer
    /// than a phone takes to change from one network to another.
    pub const DEFAULT_WRITE_TIMEOUT: Duration = Duration::from_secs(30);

    /// One hour, as long as access tokens usually are valid: a call that was allowed when it began may
    /// take that time.
    pub const DEFAULT_EXPIRED_TOKEN_GRACE: Duration = Duration::from_secs(60 * 60);

    /// 1,024 notifications and 1 MiB of them: a call that sends many, and a client that is away for
    /// a minute.
    pub const DEFAULT_REPLAY_BUFFER: (usize, usize) = (1_024, 1 << 20);

    /// 4 MiB in one session: four full streams, or many that are not full.
    pub const DEFAULT_REPLAY_BYTES_PER_SESSION: usize = 4 << 20;

    /// 256 MiB for all sessions: sixty-four at their limit, or 26 KB for each of ten thousand.
    pub const DEFAULT_MAX_REPLAY_BYTES: usize = Policy::DEFAULT_KEPT_BYTES;

    /// 128 finished streams, as many as calls in flight, for a minute each: by then a client that
    /// lost its connection has reconnected, or has opened a new session.
    pub const DEFAULT_KEEP_FINISHED: (usize, Duration) = (128, Duration::from_secs(60));

    /// Returns the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            response_mode: ResponseMode::Auto,
            stream_after: Self::DEFAULT_STREAM_AFTER,
            keep_alive: Some(Self::DEFAULT_KEEP_ALIVE),
            retry_interval: Some(Self::DEFAULT_RETRY_INTERVAL),
            resumable: true,
            reject_second_stream: false,
            reject_duplicate_ids: false,
            slow_reader_timeout: Self::DEFAULT_SLOW_READER_TIMEOUT,
            write_timeout: Some(Self::DEFAULT_WRITE_TIMEOUT),
            expired_token_grace: Self::DEFAULT_EXPIRED_TOKEN_GRACE,
            kept_events: Self::DEFAULT_REPLAY_BUFFER.0,
            kept_bytes: Self::DEFAULT_REPLAY_BUFFER.1,
            kept_bytes_per_session: Self::DEFAULT_REPLAY_BYTES_PER_SESSION,
            kept_bytes_in_all: Self::DEFAULT_MAX_REPLAY_BYTES,
            finished: Self::DEFAULT_KEEP_FINISHED.0,
            finished_for: Self::DEFAULT_KEEP_FINISHED.1,
        }
    }

    /// The form of responses. Default [`ResponseMode::Auto`].
    #[must_use]
    pub fn response_mode(mut self, mode: ResponseMode) -> Self {
        self.response_mode = mode;
        self
    }

    /// How long a call may send nothing before its response becomes a stream, in
    /// [`ResponseMode::Auto`]. Longer than zero, default [`Streams::DEFAULT_STREAM_AFTER`].
    #[must_use]
    pub fn stream_after(mut self, silence: Duration) -> Self {
        self.stream_after = silence;
        self
    }

    /// How often a quiet stream sends a comment, so that proxies keep it open and dead peers are
    /// detected. `None` or zero: never. Default [`Streams::DEFAULT_KEEP_ALIVE`].
    #[must_use]
    pub fn keep_alive(mut self, every: impl Into<Option<Duration>>) -> Self {
        self.keep_alive = every.into().filter(|every| !every.is_zero());
        self
    }

    /// The `retry` hint that ends a stream which the server closes and the client can resume. It
    /// does not apply if the connection breaks: then the client chooses its delay. With `None` the
    /// client always chooses. Default [`Streams::DEFAULT_RETRY_INTERVAL`].
    #[must_use]
    pub fn retry_interval(mut self, retry: impl Into<Option<Duration>>) -> Self {
        self.retry_interval = retry.into();
        self
    }

    /// Whether events have ids with which a client can resume. Default: yes, because connections
    /// drop. If off, nothing is buffered for a client that reconnects, and `Last-Event-ID` is
    /// rejected (400).
    #[must_use]
    pub fn resumable(mut self, resumable: bool) -> Self {
        self.resumable = resumable;
        self
    }

    /// Rejects a second GET stream of a session while the first is open (409). Otherwise the newest
    /// stream replaces the other. Default: no, so that a client with a half-dead connection is
    /// never locked out of its own session. Without principals, anyone who has the session id can
    /// take over its GET stream: see [the advisories](crate::guide::advisories).
    #[must_use]
    pub fn reject_second_stream(mut self, reject: bool) -> Self {
        self.reject_second_stream = reject;
        self
    }

    /// Rejects a request whose id is in flight in the same session (400). Otherwise both are
    /// served. Default: no, so that a client that repeats a call after a broken connection is
    /// served.
    #[must_use]
    pub fn reject_duplicate_ids(mut self, reject: bool) -> Self {
        self.reject_duplicate_ids = reject;
        self
    }

    /// How long a streaming call waits for a slow reader, in total. After that the reader is
    /// disconnected; it may resume from the replay buffer. Longer than zero, default
    /// [`Streams::DEFAULT_SLOW_READER_TIMEOUT`].
    #[must_use]
    pub fn slow_reader_timeout(mut self, after: Duration) -> Self {
        self.slow_reader_timeout = after;
        self
    }

    /// How long a connection may refuse to take data that is ready to send: of a stream, or of a
    /// JSON response over 16 KiB. Then the response is cut off and its buffer is dropped. An HTTP/2
    /// stream is reset as soon as its window opens, an HTTP/1 connection ends, and the client
    /// counts as disconnected.
    ///
    /// This bounds every listener, including TLS and HTTP/2 with closed windows. An HTTP/2 stream
    /// whose window never opens keeps one piece of at most 32 KiB in the connection until the
    /// client resets the stream or the connection ends. Over HTTP/1,
    /// [`McpListener`](crate::McpListener) also ends the connection of a client that stays away. A
    /// stream with nothing to send is not limited.
    ///
    /// A response that always has data ready must move at least 2 KiB a second, measured over twice
    /// this time. A slow mobile connection carries more. So a client that takes a piece now and
    /// then cannot hold a large response for hours. The total of all responses is bounded by
    /// [`Limits::max_unread_response_bytes`](super::Limits::max_unread_response_bytes).
    ///
    /// Longer than zero; `None`: no limit. Default [`Streams::DEFAULT_WRITE_TIMEOUT`].
    #[must_use]
    pub fn write_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.write_timeout = timeout.into();
        self
    }

    /// How long a streamed call goes on after the access token of its request has expired, if its
    /// client cannot continue it elsewhere: a call of 2026-07-28, of stateless mode, or of a
    /// revision before 2025-11-25. Then its response is cut, which cancels a call of 2026-07-28.
    /// Default [`Streams::DEFAULT_EXPIRED_TOKEN_GRACE`]; zero cuts it at once.
    ///
    /// Other streams end when the token expires: those of a session with a `retry` hint, and
    /// subscription streams with their result. Their clients come back with a fresh token and miss
    /// nothing of a session. The requests need an [`AccessToken`](crate::AccessToken) in their
    /// extensions.
    #[must_use]
    pub fn expired_token_grace(mut self, grace: Duration) -> Self {
        self.expired_token_grace = grace;
        self
    }

    /// The replay buffer of one stream: how many notifications, and how many bytes of them, it
    /// keeps for a reader that is disconnected or slow. The oldest are dropped first, and the
    /// client is notified. Responses and requests to the client do not count and are always kept.
    /// At least 1 each, default [`Streams::DEFAULT_REPLAY_BUFFER`].
    #[must_use]
    pub fn replay_buffer(mut self, events: usize, bytes: usize) -> Self {
        (self.kept_events, self.kept_bytes) = (events, bytes);
        self
    }

    /// How many bytes all streams of one session keep together. Events that the client has received
    /// are dropped first, a response that it has not received last. Such responses may exceed this
    /// by [`Limits::max_response_bytes`](super::Limits::max_response_bytes) bytes together. At least 1, default
    /// [`Streams::DEFAULT_REPLAY_BYTES_PER_SESSION`].
    #[must_use]
    pub fn replay_bytes_per_session(mut self, bytes: usize) -> Self {
        self.kept_bytes_per_session = bytes;
        self
    }

    /// How many bytes the streams of all sessions keep together. Beyond it the principal or address
    /// whose sessions keep most drops events, from its largest session first; a session with
    /// neither counts by itself. First go events that clients received, then notifications, then
    /// responses that no client has fetched. The last are counted
    /// ([`Statistics::answers_lost`](crate::Statistics::answers_lost)). Streams that a client is
    /// reading stay. If nothing can be dropped, new notifications are dropped, and a response of
    /// more than 1 KiB becomes -32603 (status 500 if nothing was sent).
    ///
    /// The memory and file engines enforce this exactly. Redis enforces it for all nodes together,
    /// considering 64 sessions each time, at most 48 of one client. At least 1, default
    /// [`Streams::DEFAULT_MAX_REPLAY_BYTES`].
    #[must_use]
    pub fn max_replay_bytes(mut self, bytes: usize) -> Self {
        self.kept_bytes_in_all = bytes;
        self
    }

    /// How many finished streams a session keeps for a client that reconnects, and for how long.
    /// The server cannot know whether a client read the end of a stream. At least 1 stream, default
    /// [`Streams::DEFAULT_KEEP_FINISHED`].
    #[must_use]
    pub fn keep_finished(mut self, streams: usize, retention: Duration) -> Self {
        (self.finished, self.finished_for) = (streams, retention);
        self
    }

    /// The two bounds of [`Streams::replay_buffer`].
    pub(crate) fn bounds(&self) -> (usize, usize) {
        (self.kept_events, self.kept_bytes)
    }

    pub(super) fn check(&self, error: &mut ConfigError) {
        positive(error, "Streams::stream_after", self.stream_after);
        positive(error, "Streams::slow_reader_timeout", self.slow_reader_timeout);
        positive_if_set(error, "Streams::write_timeout", self.write_timeout);
        at_least_one(error, "Streams::replay_buffer", self.kept_events);
        at_least_one(error, "Streams::replay_buffer", self.kept_bytes);
        at_least_one(error, "Streams::replay_bytes_per_session", self.kept_bytes_per_session);
        at_least_one(error, "Streams::max_replay_bytes", self.kept_bytes_in_all);
        at_least_one(error, "Streams::keep_finished", self.finished);
    }

    pub(super) fn apply(&self, policy: &mut Policy) {
        policy.stream_events = self.kept_events;
        policy.stream_bytes = self.kept_bytes;
        policy.session_bytes = self.kept_bytes_per_session;
        policy.kept_bytes = self.kept_bytes_in_all;
        policy.finished_streams = self.finished;
        // Without resumption, a finished stream waits for its own response only.
        policy.finished_for = if self.resumable { self.finished_for } else { Duration::from_secs(1) };
    }
}

impl Default for Streams {
    fn default() -> Self {
        Self::new()
    }
}
