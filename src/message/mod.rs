//! JSON-RPC messages: parsed in one pass over the bytes, with ids and parameters as the exact text
//! that the client sent.
//!
//! 1. A body is parsed once, into envelopes that point into it. `params` stay raw ([`RawJson`])
//!    until a handler's own type deserializes them.
//! 2. An id is echoed byte for byte ([`RequestId`]): an integer above 2^53 survives, and `1` is not
//!    `"1"` (JSON-RPC 2.0, section 4).
//! 3. Nothing in this folder depends on HTTP, sessions or eras.

mod envelope;
mod error;
mod error_text;
mod id;
mod initialize;
mod log_text;
mod meta;
mod params;
mod raw;
pub(crate) mod tree;
mod uri;
mod version;
pub(crate) mod whole;
pub(crate) mod write;

pub use error::ErrorObject;
pub use id::{InvalidId, RequestId};
pub use initialize::{ClientCapabilities, Implementation, InitializeParams};
pub use raw::RawJson;
pub use version::{Era, ProtocolVersion, UnknownVersion};

pub(crate) use envelope::{Body, Envelope, Kind, METHOD, Malformed, parse};
pub(crate) use error_text::{bounded, in_json, reason};
pub(crate) use id::{PROGRESS_TOKEN, REQUEST_ID, check_progress_token};
pub(crate) use initialize::{CAPABILITIES, CLIENT_INFO, INITIALIZE, Oversized, TASKS, check_client};
pub(crate) use log_text::{shown, shown_bytes};
pub(crate) use meta::{ClaimedVersion, MAX_VERSION, RequestMeta};
pub(crate) use params::{Outline, Params};
pub(crate) use tree::VALUES;
pub(crate) use uri::{ResourceUri, ascii, canonical, canonical_part, canonical_start, serialize_ascii};
