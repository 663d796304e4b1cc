//! The API for writing servers: typed handlers, and JSON-RPC below them.
//!
//! Most servers need the first four rows; the others are for special cases.
//!
//! | to | use |
//! |---|---|
//! | offer tools, resources and prompts, each an async function | [`McpServer`](crate::McpServer) |
//! | take typed arguments | [`Args`](crate::Args), beside any axum extractor ([`Handler`]) |
//! | report progress, log, send requests to the client, notice cancellation | [`Context`] |
//! | keep state between calls | [`Session`] |
//! | read the rest of a request beside its arguments | [`Meta`], [`Context::meta`], [`Context::request_id`], [`Context::name`] |
//! | describe tools, resources and prompts in more detail | [`Tool`], [`Resource`], [`ResourceTemplate`], [`Prompt`] |
//! | return more than text or [`Json`](axum::Json) | [`CallToolResult`], [`Content`], [`ResourceContents`], [`GetPromptResult`] |
//! | fail with a message that the client may read | [`ToolError`] |
//! | request input from the user, the model or the roots of the client | [`Form`], [`Elicit`], [`ElicitUrl`], [`Sample`], [`ListRoots`] |
//! | complete the values of arguments | [`CompletionRequest`] |
//! | declare an extension of the protocol, and serve methods of your own | [`ProtocolExtension`], [`McpServer::method`](crate::McpServer::method), [`Context::client_extension`] |
//! | serve skills: instructions with files, from values or a folder | [`Skill`] |
//! | change tools, resources and prompts while serving | [`Catalog`] |
//! | let clients cache results | [`CacheHint`], [`Cached`] |
//! | serve another framework in place of [`McpServer`](crate::McpServer) | [`Server`], at the level of JSON-RPC |

mod amount;
mod cache;
mod cached;
mod cancellation;
mod catalog;
pub(crate) mod change;
pub(crate) mod channel;
mod client_error;
pub(crate) mod client_request;
mod completion;
mod content;
pub(crate) mod context;
mod discovery;
mod extension;
mod extensions;
mod extract;
pub(crate) mod handler;
mod input;
mod log_level;
mod mirror;
mod prompt;
mod resource;
mod schema;
pub(crate) mod server_trait;
mod session;
pub(crate) mod session_access;
mod setters;
mod skill;
mod tool;
pub(crate) mod typed;

pub use amount::{Amount, Total};
pub use cache::{CacheHint, CacheScope};
pub use cached::Cached;
pub use cancellation::Cancellation;
pub use catalog::Catalog;
pub use client_error::ClientError;
pub use completion::{Completion, CompletionRequest, IntoCompletion};
pub use content::{Annotations, Content, Icon, IntoResourceContents, ResourceContents, ResourceLink, Role, Theme};
pub(crate) use context::Context;
pub use discovery::Discovery;
pub use extension::{IntoMethodResult, ProtocolExtension};
pub use extensions::Extensions;
pub use extract::SessionRejection;
pub use handler::{Form, FromCall, Handler, Meta};
pub use input::{
    DEFAULT_PERSON_TIMEOUT, DEFAULT_PROGRAM_TIMEOUT, Elicit, ElicitUrl, Elicited, ListRoots, ModelPreferences, Root,
    Sample, SamplingMessage, SamplingRequest, SamplingResult,
};
pub use log_level::LogLevel;
pub use mirror::MirroredArguments;
pub use prompt::{GetPromptResult, IntoPromptResult, Prompt, PromptArgument, PromptMessage};
pub use resource::{Resource, ResourceTemplate};
#[cfg(feature = "rmcp")]
pub(crate) use schema::plain_schemas;
pub use server_trait::{Call, Discover, Initialize, Notification, Server};
pub use session::{Session, WeakSession};
pub use skill::Skill;
#[cfg(feature = "skills")]
pub use skill::SkillError;
pub use tool::{
    CallToolResult, Internal, IntoToolError, IntoToolResult, ResultForm, TaskSupport, Tool, ToolAnnotations, ToolError,
};
pub use typed::{DEFAULT_PAGE_SIZE, ScopePolicy};
