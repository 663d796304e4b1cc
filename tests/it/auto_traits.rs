//! Auto traits of the public types: part of the interface, because an added field can remove them.
//!
//! Every type is `Send`, `Sync` and `Unpin`, except futures and the listener, which are not `Sync`:
//! one task owns each of them. What holds the application's own code (a server, a session, a service) is not
//! `UnwindSafe`, as axum's `Router` is not.

use std::panic::{RefUnwindSafe, UnwindSafe};

use mcp_http::error::*;
use mcp_http::message::*;
use mcp_http::server::*;
use mcp_http::store::engine::*;
use mcp_http::store::*;
use mcp_http::*;

fn value<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe>() {}
fn holder<T: Send + Sync + Unpin>() {}
fn future<T: Send + Unpin>() {}

#[test]
fn values_cross_threads_and_panics() {
    value::<(Rejection, ConfigError, StoreErrorKind)>();
    value::<(Era, ProtocolVersion, UnknownVersion, InvalidId, RequestId, RawJson, ErrorObject)>();
    value::<(ClientCapabilities, Implementation, InitializeParams)>();
    value::<(SessionId, TaskId, Principal, Peer, SessionInfo, Statistics, DrainReport, SealingKey)>();
    value::<(Limits, Streams, Tasks, InputRequests, ResponseMode)>();
    value::<(Args<u8>, Meta<u8>, Cached<u8>, CacheHint, CacheScope, LogLevel)>();
    value::<(Content, ResourceLink, ResourceContents, Annotations, Icon, Role, Theme)>();
    value::<(CallToolResult, GetPromptResult, PromptMessage, PromptArgument, ToolAnnotations, TaskSupport)>();
    value::<(Completion, CompletionRequest, Elicited<u8>, Root, MirroredArguments, ResultForm, Discovery)>();
    value::<(SamplingMessage, SamplingRequest, SamplingResult, ModelPreferences)>();
    value::<(Policy, NodeId, Create, Loaded, StateValue, Begin<'_>, Begun, Append, Event, EventKind, Appended)>();
    value::<(Attach<'_>, Attached, Page, Stored, Ended, EndReason, SessionSummary, Signal, SessionUpdate)>();
    value::<(CreateTask, LoadedTask, StoreTask, Announced, Deliver, Delivered)>();
}

#[test]
fn holders_of_the_applications_code_cross_threads() {
    holder::<(McpServer, McpService, McpServiceBuilder, McpLayer, Mcp<()>, McpHandle)>();
    holder::<(McpServer<String>, McpService<String>, Security, Sessions)>();
    holder::<(Context, Session, WeakSession, Extensions, Cancellation, SessionRejection, Form<u8>, Catalog)>();
    holder::<(Tool, Resource, ResourceTemplate, Prompt)>();
    holder::<(ToolError, ClientError, StoreError)>();
    holder::<(Call, Initialize, Discover, Notification)>();
    holder::<(MemoryEngine, Box<dyn SessionEngine>, Box<dyn SignalHandler>)>();
    future::<(McpListener, EngineFuture<u8>)>();
    future::<(Elicit<u8>, ElicitUrl, Sample, ListRoots)>();
}

#[cfg(all(feature = "file", feature = "redis", feature = "rmcp"))]
#[test]
fn types_of_features_cross_threads() {
    holder::<(FileEngine, OpenError, RedisEngine, RedisOptions, ConnectError)>();
    value::<(Durability, Recovery)>();
}

/// Every error and every rejection can be displayed, boxed and sent.
#[test]
fn errors_are_errors() {
    fn error<T: std::error::Error + Send + Sync + 'static>() {}
    error::<Rejection>();
    error::<ConfigError>();
    error::<StoreError>();
    error::<ErrorObject>();
    error::<InvalidId>();
    error::<UnknownVersion>();
    error::<ClientError>();
    error::<SessionRejection>();
    #[cfg(feature = "file")]
    error::<OpenError>();
    #[cfg(feature = "redis")]
    error::<ConnectError>();
}
