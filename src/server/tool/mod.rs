//! What a tool is: its description, its handler, what the handler may return, how it may fail.

mod definition;
mod error;
mod finite;
mod form;
mod result;

pub(crate) use definition::Tasking;
pub use definition::{TaskSupport, Tool, ToolAnnotations};
pub use error::{Internal, IntoToolError, ToolError};
pub(crate) use form::Output;
pub use form::ResultForm;
pub use result::{CallToolResult, IntoToolResult};
