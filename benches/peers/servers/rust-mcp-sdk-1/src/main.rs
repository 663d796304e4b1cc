//! Benchmark server: version 1 of rust-mcp-sdk, to which version 2 refers clients with sessions. It
//! uses the SDK's axum routes. `sse` uses the defaults, `events` adds the event store that makes
//! streams resumable. Its JSON mode is not measured, because it rejects
//! `notifications/initialized`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rust_mcp_axum::{McpMountOptions, mcp_routes};
use rust_mcp_sdk::event_store::{EventStore, InMemoryEventStore};
use rust_mcp_sdk::id_generator::{FastIdGenerator, UuidGenerator};
use rust_mcp_sdk::macros::{JsonSchema, mcp_tool};
use rust_mcp_sdk::mcp_http::{McpAppState, McpHttpHandler};
use rust_mcp_sdk::mcp_server::ServerHandler;
use rust_mcp_sdk::schema::schema_utils::CallToolError;
use rust_mcp_sdk::schema::{
    CallToolRequestParams, CallToolResult, Implementation, InitializeResult, ListToolsResult, PaginatedRequestParams,
    ProgressToken, ProtocolVersion, RpcError, ServerCapabilities, ServerCapabilitiesTools, TextContent,
};
use rust_mcp_sdk::session_store::InMemorySessionStore;
use rust_mcp_sdk::{McpServer, ToMcpServerHandler, tool_box};
use serde::{Deserialize, Serialize};

#[mcp_tool(name = "echo", description = "Says it again.")]
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
struct Echo {
    text: String,
}

#[mcp_tool(name = "burst", description = "Fifty steps at once.")]
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
struct Burst {}

#[mcp_tool(name = "slow", description = "Steps with a pause before each.")]
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
struct Slow {
    steps: u32,
    millis: u32,
}

tool_box!(Tools, [Echo, Burst, Slow]);

struct Handler;

#[async_trait]
impl ServerHandler for Handler {
    async fn handle_list_tools_request(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Arc<dyn McpServer>,
    ) -> Result<ListToolsResult, RpcError> {
        Ok(ListToolsResult { meta: None, next_cursor: None, tools: Tools::tools() })
    }

    async fn handle_call_tool_request(
        &self,
        params: CallToolRequestParams,
        server: Arc<dyn McpServer>,
    ) -> Result<CallToolResult, CallToolError> {
        let token = params.meta.as_ref().and_then(|meta| meta.progress_token.clone());
        // The error type must not be held across an await.
        let tool = Tools::try_from(params).map_err(CallToolError::new)?;
        let text = match tool {
            Tools::Echo(echo) => echo.text,
            Tools::Burst(Burst {}) => steps(&*server, token, 50, None).await,
            Tools::Slow(slow) => {
                let pause = Duration::from_millis(slow.millis.into());
                steps(&*server, token, slow.steps, Some(pause)).await
            }
        };
        Ok(CallToolResult::text_content(vec![TextContent::from(text)]))
    }
}

async fn steps(server: &dyn McpServer, token: Option<ProgressToken>, steps: u32, pause: Option<Duration>) -> String {
    for step in 1..=steps {
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
        // Sending fails if the client has disconnected.
        drop(server.report_progress(token.clone(), step.into(), Some(steps.into()), None).await);
    }
    "done".to_owned()
}

fn main() {
    stand::run(async {
        let event_store: Option<Arc<dyn EventStore>> = match &*stand::variant() {
            "sse" => None,
            "events" => Some(Arc::new(InMemoryEventStore::default())),
            other => panic!("no such variant: {other:?}"),
        };
        let details = InitializeResult {
            server_info: Implementation {
                name: "peers".to_owned(),
                version: "1.0.0".to_owned(),
                title: None,
                description: None,
                icons: Vec::new(),
                website_url: None,
            },
            capabilities: ServerCapabilities {
                tools: Some(ServerCapabilitiesTools { list_changed: None }),
                ..ServerCapabilities::default()
            },
            meta: None,
            instructions: None,
            protocol_version: ProtocolVersion::V2025_11_25.into(),
        };
        let state = Arc::new(McpAppState {
            // The benchmark opens more sessions than the default allows.
            session_store: Arc::new(InMemorySessionStore::with_limits(Some(usize::MAX), None)),
            id_generator: Arc::new(UuidGenerator {}),
            stream_id_gen: Arc::new(FastIdGenerator::new(Some("s_"))),
            server_details: Arc::new(details),
            handler: Handler.to_mcp_server_handler(),
            ping_interval: Duration::from_secs(12),
            transport_options: Arc::default(),
            enable_json_response: false,
            event_store,
            task_store: None,
            client_task_store: None,
            message_observer: None,
        });
        let mount = McpMountOptions { streamable_http_endpoint: "/mcp".to_owned(), ..McpMountOptions::default() };
        stand::serve(mcp_routes(state, &mount, McpHttpHandler::new(None, Vec::new(), None))).await
    });
}
