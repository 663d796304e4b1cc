//! The resource server: makes the layer that verifies tokens, and the router that serves the metadata.

use std::fmt;
use std::sync::Arc;

use axum::Router;

use super::authenticator::Authenticator;
use super::layer::AuthLayer;
use super::metadata;
use crate::identity::Principal;

/// An OAuth 2.1 resource server: the protected side of an MCP endpoint. See the
/// [module](crate::auth). It is cheap to clone; all clones share the remembered tokens.
#[derive(Clone)]
pub struct ResourceServer(Arc<Authenticator>);

impl ResourceServer {
    pub(super) fn of(authenticator: Authenticator) -> Self {
        Self(Arc::new(authenticator))
    }

    /// Returns the layer that verifies tokens. Place it around the MCP endpoint, inside of the CORS
    /// layer, because a preflight request has no token.
    #[must_use]
    pub fn layer(&self) -> AuthLayer {
        AuthLayer::new(Arc::clone(&self.0))
    }

    /// Returns a router that serves the metadata document at its well-known path. Merge it at the
    /// root of the origin, outside of the [layer](Self::layer): clients read it without a token.
    ///
    /// The document has only what this resource server was built with. It repeats nothing of a
    /// request, not even its `Host`.
    pub fn metadata_router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        metadata::router(&self.0.resource, &self.0.document, self.0.root_metadata)
    }

    /// Forgets the verified tokens of a principal, so that each is verified again at its next use.
    /// Returns their number. A JWT is then accepted again; to shut a principal out, reject it by
    /// [`accept_if`](super::ResourceServerBuilder::accept_if), and end its sessions by
    /// [`McpHandle::end_sessions_of`](crate::McpHandle::end_sessions_of). Looks at all remembered
    /// tokens.
    pub fn forget(&self, principal: &Principal) -> usize {
        self.0.forget(principal)
    }

    /// Returns the URL of the metadata document, which challenges name.
    #[must_use]
    pub fn metadata_url(&self) -> String {
        self.0.resource.metadata_url()
    }
}

impl fmt::Debug for ResourceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceServer").field("resource", &self.0.resource.as_str()).finish_non_exhaustive()
    }
}
