//! ProtocolExtension: an extension of the protocol that a server declares, with its methods.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::names;
use super::{IntoMethodResult, Method, Notice};
use crate::error::ConfigError;
use crate::message::RawJson;
use crate::server::catalog::{Edit, Op};
use crate::server::handler::Handler;

/// An extension of the protocol, declared under its identifier in the capabilities of both eras
/// (`extensions`), with its own methods and notifications.
///
/// Its methods are served only to clients that declare the extension, too. Others receive the error
/// -32021, and `requiredCapabilities` names the extension. [`Context::client_extension`] returns
/// the settings that the client declared.
///
/// Clients of a service without sessions declare nothing in the session revisions. There a client
/// that calls a method counts as one that supports it.
///
/// [`Context::client_extension`]: crate::Context::client_extension
///
/// ```
/// use axum::Json;
/// use mcp_http::server::ProtocolExtension;
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
/// let weather = ProtocolExtension::new("com.example/weather")
///     .settings(json!({"units": ["celsius"]}))
///     .method("com.example/weather/forecast", forecast);
/// let server: McpServer = McpServer::new("weather", "1.0.0").with_extension(weather);
/// ```
pub struct ProtocolExtension<S = ()> {
    id: Arc<str>,
    settings: Result<RawJson, String>,
    is_required: bool,
    methods: Vec<Method<S>>,
    notices: Vec<Notice<S>>,
}

/// What a server registers for an extension.
pub(crate) struct Declaration<S> {
    pub(crate) id: Arc<str>,
    pub(crate) settings: RawJson,
    /// The edits that register its methods and notifications.
    pub(crate) edits: Vec<Edit<S>>,
}

impl<S> ProtocolExtension<S> {
    /// Makes an extension without settings and methods. The identifier begins with a domain of its
    /// author, such as `com.example/weather`. Registering fails if it has another form, if its
    /// prefix is reserved, or if this crate declares the extension itself.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: Arc::from(id.into()),
            settings: Ok(RawJson::empty_object()),
            is_required: true,
            methods: Vec::new(),
            notices: Vec::new(),
        }
    }

    /// Sets the settings that clients see: an object, as the extension defines it. Default: `{}`.
    /// Registering fails if it is not an object.
    #[must_use]
    pub fn settings(mut self, settings: impl Serialize) -> Self {
        self.settings = match RawJson::from_value(&settings) {
            Ok(settings) if settings.as_str().starts_with('{') => Ok(settings),
            Ok(_) => Err("its settings are not an object".into()),
            Err(error) => Err(format!("its settings cannot be written: {error}")),
        };
        self
    }

    /// Serves its methods to clients that do not declare it, too. For extensions that only servers
    /// declare. Default: clients must declare it.
    #[must_use]
    pub fn without_client_declaration(mut self) -> Self {
        self.is_required = false;
        self
    }

    /// Adds a method. The handler takes what a tool's handler takes; [`Args`](crate::Args)
    /// are the parameters. Its result is described in [`IntoMethodResult`].
    #[must_use]
    pub fn method<H, M>(mut self, name: impl Into<String>, handler: H) -> Self
    where
        H: Handler<S, M>,
        H::Output: IntoMethodResult + Send,
        S: Send + Sync + 'static,
        M: 'static,
    {
        self.methods.push(Method::new(name.into(), handler));
        self
    }

    /// Adds a handler for a notification of clients. Only clients of the session revisions send
    /// notifications over HTTP.
    #[must_use]
    pub fn on_notification<H, M>(mut self, name: impl Into<String>, handler: H) -> Self
    where
        H: Handler<S, M, Output = ()>,
        S: Send + Sync + 'static,
        M: 'static,
    {
        self.notices.push(Notice(Method::notice(name.into(), handler)));
        self
    }

    /// Checks it, and returns what a server registers.
    pub(crate) fn declare(self) -> Result<Declaration<S>, ConfigError> {
        let Self { id, settings, is_required, methods, notices } = self;
        names::check_extension(&id).map_err(|why| ConfigError::new("extension", why))?;
        let settings = settings.map_err(|why| ConfigError::new("extension", format!("{id:?}: {why}")))?;
        let of = is_required.then(|| Arc::clone(&id));
        let methods = methods.into_iter().map(|method| Edit::Method(Op::Add(method.of(of.clone()))));
        let notices = notices.into_iter().map(|Notice(method)| Edit::Notice(Op::Add(Notice(method.of(of.clone())))));
        Ok(Declaration { id, settings, edits: methods.chain(notices).collect() })
    }
}

impl<S> fmt::Debug for ProtocolExtension<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtocolExtension").field("id", &self.id).finish_non_exhaustive()
    }
}
