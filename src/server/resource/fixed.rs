//! Resource: the definition of a resource with a fixed URI, and its handler.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Serialize;

use super::pattern::has_scheme;
use crate::error::ConfigError;
use crate::identity::Scopes;
use crate::message::{ErrorObject, RawJson, canonical};
use crate::server::catalog::{Item, Rendered};
use crate::server::content::Shown;
use crate::server::handler::{ArgumentRejection, Erased, Handler};
use crate::server::setters::{item_setters, resource_setters};
use crate::server::{Annotations, CacheHint, IntoResourceContents, ResourceContents, ResultForm};

/// The output of a resource handler.
pub(crate) struct Contents {
    /// Empty if the resource does not exist.
    pub(crate) parts: Vec<ResourceContents>,
    /// The cache hint, if the handler returned one.
    pub(crate) cache: Option<CacheHint>,
}

/// A resource with a fixed URI and a handler that reads it.
///
/// URIs are compared by the equivalence of RFC 3986: a client may write `docs://über` or
/// `docs://%C3%BCber`, and `%7E` or `~`.
///
/// ```
/// use mcp_http::McpServer;
/// use mcp_http::server::Resource;
///
/// async fn readme() -> &'static str {
///     "# Read me"
/// }
///
/// let resource = Resource::new("docs://readme", "readme", readme).mime_type("text/markdown");
/// let server: McpServer = McpServer::new("docs", "1.0.0").with_resource(resource);
/// ```
#[derive(Debug)]
pub struct Resource<S = ()> {
    facts: Facts,
    pub(crate) name: Arc<str>,
    /// The canonical URI, for comparison.
    key: Box<str>,
    /// The reason why it cannot be registered.
    problem: Option<String>,
    /// The scopes that a request needs.
    pub(crate) scopes: Scopes,
    /// How long clients may cache the contents.
    pub(crate) cache: CacheHint,
    pub(crate) run: Erased<S, Contents>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Facts {
    uri: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Annotations>,
    #[serde(flatten)]
    shown: Shown,
}

item_setters!(Resource);
resource_setters!(Resource);

impl<S> Resource<S> {
    /// Makes a resource. The URI needs a scheme; otherwise registering the resource fails.
    #[must_use]
    pub fn new<H, M>(uri: impl Into<String>, name: impl Into<String>, handler: H) -> Self
    where
        H: Handler<S, M>,
        H::Output: IntoResourceContents + Send,
        S: Send + Sync + 'static,
        M: 'static,
    {
        let (uri, name) = (uri.into(), name.into());
        let (key, shared) = (canonical(&uri).into(), Arc::from(name.as_str()));
        let facts = Facts {
            uri,
            name,
            description: None,
            mime_type: None,
            size: None,
            annotations: None,
            shown: Shown::default(),
        };
        let problem = H::arguments().err();
        Self {
            facts,
            name: shared,
            key,
            problem,
            scopes: Scopes::default(),
            cache: CacheHint::default(),
            run: Erased::of(handler, contents::<H::Output>),
        }
    }

    /// Sets the size in bytes, before any encoding.
    #[must_use]
    pub fn size(mut self, size: u64) -> Self {
        self.facts.size = Some(size);
        self
    }

    pub(crate) fn media_type(&self) -> Option<&str> {
        self.facts.mime_type.as_deref()
    }
}

impl<S: Clone + Send + Sync + 'static> Resource<S> {
    /// Binds the state, so that the resource fits a server of any state.
    #[must_use]
    pub fn with_state<S2: 'static>(&self, state: &S) -> Resource<S2> {
        Resource {
            facts: self.facts.clone(),
            name: Arc::clone(&self.name),
            key: self.key.clone(),
            problem: self.problem.clone(),
            scopes: self.scopes.clone(),
            cache: self.cache,
            run: self.run.bind(state),
        }
    }
}

impl<S> Item for Resource<S> {
    const LIST: &'static str = "resources";

    fn key(&self) -> &str {
        &self.key
    }

    fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    fn check(&self) -> Result<Rendered, ConfigError> {
        if !has_scheme(&self.facts.uri) {
            return Err(ConfigError::new("resource", format!("{:?} is not a URI with a scheme", self.facts.uri)));
        }
        if let Some(problem) = &self.problem {
            return Err(ConfigError::new("resource", format!("`{}`: {problem}", self.facts.uri)));
        }
        let mut facts = Cow::Borrowed(&self.facts);
        if !facts.uri.is_ascii() {
            // The schema requires a URI (RFC 3986), and clients repeat it in a header.
            facts.to_mut().uri = self.key.to_string();
        }
        RawJson::from_value(&*facts)
            .map(Rendered::from)
            .map_err(|error| ConfigError::new("resource", error.to_string()))
    }
}

/// Converts the output of a resource handler.
pub(super) fn contents<T: IntoResourceContents>(
    output: Result<T, ArgumentRejection>,
    form: ResultForm,
) -> Result<Contents, ErrorObject> {
    let output = output.map_err(ArgumentRejection::into_error)?;
    let cache = output.cache_hint();
    let parts = output.into_resource_contents().map_err(|error| error.into_error(form.version()))?;
    Ok(Contents { parts, cache })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_starts_with_a_scheme() {
        for good in ["a:b", "test://x/y", "urn:isbn:1", "x+y-1.z:"] {
            assert!(has_scheme(good), "{good}");
        }
        for bad in ["", "a", "/a:b", "1a:b", "a b:c", "a:b c", ":a"] {
            assert!(!has_scheme(bad), "{bad}");
        }
    }
}
