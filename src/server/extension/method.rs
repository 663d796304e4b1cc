//! Method: a method or notification of a server's own, its handler, and what handlers return.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::names;
use crate::error::ConfigError;
use crate::identity::Scopes;
use crate::message::{ErrorObject, ProtocolVersion, RawJson};
use crate::server::catalog::{Item, Rendered};
use crate::server::handler::{ArgumentRejection, Arguments, Erased, Handler};
use crate::server::{Context, IntoToolError, ResultForm};

/// A method of the server's own.
pub(crate) struct Method<S> {
    pub(crate) name: Arc<str>,
    /// The extension that a client must declare.
    extension: Option<Arc<str>>,
    /// The reason why it cannot be registered.
    problem: Option<String>,
    scopes: Scopes,
    pub(crate) run: Erased<S, RawJson>,
}

/// A notification of the server's own, which has no result.
pub(crate) struct Notice<S>(pub(crate) Method<S>);

impl<S> Method<S> {
    pub(crate) fn new<H, M>(name: String, handler: H) -> Self
    where
        H: Handler<S, M>,
        H::Output: IntoMethodResult + Send,
        S: Send + Sync + 'static,
        M: 'static,
    {
        Self::of_handler::<H, M>(name, Erased::of(handler, answer::<H::Output>))
    }

    pub(crate) fn notice<H, M>(name: String, handler: H) -> Self
    where
        H: Handler<S, M, Output = ()>,
        S: Send + Sync + 'static,
        M: 'static,
    {
        Self::of_handler::<H, M>(name, Erased::of(handler, answer::<H::Output>))
    }

    fn of_handler<H: Handler<S, M>, M>(name: String, run: Erased<S, RawJson>) -> Self {
        let problem = names::check_method(&name)
            .err()
            .or_else(|| H::arguments().err().map(|problem| format!("`{name}`: {problem}")));
        Self { name: Arc::from(name), extension: None, problem, scopes: Scopes::default(), run }
    }

    /// Sets the extension that clients must declare.
    pub(super) fn of(self, extension: Option<Arc<str>>) -> Self {
        Self { extension, ..self }
    }

    /// Checks that the client declared the extension. A client that could not declare anything
    /// passes.
    pub(crate) fn check_client(&self, client: &Context) -> Result<(), ErrorObject> {
        match &self.extension {
            Some(id) if client.client_capabilities().is_some_and(|known| known.extension(id).is_none()) => {
                Err(ErrorObject::extension_not_declared(id))
            }
            _ => Ok(()),
        }
    }
}

impl<S: Clone + Send + Sync + 'static> Method<S> {
    pub(crate) fn with_state<S2: 'static>(&self, state: &S) -> Method<S2> {
        Method {
            name: Arc::clone(&self.name),
            extension: self.extension.clone(),
            problem: self.problem.clone(),
            scopes: self.scopes.clone(),
            run: self.run.bind(state),
        }
    }
}

impl<S: Clone + Send + Sync + 'static> Notice<S> {
    pub(crate) fn with_state<S2: 'static>(&self, state: &S) -> Notice<S2> {
        Notice(self.0.with_state(state))
    }
}

impl<S> Item for Method<S> {
    const LIST: &'static str = "methods";

    fn key(&self) -> &str {
        &self.name
    }

    fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    fn check(&self) -> Result<Rendered, ConfigError> {
        match &self.problem {
            Some(problem) => Err(ConfigError::new("method", problem)),
            // Methods are never listed.
            None => Ok(RawJson::empty_object().into()),
        }
    }
}

impl<S> Item for Notice<S> {
    const LIST: &'static str = "notifications";

    fn key(&self) -> &str {
        self.0.key()
    }

    fn scopes(&self) -> &Scopes {
        self.0.scopes()
    }

    fn check(&self) -> Result<Rendered, ConfigError> {
        self.0.check()
    }
}

/// Returns the arguments of a method: its parameters, without what the protocol adds to them.
pub(crate) fn arguments(params: Option<RawJson>) -> Result<Arguments, ErrorObject> {
    let Some(params) = params else { return Ok(Arguments::Json(None)) };
    let members: Members<'_> =
        params.read_borrowed().map_err(|_| ErrorObject::invalid_params("Invalid params: they are not an object"))?;
    if !members.0.iter().any(|(name, _)| is_of_protocol(name)) {
        return Ok(Arguments::Json(Some(params)));
    }
    let own: Vec<_> = members.0.into_iter().filter(|(name, _)| !is_of_protocol(name)).collect();
    let own = RawJson::from_value(&Members(own)).map_err(|_| ErrorObject::internal())?;
    Ok(Arguments::Json(Some(own)))
}

fn is_of_protocol(name: &str) -> bool {
    matches!(name, "_meta" | "inputResponses" | "requestState")
}

/// The members of an object, in their order.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                #[derive(Deserialize)]
                struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
                let mut members = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

impl Serialize for Members<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// The return type of the handler of a method, see
/// [`McpServer::method`](crate::McpServer::method).
///
/// | result | becomes |
/// |---|---|
/// | `()` | `{}` |
/// | [`axum::Json<T>`](Json) | the value, which must be an object |
/// | [`RawJson`] | itself, which must be an object |
/// | `Result<T, E>` | `T`, or a JSON-RPC error: an [`ErrorObject`] as it is, the text of any other as -32603 |
///
/// A value that is not an object is a mistake of the server: the client receives -32603, and the
/// log has the reason.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a method",
    label = "not a result of a method",
    note = "return `()`, `axum::Json<T>` with `T: Serialize`, `RawJson`, or a `Result` of these with an error that is \
            `ToolError`, `String`, `&'static str` or `ErrorObject`"
)]
pub trait IntoMethodResult {
    /// Converts the value into the `result` of the response.
    ///
    /// # Errors
    ///
    /// A JSON-RPC error in place of the result.
    fn into_method_result(self, version: ProtocolVersion) -> Result<RawJson, ErrorObject>;
}

impl IntoMethodResult for () {
    fn into_method_result(self, _: ProtocolVersion) -> Result<RawJson, ErrorObject> {
        Ok(RawJson::empty_object())
    }
}

impl IntoMethodResult for RawJson {
    fn into_method_result(self, _: ProtocolVersion) -> Result<RawJson, ErrorObject> {
        if self.as_str().trim_start().starts_with('{') {
            return Ok(self);
        }
        tracing::error!("the result of a method is not an object");
        Err(ErrorObject::internal())
    }
}

impl<T: Serialize> IntoMethodResult for Json<T> {
    fn into_method_result(self, version: ProtocolVersion) -> Result<RawJson, ErrorObject> {
        let written = RawJson::from_value(&self.0).map_err(|error| {
            tracing::error!(%error, "the result of a method cannot be written");
            ErrorObject::internal()
        })?;
        written.into_method_result(version)
    }
}

impl<T: IntoMethodResult, E: IntoToolError> IntoMethodResult for Result<T, E> {
    fn into_method_result(self, version: ProtocolVersion) -> Result<RawJson, ErrorObject> {
        self.map_err(|error| error.into_tool_error().into_error(version))?.into_method_result(version)
    }
}

/// Converts the output of a handler.
fn answer<T: IntoMethodResult>(output: Result<T, ArgumentRejection>, form: ResultForm) -> Result<RawJson, ErrorObject> {
    output.map_err(ArgumentRejection::into_error)?.into_method_result(form.version())
}
