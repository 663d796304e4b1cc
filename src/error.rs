//! Decides how this crate says no: refusals of requests as one table, errors of the set-up, errors
//! of a session engine.

mod store;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use http::StatusCode;
use serde_json::json;

pub use self::store::{StoreError, StoreErrorKind};
use crate::message::{Era, ErrorObject, Malformed, ProtocolVersion, RawJson, RequestId};

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

/// One line of the table: what a refusal is on the wire.
struct Row {
    status: StatusCode,
    code: i64,
    text: Cow<'static, str>,
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
        self.row().status
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
        let Row { code, text, .. } = self.row();
        let error = ErrorObject::new(code, text);
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
        (self.row().status == StatusCode::SERVICE_UNAVAILABLE || self.row().status == StatusCode::TOO_MANY_REQUESTS)
            .then_some(Duration::from_secs(RETRY_AFTER_SECONDS))
    }

    /// The table.
    #[allow(clippy::too_many_lines, reason = "it is as long as there are refusals")]
    fn row(&self) -> Row {
        const REQUEST: i64 = ErrorObject::INVALID_REQUEST;
        const INTERNAL: i64 = ErrorObject::INTERNAL_ERROR;
        let row = |status: u16, code: i64, text: &'static str| (status, code, Cow::Borrowed(text));
        let too_many = |status: u16, what: &str, limit: usize| {
            (status, INTERNAL, Cow::Owned(format!("Too many {what}: the limit is {limit}")))
        };
        let (status, code, text) = match self {
            Self::HostNotAllowed => row(
                403,
                REQUEST,
                "Host not allowed; the server's setting `allowed_hosts` lists the names it answers to",
            ),
            Self::OriginNotAllowed => row(
                403,
                REQUEST,
                "Origin not allowed; the server's setting `allowed_origins` lists the sites it serves",
            ),
            Self::MethodNotAllowed { .. } => row(405, REQUEST, "Method not allowed"),
            Self::NotAcceptable { needs } => {
                (406, REQUEST, format!("Not acceptable: the client must accept {needs}").into())
            }
            Self::UnsupportedMediaType => {
                row(415, REQUEST, "Unsupported media type: Content-Type must be application/json")
            }
            Self::EncodedBody => {
                row(415, REQUEST, "Unsupported content encoding: the body must be sent without Content-Encoding")
            }
            Self::DuplicateHeader(name) => (400, REQUEST, format!("Bad request: more than one {name} header").into()),
            Self::InvalidHeader(name) => (400, REQUEST, format!("Bad request: invalid {name} header").into()),
            Self::BodyTooLarge { limit } => {
                (413, REQUEST, format!("Body too large: the limit is {limit} bytes").into())
            }
            Self::BodyTimeout => row(408, REQUEST, "The body did not arrive in time"),
            Self::BodyIncomplete => row(400, REQUEST, "Bad request: the body is incomplete"),
            Self::TooManyBodies { limit } => {
                (503, INTERNAL, format!("Too many bytes of request bodies in flight: the limit is {limit}").into())
            }
            Self::NotJson => {
                row(400, ErrorObject::PARSE_ERROR, "Parse error: the body is not valid JSON, or nested too deep")
            }
            Self::NotAMessage(why) => (400, REQUEST, format!("Invalid request: {why}").into()),
            Self::BatchNotServed => {
                row(400, REQUEST, "Invalid request: batches exist in protocol version 2025-03-26 only")
            }
            Self::InitializeInBatch => row(400, REQUEST, "Invalid request: initialize must not be part of a batch"),
            Self::UnsupportedVersion { requested, supported } => unsupported(requested, supported),
            Self::HeaderMismatch { header, why } => {
                (400, ErrorObject::HEADER_MISMATCH, format!("Header mismatch: {header} {why}").into())
            }
            Self::InvalidMeta(why) | Self::InvalidParams(why) => {
                (400, ErrorObject::INVALID_PARAMS, format!("Invalid params: {why}").into())
            }
            Self::MethodNotFound { method } => {
                (404, ErrorObject::METHOD_NOT_FOUND, format!("Method not found: {method}").into())
            }
            Self::MissingCapability { .. } => {
                row(400, ErrorObject::MISSING_CAPABILITY, "Missing required client capability")
            }
            Self::TooManyListens { limit } => too_many(429, "subscription streams", *limit),
            Self::TooManyListensOfPrincipal { limit } => {
                too_many(429, "subscription streams of this principal", *limit)
            }
            Self::TooManyListensOfPeer { limit } => {
                too_many(429, "subscription streams from this address (setting `Limits::listens_per_peer`)", *limit)
            }
            Self::SessionRequired => row(400, REQUEST, "Bad request: the Mcp-Session-Id header is required"),
            Self::SessionNotFound => row(404, ErrorObject::SESSION_NOT_FOUND, "Session not found"),
            Self::AlreadyInitialized => row(400, REQUEST, "Invalid request: the session is already initialized"),
            Self::TooManySessions { limit } => too_many(503, "sessions", *limit),
            Self::TooManySessionsOfPrincipal { limit } => too_many(503, "sessions of this principal", *limit),
            Self::TooManySessionsOfPeer { limit } => {
                too_many(503, "sessions from this address (setting `Sessions::max_per_peer`)", *limit)
            }
            Self::TooManyCalls { limit } => too_many(429, "calls in flight in this session", *limit),
            Self::TooManyCallsOfPrincipal { limit } => too_many(429, "calls in flight of this principal", *limit),
            Self::TooManyCallsWithoutSession { limit } => too_many(503, "calls in flight without a session", *limit),
            Self::TooManyCallsOfPeer { limit } => {
                too_many(429, "calls in flight from this address (setting `Limits::calls_per_peer`)", *limit)
            }
            Self::TooManyStreams { limit } => too_many(429, "open streams in this session", *limit),
            Self::DuplicateId => row(400, REQUEST, "Invalid request: a request with the same id is in flight"),
            Self::StreamTaken => row(409, REQUEST, "Conflict: the session's stream is already open"),
            Self::UnknownEvent => row(400, REQUEST, "Bad request: Last-Event-ID names no event of this session"),
            Self::EventsExpired => {
                row(400, REQUEST, "Bad request: the stream named by Last-Event-ID is no longer kept")
            }
            Self::NotResumable => {
                row(400, REQUEST, "Bad request: Last-Event-ID is not supported, streams cannot be resumed here")
            }
            Self::SessionEnded => row(500, INTERNAL, "The session ended before the request was answered"),
            Self::AnswerTooLarge { limit } => {
                let text =
                    format!("Answer too large: the limit is {limit} bytes, the server's setting `Limits::answer`");
                (500, INTERNAL, text.into())
            }
            Self::TooManyAnswersUnread { limit } => {
                let why = "Too much is unread: the server's setting `Limits::answers_unread` is";
                (500, INTERNAL, format!("{why} {limit} bytes").into())
            }
            Self::AnswerNotKept => row(
                500,
                INTERNAL,
                "No room for the answer: the server's setting `Streams::kept_in_all` says how much streams keep",
            ),
            Self::Draining => row(503, INTERNAL, "The server is shutting down"),
            Self::EngineUnavailable => row(503, INTERNAL, "Sessions are out of reach for the moment"),
            Self::Internal => row(500, INTERNAL, "Internal error"),
        };
        Row { status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), code, text }
    }
}

