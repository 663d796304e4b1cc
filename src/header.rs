//! Header names of the protocol, for CORS layers, proxies and logs.
//!
//! [`METHODS`], [`ALLOWED`] and [`EXPOSED`] are the values for a CORS layer. With the feature
//! `cors`, `cors_layer` builds that layer.

use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, Method};

/// The session of a request, and of the response that opens it.
pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// The protocol revision of a request.
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// The last event that a client received of the stream it resumes.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The method of a request, repeated as a header (2026-07-28).
pub const METHOD: HeaderName = HeaderName::from_static("mcp-method");

/// The tool, prompt or resource URI that a request names, repeated as a header (2026-07-28).
pub const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// The prefix of headers that repeat arguments of a tool (2026-07-28). `x-mcp-header` in the tool's
/// schema names these arguments and the rest of each header's name.
pub const PARAM_PREFIX: &str = "mcp-param-";

/// The methods that a browser's script sends to an endpoint.
pub const METHODS: [Method; 3] = [Method::GET, Method::POST, Method::DELETE];

/// The request headers that a browser's script sets, beyond those that CORS always permits. A tool
/// whose schema has `x-mcp-header` adds `Mcp-Param-..` headers.
pub const ALLOWED: [HeaderName; 7] =
    [AUTHORIZATION, CONTENT_TYPE, SESSION_ID, PROTOCOL_VERSION, LAST_EVENT_ID, METHOD, NAME];

/// The response headers that a browser's script reads: the session, how to authenticate, and when
/// to retry.
pub const EXPOSED: [HeaderName; 3] = [SESSION_ID, WWW_AUTHENTICATE, RETRY_AFTER];
