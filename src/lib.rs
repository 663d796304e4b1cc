#![doc = "Model Context Protocol over HTTP for axum."]

pub mod error;
mod handle;
mod identity;
pub mod message;
pub mod server;

pub use error::Rejection;
pub use handle::McpHandle;
pub use identity::{Principal, SessionId, SessionInfo};
pub use server::McpServer;
