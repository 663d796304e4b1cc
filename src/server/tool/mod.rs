//! Tools: their definition, their handler, its results and errors.

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
