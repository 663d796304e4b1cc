//! The table of rejections: the status, the code and the text of each.

use std::borrow::Cow;

use super::Rejection;
use crate::message::{Era, ErrorObject, ProtocolVersion};

const REQUEST: i64 = ErrorObject::INVALID_REQUEST;
const PARAMS: i64 = ErrorObject::INVALID_PARAMS;
const INTERNAL: i64 = ErrorObject::INTERNAL_ERROR;

// Texts that are too long for a line of the table.
const HOST: &str = "Host not allowed; the server's setting `allowed_hosts` lists the names it answers to";
const ORIGIN: &str = "Origin not allowed; the server's setting `allowed_origins` lists the sites it serves";
const MEDIA_TYPE: &str = "Unsupported media type: Content-Type must be application/json";
const ENCODED: &str = "Unsupported content encoding: the body must be sent without Content-Encoding";
const NOT_JSON: &str = "Parse error: the body is not valid JSON, or nested too deep";
const BATCH: &str = "Invalid request: batches exist in protocol version 2025-03-26 only";
const IN_BATCH: &str = "Invalid request: initialize must not be part of a batch";
const EXPIRED: &str = "Bad request: the stream of Last-Event-ID is no longer available";
const NOT_RESUMABLE: &str = "Bad request: Last-Event-ID is not supported, streams cannot be resumed here";
const NOT_KEPT: &str =
    "The answer cannot be kept: all streams together hold what the server's setting `Streams::max_replay_bytes` allows";

impl Rejection {
    /// Returns the HTTP status and the JSON-RPC code.
    pub(super) fn row(&self) -> (u16, i64) {
        match self {
            Self::DuplicateHeader(_)
            | Self::InvalidHeader(_)
            | Self::BodyIncomplete
            | Self::NotAMessage(_)
            | Self::BatchNotServed
            | Self::InitializeInBatch
            | Self::SessionRequired
            | Self::AlreadyInitialized
            | Self::DuplicateId
            | Self::UnknownEvent
            | Self::EventsExpired
            | Self::NotResumable => (400, REQUEST),
            Self::NotJson => (400, ErrorObject::PARSE_ERROR),
            Self::UnsupportedVersion { supported, .. } => (400, unsupported_code(supported)),
            Self::HeaderMismatch { .. } => (400, ErrorObject::HEADER_MISMATCH),
            Self::InvalidMeta(_) | Self::InvalidParams(_) => (400, PARAMS),
            Self::MissingCapability { .. } => (400, ErrorObject::MISSING_CAPABILITY),
            Self::HostNotAllowed | Self::OriginNotAllowed => (403, REQUEST),
            Self::InsufficientScope { .. } => (403, ErrorObject::INSUFFICIENT_SCOPE),
            Self::MethodNotFound { .. } => (404, ErrorObject::METHOD_NOT_FOUND),
            Self::SessionNotFound => (404, ErrorObject::SESSION_NOT_FOUND),
            Self::MethodNotAllowed { .. } => (405, REQUEST),
            Self::NotAcceptable { .. } => (406, REQUEST),
            Self::BodyTimeout => (408, REQUEST),
            Self::StreamTaken => (409, REQUEST),
            Self::BodyTooLarge { .. } | Self::BodyTooComplex { .. } => (413, REQUEST),
            Self::UnsupportedMediaType | Self::EncodedBody => (415, REQUEST),
            Self::LimitReached { limit, .. } => (limit.row().status, INTERNAL),
            Self::SessionEnded
            | Self::AnswerTooLarge { .. }
            | Self::AnswerNotKept
            | Self::TooManyAnswersUnread { .. }
            | Self::Internal => (500, INTERNAL),
            Self::TooManyBodies { .. } | Self::Draining | Self::EngineUnavailable => (503, INTERNAL),
        }
    }

