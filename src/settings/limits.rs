//! Settings for how much clients may use at the same time.

use std::time::Duration;

use super::group::settings;
use super::{anything, at_least_one, at_least_one_if_set, positive};
use crate::error::ConfigError;
use crate::message;
use crate::server::change::SUBSCRIPTION_URI;
use crate::server::client_request::{CLIENT_REQUEST, SAMPLING_REQUEST};
use crate::store::Policy;

settings! {
    /// How much clients may use at the same time. Pass this to
    /// [`McpServiceBuilder::limits`](crate::McpServiceBuilder::limits).
    ///
    /// Each limit is at least 1, each duration longer than zero. Limits per principal need a
    /// [`Principal`](crate::Principal): without an authentication layer only the other limits apply.
    /// The run time of handlers is not limited here, because only the handler knows how long it needs:
    /// use [`tokio::time::timeout()`].
    #[derive(Debug, Clone)]
    pub struct Limits {
        /// The largest body of a POST, in bytes (413 beyond). Default [`Limits::DEFAULT_MAX_BODY_BYTES`].
        max_body_bytes: value usize = Self::DEFAULT_MAX_BODY_BYTES, at_least_one;

        /// The bytes that the bodies of all requests in flight hold together, for all clients (503
        /// beyond). A body counts from its arrival until its call has ended. Bodies of up to 16 KiB are
        /// not counted and always read. Calls that became tasks hold a quarter at most. One principal,
        /// or one address of clients without a principal, holds half at most (or one body of the
        /// largest size). At least [`Limits::max_body_bytes`], default [`Limits::DEFAULT_MAX_TOTAL_BODY_BYTES`].
        ///
        /// The arguments that a handler parses from a body are not included; they take about as much
        /// again.
        max_total_body_bytes: value usize = Self::DEFAULT_MAX_TOTAL_BODY_BYTES, anything;

        /// How long it may take to receive a whole body (408 beyond). Default
        /// [`Limits::DEFAULT_BODY_TIMEOUT`].
        body_timeout: value Duration = Self::DEFAULT_BODY_TIMEOUT, positive;

        /// The largest response of a handler in bytes of JSON, result or error, in both eras and in
        /// each [`ResponseMode`](crate::ResponseMode). A larger one is replaced by -32603 with a text
        /// that names the limit: with status 500 if nothing was sent yet, otherwise in the stream. It
        /// is counted ([`Statistics::answers_refused`](crate::Statistics::answers_refused)) and logged.
        /// A session may keep this much beyond
        /// [`Streams::replay_bytes_per_session`](crate::Streams::replay_bytes_per_session) for responses that its
        /// client has not fetched. At least 1, default [`Limits::DEFAULT_MAX_RESPONSE_BYTES`].
        max_response_bytes: value usize = Self::DEFAULT_MAX_RESPONSE_BYTES, at_least_one;

        /// The bytes that responses hold for clients that have not read them, of all clients together.
        /// It counts JSON responses, and data that streams have ready, of more than 16 KiB each. Replay
        /// buffers of sessions are counted by [`Streams::max_replay_bytes`](crate::Streams::max_replay_bytes)
        /// instead.
        ///
        /// Above the limit the client that holds most (a principal, or an address of clients without
        /// one) loses the response that has waited longest. That is counted in
        /// [`Statistics::slow_readers`](crate::Statistics::slow_readers). A new JSON response of this
        /// client is rejected instead, unless one of its responses has waited for five seconds. It
        /// becomes -32603 with status 500
        /// ([`Statistics::answers_refused`](crate::Statistics::answers_refused)). At least
        /// [`Limits::max_response_bytes`], default [`Limits::DEFAULT_MAX_UNREAD_RESPONSE_BYTES`].
        max_unread_response_bytes: value usize = Self::DEFAULT_MAX_UNREAD_RESPONSE_BYTES, anything;

        /// The most calls in flight in one session (429 beyond). Default [`Limits::DEFAULT_MAX_CALLS_PER_SESSION`].
        max_calls_per_session: value usize = Self::DEFAULT_MAX_CALLS_PER_SESSION, at_least_one;

        /// The most calls in flight of one principal, in all its sessions and outside of them (429
        /// beyond). Default [`Limits::DEFAULT_MAX_CALLS_PER_PRINCIPAL`].
        max_calls_per_principal: value usize = Self::DEFAULT_MAX_CALLS_PER_PRINCIPAL, at_least_one;

        /// The most calls in flight at this service that belong to no session, of all clients together
        /// (503 beyond). These are calls of 2026-07-28, calls in
        /// [stateless mode](crate::Sessions::stateless), and each `initialize` until it has a session.
        /// At least 1, default [`Limits::DEFAULT_MAX_CALLS_WITHOUT_SESSION`].
        max_calls_without_session: value usize = Self::DEFAULT_MAX_CALLS_WITHOUT_SESSION, at_least_one;

        /// The most calls of [`Limits::max_calls_without_session`] that come from one [`Peer`](crate::Peer)
        /// and have no principal (429 beyond). It applies if the connection's address is known, see
        /// [`Sessions::max_sessions_per_peer`](crate::Sessions::max_sessions_per_peer). At least 1; `None`: no limit per
        /// peer. Default [`Limits::DEFAULT_MAX_CALLS_PER_PEER`].
        max_calls_per_peer: option usize = Some(Self::DEFAULT_MAX_CALLS_PER_PEER), at_least_one_if_set;

        /// The most open streams in one session (429 beyond). Default [`Limits::DEFAULT_MAX_STREAMS_PER_SESSION`].
        max_streams_per_session: value usize = Self::DEFAULT_MAX_STREAMS_PER_SESSION, at_least_one;

        /// The most open subscription streams of 2026-07-28, of all clients together (429 beyond). They
        /// do not count as calls. Default [`Limits::DEFAULT_MAX_LISTEN_STREAMS`].
        max_listen_streams: value usize = Self::DEFAULT_MAX_LISTEN_STREAMS, at_least_one;

        /// The most open subscription streams of one principal (429 beyond). Default
        /// [`Limits::DEFAULT_MAX_LISTEN_STREAMS_PER_PRINCIPAL`].
        max_listen_streams_per_principal: value usize = Self::DEFAULT_MAX_LISTEN_STREAMS_PER_PRINCIPAL, at_least_one;

        /// The most open subscription streams from one [`Peer`](crate::Peer) without a principal (429
        /// beyond). At least 1; `None`: no limit per peer. Default
        /// [`Limits::DEFAULT_MAX_LISTEN_STREAMS_PER_PEER`].
        max_listen_streams_per_peer: option usize = Some(Self::DEFAULT_MAX_LISTEN_STREAMS_PER_PEER), at_least_one_if_set;
    }
    other {}
}

