//! Decides how the official SDK is served: `default` as it comes, `json` without sessions and with
//! JSON answers, `macros` as its documentation writes tools. The first two are written by hand, which
//! is no slower.

mod macros;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, JsonObject, ProgressNotificationParam,
    ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize, JsonSchema)]
struct Echo {
    text: String,
}

#[derive(Deserialize, JsonSchema)]
struct Slow {
    steps: u32,
    millis: u64,
}

fn main() {
    stand::run(async {
        let config = StreamableHttpServerConfig::default();
        let app = match &*stand::variant() {
            "default" => mount(|| Tools, config),
            "json" => mount(|| Tools, config.with_legacy_session_mode(false).with_json_response(true)),
            "macros" => mount(macros::Tools::new, config),
            other => panic!("no such variant: {other:?}"),
        };
        stand::serve(app).await
    });
}

fn mount<H: ServerHandler>(make: fn() -> H, config: StreamableHttpServerConfig) -> Router {
    let service = StreamableHttpService::new(move || Ok(make()), Arc::new(LocalSessionManager::default()), config);
    Router::new().nest_service("/mcp", service)
}

struct Tools;

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let text = match &*request.name {
            "echo" => arguments::<Echo>(request.arguments)?.text,
            "burst" => steps(&context, 50, None).await,
            "slow" => {
                let slow: Slow = arguments(request.arguments)?;
                steps(&context, slow.steps, Some(Duration::from_millis(slow.millis))).await
            }
            other => return Err(ErrorData::invalid_params(format!("no such tool: {other}"), None)),
        };
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
    }
}

fn arguments<T: DeserializeOwned>(arguments: Option<JsonObject>) -> Result<T, ErrorData> {
    let value = serde_json::Value::Object(arguments.unwrap_or_default());
    serde_json::from_value(value).map_err(|error| ErrorData::invalid_params(error.to_string(), None))
}

/// Sends progress so many times, with a pause before each.
async fn steps(context: &RequestContext<RoleServer>, steps: u32, pause: Option<Duration>) -> String {
    if let Some(token) = context.meta.get_progress_token() {
        for step in 1..=steps {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            let progress = ProgressNotificationParam::new(token.clone(), step.into()).with_total(steps.into());
            // A client that left gets none.
            drop(context.peer.notify_progress(progress).await);
        }
    }
    "done".to_owned()
}
