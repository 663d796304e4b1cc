//! The builder of a resource server: collects the settings and checks them all at once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::authenticator::{Accepts, Authenticator};
use super::challenge::Challenges;
use super::metadata::{Document, METHODS, of_resource};
use super::remembered::Remembered;
use super::resource::{Resource, secure};
use super::server::ResourceServer;
use super::verifier::{ErasedVerifier, TokenVerifier};
use crate::clock::WallClock;
use crate::encode::Drains;
use crate::error::ConfigError;
use crate::identity::{AccessToken, Implies, Scopes};

/// The default of `max_token_bytes`. HTTP servers and proxies usually accept 8 to 16 KiB of headers,
/// so a longer token fails elsewhere.
const MAX_TOKEN_BYTES: usize = 16 << 10;

/// The default of `max_remembered`. A usual token takes 2 to 4 KiB with its claims, so this is 40
/// MiB at most.
const MAX_REMEMBERED: usize = 10_000;

/// The default of `remember_for`: a key that the authorization server withdraws is in use no longer
/// than that.
const REMEMBER_FOR: Duration = Duration::from_secs(60 * 60);

/// The settings of a [`ResourceServer`], from [`ResourceServer::builder`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct ResourceServerBuilder {
    resource: String,
    authorization_servers: Vec<String>,
    scopes_supported: Scopes,
    required_scopes: Scopes,
    audiences: Vec<String>,
    name: Option<String>,
    documentation: Option<String>,
    root_metadata: bool,
    max_token_bytes: usize,
    max_remembered: usize,
    remember_for: Duration,
    implies: Option<Implies>,
    accepts: Option<Accepts>,
    verifiers: Vec<Arc<dyn ErasedVerifier>>,
}

impl ResourceServer {
    /// Returns a builder. `resource` is the canonical URL of the MCP endpoint, as clients use it:
    /// `https://mcp.example.com/mcp`. Tokens must have it in their audience (RFC 8707). It may be
    /// `http` on a loopback name, for development.
    pub fn builder(resource: impl Into<String>) -> ResourceServerBuilder {
        ResourceServerBuilder::new(resource.into())
    }
}

impl ResourceServerBuilder {
    fn new(resource: String) -> Self {
        Self {
            resource,
            authorization_servers: Vec::new(),
            scopes_supported: Scopes::default(),
            required_scopes: Scopes::default(),
            audiences: Vec::new(),
            name: None,
            documentation: None,
            root_metadata: false,
            max_token_bytes: MAX_TOKEN_BYTES,
            max_remembered: MAX_REMEMBERED,
            remember_for: REMEMBER_FOR,
            implies: None,
            accepts: None,
            verifiers: Vec::new(),
        }
    }

    /// Adds an authorization server that issues tokens for this resource: its issuer identifier.
    /// Clients find it in the metadata document. At least one is required.
    pub fn authorization_server(mut self, issuer: impl Into<String>) -> Self {
        self.authorization_servers.push(issuer.into());
        self
    }

    /// Adds a verifier. At least one is required. Several are tried in order, until one knows the
    /// token, for resources with several authorization servers. Place those that send tokens
    /// elsewhere (`Introspection`) last.
    pub fn verifier(mut self, verifier: impl TokenVerifier) -> Self {
        self.verifiers.push(Arc::new(verifier));
        self
    }

    /// Sets the scopes that the metadata document lists. The specification wants the few that are
    /// enough for basic use; tools can require others. `offline_access` is left out, because it is
    /// not a scope of the resource. Default: none.
    pub fn scopes_supported<I: IntoIterator<Item: Into<String>>>(mut self, scopes: I) -> Self {
        self.scopes_supported = Scopes::new(scopes);
        self
    }

    /// Sets the scopes that every request needs, whatever its operation needs besides. A request
    /// without a token is asked for these, or for `scopes_supported` if there are none. Default:
    /// none.
    pub fn required_scopes<I: IntoIterator<Item: Into<String>>>(mut self, scopes: I) -> Self {
        self.required_scopes = Scopes::new(scopes);
        self
    }

    /// Adds an audience that stands for this resource, for authorization servers that do not write
    /// the resource identifier into tokens. Default: the identifier only.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Sets a function that returns `true` if a granted scope includes a required one. Default: a
    /// scope includes itself only.
    ///
    /// ```
    /// # use mcp_http::auth::{FixedTokens, ResourceServer};
    /// let builder = ResourceServer::builder("https://mcp.example.com/mcp")
    ///     .scope_hierarchy(|granted, required| granted == "admin" || required.starts_with(&format!("{granted}:")));
    /// # let _ = builder;
    /// ```
    pub fn scope_hierarchy(mut self, includes: impl Fn(&str, &str) -> bool + Send + Sync + 'static) -> Self {
        self.implies = Some(Arc::new(includes));
        self
    }