/// What `Retry-After` says, in seconds: long enough for a node to be replaced or a call to end,
/// short enough not to be noticed as an outage.
const RETRY_AFTER_SECONDS: u64 = 2;

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.row().text)
    }
}

impl std::error::Error for Rejection {}

/// The settings that have no meaning: each by its name, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one, wherever this is handed out.
    problems: Vec<Problem>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Problem {
    setting: &'static str,
    why: String,
}

impl ConfigError {
    pub(crate) fn new(setting: &'static str, why: impl Into<String>) -> Self {
        Self { problems: vec![Problem { setting, why: why.into() }] }
    }

    /// Nothing is wrong so far.
    pub(crate) fn none() -> Self {
        Self { problems: Vec::new() }
    }

    pub(crate) fn report(&mut self, setting: &'static str, why: impl Into<String>) {
        self.problems.push(Problem { setting, why: why.into() });
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.problems.extend(other.problems);
    }

    pub(crate) fn into_result(self) -> Result<(), Self> {
        if self.problems.is_empty() { Ok(()) } else { Err(self) }
    }

    /// The name of the first setting.
    #[must_use]
    pub fn setting(&self) -> &'static str {
        self.problems.first().map_or("", |problem| problem.setting)
    }

    /// The names of all settings that have no meaning.
    pub fn settings(&self) -> impl Iterator<Item = &'static str> {
        self.problems.iter().map(|problem| problem.setting)
    }
}

/// One line for each setting.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Problem { setting, why }) in self.problems.iter().enumerate() {
            let line = if at == 0 { "" } else { "\n" };
            write!(f, "{line}setting `{setting}`: {why}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Whether a service has the session revisions alone. Its refusals say nothing in the codes of later ones: a client
/// that tries 2026-07-28 first falls back to `initialize` only where it is not understood.
fn sessions_only(served: &[ProtocolVersion]) -> bool {
    !served.is_empty() && served.iter().all(|version| version.era() == Era::Legacy)
}

/// The status, code and text by which a service refuses a revision. Released clients look for the text.
fn unsupported(requested: &str, served: &[ProtocolVersion]) -> (u16, i64, Cow<'static, str>) {
    if !sessions_only(served) {
        let text = "Unsupported protocol version; `data.supported` lists those served";
        return (400, ErrorObject::UNSUPPORTED_VERSION, text.into());
    }
    let served: Vec<_> = served.iter().map(|version| version.as_str()).collect();
    let (requested, served) = (requested.escape_debug(), served.join(", "));
    let text = format!("Bad Request: Unsupported protocol version: {requested} (supported versions: {served})");
    (400, ErrorObject::BAD_REQUEST, text.into())
}

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
