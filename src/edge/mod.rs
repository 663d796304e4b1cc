//! Decides whether one HTTP request may come in, from its head and the bytes of its body alone.
//!
//! The order of the checks is the security policy: who asks, before what is asked; the cheap,
//! before the dear; nothing of the body is read for a stranger.
//!
//! 1. **Host** is a name this server answers to, against DNS rebinding (MCP, Transports,
//!    "Security Warning"; RFC 9110, section 7.2; RFC 9112, section 3.2; RFC 9113, section 8.3.1).
//!    Behind a proxy the operator trusts: `X-Forwarded-Host`, `Forwarded` (RFC 7239, section 5.3).
//! 2. **Origin**, where a browser sends one, is a site this server serves, else 403 (MCP,
//!    Transports, "Security Warning"; RFC 6454, section 7).
//! 3. **Method** is served here, else 405 with `Allow` (RFC 9110, section 15.5.6).
//! 4. **Accept** leaves a media type an answer can have, else 406 (MCP, "Sending Messages to the
//!    Server", 2; RFC 9110, section 12.5.1).
//! 5. **Content-Type** is JSON, and no coding hides it, else 415 (RFC 9110, sections 8.3, 8.4 and
//!    15.5.16; RFC 8259, section 8.1).
//! 6. **Typed headers**: session, protocol version and last event are there once at most (MCP,
//!    "Session Management", "Protocol Version Header", "Resumability and Redelivery").
//! 7. **Body**: bounded in bytes and in time, else 413 or 408 (RFC 9110, sections 15.5.14 and 15.5.9),
//!    and with all others in flight by a budget, else 503.
//! 8. **JSON**: [`message`](crate::message) reads it.
//!
//! [`admit()`] makes the first six, [`read_json`] the other two. What they return is parsed: nobody
//! looks at these headers again.

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
pub(crate) use admit::{Admitted, Allow, Gate, Method, admit};
pub(crate) use body::{Bounds, ReadBody, id_at_hand, read_json};
pub(crate) use budget::{BodyShare, Budget};
pub(crate) use compare::{differs, lossy_text, mismatch};
pub(crate) use era::{Fork, check_served, check_session_method, fork, is_of_a_session, serves};
pub(crate) use headers::{McpHeaders, VersionHeader};
