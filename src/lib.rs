#![doc = "Model Context Protocol over HTTP for axum."]

mod clock;
pub mod error;
mod handle;
mod identity;
pub mod message;
pub mod server;
pub mod store;
mod streams;

pub use error::Rejection;
pub use handle::McpHandle;
pub use identity::{Principal, SessionId, SessionInfo};
