#![doc = "Model Context Protocol over HTTP for axum."]

mod clock;
mod counters;
mod edge;
mod encode;
pub mod error;
mod handle;
mod identity;
mod layer;
mod legacy;
pub mod message;
mod net;
mod outcome;
mod router;
pub mod server;
mod service;
mod settings;
pub mod store;
mod streams;

pub use counters::Statistics;
pub use edge::Security;
pub use error::Rejection;
pub use handle::{DrainReport, McpHandle};
pub use identity::{Principal, SessionId, SessionInfo};
pub use layer::{Mcp, McpLayer};
pub use net::{GuardedStream, McpListener};
pub use router::mcp_router;
pub use server::McpServer;
pub use service::McpService;
pub use settings::{Limits, ResponseMode, Sessions, Streams};
