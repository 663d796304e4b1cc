//! Benchmark server: pmcp with its concurrent router, because the other one handles one request at
//! a time. `default` uses the defaults, `json` JSON answers. Both enable the revision 2026-07-28,
//! which is opt-in.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use pmcp::server::ToolOutput;
use pmcp::server::axum_router::{RouterConfig, concurrent_router_with_config};
use pmcp::types::protocol::{LATEST_PROTOCOL_VERSION, PROTOCOL_VERSION_2026_07_28, ProtocolVersion};
use pmcp::types::{CallToolResult, Content};
use pmcp::{RequestHandlerExtra, Server, ToolHandler};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Echo {
    text: String,
}

#[derive(Deserialize)]
struct Slow {
    steps: u32,
    millis: u64,
}

#[derive(Clone, Copy)]
enum Tool {
    Echo,
    Burst,
    Slow,
}

#[async_trait]
impl ToolHandler for Tool {
    /// The conformance server of pmcp does not use this method either: its value becomes JSON in a
    /// text.
    async fn handle(&self, _: Value, _: RequestHandlerExtra) -> pmcp::Result<Value> {
        Err(pmcp::Error::validation("a result is made by `handle_output`"))
    }

    async fn handle_output(&self, arguments: Value, extra: RequestHandlerExtra) -> pmcp::Result<ToolOutput> {
        let text = match self {
            Self::Echo => serde_json::from_value::<Echo>(arguments)?.text,
            Self::Burst => steps(&extra, 50, None).await?,
            Self::Slow => {
                let slow: Slow = serde_json::from_value(arguments)?;
                steps(&extra, slow.steps, Some(Duration::from_millis(slow.millis))).await?
            }
        };
        Ok(ToolOutput::Result(CallToolResult::new(vec![Content::text(text)])))
    }
}

async fn steps(extra: &RequestHandlerExtra, steps: u32, pause: Option<Duration>) -> pmcp::Result<String> {
    for step in 1..=steps {
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
        extra.report_progress(step.into(), Some(steps.into()), None).await?;
    }
    Ok("done".to_owned())
}

fn main() {
    stand::run(async {
        let mut config = RouterConfig::default();
        match &*stand::variant() {
            "default" => {}
            "json" => config.server_config.enable_json_response = true,
            other => panic!("no such variant: {other:?}"),
        }
        let versions = [LATEST_PROTOCOL_VERSION, PROTOCOL_VERSION_2026_07_28];
        let server = Server::builder()
            .name("peers")
            .version("1.0.0")
            .with_supported_protocol_versions(versions.map(|version| ProtocolVersion(version.to_owned())))
            .tool("echo", Tool::Echo)
            .tool("burst", Tool::Burst)
            .tool("slow", Tool::Slow)
            .build()
            .expect("a good server");
        stand::serve(Router::new().nest("/mcp", concurrent_router_with_config(Arc::new(server), config))).await
    });
}
