//! What a tool is: its description, its handler, what the handler may return, how it may fail.

mod definition;
mod error;
mod result;

pub(crate) use definition::Tasking;
pub use definition::{TaskSupport, Tool, ToolAnnotations};
pub use error::{IntoToolError, ToolError};
pub use result::{CallToolResult, IntoToolResult};
