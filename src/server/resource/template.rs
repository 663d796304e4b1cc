//! Resource templates: resources that share a URI template, and their handler.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use super::fixed::contents;
use super::{Contents, Pattern};
use crate::error::ConfigError;
use crate::identity::Scopes;
use crate::message::RawJson;
use crate::server::catalog::{Item, Rendered};
use crate::server::completion::{Completers, Completion, IntoCompletion, complete};
use crate::server::content::Shown;
use crate::server::handler::{Erased, Handler};
use crate::server::setters::{item_setters, resource_setters};
use crate::server::{Annotations, CacheHint, IntoResourceContents};

/// Resources that share a URI template, with one handler that reads all of them.
///
/// `{id}` matches one segment, `{+rest}` (or `{*rest}`, as in axum's routes) everything to the end.
/// The handler takes the variables, percent-decoded, as typed [`Args`](crate::Args). It
/// returns `None` if the resource does not exist.
///
/// A decoded value may contain anything, including `/` and `..`: check it before it becomes part of
/// a path.
///
/// ```
/// use axum::Json;
/// use mcp_http::{Args, McpServer};
/// use mcp_http::server::ResourceTemplate;
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct User {
///     id: u64,
/// }
///
/// async fn profile(Args(user): Args<User>) -> Option<Json<u64>> {
///     (user.id < 100).then_some(Json(user.id))
/// }
///
/// async fn ids() -> Vec<String> {
///     vec!["1".into(), "2".into()]
/// }
///
/// let template =
///     ResourceTemplate::new("users://{id}/profile", "profile", profile).complete("id", ids);
/// let server: McpServer = McpServer::new("users", "1.0.0").with_resource_template(template);
/// ```
#[derive(Debug)]
pub struct ResourceTemplate<S = ()> {
    facts: Facts,
    pub(crate) name: Arc<str>,
    pattern: Result<Pattern, ConfigError>,
    /// The reason why it cannot be registered.
    problem: Option<String>,
    /// The scopes that a request needs.
    pub(crate) scopes: Scopes,
    /// How long clients may cache the contents.
    pub(crate) cache: CacheHint,
    pub(crate) completers: Completers<S>,
    pub(crate) run: Erased<S, Contents>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Facts {
    uri_template: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Annotations>,
    #[serde(flatten)]
    shown: Shown,
}

item_setters!(ResourceTemplate);
resource_setters!(ResourceTemplate);

impl<S> ResourceTemplate<S> {
    /// Makes a template. If it cannot be parsed, registering it fails.
    #[must_use]
    pub fn new<H, M>(uri_template: impl Into<String>, name: impl Into<String>, handler: H) -> Self
    where
        H: Handler<S, M>,
        H::Output: IntoResourceContents + Send,
        S: Send + Sync + 'static,
        M: 'static,
    {
        let written = uri_template.into();
        let pattern = Pattern::parse(&written);
        let problem = H::arguments().err();
        let name = name.into();
        let shared = Arc::from(name.as_str());
        let facts = Facts {
            uri_template: pattern.as_ref().map_or(written, |pattern| pattern.public.clone()),
            name,
            description: None,
            mime_type: None,
            annotations: None,
            shown: Shown::default(),
        };
        let run = Erased::of(handler, contents::<H::Output>);
        let (scopes, cache) = (Scopes::default(), CacheHint::default());
        Self { facts, name: shared, pattern, problem, scopes, cache, completers: HashMap::new(), run }
    }

    /// Sets the handler that proposes values for a variable, see
    /// [`CompletionRequest`](crate::server::CompletionRequest). If the template has no such
    /// variable, registering it fails.
    #[must_use]
    pub fn complete<H, M>(mut self, variable: impl Into<String>, handler: H) -> Self
    where
        H: Handler<S, M>,
        H::Output: IntoCompletion + Send,
        S: Send + Sync + 'static,
        M: 'static,
    {
        self.problem = self.problem.or(H::arguments().err());
        let run: Erased<S, Completion> = Erased::of(handler, complete::<H::Output>);
        self.completers.insert(variable.into(), run);
        self
    }

    pub(crate) fn media_type(&self) -> Option<&str> {
        self.facts.mime_type.as_deref()
    }

    pub(crate) fn route(&self) -> Result<&str, ConfigError> {
        self.pattern.as_ref().map(|pattern| pattern.route.as_str()).map_err(Clone::clone)
    }
}

impl<S: Clone + Send + Sync + 'static> ResourceTemplate<S> {
    /// Binds the state, so that the template fits a server of any state.
    #[must_use]
    pub fn with_state<S2: 'static>(&self, state: &S) -> ResourceTemplate<S2> {
        let completers = self.completers.iter().map(|(name, run)| (name.clone(), run.bind(state))).collect();
        ResourceTemplate {
            facts: self.facts.clone(),
            name: Arc::clone(&self.name),
            pattern: self.pattern.clone(),
            problem: self.problem.clone(),
            scopes: self.scopes.clone(),
            cache: self.cache,
            completers,
            run: self.run.bind(state),
        }
    }
}

impl<S> Item for ResourceTemplate<S> {
    const LIST: &'static str = "resourceTemplates";

    fn key(&self) -> &str {
        &self.facts.uri_template
    }

    fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    fn check(&self) -> Result<Rendered, ConfigError> {
        let pattern = self.pattern.as_ref().map_err(Clone::clone)?;
        if let Some(name) = self.completers.keys().find(|name| !pattern.variables.contains(name)) {
            let why = format!("`{}` has no variable `{name}` to complete", self.facts.uri_template);
            return Err(ConfigError::new("resource_template", why));
        }
        if let Some(problem) = &self.problem {
            return Err(ConfigError::new("resource_template", format!("`{}`: {problem}", self.facts.uri_template)));
        }
        RawJson::from_value(&self.facts)
            .map(Rendered::from)
            .map_err(|error| ConfigError::new("resource_template", error.to_string()))
    }
}
