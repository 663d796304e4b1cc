//! The names of the protocol's headers, for CORS layers, proxies and logs.

use http::HeaderName;

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