impl Limits {
    /// 4 MiB, the figure of the official SDKs.
    pub const DEFAULT_MAX_BODY_BYTES: usize = 4 << 20;

    /// 256 MiB of bodies in flight: 64 of the largest, or 16,000 of 16 KiB.
    pub const DEFAULT_MAX_TOTAL_BODY_BYTES: usize = 256 << 20;

    /// Thirty seconds for a whole body: 4 MiB over a slow mobile connection.
    pub const DEFAULT_BODY_TIMEOUT: Duration = Duration::from_secs(30);

    /// 16 MiB: four times the largest request body, or an image or archive of 12 MB in Base64. For
    /// anything larger return a resource link.
    pub const DEFAULT_MAX_RESPONSE_BYTES: usize = 16 << 20;

    /// 256 MiB of responses that clients have not read, as for bodies in flight: sixteen of the
    /// largest, or 16,000 of 16 KiB.
    pub const DEFAULT_MAX_UNREAD_RESPONSE_BYTES: usize = 256 << 20;

    /// 128 calls in flight in one session: more than any agent fans out to.
    pub const DEFAULT_MAX_CALLS_PER_SESSION: usize = 128;

    /// 1,024 calls in flight of one principal: eight sessions at their limit.
    pub const DEFAULT_MAX_CALLS_PER_PRINCIPAL: usize = 1_024;

    /// 10,000 calls in flight without a session, as many as there may be sessions. If each client
    /// makes one call at a time, both eras serve the same number of clients.
    pub const DEFAULT_MAX_CALLS_WITHOUT_SESSION: usize = 10_000;

    /// Half of the calls without a session: one address cannot take all of them. An office behind
    /// one address, or a proxy that is not trusted, may still have thousands.
    pub const DEFAULT_MAX_CALLS_PER_PEER: usize = 5_000;

    /// 256 open streams in one session: one for each call, and as many again that are resumed.
    pub const DEFAULT_MAX_STREAMS_PER_SESSION: usize = 256;

    /// 10,000 subscription streams, as many as sessions: a client that waits for notifications has
    /// one.
    pub const DEFAULT_MAX_LISTEN_STREAMS: usize = 10_000;

    /// 1,000 subscription streams of one principal, as many as sessions.
    pub const DEFAULT_MAX_LISTEN_STREAMS_PER_PRINCIPAL: usize = 1_000;

    /// Half of all subscription streams, as for calls.
    pub const DEFAULT_MAX_LISTEN_STREAMS_PER_PEER: usize = 5_000;

    /// The most resources that one subscription stream may name (-32602 beyond): more than a client
    /// shows at a time. A client that follows more opens another stream.
    pub const MAX_LISTEN_RESOURCES: usize = 1_000;

    /// The most bytes of the resource list of one subscription stream, as JSON (-32602 beyond). It
    /// is kept as long as the stream is open. 256 KiB hold 1,000 URIs of 250 characters.
    pub const MAX_LISTEN_BYTES: usize = 256 << 10;

