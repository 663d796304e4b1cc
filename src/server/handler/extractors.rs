//! Extractors that are a part of [`Context`]: the request's `_meta`, and a form for the user.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::{ArgumentRejection, CallParts, FromCall};
use crate::message::{bounded, reason};
use crate::server::input::Elicit;
use crate::server::{Context, schema};

/// The request's `_meta`, see [`Context::meta`].
///
/// A `_meta` that does not match the type never reaches the handler; the client receives an error
/// with the reason.
///
/// ```
/// use mcp_http::McpServer;
/// use mcp_http::server::Meta;
///
/// #[derive(serde::Deserialize)]
/// struct Locale {
///     #[serde(default, rename = "com.example/locale")]
///     locale: Option<String>,
/// }
///
/// async fn hello(Meta(meta): Meta<Locale>) -> &'static str {
///     match meta.locale.as_deref() {
///         Some("de") => "Hallo!",
///         _ => "Hello!",
///     }
/// }
///
/// let server: McpServer = McpServer::new("greeter", "1.0.0").tool("hello", "Says hello.", hello);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Meta<T>(pub T);

impl<T> Deref for Meta<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Meta<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// A form for the client's user to fill in. It is [`Context::elicit`] as an argument: a type that
/// is not a flat form is rejected when the handler is registered.
///
/// ```
/// use mcp_http::McpServer;
/// use mcp_http::server::{Elicited, Form, ToolError};
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Confirm {
///     /// Delete the file for good?
///     sure: bool,
/// }
///
/// async fn delete(confirm: Form<Confirm>) -> Result<&'static str, ToolError> {
///     match confirm.elicit("This cannot be undone.").await? {
///         Elicited::Accept(Confirm { sure: true }) => Ok("deleted"),
///         _ => Ok("kept"),
///     }
/// }
///
/// let server: McpServer = McpServer::new("files", "1.0.0").tool("delete", "Deletes.", delete);
/// ```
pub struct Form<T> {
    context: Context,
    form: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned + JsonSchema> Form<T> {
    /// Requests the form from the user, see [`Context::elicit`].
    ///
    /// # Errors
    ///
    /// The same as [`Context::elicit`].
    ///
    /// # Cancel safety
    ///
    /// The same as [`Context::elicit`].
    pub fn elicit(&self, message: impl Into<String>) -> Elicit<T> {
        self.context.elicit(message)
    }
}

impl<T> Clone for Form<T> {
    fn clone(&self) -> Self {
        Self { context: self.context.clone(), form: PhantomData }
    }
}

impl<T> fmt::Debug for Form<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Form")
    }
}

/// Markers for the kinds of argument at the type level.
mod via {
    #[derive(Debug)]
    pub enum Meta {}
    #[derive(Debug)]
    pub enum Form {}
}

impl<S: Sync, T: DeserializeOwned> FromCall<S, via::Meta> for Meta<T> {
    async fn from_call(call: &mut CallParts, _: &S) -> Result<Self, ArgumentRejection> {
        let read = call.context.meta().map(Self);
        read.map_err(|error| ArgumentRejection::client(format!("Invalid `_meta`: {}", bounded(&reason(&error)))))
    }
}

impl<S: Sync, T: DeserializeOwned + JsonSchema> FromCall<S, via::Form> for Form<T> {
    async fn from_call(call: &mut CallParts, _: &S) -> Result<Self, ArgumentRejection> {
        Ok(Self { context: call.context.clone(), form: PhantomData })
    }

    fn check() -> Result<(), String> {
        schema::form::<T>().map(drop)
    }
}
