//! Authorization: an OAuth 2.1 resource server, as the specification's chapter "Authorization"
//! describes it.
//!
//! A [`ResourceServer`] has two parts. Its [layer](ResourceServer::layer) verifies the access token
//! of each request and rejects requests without a valid one. Its
//! [router](ResourceServer::metadata_router) publishes the metadata document in which clients find
//! the authorization server (RFC 9728).
//!
//! ```
//! use axum::Router;
//! use mcp_http::auth::{FixedTokens, ResourceServer};
//! use mcp_http::{AccessToken, McpServer, mcp_router};
//!
//! async fn whoami(token: AccessToken) -> String {
//!     token.subject().to_owned()
//! }
//!
//! // For development. In production use a `JwtVerifier` or an `Introspection` (feature `auth-http`).
//! let tokens = FixedTokens::new().token("alices-secret", AccessToken::new("local", "alice"));
//! let auth = ResourceServer::builder("http://127.0.0.1:3000/mcp")
//!     .authorization_server("https://login.example.com")
//!     .verifier(tokens)
//!     .build()?;
//! let server = McpServer::new("members", "1.0.0").tool("whoami", "Names the caller.", whoami);
//! let app: Router = Router::new()
//!     .nest("/mcp", mcp_router(server).layer(auth.layer()))
//!     .merge(auth.metadata_router());
//! # let _ = app;
//! # Ok::<_, mcp_http::error::ConfigError>(())
//! ```
//!
//! The guide page [`authorization`](crate::guide::authorization) has the requests and responses.

mod authenticator;
mod bearer;
mod builder;
mod challenge;
#[cfg(feature = "auth-http")]
mod fetch;
mod fixed;
#[cfg(feature = "auth-http")]
mod introspection;
#[cfg(feature = "auth-http")]
mod jwt;
mod layer;
mod metadata;
mod rejection;
mod remembered;
mod resource;
mod server;
mod verifier;

pub use self::builder::ResourceServerBuilder;
pub use self::fixed::FixedTokens;
#[cfg(feature = "auth-http")]
pub use self::introspection::{Introspection, IntrospectionBuilder};
#[cfg(feature = "auth-http")]
pub use self::jwt::{DiscoveryError, JwtAlgorithm, JwtVerifier, JwtVerifierBuilder};
pub use self::layer::{AuthLayer, Authenticated};
pub use self::rejection::AuthRejection;
pub use self::server::ResourceServer;
pub use self::verifier::{TokenError, TokenVerifier};
