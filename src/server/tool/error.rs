//! Tool errors: the failure of a handler, with what its client sees and what only the log has.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use serde_json::json;

use crate::error::StoreError;
use crate::identity::InsufficientScope;
use crate::message::{Era, ErrorObject, ProtocolVersion};
use crate::server::ClientError;

/// The failure of a handler.
///
/// [`ToolError::new`] takes a text for the client; the model reads it and may act on it.
/// [`ToolError::internal`] takes an error whose text goes to the log. The client only sees that
/// something failed, so that a database error never leaks by accident.
///
/// The conversion that `?` uses is written once, as a `From`:
///
/// | error | the client receives |
/// |---|---|
/// | your own, with `impl From<AppError> for ToolError` | the text that this sets |
/// | `String`, `&'static str` | the text |
/// | [`ErrorObject`] | the call's JSON-RPC error |
/// | [`InsufficientScope`] | a 403 with a challenge, if nothing was sent yet; otherwise a JSON-RPC error (-32007) |
/// | [`ClientError`] | why the request to the client failed; since 2026-07-28 a missing capability is a JSON-RPC error (-32021) |
/// | common errors of std, tokio and serde_json, boxed errors | a neutral text; the reason is in the log |
/// | any other | `?` does not compile: use [`Internal::internal`] to send its text to the log |
///
/// ```
/// use mcp_http::server::{Internal, ToolError};
///
/// #[derive(Debug)]
/// enum AppError {
///     NoTodo(u64),
/// }
///
/// impl From<AppError> for ToolError {
///     fn from(error: AppError) -> Self {
///         match error {
///             AppError::NoTodo(id) => Self::new(format!("There is no todo {id}.")),
///         }
///     }
/// }
///
/// fn find(id: u64) -> Result<String, AppError> {
///     Err(AppError::NoTodo(id))
/// }
///
/// async fn export(path: &str) -> Result<String, ToolError> {
///     if path.contains("..") {
///         return Err(ToolError::new("The path must not leave the folder."));
///     }
///     let todo = find(77)?; // The client sees this text.
///     std::fs::write(path, &todo)?; // The log has the reason.
///     let port: std::net::IpAddr = "::1".parse().internal()?; // Here too.
///     Ok(format!("{todo} {port}"))
/// }
/// ```
pub struct ToolError {
    kind: Kind,
}

enum Kind {
    Public(Cow<'static, str>),
    Internal(Box<dyn Error + Send + Sync>),
    Protocol(ErrorObject),
    /// A capability, by its path with dots.
    Missing(&'static str),
}

/// The text for clients in place of an internal error.
const NEUTRAL: &str = "The tool failed. The reason is in the server's log.";

impl ToolError {
    /// Makes a failure with a text for the client.
    #[must_use]
    pub fn new(text: impl fmt::Display) -> Self {
        Self { kind: Kind::Public(text.to_string().into()) }
    }

    /// Makes a failure whose reason is only for the log. For a `Result` use [`Internal::internal`].
    #[must_use]
    pub fn internal(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind: Kind::Internal(reason.into()) }
    }

    /// Returns the text for the client, or the JSON-RPC error. Internal reasons are logged here.
    pub(crate) fn publish(self, version: ProtocolVersion) -> Result<Cow<'static, str>, ErrorObject> {
        match self.kind {
            Kind::Missing(capability) if version.era() == Era::Modern => Err(missing(capability)),
            Kind::Missing(capability) => Ok(ClientError::NotCapable(capability).to_string().into()),
            Kind::Public(text) => Ok(text),
            Kind::Internal(reason) => {
                log(&*reason);
                Ok(NEUTRAL.into())
            }
            Kind::Protocol(error) => Err(error),
        }
    }

    /// Converts into a JSON-RPC error, for calls without another form of failure.
    pub(crate) fn into_error(self, version: ProtocolVersion) -> ErrorObject {
        let internal = matches!(self.kind, Kind::Internal(_));
        match self.publish(version) {
            Ok(_) if internal => ErrorObject::internal(),
            Ok(text) => ErrorObject::new(ErrorObject::INTERNAL_ERROR, text),
            Err(error) => error,
        }
    }
}

/// `elicitation.url` becomes `{"elicitation": {"url": {}}}`.
fn missing(capability: &str) -> ErrorObject {
    let required = capability.rsplit('.').fold(json!({}), |inner, name| json!({ name: inner }));
    ErrorObject::missing_capability(&required)
}

