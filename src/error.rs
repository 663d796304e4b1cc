//! Errors: rejections of requests, invalid settings, and failures of a session engine.

mod config;
mod limit;
mod store;
mod table;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use http::StatusCode;
use serde_json::json;

pub use self::config::ConfigError;
pub use self::limit::Limit;
pub(crate) use self::store::if_found;
pub use self::store::{StoreError, StoreErrorKind};
use self::table::sessions_only;
use crate::message::{ErrorObject, Malformed, ProtocolVersion, RawJson, RequestId};

/// Why a request was rejected before a handler saw it.
///
/// The response has the status of the rejection, a JSON-RPC error, and the id of the request if it
/// is known. The rejection is also stored in the response's extensions, for layers that log or
/// count. The [rejection hook](crate::McpServiceBuilder::on_rejection) receives it too.
///
/// The text sent to the client is fixed. It says what the client's developer or the operator must
/// change. Details that only the operator may see are logged. [The guide](crate::guide::refusals)
/// lists the status and the code of each rejection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// The `Host` is not among the allowed ones (protection against DNS rebinding).
    HostNotAllowed,
    /// The `Origin` is not among the allowed ones.
    OriginNotAllowed,
    /// The HTTP method is not served at this endpoint.
    MethodNotAllowed {
        /// The value of `Allow`.
        allow: &'static str,
    },
    /// The client accepts none of the possible media types of the response.
    NotAcceptable {
        /// The media types that the client must accept.
        needs: &'static str,
    },
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// The body is compressed, or encoded in another way (`Content-Encoding`).
    EncodedBody,
    /// A header that may occur at most once occurs several times.
    DuplicateHeader(&'static str),
    /// A header's value cannot be read.
    InvalidHeader(&'static str),
    /// The body is larger than the limit.
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body has too many values for its size: parsed, they would take too much memory.
    BodyTooComplex {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body did not arrive in time.
    BodyTimeout,
    /// The body broke off before its end.
    BodyIncomplete,
    /// The body is not JSON, or is nested too deep.
    NotJson,
    /// The bodies of all requests in flight hold as many bytes as they may (`Limits::max_total_body_bytes`).
    TooManyBodies {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body is JSON, but not a JSON-RPC message.
    NotAMessage(&'static str),
    /// The protocol revision has no batches.
    BatchNotServed,
    /// `initialize` is part of a batch.
    InitializeInBatch,
    /// The protocol version is unknown or switched off.
    UnsupportedVersion {
        /// The revision that the client requested, truncated.
        requested: String,
        /// The revisions that are served.
        supported: Vec<ProtocolVersion>,
    },
    /// A header of 2026-07-28 is missing, cannot be read, or does not repeat the body.
    HeaderMismatch {
        /// The header.
        header: Cow<'static, str>,
        /// What is wrong with it. If two values differ: both, truncated and escaped.
        why: Cow<'static, str>,
    },
    /// The `_meta` of a 2026-07-28 request lacks a required member, or one of its members is
    /// invalid or too long.
    InvalidMeta(&'static str),
    /// A parameter that the transport itself reads is invalid or too long.
    InvalidParams(&'static str),
    /// The method does not exist in this revision (2026-07-28; for the session revisions the same
    /// error has status 200).
    MethodNotFound {
        /// The method, truncated.
        method: String,
    },
    /// The request needs a capability that the client did not declare (2026-07-28).
    MissingCapability {
        /// The error's data: `requiredCapabilities`.
        data: Option<RawJson>,
    },
    /// The operation needs scopes that the access token of the request does not have.
    InsufficientScope {
        /// All scopes of the operation, granted or not.
        scopes: Vec<String>,
    },
    /// A limit of the service, the session, the principal or the client's address is reached.
    LimitReached {
        /// The limit.
        limit: Limit,
        /// Its value.
        max: usize,
    },
    /// The request needs a session but names none.
    SessionRequired,
    /// The session does not exist, has ended, or belongs to another principal.
    SessionNotFound,
    /// A second `initialize` arrived for a live session.
    AlreadyInitialized,
    /// A call with the same id is in flight (if duplicates are rejected).
    DuplicateId,
    /// Another connection reads the standalone stream of the session (if a second one is rejected).
    StreamTaken,
    /// `Last-Event-ID` names no event of this session.
    UnknownEvent,
    /// `Last-Event-ID` names a stream whose events are no longer kept.
    EventsExpired,
    /// The request has a `Last-Event-ID`, but this service does not resume streams.
    NotResumable,
    /// The session ended while the request was in flight.
    SessionEnded,
    /// The handler answered, but the answer is larger than the limit.
    AnswerTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The handler answered, but the engine had no capacity to keep the answer in its stream.
    AnswerNotKept,
    /// The handler answered, but answers that clients have not read hold as many bytes as they may
    /// (`Limits::max_unread_response_bytes`).
    TooManyAnswersUnread {
        /// The limit in bytes.
        limit: usize,
    },
    /// The service is draining: it takes no new sessions and no new calls.
    Draining,
    /// The session engine cannot be reached.
    EngineUnavailable,
    /// The handler failed. The reason is logged, and the client does not see it.
    Internal,
}

impl Rejection {
    /// Returns the rejection of an unknown method. The name is truncated.
    pub(crate) fn method_not_found(method: &str) -> Self {
        /// Longer than the name of any real method.
        const MAX_SHOWN: usize = 160;
        Self::MethodNotFound { method: method.chars().take(MAX_SHOWN).collect() }
    }

    /// Returns the status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.row().0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Returns a short name for counters and logs, one for each kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::HostNotAllowed => "host_not_allowed",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::NotAcceptable { .. } => "not_acceptable",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::EncodedBody => "encoded_body",
            Self::DuplicateHeader(_) => "duplicate_header",
            Self::InvalidHeader(_) => "invalid_header",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::BodyTooComplex { .. } => "body_too_complex",
            Self::BodyTimeout => "body_timeout",
            Self::BodyIncomplete => "body_incomplete",
            Self::TooManyBodies { .. } => "too_many_bodies",
            Self::NotJson => "not_json",
            Self::NotAMessage(_) => "not_a_message",
            Self::BatchNotServed => "batch_not_served",
            Self::InitializeInBatch => "initialize_in_batch",
            Self::UnsupportedVersion { .. } => "unsupported_version",
            Self::HeaderMismatch { .. } => "header_mismatch",
            Self::InvalidMeta(_) => "invalid_meta",
            Self::InvalidParams(_) => "invalid_params",
            Self::MethodNotFound { .. } => "method_not_found",
            Self::MissingCapability { .. } => "missing_capability",
            Self::InsufficientScope { .. } => "insufficient_scope",
            Self::LimitReached { limit, .. } => limit.row().kind,
            Self::SessionRequired => "session_required",
            Self::SessionNotFound => "session_not_found",
            Self::AlreadyInitialized => "already_initialized",
            Self::DuplicateId => "duplicate_id",
            Self::StreamTaken => "stream_taken",
            Self::UnknownEvent => "unknown_event",
            Self::EventsExpired => "events_expired",
            Self::NotResumable => "not_resumable",
            Self::SessionEnded => "session_ended",
            Self::AnswerTooLarge { .. } => "answer_too_large",
            Self::AnswerNotKept => "answer_not_kept",
            Self::TooManyAnswersUnread { .. } => "too_many_answers_unread",
            Self::Draining => "draining",
            Self::EngineUnavailable => "engine_unavailable",
            Self::Internal => "internal",
        }
    }

    /// Returns the JSON-RPC error of the response.
    #[must_use]
    pub fn to_error(&self) -> ErrorObject {
        let error = ErrorObject::new(self.row().1, self.text());
        match self {
            Self::UnsupportedVersion { requested, supported } if !sessions_only(supported) => {
                error.with_data(&json!({ "requested": requested, "supported": supported }))
            }
            Self::InsufficientScope { scopes } => ErrorObject::insufficient_scope(scopes),
            Self::MissingCapability { data } => ErrorObject { data: data.clone(), ..error },
            _ => error,
        }
    }

    /// Returns the rejection of a malformed body, and the id to repeat in the response.
    pub(crate) fn of(malformed: Malformed) -> (Self, Option<RequestId>) {
        match malformed {
            Malformed::NotJson => (Self::NotJson, None),
            Malformed::NotAMessage { id, why } => (Self::NotAMessage(why), id),
            Malformed::Forbidden { id, scopes } => (Self::InsufficientScope { scopes }, Some(id)),
        }
    }

    /// Returns how long the client should wait before it tries again, for temporary rejections.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        matches!(self.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
            .then_some(Duration::from_secs(RETRY_AFTER_SECONDS))
    }
}

/// The value of `Retry-After` in seconds. In that time a node can be replaced or a call can end,
/// and no user takes the pause for an outage.
const RETRY_AFTER_SECONDS: u64 = 2;

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl std::error::Error for Rejection {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legacy_version_errors_use_legacy_codes() {
        let supported = vec![ProtocolVersion::V2025_06_18, ProtocolVersion::V2025_11_25];
        let error = Rejection::UnsupportedVersion { requested: "v9\n".into(), supported }.to_error();
        let text = "Bad Request: Unsupported protocol version: v9\\n (supported versions: 2025-06-18, 2025-11-25)";
        assert_eq!((error.code, &*error.message, error.data), (-32000, text, None));
    }

    #[test]
    fn version_errors_list_the_supported_versions() {
        let rejection = Rejection::UnsupportedVersion {
            requested: "1999-01-01".into(),
            supported: vec![ProtocolVersion::V2026_07_28],
        };
        let error = rejection.to_error();
        assert_eq!((rejection.status().as_u16(), error.code), (400, -32022));
        assert!(error.message.starts_with("Unsupported protocol version"));
        assert_eq!(error.data.unwrap().as_str(), r#"{"requested":"1999-01-01","supported":["2026-07-28"]}"#);
    }

    #[test]
    fn only_temporary_rejections_have_retry_after() {
        assert!(Rejection::Draining.retry_after().is_some());
        assert!(Rejection::LimitReached { limit: Limit::Calls, max: 1 }.retry_after().is_some());
        assert!(Rejection::SessionNotFound.retry_after().is_none());
    }
}
