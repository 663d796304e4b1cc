//! Decides where each argument of a handler comes from.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;

use super::Args;
use crate::message::{ErrorObject, RawJson, bounded};
use crate::server::tool::Output;
use crate::server::{Context, schema};

/// An argument of a handler, taken from the call.
///
/// Every `FromRequestParts` extractor is one, and so are [`Args`] and [`Context`].
/// Write your own as a `FromRequestParts`: it then works on plain routes too. `M` only keeps the
/// kinds apart and is always inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of an MCP handler with state `{S}`",
    label = "not an extractor",
    note = "an argument is `Args<T>` with `T: Deserialize + JsonSchema`, `Context`, `Session`, or an axum extractor of \
            the request's parts (`State`, `Extension`, `HeaderMap`, ..)",
    note = "extractors of the body (`Json`, `String`, `Bytes`, ..) cannot be used: the body is the JSON-RPC message; take \
            `Args<T>` instead"
)]
pub trait FromCall<S, M>: Sized {
    /// Takes the argument.
    ///
    /// # Errors
    ///
    /// When it cannot be taken; the handler is not called then.
    fn from_call(call: &mut CallParts, state: &S) -> impl Future<Output = Result<Self, Refusal>> + Send;

    /// The schema of the typed arguments, if this is them.
    #[must_use]
    fn arguments() -> Option<Schema> {
        None
    }

    /// Checks the type where a handler that takes it is registered.
    ///
    /// # Errors
    ///
    /// Why the argument could never be taken. Registering the handler fails then.
    fn check() -> Result<(), String> {
        Ok(())
    }
}

/// What a handler's arguments are taken from.
pub struct CallParts {
    pub(crate) parts: Box<Parts>,
    pub(crate) context: Context,
    pub(crate) arguments: Arguments,
    /// What the output schema of a tool says of its result; of no use to others.
    pub(crate) output: Output,
}

/// The arguments of a call before they have a type.
#[derive(Debug)]
pub(crate) enum Arguments {
    /// A JSON object; absent counts as empty.
    Json(Option<RawJson>),
    /// Names with texts: variables of a template, arguments of a prompt.
    Text(Vec<(String, String)>),
    /// An argument that is being completed, last in the list, with those known already.
    Partial(Vec<(String, String)>),
}

impl CallParts {
    pub(crate) fn new(parts: Box<Parts>, context: Context, arguments: Arguments) -> Self {
        Self { parts, context, arguments, output: Output::default() }
    }

    /// The HTTP request that brought the call.
    pub fn parts(&mut self) -> &mut Parts {
        &mut self.parts
    }

    /// The way back to the client.
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

/// Why a handler was not called: one of its arguments could not be taken.
#[derive(Debug)]
pub struct Refusal {
    /// Public text where the client is at fault; nothing where the server is.
    text: Option<Cow<'static, str>>,
}

impl Refusal {
    /// The client is at fault; it gets the text.
    #[must_use]
    pub fn client(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: Some(text.into()) }
    }

    /// The server is at fault; the text goes to the log, and the client learns nothing.
    #[must_use]
    pub fn server(text: impl fmt::Display) -> Self {
        tracing::error!(reason = %text, "an argument of an MCP handler cannot be taken");
        Self { text: None }
    }

    /// The text for the client, where it is at fault.
    pub(crate) fn into_text(self) -> Option<Cow<'static, str>> {
        self.text
    }

    /// As an error of the protocol: `-32602` with the text, or `-32603`.
    pub(crate) fn into_error(self) -> ErrorObject {
        self.text.map_or_else(ErrorObject::internal, ErrorObject::invalid_params)
    }

    /// A refusal of an axum extractor. Its text is for the client when its status says that the
    /// client is at fault.
    async fn from_response(response: Response, extractor: &'static str) -> Self {
        /// What is read of the text at most; what reaches the client is cut shorter.
        const MOST: usize = 4096;
        let status = response.status();
        if !status.is_client_error() {
            return Self::server(format_args!("{extractor} answered {status}"));
        }
        let body = axum::body::to_bytes(response.into_body(), MOST).await.unwrap_or_default();
        match std::str::from_utf8(&body) {
            Ok(text) if !text.is_empty() => Self::client(bounded(text).into_owned()),
            _ => Self::client(status.canonical_reason().unwrap_or("Refused")),
        }
    }
}

/// Names for the kinds of argument. They exist only as types.
mod via {
    #[derive(Debug)]
    pub enum Parts {}
    #[derive(Debug)]
    pub enum Arguments {}
    #[derive(Debug)]
    pub enum Context {}
}

impl<S: Sync, T: FromRequestParts<S>> FromCall<S, via::Parts> for T {
    async fn from_call(call: &mut CallParts, state: &S) -> Result<Self, Refusal> {
        // For extractors that ask for it, such as `Session`; paid for by calls that use one.
        call.parts.extensions.insert(call.context.clone());
        let response = {
            match T::from_request_parts(&mut call.parts, state).await {
                Ok(value) => return Ok(value),
                Err(rejection) => rejection.into_response(),
            }
        };
        Err(Refusal::from_response(response, std::any::type_name::<T>()).await)
    }
}

impl<S: Sync, T: DeserializeOwned + JsonSchema> FromCall<S, via::Arguments> for Args<T> {
    async fn from_call(call: &mut CallParts, _: &S) -> Result<Self, Refusal> {
        call.arguments.read().map(Self).map_err(Refusal::client)
    }

    fn arguments() -> Option<Schema> {
        Some(schema::input::<T>())
    }
}

impl<S: Sync> FromCall<S, via::Context> for Context {
    async fn from_call(call: &mut CallParts, _: &S) -> Result<Self, Refusal> {
        Ok(call.context.clone())
    }
}