    /// Sets a function that returns `true` if a verified token is accepted. It is called for each
    /// request, also with remembered tokens, so it can shut a principal out at once; keep it fast.
    /// A rejected client gets a 401. Default: every verified token.
    ///
    /// ```
    /// # use std::collections::HashSet;
    /// # use std::sync::{Arc, RwLock};
    /// # use mcp_http::auth::ResourceServer;
    /// let shut_out: Arc<RwLock<HashSet<String>>> = Arc::default();
    /// let known = Arc::clone(&shut_out);
    /// let builder = ResourceServer::builder("https://mcp.example.com/mcp")
    ///     .accept_if(move |token| known.read().is_ok_and(|shut_out| !shut_out.contains(token.subject())));
    /// # let _ = builder;
    /// ```
    pub fn accept_if(mut self, accepts: impl Fn(&AccessToken) -> bool + Send + Sync + 'static) -> Self {
        self.accepts = Some(Arc::new(accepts));
        self
    }

    /// Sets the name of the resource that clients show to users (`resource_name`). Default: none.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the URL of a page for developers (`resource_documentation`). Default: none.
    pub fn documentation(mut self, url: impl Into<String>) -> Self {
        self.documentation = Some(url.into());
        self
    }

    /// Serves the metadata document at the root of the origin as well, for clients that look there
    /// only. Only one resource of an origin can do that. Default: `false`.
    pub fn root_metadata(mut self, at_root: bool) -> Self {
        self.root_metadata = at_root;
        self
    }

    /// Sets the most bytes of a token. Default: 16 KiB, because servers and proxies usually accept
    /// no longer headers.
    pub fn max_token_bytes(mut self, bytes: usize) -> Self {
        self.max_token_bytes = bytes;
        self
    }

    /// Sets how many verified tokens are remembered, by their hash; 0 verifies each request. A
    /// remembered token costs a hash instead of a signature. Default: 10,000, about 40 MiB with
    /// usual claims.
    pub fn max_remembered(mut self, tokens: usize) -> Self {
        self.max_remembered = tokens;
        self
    }

    /// Sets the longest time for which a verified token is remembered. No token is accepted after
    /// it has expired, and none whose key is known to be withdrawn. Default: one hour.
    pub fn remember_for(mut self, time: Duration) -> Self {
        self.remember_for = time;
        self
    }

    /// Checks the settings and makes the resource server.
    ///
    /// # Errors
    ///
    /// If a setting is invalid: the resource or an authorization server is not an `https` URL (or
    /// `http` on a loopback name), a scope has a character that scopes cannot have, or there is no
    /// authorization server or no verifier.
    pub fn build(self) -> Result<ResourceServer, ConfigError> {
        let mut problems = self.problems();
        let resource = match Resource::parse(&self.resource) {
            Ok(resource) => resource,
            Err(why) => {
                problems.report("ResourceServer::resource", why);
                return Err(problems);
            }
        };
        problems.into_result()?;
        let supported = of_resource(&self.scopes_supported);
        let required = of_resource(&self.required_scopes);
        let document = serde_json::to_vec(&Document {
            resource: resource.as_str(),
            authorization_servers: &self.authorization_servers,
            scopes_supported: supported.iter().collect(),
            bearer_methods_supported: METHODS,
            resource_name: self.name.as_deref(),
            resource_documentation: self.documentation.as_deref(),
        });
        let first = if required.is_empty() { supported } else { required.clone() };
        Ok(ResourceServer::of(Authenticator {
            challenges: Challenges::new(resource.metadata_url(), first),
            resource,
            document: document.unwrap_or_default().into(),
            root_metadata: self.root_metadata,
            required,
            audiences: self.audiences,
            implies: self.implies,
            accepts: self.accepts,
            max_token_bytes: self.max_token_bytes,
            remember_for: self.remember_for,
            remembered: Remembered::new(self.max_remembered),
            verifiers: self.verifiers,
            drains: Drains::new(&tokio_util::task::TaskTracker::new()),
            clock: WallClock::new(),
        }))
    }

    fn problems(&self) -> ConfigError {
        let mut problems = ConfigError::none();
        if self.authorization_servers.is_empty() {
            problems.report("ResourceServer::authorization_server", "at least one is required");
        }
        for server in &self.authorization_servers {
            if let Err(why) = secure(server) {
                problems.report("ResourceServer::authorization_server", why);
            }
        }
        if self.verifiers.is_empty() {
            problems.report("ResourceServer::verifier", "at least one is required");
        }
        let scopes = [
            ("ResourceServer::scopes_supported", &self.scopes_supported),
            ("ResourceServer::required_scopes", &self.required_scopes),
        ];
        for (setting, scopes) in scopes {
            if let Some(scope) = scopes.invalid() {
                problems.report(setting, format!("{scope:?} has a character that scopes cannot have"));
            }
        }
        if self.max_token_bytes == 0 {
            problems.report("ResourceServer::max_token_bytes", "must not be 0");
        }
        problems
    }
}

impl fmt::Debug for ResourceServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceServerBuilder")
            .field("resource", &self.resource)
            .field("authorization_servers", &self.authorization_servers)
            .finish_non_exhaustive()
    }
}
