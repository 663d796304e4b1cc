//! Decides what a client learns of a handler that failed, and what only the log does.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use serde_json::json;

use crate::message::{Era, ErrorObject, ProtocolVersion};
use crate::server::ClientError;

/// How a handler fails.
///
/// [`ToolError::new`] takes a text for the client, which a model reads and may act on. Every other
/// error comes in by `?`: its text goes to the log and the client learns only that something
/// failed. So an error of a database never leaks by itself.
///
/// ```
/// use mcp_http::server::ToolError;
///
/// async fn read(path: &str) -> Result<String, ToolError> {
///     if path.contains("..") {
///         return Err(ToolError::new("The path must not leave the folder."));
///     }
///     Ok(std::fs::read_to_string(path)?)
/// }
/// ```
///
/// Two errors pass `?` with their meaning kept: an [`ErrorObject`] becomes the call's JSON-RPC
/// error, and a [`ClientError`] says why the client could not be asked. That the client did not
/// declare what a question needs is an error of the protocol since 2026-07-28 (-32021).
pub struct ToolError {
    kind: Kind,
}

enum Kind {
    Public(Cow<'static, str>),
    Internal(Box<dyn Error + Send + Sync>),
    Protocol(ErrorObject),
    /// A capability, by its name and dots.
    Missing(&'static str),
}

/// What a client is told of an error that is none of its business.
const NEUTRAL: &str = "The tool failed. The reason is in the server's log.";

impl ToolError {
    /// A failure with a text for the client.
    #[must_use]
    pub fn new(text: impl fmt::Display) -> Self {
        Self { kind: Kind::Public(text.to_string().into()) }
    }

    /// A failure whose reason is for the log only; for errors that `?` does not take, such as
    /// `anyhow::Error`.
    #[must_use]
    pub fn internal(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind: Kind::Internal(reason.into()) }
    }

    /// The text for the client, or the JSON-RPC error. What is internal goes to the log here.
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

    /// As a JSON-RPC error, for calls that have no other form of failure.
    pub(crate) fn into_error(self, version: ProtocolVersion) -> ErrorObject {
        let internal = matches!(self.kind, Kind::Internal(_));
        match self.publish(version) {
            Ok(_) if internal => ErrorObject::internal(),
            Ok(text) => ErrorObject::new(ErrorObject::INTERNAL_ERROR, text),
            Err(error) => error,
        }
    }
}

/// `elicitation.url` is `{"elicitation": {"url": {}}}`.
fn missing(capability: &str) -> ErrorObject {
    let required = capability.rsplit('.').fold(json!({}), |inner, name| json!({ name: inner }));
    ErrorObject::missing_capability(&required)
}

fn log(reason: &(dyn Error + Send + Sync + 'static)) {
    tracing::error!(error = reason as &(dyn Error + 'static), "an MCP handler failed");
}

impl<E: Error + Send + Sync + 'static> From<E> for ToolError {
    fn from(error: E) -> Self {
        let any = &error as &dyn Any;
        let kind = if let Some(error) = any.downcast_ref::<ErrorObject>() {
            Kind::Protocol(error.clone())
        } else if let Some(error) = any.downcast_ref::<ClientError>() {
            match error {
                ClientError::NotCapable(capability) => Kind::Missing(capability),
                _ => Kind::Public(error.to_string().into()),
            }
        } else {
            Kind::Internal(Box::new(error))
        };
        Self { kind }
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

/// What may stand on the error side of a handler's `Result`.
///
/// `String` and `&'static str` are texts for the client; a [`ToolError`] is what it was made of;
/// an [`ErrorObject`] is the call's JSON-RPC error. Other errors come in through [`ToolError`] and
/// `?`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of an MCP handler",
    label = "not an error a client may see",
    note = "use `Result<_, ToolError>`: any error then passes with `?`, its text goes to the log only; \
            `ToolError::new(..)` gives the client a text",
    note = "`anyhow` and boxed errors pass by `.map_err(ToolError::internal)`"
)]
pub trait IntoToolError {
    /// Makes the failure.
    fn into_tool_error(self) -> ToolError;
}

impl IntoToolError for ToolError {
    fn into_tool_error(self) -> ToolError {
        self
    }
}

impl IntoToolError for String {
    fn into_tool_error(self) -> ToolError {
        ToolError { kind: Kind::Public(self.into()) }
    }
}

impl IntoToolError for &'static str {
    fn into_tool_error(self) -> ToolError {
        ToolError { kind: Kind::Public(self.into()) }
    }
}

impl IntoToolError for ErrorObject {
    fn into_tool_error(self) -> ToolError {
        ToolError { kind: Kind::Protocol(self) }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn told(error: impl Into<ToolError>) -> String {
        error
            .into()
            .publish(ProtocolVersion::NEWEST_SESSION)
            .map(Cow::into_owned)
            .unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn an_error_that_came_by_question_mark_does_not_reach_the_client() {
        assert_eq!(told(io::Error::other("password=secret")), NEUTRAL);
        assert_eq!(
            ToolError::from(io::Error::other("secret")).into_error(ProtocolVersion::V2026_07_28).message,
            "Internal error"
        );
    }

    #[test]
    fn errors_that_are_made_for_clients_reach_them() {
        assert_eq!(told(ToolError::new("too large")), "too large");
        assert_eq!(told(ErrorObject::invalid_params("no")), "no (-32602)");
        assert_eq!(told(ClientError::NotCapable("roots")), "the client does not support roots");
    }

    #[test]
    fn a_missing_capability_is_an_error_of_the_protocol_since_the_stateless_revision() {
        let error = ToolError::from(ClientError::NotCapable("elicitation.url"));
        let error = error.publish(ProtocolVersion::V2026_07_28).unwrap_err();
        assert_eq!(error.code, ErrorObject::MISSING_CAPABILITY);
        assert_eq!(error.data.unwrap().as_str(), r#"{"requiredCapabilities":{"elicitation":{"url":{}}}}"#);
    }
}