    pub(super) fn text(&self) -> Cow<'static, str> {
        match self {
            Self::NotAcceptable { needs } => format!("Not acceptable: the client must accept {needs}").into(),
            Self::DuplicateHeader(name) => format!("Bad request: more than one {name} header").into(),
            Self::InvalidHeader(name) => format!("Bad request: invalid {name} header").into(),
            Self::BodyTooLarge { limit } => format!("Body too large: the limit is {limit} bytes").into(),
            Self::BodyTooComplex { limit } => {
                format!("Body too complex: its values take more than {limit} bytes (`Limits::VALUES`)").into()
            }
            Self::TooManyBodies { limit } => {
                format!("Too many bytes of request bodies in flight: the limit is {limit}").into()
            }
            Self::NotAMessage(why) => format!("Invalid request: {why}").into(),
            Self::UnsupportedVersion { requested, supported } => unsupported(requested, supported),
            Self::HeaderMismatch { header, why } => format!("Header mismatch: {header} {why}").into(),
            Self::InvalidMeta(why) | Self::InvalidParams(why) => format!("Invalid params: {why}").into(),
            Self::MethodNotFound { method } => format!("Method not found: {method}").into(),
            Self::InsufficientScope { scopes } => ErrorObject::insufficient_scope(scopes).message,
            Self::AnswerTooLarge { limit } => format!(
                "Answer too large: the limit is {limit} bytes, the server's setting `Limits::max_response_bytes`"
            )
            .into(),
            Self::TooManyAnswersUnread { limit } => {
                format!("Too much is unread: the server's setting `Limits::max_unread_response_bytes` is {limit} bytes")
                    .into()
            }
            Self::LimitReached { limit, max } => {
                let row = limit.row();
                format!("Too many {}: the limit is {max} (setting `{}`)", row.what, row.setting).into()
            }
            _ => self.fixed_text().into(),
        }
    }

    /// Returns the text of a rejection without details.
    fn fixed_text(&self) -> &'static str {
        match self {
            Self::HostNotAllowed => HOST,
            Self::OriginNotAllowed => ORIGIN,
            Self::MethodNotAllowed { .. } => "Method not allowed",
            Self::UnsupportedMediaType => MEDIA_TYPE,
            Self::EncodedBody => ENCODED,
            Self::BodyTimeout => "The body did not arrive in time",
            Self::BodyIncomplete => "Bad request: the body is incomplete",
            Self::NotJson => NOT_JSON,
            Self::BatchNotServed => BATCH,
            Self::InitializeInBatch => IN_BATCH,
            Self::MissingCapability { .. } => "Missing required client capability",
            Self::SessionRequired => "Bad request: the Mcp-Session-Id header is required",
            Self::SessionNotFound => "Session not found",
            Self::AlreadyInitialized => "Invalid request: the session is already initialized",
            Self::DuplicateId => "Invalid request: a request with the same id is in flight",
            Self::StreamTaken => "Conflict: the session's stream is already open",
            Self::UnknownEvent => "Bad request: Last-Event-ID names no event of this session",
            Self::EventsExpired => EXPIRED,
            Self::NotResumable => NOT_RESUMABLE,
            Self::SessionEnded => "The session ended before the request was answered",
            Self::AnswerNotKept => NOT_KEPT,
            Self::Draining => "The server is shutting down",
            Self::EngineUnavailable => "The session engine cannot be reached; try again later",
            // All other rejections have details.
            _ => "Internal error",
        }
    }
}

/// Returns `true` if only session revisions are served. Such a service uses no error codes of later
/// revisions: a client that tries 2026-07-28 first falls back to `initialize` only if it gets none
/// of these codes.
pub(super) fn sessions_only(served: &[ProtocolVersion]) -> bool {
    !served.is_empty() && served.iter().all(|version| version.era() == Era::Legacy)
}

/// Returns the code for an unsupported revision.
fn unsupported_code(served: &[ProtocolVersion]) -> i64 {
    if sessions_only(served) { ErrorObject::BAD_REQUEST } else { ErrorObject::UNSUPPORTED_VERSION }
}

/// Returns the text for an unsupported revision. Released clients search for it.
fn unsupported(requested: &str, served: &[ProtocolVersion]) -> Cow<'static, str> {
    if !sessions_only(served) {
        return "Unsupported protocol version; `data.supported` lists those served".into();
    }
    let served: Vec<_> = served.iter().map(|version| version.as_str()).collect();
    let (requested, served) = (requested.escape_debug(), served.join(", "));
    format!("Bad Request: Unsupported protocol version: {requested} (supported versions: {served})").into()
}