    /// The most resources one session may subscribe to (-32602 beyond), as many as one subscription
    /// stream may name.
    pub const MAX_SUBSCRIPTIONS: usize = 1_000;

    /// The most bytes of the URIs of a session's subscriptions, as a list in JSON (-32602 beyond).
    /// The list is stored in the engine and on each node that uses the session, and rewritten with
    /// every change. 256 KiB, as for one subscription stream, hold 1,000 URIs of 250 characters.
    pub const MAX_SUBSCRIPTION_BYTES: usize = 256 << 10;

    /// The longest URI a session may subscribe to, in bytes (-32602 beyond): 8,000, which RFC 9110,
    /// 4.1 recommends every recipient to support. A template can match a URI of any length.
    pub const MAX_SUBSCRIPTION_URI_BYTES: usize = SUBSCRIPTION_URI;

    /// The longest request id, in bytes of JSON without a string's quotes (400, -32600 beyond). An
    /// id is kept while its call is in flight, and is echoed. A UUID has 36 bytes, ids that carry a
    /// trace some hundreds.
    pub const MAX_REQUEST_ID_BYTES: usize = message::REQUEST_ID;

    /// The longest progress token, measured like an id (400, -32602 beyond). It is repeated in each
    /// progress notification and kept with it: 1,024 buffered events of a call hold at most 256 KiB
    /// of tokens.
    pub const MAX_PROGRESS_TOKEN_BYTES: usize = message::PROGRESS_TOKEN;

    /// The most bytes of JSON in `clientInfo`, in `initialize` or in the `_meta` of a request of
    /// 2026-07-28 (400, -32602 beyond). A session keeps it until it ends. Released clients send
    /// some hundred bytes.
    pub const MAX_CLIENT_INFO_BYTES: usize = message::CLIENT_INFO;

    /// The most bytes of JSON in the capabilities of a client, with the same rejection. With 10,000
    /// sessions `clientInfo` and capabilities take at most 240 MiB.
    pub const MAX_CAPABILITIES_BYTES: usize = message::CAPABILITIES;

    /// The most bytes of JSON in the parameters of `initialize` (400, -32602 beyond). A custom
    /// server may keep all of them for the session's life, as rmcp does.
    pub const MAX_INITIALIZE_BYTES: usize = message::INITIALIZE;

    /// The most bytes that the values of a body take together (413 beyond). It is an estimate: 64
    /// bytes for each value, 128 more for each array and 640 more for each object. Handlers that
    /// deserialize `serde_json::Value`, and rmcp, hold this much beside the body.
    ///
    /// It is sixteen times the default of [`Limits::max_body_bytes`]; if that is set larger, it is sixteen
    /// times the setting. Tables of objects or numbers take less. Bodies under 95 KB are not
    /// checked.
    pub const VALUES: usize = message::VALUES;

    /// The longest method of a message, in bytes (400, -32600 beyond).
    pub const MAX_METHOD_BYTES: usize = message::METHOD;

    /// The most bytes of JSON in the parameters of `sampling/createMessage`
    /// ([`ClientError::TooLarge`](crate::server::ClientError::TooLarge) beyond). Its messages carry
    /// images. It equals the default replay buffer of one stream.
    pub const MAX_SAMPLING_REQUEST_BYTES: usize = SAMPLING_REQUEST;

    /// The most bytes of JSON in the parameters of any other request to a client
    /// ([`ClientError::TooLarge`](crate::server::ClientError::TooLarge) beyond). A person reads
    /// them, and they are kept until the client has answered.
    pub const MAX_CLIENT_REQUEST_BYTES: usize = CLIENT_REQUEST;

    pub(super) fn check(&self, error: &mut ConfigError) {
        self.check_each(error);
        if self.max_total_body_bytes < self.max_body_bytes {
            let (bodies, body) = (self.max_total_body_bytes, self.max_body_bytes);
            let why = "a body of that size could never be read";
            error.report(
                "Limits::max_total_body_bytes",
                format!("{bodies} must be at least `Limits::max_body_bytes`, {body}: {why}"),
            );
        }
        if self.max_unread_response_bytes < self.max_response_bytes {
            let (unread, answer) = (self.max_unread_response_bytes, self.max_response_bytes);
            let why = "an answer of that size could never be sent";
            error.report(
                "Limits::max_unread_response_bytes",
                format!("{unread} must be at least `Limits::max_response_bytes`, {answer}: {why}"),
            );
        }
    }

    pub(super) fn apply(&self, policy: &mut Policy) {
        policy.answer_bytes = self.max_response_bytes;
        policy.max_calls = self.max_calls_per_session;
        policy.max_calls_per_principal = self.max_calls_per_principal;
        policy.max_streams = self.max_streams_per_session;
    }
}
