//! Benchmark server: tower-mcp. `json` uses the defaults, `sse` sends each answer as an event.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tower_mcp::extract::{Context, Json};
use tower_mcp::{CallToolResult, HttpTransport, McpRouter, ToolBuilder};

#[derive(Debug, Deserialize, JsonSchema)]
struct Echo {
    text: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Slow {
    steps: u32,
    millis: u64,
}

fn main() {
    stand::run(async {
        let sse = match &*stand::variant() {
            "json" => false,
            "sse" => true,
            other => panic!("no such variant: {other:?}"),
        };
        let echo = ToolBuilder::new("echo")
            .description("Says it again.")
            .handler(|echo: Echo| async move { Ok(CallToolResult::text(echo.text)) })
            .build();
        let burst = ToolBuilder::new("burst")
            .description("Fifty steps at once.")
            .extractor_handler((), |cx: Context| async move {
                for step in 1..=50 {
                    cx.report_progress(step.into(), Some(50.0), None).await;
                }
                Ok(CallToolResult::text("done"))
            })
            .build();
        let slow = ToolBuilder::new("slow")
            .description("Steps with a pause before each.")
            .extractor_handler((), |cx: Context, Json(slow): Json<Slow>| async move {
                for step in 1..=slow.steps {
                    tokio::time::sleep(Duration::from_millis(slow.millis)).await;
                    cx.report_progress(step.into(), Some(slow.steps.into()), None).await;
                }
                Ok(CallToolResult::text("done"))
            })
            .build();
        let router = McpRouter::new().server_info("peers", "1.0.0").tool(echo).tool(burst).tool(slow);
        stand::serve(HttpTransport::new(router).sse_responses(sse).into_router_at("/mcp")).await
    });
}
