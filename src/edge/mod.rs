//! The edge: checks one HTTP request by its head and the bytes of its body, before an era sees it.
//!
//! The order of the checks is the security policy. The sender is checked before the content, and
//! cheap checks come before expensive ones. The body of a rejected sender is not read.
//!
//! 1. **Host** is a name this server answers to, against DNS rebinding (MCP, Transports, "Security
//!    Warning"; RFC 9110, section 7.2; RFC 9112, section 3.2; RFC 9113, section 8.3.1). Behind a
//!    trusted proxy: `X-Forwarded-Host`, `Forwarded` (RFC 7239, section 5.3).
//! 2. **Origin**, if a browser sends one, is a site this server allows, else 403 (MCP, Transports,
//!    "Security Warning"; RFC 6454, section 7).
//! 3. **Method** is served here, else 405 with `Allow` (RFC 9110, section 15.5.6).
//! 4. **Accept** includes a possible media type of the response, else 406 (MCP, "Sending Messages
//!    to the Server", 2; RFC 9110, section 12.5.1).
//! 5. **Content-Type** is JSON without a content coding, else 415 (RFC 9110, sections 8.3, 8.4 and
//!    15.5.16; RFC 8259, section 8.1).
//! 6. **Typed headers**: session, protocol version and last event occur at most once (MCP, "Session
//!    Management", "Protocol Version Header", "Resumability and Redelivery").
//! 7. **Body**: limited in bytes and in time, else 413 or 408 (RFC 9110, sections 15.5.14 and
//!    15.5.9). All bodies in flight together are limited by a budget, else 503.
//! 8. **JSON**: parsed by [`message`](crate::message).
//!
//! [`admit()`] makes the first six checks, [`read_json`] the other two. Both return parsed values,
//! so no later code reads these headers again.

mod accept;
mod admit;
mod authority;
mod body;
mod budget;
mod client;
mod compare;
mod content_type;
mod era;
mod forwarded;
mod headers;
mod list;
mod origin;
mod security;

pub use era::era_of;
pub use security::Security;

pub(crate) use accept::Needs;
pub(crate) use admit::{Admitted, Allow, Gate, Method, SessionMethod, admit};
pub(crate) use body::{Bounds, ReadBody, id_at_hand, read_json};
pub(crate) use budget::{BodyShare, Budget};
pub(crate) use compare::{differs, lossy_text, mismatch};
pub(crate) use era::{Route, check_session_method, is_of_a_session, route, serves};
pub(crate) use headers::{McpHeaders, VersionHeader};
