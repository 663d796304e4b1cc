//! Settings for responses and streams: form, keep-alive, timeouts, replay buffers.

use std::time::Duration;

use super::group::settings;
use super::{anything, at_least_one, positive, positive_if_set};
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

settings! {
    /// How responses are sent, and how long they wait for a client that disconnected. Pass this to
    /// [`McpServiceBuilder::streams`](crate::McpServiceBuilder::streams).
    #[derive(Debug, Clone)]
    pub struct Streams {
        /// The form of responses. Default [`ResponseMode::Auto`].
        response_mode: value ResponseMode = ResponseMode::Auto, anything;

        /// How long a call may send nothing before its response becomes a stream, in
        /// [`ResponseMode::Auto`]. Longer than zero, default [`Streams::DEFAULT_STREAM_AFTER`].
        stream_after: value Duration = Self::DEFAULT_STREAM_AFTER, positive;

        /// The `retry` hint that ends a stream which the server closes and the client can resume. It
        /// does not apply if the connection breaks: then the client chooses its delay. With `None` the
        /// client always chooses. Default [`Streams::DEFAULT_RETRY_INTERVAL`].
        retry_interval: option Duration = Some(Self::DEFAULT_RETRY_INTERVAL), anything;

        /// Whether events have ids with which a client can resume. Default: yes, because connections
        /// drop. If off, nothing is buffered for a client that reconnects, and `Last-Event-ID` is
        /// rejected (400).
        resumable: value bool = true, anything;

        /// Rejects a second GET stream of a session while the first is open (409). Otherwise the newest
        /// stream replaces the other. Default: no, so that a client with a half-dead connection is
        /// never locked out of its own session. Without principals, anyone who has the session id can
        /// take over its GET stream: see [the advisories](crate::guide::advisories).
        reject_second_stream: value bool = false, anything;

        /// Rejects a request whose id is in flight in the same session (400). Otherwise both are
        /// served. Default: no, so that a client that repeats a call after a broken connection is
        /// served.
        reject_duplicate_ids: value bool = false, anything;

        /// How long a streaming call waits for a slow reader, in total. After that the reader is
        /// disconnected; it may resume from the replay buffer. Longer than zero, default
        /// [`Streams::DEFAULT_SLOW_READER_TIMEOUT`].
        slow_reader_timeout: value Duration = Self::DEFAULT_SLOW_READER_TIMEOUT, positive;

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
        write_timeout: option Duration = Some(Self::DEFAULT_WRITE_TIMEOUT), positive_if_set;

        /// How long a streamed call goes on after the access token of its request has expired, if its
        /// client cannot continue it elsewhere: a call of 2026-07-28, of stateless mode, or of a
        /// revision before 2025-11-25. Then its response is cut, which cancels a call of 2026-07-28.
        /// Default [`Streams::DEFAULT_EXPIRED_TOKEN_GRACE`]; zero cuts it at once.
        ///
        /// Other streams end when the token expires: those of a session with a `retry` hint, and
        /// subscription streams with their result. Their clients come back with a fresh token and miss
        /// nothing of a session. The requests need an [`AccessToken`](crate::AccessToken) in their
        /// extensions.
        expired_token_grace: value Duration = Self::DEFAULT_EXPIRED_TOKEN_GRACE, anything;

        /// How many bytes all streams of one session keep together. Events that the client has received
        /// are dropped first, a response that it has not received last. Such responses may exceed this
        /// by [`Limits::max_response_bytes`](super::Limits::max_response_bytes) bytes together. At least 1, default
        /// [`Streams::DEFAULT_REPLAY_BYTES_PER_SESSION`].
        replay_bytes_per_session: value usize = Self::DEFAULT_REPLAY_BYTES_PER_SESSION, at_least_one;

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
        max_replay_bytes: value usize = Self::DEFAULT_MAX_REPLAY_BYTES, at_least_one;
    }
    other {
        keep_alive: Option<Duration> = Some(Self::DEFAULT_KEEP_ALIVE);
        kept_events: usize = Self::DEFAULT_REPLAY_BUFFER.0;
        kept_bytes: usize = Self::DEFAULT_REPLAY_BUFFER.1;
        finished: usize = Self::DEFAULT_KEEP_FINISHED.0;
        finished_for: Duration = Self::DEFAULT_KEEP_FINISHED.1;
    }
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

    /// How often a quiet stream sends a comment, so that proxies keep it open and dead peers are
    /// detected. `None` or zero: never. Default [`Streams::DEFAULT_KEEP_ALIVE`].
    #[must_use]
    pub fn keep_alive(mut self, every: impl Into<Option<Duration>>) -> Self {
        self.keep_alive = every.into().filter(|every| !every.is_zero());
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
        self.check_each(error);
        at_least_one(error, "Streams::replay_buffer", self.kept_events);
        at_least_one(error, "Streams::replay_buffer", self.kept_bytes);
        at_least_one(error, "Streams::keep_finished", self.finished);
    }

    pub(super) fn apply(&self, policy: &mut Policy) {
        policy.stream_events = self.kept_events;
        policy.stream_bytes = self.kept_bytes;
        policy.session_bytes = self.replay_bytes_per_session;
        policy.kept_bytes = self.max_replay_bytes;
        policy.finished_streams = self.finished;
        // Without resumption, a finished stream waits for its own response only.
        policy.finished_for = if self.resumable { self.finished_for } else { Duration::from_secs(1) };
    }
}
