//! Progress notifications and the status messages of tasks.

use std::time::Duration;

use mcp_http::server::{Elicited, TaskSupport, Tool, ToolError};
use mcp_http::{Context, McpServer, McpService, ResponseMode, Streams};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{App, Reply};

#[derive(Deserialize, JsonSchema)]
struct Sure {
    sure: bool,
}

async fn counts(cx: Context) -> &'static str {
    for figure in [1.0, 1.0, 3.0, 2.0, f64::NAN, 3.0, 3.5] {
        cx.progress(figure, None).await;
    }
    let clone = cx.clone();
    clone.progress(3, 10).await;
    clone.progress_message(4, 10, Some("four")).await;
    cx.progress(-1, None).await;
    "counted"
}

async fn works(cx: Context) -> Result<String, ToolError> {
    cx.progress_message(1, 2, Some("half way")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let sure = cx.elicit::<Sure>("Go on?").key("sure").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    match sure {
        Elicited::Accept(Sure { sure: true }) => Ok("done".into()),
        _ => Err(ToolError::from(mcp_http::message::ErrorObject::new(-32_000, "not sure"))),
    }
}

fn app() -> App {
    let server: McpServer = McpServer::new("progressing", "1.0.0")
        .tool("counts", "Counts.", counts)
        .with_tool(Tool::new("works", "Works.", works).task(TaskSupport::Optional));
    let streams = Streams::new().response_mode(ResponseMode::Sse);
    App::of(McpService::builder(server).streams(streams))
}

async fn figures(reply: Reply) -> Vec<Value> {
    let mut stream = reply.sse();
    let mut figures = Vec::new();
    while let Some(message) = stream.message().await {
        figures.extend(message.json()["params"].get("progress").cloned());
    }
    figures
}

/// The specification requires that progress increases. Each call is counted on its own.
///
/// Acceptance 190.
#[tokio::test(start_paused = true)]
async fn progress_that_does_not_rise_is_not_sent() {
    let app = app();
    let expected = [json!(1), json!(3), json!(3.5), json!(4)];
    let client = app.open().await;
    assert_eq!(figures(client.call(1, "counts", json!({})).await).await, expected);
    assert_eq!(figures(client.call(2, "counts", json!({})).await).await, expected, "each call for itself");
    assert_eq!(figures(app.call_tool("counts", json!({})).await).await, expected);
}

/// A message about progress is not shown for a task that waits for input or has ended.
///
/// Acceptance 191.
#[tokio::test(start_paused = true)]
async fn task_messages_follow_the_status() {
    let app = app();
    let meta = json!({"io.modelcontextprotocol/clientCapabilities":
        {"elicitation": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}}});
    let ask = async |method: &str, mut params: Value| {
        params["_meta"] = meta.clone();
        app.request(method, params).await.message().await["result"].clone()
    };
    let pause = async || tokio::time::sleep(Duration::from_millis(500)).await;
    for (sure, status, last) in [(json!(true), "completed", json!(null)), (json!(false), "failed", json!("not sure"))] {
        let begun = ask("tools/call", json!({"name": "works", "arguments": {}})).await;
        let task = begun["taskId"].clone();
        let seen = async || {
            let seen = ask("tasks/get", json!({"taskId": task})).await;
            (seen["status"].as_str().unwrap().to_owned(), seen["statusMessage"].clone())
        };
        pause().await;
        assert_eq!(seen().await, ("working".into(), json!("half way")));
        pause().await;
        pause().await;
        assert_eq!(seen().await, ("input_required".into(), json!(null)));
        let accept = json!({"sure": {"action": "accept", "content": {"sure": sure}}});
        ask("tasks/update", json!({"taskId": task, "inputResponses": accept})).await;
        assert_eq!(seen().await, ("working".into(), json!("half way")));
        pause().await;
        pause().await;
        pause().await;
        assert_eq!(seen().await, (status.into(), last));
    }
    let begun = ask("tools/call", json!({"name": "works", "arguments": {}})).await;
    pause().await;
    ask("tasks/cancel", json!({"taskId": begun["taskId"]})).await;
    let cancelled = ask("tasks/get", json!({"taskId": begun["taskId"]})).await;
    assert_eq!((&cancelled["status"], cancelled.get("statusMessage")), (&json!("cancelled"), None));
}
