//! JSON-RPC errors: the codes of this crate, and the error object.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use serde_json::json;

use super::{RawJson, TASKS};

/// The `error` member of a JSON-RPC response: a code, a public message and optional data.
///
/// All of it goes to the client. Internal text (paths, SQL, names of other users) belongs in the
/// log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorObject {
    /// The code; see the associated constants.
    pub code: i64,
    /// A short sentence for the user of the client.
    pub message: Cow<'static, str>,
    /// Details for the client program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<RawJson>,
}

impl ErrorObject {
    /// The body is not JSON.
    pub const PARSE_ERROR: i64 = -32700;
    /// The body is JSON, but not a valid request.
    pub const INVALID_REQUEST: i64 = -32600;
    /// The method does not exist on this server.
    pub const METHOD_NOT_FOUND: i64 = -32601;
    /// The parameters do not match the method; also an unknown tool, prompt or resource.
    pub const INVALID_PARAMS: i64 = -32602;
    /// An internal failure; the log has the reason.
    pub const INTERNAL_ERROR: i64 = -32603;
    /// The operation needs scopes that the access token does not have; `data.requiredScopes` names
    /// all scopes of the operation.
    pub const INSUFFICIENT_SCOPE: i64 = -32007;
    /// The session is unknown (the code of the official SDKs).
    pub const SESSION_NOT_FOUND: i64 = -32001;
    /// The request cannot be served (the code of the official SDKs): a service of the session
    /// revisions does not support its protocol version.
    pub const BAD_REQUEST: i64 = -32000;
    /// The protocol version is not supported. This code of 2026-07-28 is also used for older
    /// versions, if the service serves that revision.
    pub const UNSUPPORTED_VERSION: i64 = -32022;
    /// The headers of a request do not match its body (2026-07-28).
    pub const HEADER_MISMATCH: i64 = -32020;
    /// The request needs a capability that its client did not declare; `data.requiredCapabilities`
    /// names it (2026-07-28).
    pub const MISSING_CAPABILITY: i64 = -32021;

    /// Makes an error with a code and a public message.
    #[must_use]
    pub fn new(code: i64, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// Sets the data for the client program. Data that does not serialize is omitted.
    #[must_use]
    pub fn with_data<T: Serialize + ?Sized>(mut self, data: &T) -> Self {
        self.data = RawJson::from_value(data).ok();
        self
    }

    /// Makes the error for an operation that needs scopes which the access token does not have.
    /// `scopes` are all scopes of the operation.
    #[must_use]
    pub fn insufficient_scope(scopes: &[String]) -> Self {
        let text = format!("Forbidden: the operation needs the scopes `{}`", scopes.join(" "));
        Self::new(Self::INSUFFICIENT_SCOPE, text).with_data(&json!({ "requiredScopes": scopes }))
    }

    /// Returns the scopes of an [`insufficient_scope`](Self::insufficient_scope).
    pub(crate) fn required_scopes(&self) -> Option<Vec<String>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Data {
            required_scopes: Vec<String>,
        }
        let data = self.data.as_ref().filter(|_| self.code == Self::INSUFFICIENT_SCOPE)?;
        data.read::<Data>().ok().map(|data| data.required_scopes)
    }

    /// Makes a `-32601` that names the method.
    #[must_use]
    pub fn method_not_found(method: &str) -> Self {
        Self::new(Self::METHOD_NOT_FOUND, format!("Method not found: {method}"))
    }

    /// Makes a `-32602` with a public message.
    #[must_use]
    pub fn invalid_params(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Self::INVALID_PARAMS, message)
    }

    /// Makes the error for a call that requires tasks, which its client does not accept
    /// (2026-07-28).
    pub(crate) fn tasks_not_declared() -> Self {
        Self::extension_not_declared(TASKS)
    }

    /// Makes the error for a request of an extension that its client did not declare (2026-07-28).
    pub(crate) fn extension_not_declared(id: &str) -> Self {
        Self::missing_capability(&json!({ "extensions": { id: {} } }))
    }

    /// Makes the error for client capabilities that a request needs and its client did not declare.
    /// They are written as the protocol does: `{"sampling": {}}`. The HTTP status is 400
    /// (2026-07-28).
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

    /// Makes a `-32603` without details: the reason belongs in the log.
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
