//! Limits: what a service allows at the same time, as rejections name it.

/// The limit that rejected a request, see [`Rejection::LimitReached`](super::Rejection::LimitReached).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// Sessions of the service; none of them is idle.
    Sessions,
    /// Sessions of the principal; none of them is idle.
    SessionsOfPrincipal,
    /// Sessions from the client's address; none of them is idle.
    SessionsOfPeer,
    /// Calls in flight in the session.
    Calls,
    /// Calls in flight of the principal.
    CallsOfPrincipal,
    /// Calls in flight from the client's address, without a session.
    CallsOfPeer,
    /// Calls in flight in the service, without a session.
    CallsWithoutSession,
    /// Open streams in the session.
    Streams,
    /// Open subscription streams of the service (2026-07-28).
    ListenStreams,
    /// Open subscription streams of the principal (2026-07-28).
    ListenStreamsOfPrincipal,
    /// Open subscription streams from the client's address (2026-07-28).
    ListenStreamsOfPeer,
}

/// The facts about one limit.
pub(super) struct Row {
    /// The name for counters and logs.
    pub(super) kind: &'static str,
    /// 429 if the client itself can free capacity, 503 if only other clients can.
    pub(super) status: u16,
    pub(super) what: &'static str,
    pub(super) setting: &'static str,
}

impl Limit {
    /// Returns the setting of the limit, such as `Sessions::max_sessions`.
    #[must_use]
    pub fn setting(self) -> &'static str {
        self.row().setting
    }

    #[rustfmt::skip]
    pub(super) fn row(self) -> Row {
        let row = |kind, status, what, setting| Row { kind, status, what, setting };
        match self {
            Self::Sessions => row("too_many_sessions", 503, "sessions", "Sessions::max_sessions"),
            Self::SessionsOfPrincipal => row("too_many_sessions_of_principal", 503, "sessions of this principal", "Sessions::max_sessions_per_principal"),
            Self::SessionsOfPeer => row("too_many_sessions_of_peer", 503, "sessions from this address", "Sessions::max_sessions_per_peer"),
            Self::Calls => row("too_many_calls", 429, "calls in flight in this session", "Limits::max_calls_per_session"),
            Self::CallsOfPrincipal => row("too_many_calls_of_principal", 429, "calls in flight of this principal", "Limits::max_calls_per_principal"),
            Self::CallsOfPeer => row("too_many_calls_of_peer", 429, "calls in flight from this address", "Limits::max_calls_per_peer"),
            Self::CallsWithoutSession => row("too_many_calls_without_session", 503, "calls in flight without a session", "Limits::max_calls_without_session"),
            Self::Streams => row("too_many_streams", 429, "open streams in this session", "Limits::max_streams_per_session"),
            Self::ListenStreams => row("too_many_listens", 429, "subscription streams", "Limits::max_listen_streams"),
            Self::ListenStreamsOfPrincipal => row("too_many_listens_of_principal", 429, "subscription streams of this principal", "Limits::max_listen_streams_per_principal"),
            Self::ListenStreamsOfPeer => row("too_many_listens_of_peer", 429, "subscription streams from this address", "Limits::max_listen_streams_per_peer"),
        }
    }
}
