//! Decides which JSON-RPC error codes this crate speaks and what an error object holds.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use serde_json::json;

use super::{RawJson, TASKS};

/// The `error` member of a JSON-RPC answer: a code, a public message and optional data.
///
/// Everything in it goes to the client. Keep internal text (paths, SQL, other users' names) out
/// of it and in the log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorObject {
    /// The code, see the associated constants.
    pub code: i64,
    /// A short sentence for the person behind the client.
    pub message: Cow<'static, str>,
    /// Details for the program behind the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<RawJson>,
}

impl ErrorObject {
    /// The body is not JSON.
    pub const PARSE_ERROR: i64 = -32700;
    /// The body is JSON, but no request.
    pub const INVALID_REQUEST: i64 = -32600;
    /// The method does not exist here.
    pub const METHOD_NOT_FOUND: i64 = -32601;
    /// The parameters do not fit the method; also an unknown tool, prompt or resource.
    pub const INVALID_PARAMS: i64 = -32602;
    /// Something failed inside; the log says what.
    pub const INTERNAL_ERROR: i64 = -32603;
    /// The session is not known here (the code of the official SDKs).
    pub const SESSION_NOT_FOUND: i64 = -32001;
    /// The request cannot be served, in the code of the official SDKs: the protocol version is none of those
    /// that a service of the session revisions has.
    pub const BAD_REQUEST: i64 = -32000;
    /// The protocol version is not served (the 2026-07-28 code, used for older versions too where that
    /// revision is served).
    pub const UNSUPPORTED_VERSION: i64 = -32022;
    /// The headers of a request do not repeat its body (2026-07-28).
    pub const HEADER_MISMATCH: i64 = -32020;
    /// The request needs something its client did not declare; `data.requiredCapabilities` says what
    /// (2026-07-28).
    pub const MISSING_CAPABILITY: i64 = -32021;

    /// An error with a code and a public message.
    #[must_use]
    pub fn new(code: i64, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// The same error with data for the program behind the client. Data that does not serialise
    /// is left out.
    #[must_use]
    pub fn with_data<T: Serialize + ?Sized>(mut self, data: &T) -> Self {
        self.data = RawJson::from_value(data).ok();
        self
    }

    /// `-32601`, naming the method.
    #[must_use]
    pub fn method_not_found(method: &str) -> Self {
        Self::new(Self::METHOD_NOT_FOUND, format!("Method not found: {method}"))
    }

    /// `-32602` with a public message.
    #[must_use]
    pub fn invalid_params(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Self::INVALID_PARAMS, message)
    }

    /// The client does not take tasks for answers, and has to (2026-07-28).
    pub(crate) fn tasks_not_declared() -> Self {
        Self::missing_capability(&json!({ "extensions": { TASKS: {} } }))
    }

    /// Client capabilities that a request needs and its client did not declare, as the protocol
    /// writes them: `{"sampling": {}}`. Answered with HTTP status 400 (2026-07-28).
    #[must_use]
    pub fn missing_capability<T: Serialize + ?Sized>(required: &T) -> Self {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Data<'a, T: ?Sized> {
            required_capabilities: &'a T,
        }
        Self::new(Self::MISSING_CAPABILITY, "Missing required client capability")
            .with_data(&Data { required_capabilities: required })
    }

    /// `-32603` without any detail: what happened belongs in the log.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(Self::INTERNAL_ERROR, "Internal error")
    }
}

impl fmt::Display for ErrorObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for ErrorObject {}
