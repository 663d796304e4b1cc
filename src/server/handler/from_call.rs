//! Extraction: takes each argument of a handler from the call.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;

use super::arguments::{Args, Arguments};
use crate::identity::InsufficientScope;
use crate::message::{ErrorObject, bounded};
use crate::server::tool::Output;
use crate::server::{Context, schema};

/// An argument of a handler, extracted from the call.
///
/// Every `FromRequestParts` extractor implements it, and so do [`Args`], [`Context`],
/// [`Meta`](super::Meta) and [`Form`](super::Form). The trait is sealed: write your own extractor as
/// a `FromRequestParts`, which also works on ordinary routes. `M` only separates the kinds of
/// argument and is always inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of an MCP handler with state `{S}`",
    label = "not an extractor",
    note = "an argument is `Args<T>` with `T: Deserialize + JsonSchema`, `Context`, `Session`, or an axum extractor of \
            the request's parts (`State`, `Extension`, `HeaderMap`, ..)",
    note = "extractors of the body (`Json`, `String`, `Bytes`, ..) cannot be used: the body is the JSON-RPC message; take \
            `Args<T>` instead"
)]
pub trait FromCall<S, M>: Sized {
    // The type of the parameter has no public name, which seals the trait.
    /// Extracts the argument.
    ///
    /// # Errors
    ///
    /// If the argument cannot be extracted; the handler is then not called.
    #[doc(hidden)]
    fn from_call(call: &mut CallParts, state: &S) -> impl Future<Output = Result<Self, ArgumentRejection>> + Send;

    /// Returns the schema of the typed arguments, if this argument is [`Args`].
    #[doc(hidden)]
    #[must_use]
    fn arguments() -> Option<Schema> {
        None
    }

    /// Checks the type when a handler with this argument is registered.
    ///
    /// # Errors
    ///
    /// The reason why the argument can never be extracted. Registering the handler then fails.
    #[doc(hidden)]
    fn check() -> Result<(), String> {
        Ok(())
    }
}

/// The parts of a call from which arguments are extracted.
pub struct CallParts {
    pub(crate) parts: Box<Parts>,
    pub(crate) context: Context,
    pub(crate) arguments: Arguments,
    /// The relevant facts of a tool's output schema; unused for other handlers.
    pub(crate) output: Output,
}

impl CallParts {
    pub(crate) fn new(parts: Box<Parts>, context: Context, arguments: Arguments) -> Self {
        Self { parts, context, arguments, output: Output::default() }
    }

    /// Returns the head of the HTTP request that carried the call.
    pub fn parts(&mut self) -> &mut Parts {
        &mut self.parts
    }

    /// Returns the access to the client.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }
}

impl fmt::Debug for CallParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallParts").field("uri", &self.parts.uri).finish_non_exhaustive()
    }
}

/// The reason why a handler was not called: one of its arguments could not be extracted.
#[derive(Debug)]
pub struct ArgumentRejection {
    /// The text for the client if it made the mistake; `None` for a mistake of the server.
    text: Option<Cow<'static, str>>,
    /// Set if the access token of the request lacks scopes.
    scopes: Option<InsufficientScope>,
}

impl ArgumentRejection {
    /// Makes a refusal for a mistake of the client, which receives the text.
    #[must_use]
    pub fn client(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: Some(text.into()), scopes: None }
    }

    /// Makes a refusal for a mistake of the server. The text is logged, and the client does not see
    /// it.
    #[must_use]
    pub fn server(text: impl fmt::Display) -> Self {
        tracing::error!(reason = %text, "an argument of an MCP handler cannot be extracted");
        Self { text: None, scopes: None }
    }

    /// Returns the text for the client, if it made the mistake.
    pub(crate) fn into_text(self) -> Option<Cow<'static, str>> {
        self.text
    }

    /// Returns the scopes that the access token of the request lacks, if that is the reason.
    pub(crate) fn scopes(&self) -> Option<&InsufficientScope> {
        self.scopes.as_ref()
    }

    /// Converts into a JSON-RPC error: `-32602` with the text, or `-32603`.
    pub(crate) fn into_error(self) -> ErrorObject {
        match self.scopes {
            Some(scopes) => scopes.into(),
            None => self.text.map_or_else(ErrorObject::internal, ErrorObject::invalid_params),
        }
    }

    /// Converts the rejection of an axum extractor. Its text is for the client if its status is a
    /// client error.
    async fn from_response(response: Response, extractor: &'static str) -> Self {
        /// The most bytes of the text that are read. Less of it reaches the client.
        const MAX_TEXT: usize = 4096;
        if let Some(scopes) = response.extensions().get::<InsufficientScope>() {
            return Self { text: None, scopes: Some(scopes.clone()) };
        }
        let status = response.status();
        if !status.is_client_error() {
            return Self::server(format_args!("{extractor} answered {status}"));
        }
        let body = axum::body::to_bytes(response.into_body(), MAX_TEXT).await.unwrap_or_default();
        match std::str::from_utf8(&body) {
            Ok(text) if !text.is_empty() => Self::client(bounded(text).into_owned()),
            _ => Self::client(status.canonical_reason().unwrap_or("Rejected")),
        }
    }
}

/// Markers for the kinds of argument at the type level.
mod via {
    #[derive(Debug)]
    pub enum Parts {}
    #[derive(Debug)]
    pub enum Arguments {}
    #[derive(Debug)]
    pub enum Context {}
}

impl<S: Sync, T: FromRequestParts<S>> FromCall<S, via::Parts> for T {
    async fn from_call(call: &mut CallParts, state: &S) -> Result<Self, ArgumentRejection> {
        // For extractors such as `Session` that need it. Only calls that use an extractor pay for
        // it.
        call.parts.extensions.insert(call.context.clone());
        let response = {
            match T::from_request_parts(&mut call.parts, state).await {
                Ok(value) => return Ok(value),
                Err(rejection) => rejection.into_response(),
            }
        };
        Err(ArgumentRejection::from_response(response, std::any::type_name::<T>()).await)
    }
}

impl<S: Sync, T: DeserializeOwned + JsonSchema> FromCall<S, via::Arguments> for Args<T> {
    async fn from_call(call: &mut CallParts, _: &S) -> Result<Self, ArgumentRejection> {
        call.arguments.read().map(Self).map_err(ArgumentRejection::client)
    }

    fn arguments() -> Option<Schema> {
        Some(schema::input::<T>())
    }
}

impl<S: Sync> FromCall<S, via::Context> for Context {
    async fn from_call(call: &mut CallParts, _: &S) -> Result<Self, ArgumentRejection> {
        Ok(call.context.clone())
    }
}
