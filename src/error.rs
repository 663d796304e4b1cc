//! Errors of this crate: rejections of requests, errors of the set-up, errors of a session engine.

mod config;
mod store;
mod table;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use http::StatusCode;
use serde_json::json;

pub use self::config::ConfigError;
pub use self::store::{StoreError, StoreErrorKind};
use self::table::sessions_only;
use crate::message::{ErrorObject, Malformed, ProtocolVersion, RawJson, RequestId};

/// Why a request was refused before any handler saw it.
///
/// A refusal answers with its status, a JSON-RPC error and the request's id where one is known.
/// It is also put into the response's extensions, for layers that log or count, and handed to the
/// [rejection hook](crate::McpServiceBuilder::on_rejection).
///
/// The text on the wire is fixed here and tells a client's developer, or the operator, what to
/// change. What only the operator may know goes to the log. The status and the code of each are in
/// [the guide](crate::guide::refusals).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// The `Host` is none of the allowed ones (protection against DNS rebinding).
    HostNotAllowed,
    /// The `Origin` is none of the allowed ones.
    OriginNotAllowed,
    /// The HTTP method is not served here.
    MethodNotAllowed {
        /// The value of `Allow`.
        allow: &'static str,
    },
    /// The client accepts none of the media types an answer could have.
    NotAcceptable {
        /// What it must accept.
        needs: &'static str,
    },
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// The body is compressed, or encoded in another way (`Content-Encoding`).
    EncodedBody,
    /// A header that must be there at most once is there twice.
    DuplicateHeader(&'static str),
    /// A header's value cannot be read.
    InvalidHeader(&'static str),
    /// The body is larger than the limit.
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body has too many values for its size: as a tree they would take too much memory.
    BodyTooComplex {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body did not arrive in time.
    BodyTimeout,
    /// The body broke off.
    BodyIncomplete,
    /// The body is not JSON, or is nested too deep.
    NotJson,
    /// The bodies of all requests in flight hold all the bytes they may; `Limits::bodies` is the setting.
    TooManyBodies {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body is JSON, but not a JSON-RPC message.
    NotAMessage(&'static str),
    /// The revision has no batches.
    BatchNotServed,
    /// `initialize` is part of a batch.
    InitializeInBatch,
    /// The protocol version is unknown or switched off.
    UnsupportedVersion {
        /// What the client asked for, cut to a sane length.
        requested: String,
        /// What is served.
        supported: Vec<ProtocolVersion>,
    },
    /// A header of 2026-07-28 is missing, cannot be read, or does not repeat the body.
    HeaderMismatch {
        /// The header.
        header: Cow<'static, str>,
        /// What is wrong with it. Where two values differ, both, cut and escaped.
        why: Cow<'static, str>,
    },
    /// A request of 2026-07-28 lacks something that its `_meta` must say, or says it wrongly or at too great length.
    InvalidMeta(&'static str),
    /// A parameter that the transport itself reads is wrong, or longer than its bound.
    InvalidParams(&'static str),
    /// The method does not exist, or not in this revision (2026-07-28; the session revisions
    /// answer it in a 200).
    MethodNotFound {
        /// The method, cut to a sane length.
        method: String,
    },
    /// The request needs something of its client that was not declared (2026-07-28).
    MissingCapability {
        /// The error's data: `requiredCapabilities`.
        data: Option<RawJson>,
    },
    /// All subscription streams of the service are taken (2026-07-28).
    TooManyListens {
        /// The limit.
        limit: usize,
    },
    /// The principal has all the subscription streams it may have (2026-07-28).
    TooManyListensOfPrincipal {
        /// The limit.
        limit: usize,
    },
    /// The address the request comes from has all the subscription streams it may have (2026-07-28).
    TooManyListensOfPeer {
        /// The limit.
        limit: usize,
    },
    /// The request needs a session and names none.
    SessionRequired,
    /// The session does not exist, has ended, or belongs to another principal.
    SessionNotFound,
    /// A second `initialize` on a living session.
    AlreadyInitialized,
    /// All sessions are taken and none of them is idle.
    TooManySessions {
        /// The limit.
        limit: usize,
    },
    /// The principal has all the sessions it may have, and none of them is idle.
    TooManySessionsOfPrincipal {
        /// The limit.
        limit: usize,
    },
    /// The address the request comes from has all the sessions it may have, and none of them is idle.
    TooManySessionsOfPeer {
        /// The limit.
        limit: usize,
    },
    /// The session has all the calls in flight it may have.
    TooManyCalls {
        /// The limit.
        limit: usize,
    },
    /// The principal has all the calls in flight it may have.
    TooManyCallsOfPrincipal {
        /// The limit.
        limit: usize,
    },
    /// As many calls as the service allows are in flight without a session.
    TooManyCallsWithoutSession {
        /// The limit.
        limit: usize,
    },
    /// The address the request comes from has all the calls in flight without a session it may have.
    TooManyCallsOfPeer {
        /// The limit.
        limit: usize,
    },
    /// The session has all the streams open it may have.
    TooManyStreams {
        /// The limit.
        limit: usize,
    },
    /// A call with the same id is in flight (only where that is refused).
    DuplicateId,
    /// The session's standalone stream is open elsewhere (only where that is refused).
    StreamTaken,
    /// `Last-Event-ID` names no event of this session.
    UnknownEvent,
    /// `Last-Event-ID` names a stream whose events are no longer kept.
    EventsExpired,
    /// There is a `Last-Event-ID`, but streams cannot be resumed here.
    NotResumable,
    /// The session ended while the request was in flight.
    SessionEnded,
    /// The handler answered, and its answer is larger than the limit.
    AnswerTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The handler answered, and the engine had no room to keep the answer in its stream.
    AnswerNotKept,
    /// The handler answered, and answers that clients have not read hold all the bytes they may;
    /// `Limits::answers_unread` is the setting.
    TooManyAnswersUnread {
        /// The limit in bytes.
        limit: usize,
    },
    /// The service is draining: no new sessions, no new calls.
    Draining,
    /// The session engine cannot be reached.
    EngineUnavailable,
    /// The handler behind the request failed in a way only the log may tell.
    Internal,
}

impl Rejection {
    /// A method that does not exist; what is unknown is repeated within bounds.
    pub(crate) fn method_not_found(method: &str) -> Self {
        /// Longer than any method somebody means.
        const MOST: usize = 160;
        Self::MethodNotFound { method: method.chars().take(MOST).collect() }
    }

    /// The status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.row().0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// A short name for counters and logs, one for each kind.
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
            Self::TooManyListens { .. } => "too_many_listens",
            Self::TooManyListensOfPrincipal { .. } => "too_many_listens_of_principal",
            Self::TooManyListensOfPeer { .. } => "too_many_listens_of_peer",
            Self::SessionRequired => "session_required",
            Self::SessionNotFound => "session_not_found",
            Self::AlreadyInitialized => "already_initialized",
            Self::TooManySessions { .. } => "too_many_sessions",
            Self::TooManySessionsOfPrincipal { .. } => "too_many_sessions_of_principal",
            Self::TooManySessionsOfPeer { .. } => "too_many_sessions_of_peer",
            Self::TooManyCalls { .. } => "too_many_calls",
            Self::TooManyCallsOfPrincipal { .. } => "too_many_calls_of_principal",
            Self::TooManyCallsWithoutSession { .. } => "too_many_calls_without_session",
            Self::TooManyCallsOfPeer { .. } => "too_many_calls_of_peer",
            Self::TooManyStreams { .. } => "too_many_streams",
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

    /// The JSON-RPC error of the response.
    #[must_use]
    pub fn to_error(&self) -> ErrorObject {
        let error = ErrorObject::new(self.row().1, self.text());
        match self {
            Self::UnsupportedVersion { requested, supported } if !sessions_only(supported) => {
                error.with_data(&json!({ "requested": requested, "supported": supported }))
            }
            Self::MissingCapability { data } => ErrorObject { data: data.clone(), ..error },
            _ => error,
        }
    }

    /// The refusal of a body, and the id to echo.
    pub(crate) fn of(malformed: Malformed) -> (Self, Option<RequestId>) {
        match malformed {
            Malformed::NotJson => (Self::NotJson, None),
            Malformed::NotAMessage { id, why } => (Self::NotAMessage(why), id),
        }
    }

    /// How long a refused client should wait, for the refusals that pass by themselves.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        matches!(self.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
            .then_some(Duration::from_secs(RETRY_AFTER_SECONDS))
    }
}

/// What `Retry-After` says, in seconds: long enough for a node to be replaced or a call to end,
/// short enough not to be noticed as an outage.
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
    fn a_service_of_sessions_refuses_a_version_without_codes_of_later_ones() {
        let supported = vec![ProtocolVersion::V2025_06_18, ProtocolVersion::V2025_11_25];
        let error = Rejection::UnsupportedVersion { requested: "v9\n".into(), supported }.to_error();
        let text = "Bad Request: Unsupported protocol version: v9\\n (supported versions: 2025-06-18, 2025-11-25)";
        assert_eq!((error.code, &*error.message, error.data), (-32000, text, None));
    }

    #[test]
    fn a_refused_version_lists_those_served_in_its_data() {
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
    fn only_refusals_that_pass_by_themselves_say_when_to_come_back() {
        assert!(Rejection::Draining.retry_after().is_some());
        assert!(Rejection::TooManyCalls { limit: 1 }.retry_after().is_some());
        assert!(Rejection::SessionNotFound.retry_after().is_none());
    }
}
