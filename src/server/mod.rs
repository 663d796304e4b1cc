//! What users write against.
//!
//! [`McpServer`] is the typed front: tools, resources and prompts are axum handlers. [`Server`] is
//! the ground under it, at the level of JSON-RPC, for another framework to stand on. [`Context`]
//! is the way back to the client while a call runs, [`Session`] what stays between calls.

mod catalog;
pub(crate) mod channel;
mod client_error;
mod completion;
mod content;
mod context;
pub(crate) mod contract;
mod handler;
mod input;
mod prompt;
mod resource;
mod schema;
mod session;
mod tool;
mod typed;

pub use catalog::Catalog;
pub use client_error::ClientError;
pub use completion::{Completion, CompletionRequest, IntoCompletion};
pub use content::{Annotations, Content, Icon, IntoResourceContents, ResourceContents, ResourceLink, Role, Theme};
pub use context::{Context, LogLevel};
pub use contract::{Call, Notice, Server};
pub use handler::{Args, CallParts, FromCall, Handler, Refusal};
pub use input::{
    DEFAULT_PERSON_TIMEOUT, DEFAULT_PROGRAM_TIMEOUT, Elicit, ElicitUrl, Elicited, ListRoots, ModelPreferences, Root,
    Sample, SamplingMessage, SamplingRequest, SamplingResult,
};
pub use prompt::{GetPromptResult, IntoPromptResult, Prompt, PromptArgument, PromptMessage};
pub use resource::{Resource, ResourceTemplate};
pub use session::{Extensions, Session, SessionRefused};
pub use tool::{CallToolResult, IntoToolError, IntoToolResult, Tool, ToolAnnotations, ToolError};
pub use typed::{DEFAULT_PAGE_SIZE, McpServer};
