#![doc = "Model Context Protocol over HTTP for axum."]

mod edge;
pub mod error;
mod handle;
mod identity;
pub mod message;
mod net;
pub mod server;

pub use edge::Security;
pub use error::Rejection;
pub use handle::McpHandle;
pub use identity::{Principal, SessionId, SessionInfo};
pub use net::{GuardedStream, McpListener};
