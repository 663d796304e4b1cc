//! What a JSON-RPC message is here: one pass over the bytes, ids and parameters kept as the
//! exact text the client sent.
//!
//! 1. A body is parsed once, into envelopes that point into it; `params` stay raw
//!    ([`RawJson`]) until a handler's own type wants them.
//! 2. An id is echoed byte for byte ([`RequestId`]): an integer above 2^53 survives, and `1` is
//!    not `"1"` (JSON-RPC 2.0, section 4).
//! 3. Nothing in this folder knows about HTTP, sessions or eras.

mod envelope;
mod error;
mod id;
mod initialize;
mod meta;
mod params;
mod raw;
mod shown;
mod uri;
mod version;
pub(crate) mod whole;
mod words;
pub(crate) mod write;

pub use error::ErrorObject;
pub use id::{InvalidId, RequestId};
pub use initialize::{ClientCapabilities, Implementation, InitializeParams};
pub use raw::RawJson;
pub use version::{Era, ProtocolVersion, UnknownVersion};

pub(crate) use envelope::{Body, Envelope, Kind, METHOD, Malformed, parse};
pub(crate) use id::{PROGRESS_TOKEN, REQUEST_ID, check_progress_token};
pub(crate) use initialize::{CAPABILITIES, CLIENT_INFO, INITIALIZE, Oversized, TASKS, check_client};
pub(crate) use meta::{MAX_VERSION, RequestMeta, Stated};
pub(crate) use params::Params;
pub(crate) use shown::{shown, shown_bytes};
pub(crate) use uri::{ResourceUri, ascii, canonical, canonical_part, canonical_start, serialize_ascii};
pub(crate) use words::{bounded, in_json, reason};
