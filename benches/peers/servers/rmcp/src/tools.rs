//! The tools of the rmcp servers, written by hand, which is no slower than by macros. Two servers
//! share this file: one with the SDK's own transport, and one with this crate's.

use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, JsonObject, ProgressNotificationParam,
    ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Echo {
    pub(crate) text: String,
}

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Slow {
    pub(crate) steps: u32,
    pub(crate) millis: u64,
}

pub(crate) struct Tools;

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

/// Sends `steps` progress notifications, with a pause before each.
pub(crate) async fn steps(context: &RequestContext<RoleServer>, steps: u32, pause: Option<Duration>) -> String {
    if let Some(token) = context.meta.get_progress_token() {
        for step in 1..=steps {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            let progress = ProgressNotificationParam::new(token.clone(), step.into()).with_total(steps.into());
            // Sending fails if the client has disconnected.
            drop(context.peer.notify_progress(progress).await);
        }
    }
    "done".to_owned()
}
