//! What a tool is: its description, its handler, what the handler may return, how it may fail.

mod definition;
mod error;
mod result;

pub use definition::{Tool, ToolAnnotations};
pub use error::{IntoToolError, ToolError};
pub use result::{CallToolResult, IntoToolResult};
