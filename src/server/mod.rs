//! What users write against.
//!
//! [`McpServer`] is the typed front: tools, resources and prompts are axum handlers. [`Server`] is
//! the ground under it, at the level of JSON-RPC, for another framework to stand on. [`Context`]
//! is the way back to the client while a call runs, [`Session`] what stays between calls.

pub(crate) mod channel;
mod client_error;
mod context;
pub(crate) mod contract;
mod session;

pub use client_error::ClientError;
pub use context::{Context, LogLevel};
pub use contract::{Call, Notice, Server};
pub use session::{Extensions, Session};
