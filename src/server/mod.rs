//! What users write against.
//!
//! Most servers need the first four of these; the rest is there when one of them points to it.
//!
//! | to | there is |
//! |---|---|
//! | offer tools, resources and prompts, each an async function | [`McpServer`] |
//! | take typed arguments | [`Args`], beside any axum extractor ([`Handler`]) |
//! | tell progress, log, ask the client, hear of a cancellation while a call runs | [`Context`] |
//! | keep something between calls | [`Session`] |
//! | read what a request says beside its arguments | [`Meta`], [`Context::meta`], [`Context::request_id`], [`Context::name`] |
//! | say more of what is offered | [`Tool`], [`Resource`], [`ResourceTemplate`], [`Prompt`] |
//! | answer with more than text or [`Json`](axum::Json) | [`CallToolResult`], [`Content`], [`ResourceContents`], [`GetPromptResult`] |
//! | fail in words the client may read | [`ToolError`] |
//! | ask the person or the model behind the client | [`Form`], [`Elicit`], [`ElicitUrl`], [`Sample`], [`ListRoots`] |
//! | propose values while somebody types | [`CompletionRequest`] |
//! | change what is offered while it is served | [`Catalog`] |
//! | let clients keep what they were told | [`CacheHint`], [`Cached`] |
//! | put another framework in the place of [`McpServer`] | [`Server`], at the level of JSON-RPC |

mod cache;
mod catalog;
pub(crate) mod channel;
mod client_error;
mod completion;
mod content;
pub(crate) mod context;
pub(crate) mod contract;
mod discovery;
mod handler;
mod input;
mod mirror;
mod prompt;
mod resource;
mod schema;
mod session;
mod tool;
mod typed;

pub use cache::{CacheHint, CacheScope, Cached};
pub use catalog::Catalog;
pub use client_error::ClientError;
pub use completion::{Completion, CompletionRequest, IntoCompletion};
pub use content::{Annotations, Content, Icon, IntoResourceContents, ResourceContents, ResourceLink, Role, Theme};
pub use context::{Amount, Cancellation, Context, LogLevel, Total};
pub use contract::{Call, Discover, Initialize, Notice, Server};
pub use discovery::Discovery;
pub use handler::{Args, CallParts, Form, FromCall, Handler, Meta, Refusal};
pub use input::{
    DEFAULT_PERSON_TIMEOUT, DEFAULT_PROGRAM_TIMEOUT, Elicit, ElicitUrl, Elicited, ListRoots, ModelPreferences, Root,
    Sample, SamplingMessage, SamplingRequest, SamplingResult,
};
pub use mirror::MirroredArguments;
pub use prompt::{GetPromptResult, IntoPromptResult, Prompt, PromptArgument, PromptMessage};
pub use resource::{Resource, ResourceTemplate};
#[cfg(feature = "rmcp")]
pub(crate) use schema::plain_schemas;
pub use session::{Extensions, Session, SessionRefused, WeakSession};
pub use tool::{
    CallToolResult, Internal, IntoToolError, IntoToolResult, ResultForm, TaskSupport, Tool, ToolAnnotations, ToolError,
};
pub use typed::{DEFAULT_PAGE_SIZE, McpServer};
