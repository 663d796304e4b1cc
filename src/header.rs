//! The names of the protocol's headers, for CORS layers, proxies and logs.
//!
//! [`METHODS`], [`ALLOWED`] and [`EXPOSED`] are what a CORS layer is given; with the feature `cors`,
//! `cors_layer` makes one.

use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, Method};

/// Names the session of a request, and of the answer that opens it.
pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// Names the revision a request is made in.
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// Names the last event a client has of the stream it comes back for.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Repeats the method of a request (2026-07-28).
pub const METHOD: HeaderName = HeaderName::from_static("mcp-method");

/// Repeats what a request names: a tool, a prompt, the URI of a resource (2026-07-28).
pub const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// What the names of headers begin with that repeat arguments of a tool (2026-07-28): `x-mcp-header` in its
/// schema says which, and what follows.
pub const PARAM_PREFIX: &str = "mcp-param-";

/// The methods that a browser's script uses on an endpoint.
pub const METHODS: [Method; 3] = [Method::GET, Method::POST, Method::DELETE];

/// The request headers that a browser's script sets, beside those that it may always set. A tool whose schema has
/// `x-mcp-header` adds `Mcp-Param-..` headers to them.
pub const ALLOWED: [HeaderName; 7] =
    [AUTHORIZATION, CONTENT_TYPE, SESSION_ID, PROTOCOL_VERSION, LAST_EVENT_ID, METHOD, NAME];

/// The response headers that a browser's script reads: the session, how to authenticate, and when to come back.
pub const EXPOSED: [HeaderName; 3] = [SESSION_ID, WWW_AUTHENTICATE, RETRY_AFTER];
