//! Benchmark server: rust-mcp-sdk with its axum routes. `sse` uses the defaults, `json` JSON
//! answers.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rust_mcp_axum::{McpMountOptions, mcp_routes};
use rust_mcp_sdk::id_generator::{FastIdGenerator, UuidGenerator};
use rust_mcp_sdk::macros::{JsonSchema, mcp_tool};
use rust_mcp_sdk::mcp_http::{DEFAULT_MAX_LISTEN_STREAMS, McpAppState, McpHttpHandler};
use rust_mcp_sdk::mcp_server::ServerHandler;
use rust_mcp_sdk::schema::schema_utils::CallToolError;
use rust_mcp_sdk::schema::{
    CallToolRequestParams, CallToolResult, Implementation, ListToolsResult, ListToolsResultCacheScope,
    PaginatedRequestParams, RpcError, ServerCapabilities, ServerCapabilitiesTools, ServerResult, TextContent,
};
use rust_mcp_sdk::{McpServer, RequestContext, ServerDetails, ToMcpServerHandler, tool_box};
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
        _: &RequestContext,
        _: Arc<dyn McpServer>,
    ) -> Result<ListToolsResult, RpcError> {
        Ok(ListToolsResult {
            cache_scope: ListToolsResultCacheScope::Private,
            result_type: "complete".to_owned(),
            ttl_ms: 0,
            meta: None,
            next_cursor: None,
            tools: Tools::tools(),
        })
    }

    async fn handle_call_tool_request(
        &self,
        params: CallToolRequestParams,
        context: &RequestContext,
        server: Arc<dyn McpServer>,
    ) -> Result<ServerResult, CallToolError> {
        // The error type must not be held across an await.
        let tool = Tools::try_from(params).map_err(CallToolError::new)?;
        let text = match tool {
            Tools::Echo(echo) => echo.text,
            Tools::Burst(Burst {}) => steps(&*server, context, 50, None).await,
            Tools::Slow(slow) => {
                let pause = Duration::from_millis(slow.millis.into());
                steps(&*server, context, slow.steps, Some(pause)).await
            }
        };
        Ok(CallToolResult::text_content(vec![TextContent::from(text)]).into())
    }
}

async fn steps(server: &dyn McpServer, context: &RequestContext, steps: u32, pause: Option<Duration>) -> String {
    for step in 1..=steps {
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
        let (token, total) = (context.progress_token.clone(), Some(steps.into()));
        // Sending fails if the client has disconnected.
        drop(server.report_progress(token, step.into(), total, None).await);
    }
    "done".to_owned()
}

fn main() {
    stand::run(async {
        let json = match &*stand::variant() {
            "sse" => false,
            "json" => true,
            other => panic!("no such variant: {other:?}"),
        };
        let details = ServerDetails {
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
        };
        let state = Arc::new(McpAppState {
            id_generator: Arc::new(UuidGenerator {}),
            stream_id_gen: Arc::new(FastIdGenerator::new(Some("s_"))),
            server_details: Arc::new(details),
            handler: Handler.to_mcp_server_handler(),
            ping_interval: Duration::from_secs(12),
            transport_options: Arc::default(),
            enable_json_response: json,
            message_observer: None,
            extensions: Arc::default(),
            active_listen_streams: Arc::default(),
            max_listen_streams: DEFAULT_MAX_LISTEN_STREAMS,
        });
        let mount = McpMountOptions { streamable_http_endpoint: "/mcp".to_owned(), ..McpMountOptions::default() };
        stand::serve(mcp_routes(state, &mount, McpHttpHandler::new(None, Vec::new(), None))).await
    });
}
