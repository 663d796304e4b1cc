//! Extensions: what a server declares beyond the specification, and its own methods and
//! notifications.
//!
//! 1. A method or notification of an extension is served only to clients that declared the
//!    extension. Others receive -32021 with `requiredCapabilities`, and their notifications are
//!    dropped.
//! 2. Names that the specification or this crate uses are rejected where they are registered.

mod method;
mod names;
mod protocol;

pub use method::IntoMethodResult;
pub use protocol::ProtocolExtension;

pub(crate) use method::{Method, Notice, arguments};
pub(crate) use names::SKILLS;
pub(crate) use protocol::Declaration;