fn log(reason: &(dyn Error + Send + Sync + 'static)) {
    tracing::error!(error = reason as &(dyn Error + 'static), "an MCP handler failed");
}

impl From<String> for ToolError {
    fn from(text: String) -> Self {
        Self { kind: Kind::Public(text.into()) }
    }
}

impl From<&'static str> for ToolError {
    fn from(text: &'static str) -> Self {
        Self { kind: Kind::Public(text.into()) }
    }
}

impl From<InsufficientScope> for ToolError {
    fn from(error: InsufficientScope) -> Self {
        Self { kind: Kind::Protocol(error.into()) }
    }
}

impl From<ErrorObject> for ToolError {
    fn from(error: ErrorObject) -> Self {
        Self { kind: Kind::Protocol(error) }
    }
}

impl From<ClientError> for ToolError {
    fn from(error: ClientError) -> Self {
        let kind = match error {
            ClientError::NotCapable(capability) => Kind::Missing(capability),
            _ => Kind::Public(error.to_string().into()),
        };
        Self { kind }
    }
}

impl From<Box<dyn Error + Send + Sync>> for ToolError {
    fn from(error: Box<dyn Error + Send + Sync>) -> Self {
        Self { kind: Kind::Internal(error) }
    }
}

macro_rules! internal {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for ToolError {
            fn from(error: $error) -> Self {
                Self::internal(error)
            }
        }
    )*};
}

internal! {
    std::convert::Infallible, std::env::VarError, fmt::Error, std::io::Error, std::net::AddrParseError,
    std::num::ParseFloatError, std::num::ParseIntError, std::num::TryFromIntError, std::str::ParseBoolError,
    std::str::Utf8Error, std::string::FromUtf8Error, std::time::SystemTimeError, serde_json::Error, tokio::task::JoinError,
    tokio::time::error::Elapsed, tokio::sync::oneshot::error::RecvError, StoreError,
}

/// Converts errors whose text is not for the client, and which have no conversion into
///
/// [`ToolError`]: `query.await.internal()?`. It also accepts boxed errors and those of `anyhow`.
pub trait Internal<T>: private::Sealed {
    /// Returns the value, or a failure whose reason is only for the log.
    ///
    /// # Errors
    ///
    /// If this is an error.
    fn internal(self) -> Result<T, ToolError>;
}

mod private {
    pub trait Sealed {}
}

impl<T, E> private::Sealed for Result<T, E> {}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> Internal<T> for Result<T, E> {
    fn internal(self) -> Result<T, ToolError> {
        self.map_err(ToolError::internal)
    }
}

impl fmt::Debug for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Public(text) => f.debug_tuple("ToolError").field(text).finish(),
            Kind::Internal(reason) => f.debug_tuple("ToolError").field(reason).finish(),
            Kind::Protocol(error) => f.debug_tuple("ToolError").field(error).finish(),
            Kind::Missing(capability) => f.debug_tuple("ToolError").field(capability).finish(),
        }
    }
}

/// The error type of a handler's `Result`: every type that converts into a [`ToolError`].
///
/// Do not implement it. Write `impl From<AppError> for ToolError`, which makes `?` work too.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of an MCP handler",
    label = "not an error a client may see",
    note = "for an error of your own, write `impl From<{Self}> for ToolError`: it says what the client reads",
    note = "use `Result<_, ToolError>` for others: `ToolError::new(..)` gives the client a text, and `.internal()?` (with \
            the trait `mcp_http::server::Internal`) sends the error to the log only"
)]
pub trait IntoToolError {
    /// Converts the error.
    fn into_tool_error(self) -> ToolError;
}

#[diagnostic::do_not_recommend]
impl<E: Into<ToolError>> IntoToolError for E {
    fn into_tool_error(self) -> ToolError {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn published(error: impl Into<ToolError>) -> String {
        error
            .into()
            .publish(ProtocolVersion::NEWEST_SESSION)
            .map(Cow::into_owned)
            .unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn internal_errors_do_not_reach_the_client() {
        assert_eq!(published(io::Error::other("password=secret")), NEUTRAL);
        assert_eq!(
            ToolError::from(io::Error::other("secret")).into_error(ProtocolVersion::V2026_07_28).message,
            "Internal error"
        );
    }

    #[test]
    fn errors_for_clients_reach_them() {
        assert_eq!(published(ToolError::new("too large")), "too large");
        assert_eq!(published(ErrorObject::invalid_params("no")), "no (-32602)");
        assert_eq!(published(ClientError::NotCapable("roots")), "the client does not support roots");
    }

    #[test]
    fn a_missing_capability_is_a_modern_protocol_error() {
        let error = ToolError::from(ClientError::NotCapable("elicitation.url"));
        let error = error.publish(ProtocolVersion::V2026_07_28).unwrap_err();
        assert_eq!(error.code, ErrorObject::MISSING_CAPABILITY);
        assert_eq!(error.data.unwrap().as_str(), r#"{"requiredCapabilities":{"elicitation":{"url":{}}}}"#);
    }
}
