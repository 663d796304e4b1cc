//! Extending: the methods of [`McpServer`] that register extensions and methods, and the calls of
//! these.

use std::sync::Arc;

use http::request::Parts;
use serde::Serialize;

use super::McpServer;
use super::dispatch::CallResult;
use crate::error::ConfigError;
use crate::message::{ErrorObject, RawJson, bounded};
use crate::server::catalog::{Edit, Op};
use crate::server::extension::{self, Declaration, Method, Notice};
use crate::server::handler::{CallParts, Handler};
use crate::server::{Context, IntoMethodResult, Notification, ProtocolExtension};

impl<S: Send + Sync + 'static> McpServer<S> {
    /// Declares an extension of the protocol with its settings, an object. It appears in the
    /// capabilities of both eras. An extension with methods is built as a [`ProtocolExtension`].
    ///
    /// ```
    /// use mcp_http::McpServer;
    /// use serde_json::json;
    ///
    /// let server: McpServer = McpServer::new("weather", "1.0.0")
    ///     .extension("com.example/weather", json!({"units": ["celsius"]}));
    /// ```
    ///
    /// # Panics
    ///
    /// If the identifier is already declared or not allowed, see [`ProtocolExtension::new`], or if
    /// the settings are not an object.
    #[must_use]
    #[track_caller]
    pub fn extension(self, id: impl Into<String>, settings: impl Serialize) -> Self {
        self.with_extension(ProtocolExtension::new(id).settings(settings))
    }

    /// Declares an extension of the protocol and registers its methods and notifications.
    ///
    /// # Panics
    ///
    /// The same as [`McpServer::extension`], and for its methods the same as [`McpServer::method`].
    #[must_use]
    #[track_caller]
    pub fn with_extension(mut self, extension: ProtocolExtension<S>) -> Self {
        let result = self.extend(extension);
        self.registered(result)
    }

    /// Registers a method of the server's own, which belongs to no extension: every client may call
    /// it. Its name begins with a domain of yours, such as `com.example/forecast`.
    ///
    /// The handler takes what the handler of a tool takes; [`Args`](crate::Args) are the
    /// parameters. Its result is described in [`IntoMethodResult`].
    ///
    /// ```
    /// use axum::Json;
    /// use mcp_http::{Args, McpServer};
    /// use serde_json::{Value, json};
    ///
    /// #[derive(serde::Deserialize, schemars::JsonSchema)]
    /// struct Place {
    ///     city: String,
    /// }
    ///
    /// async fn forecast(Args(place): Args<Place>) -> Json<Value> {
    ///     Json(json!({"city": place.city, "sky": "clear"}))
    /// }
    ///
    /// let server: McpServer =
    ///     McpServer::new("weather", "1.0.0").method("com.example/forecast", forecast);
    /// ```
    ///
    /// # Panics
    ///
    /// If the name is already registered, has no vendor, or is reserved by the specification.
    #[must_use]
    #[track_caller]
    pub fn method<H, M>(self, name: impl Into<String>, handler: H) -> Self
    where
        H: Handler<S, M>,
        H::Output: IntoMethodResult + Send,
        M: 'static,
    {
        self.register(Edit::Method(Op::Add(Method::new(name.into(), handler))))
    }

    /// Registers a handler for a notification of clients that belongs to no extension, such as
    /// `notifications/com.example/moved`. Only clients of the session revisions send notifications
    /// over HTTP. An argument that cannot be extracted drops the notification, with a line in the
    /// log.
    ///
    /// # Panics
    ///
    /// The same as [`McpServer::method`].
    #[must_use]
    #[track_caller]
    pub fn on_notification<H, M>(self, name: impl Into<String>, handler: H) -> Self
    where
        H: Handler<S, M, Output = ()>,
        M: 'static,
    {
        self.register(Edit::Notice(Op::Add(Notice(Method::notice(name.into(), handler)))))
    }

    fn extend(&mut self, extension: ProtocolExtension<S>) -> Result<(), ConfigError> {
        let Declaration { id, settings, edits } = extension.declare()?;
        let known = &mut Arc::make_mut(&mut self.facts).extensions;
        if known.insert(Arc::clone(&id), settings).is_some() {
            return Err(ConfigError::new("extension", format!("{id:?} is registered twice")));
        }
        edits.into_iter().try_for_each(|edit| self.store.edit(edit).map(drop))
    }

    /// Answers a method of the server's own.
    pub(super) async fn call_method(
        &self,
        method: &str,
        params: Option<RawJson>,
        parts: Box<Parts>,
        context: Context,
        state: &S,
    ) -> CallResult {
        let Some(method) = self.store.tables().methods.get(method).cloned() else {
            return Err(ErrorObject::method_not_found(&bounded(method)));
        };
        method.check_client(&context)?;
        let arguments = extension::arguments(params)?;
        method.run.run(CallParts::new(parts, context.of(&method.name), arguments), state).await
    }

    /// Passes a notification to its handler, if there is one.
    pub(super) async fn notify(&self, notification: Notification, state: &S) {
        let Notification { method, params, parts, context } = notification;
        let Some(notice) = self.store.tables().notices.get(&method).cloned() else { return };
        let method = &notice.0;
        let run = async {
            method.check_client(&context)?;
            let arguments = extension::arguments(params)?;
            method.run.run(CallParts::new(parts, context.clone().of(&method.name), arguments), state).await
        };
        if let Err(error) = run.await {
            tracing::debug!(%error, name = &*method.name, "a notification was dropped");
        }
    }
}
