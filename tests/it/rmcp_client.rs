//! rmcp's client, an independent reading of the specification, in a whole conversation.

use std::sync::Mutex;

use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, ElicitRequestParams, ElicitResult,
    ElicitationAction, Implementation, ProgressNotificationParam,
};
use rmcp::service::{NotificationContext, RequestContext, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::{ClientHandler, ErrorData, RoleClient, ServiceExt};
use serde_json::{Value, json};

use crate::support::Served;

/// Answers requests of the server and records progress.
#[derive(Default)]
struct Handler {
    progress: Mutex<Vec<f64>>,
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let capabilities: ClientCapabilities = serde_json::from_value(json!({"elicitation": {}})).unwrap();
        ClientConfig::new(capabilities, Implementation::new("rmcp-test", "1.0.0"))
    }

    async fn create_elicitation(
        &self,
        _request: ElicitRequestParams,
        _context: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(json!({"name": "Ada"})))
    }

    async fn on_progress(&self, params: ProgressNotificationParam, _context: NotificationContext<RoleClient>) {
        self.progress.lock().unwrap().push(params.progress);
    }
}

async fn connect(served: &Served) -> RunningService<RoleClient, Handler> {
    let transport = StreamableHttpClientTransport::from_uri(format!("http://{}/mcp", served.addr));
    Handler::default().serve(transport).await.unwrap()
}

async fn call(client: &RunningService<RoleClient, Handler>, tool: &'static str, arguments: Value) -> CallToolResult {
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    client.call_tool(CallToolRequestParams::new(tool).with_arguments(arguments)).await.unwrap()
}

fn text(result: &CallToolResult) -> String {
    let content = serde_json::to_value(&result.content).unwrap();
    content[0]["text"].as_str().unwrap().to_owned()
}

/// The client lists and calls tools, gets progress, answers a request and deletes its session.
///
/// Acceptance 3, 26, 27, 91, 94.
#[tokio::test]
async fn rmcps_client_opens_calls_answers_and_ends() {
    let served = Served::new().await;
    let client = connect(&served).await;
    // The client first asks for a later revision, and accepts the one that is served.
    assert_eq!(serde_json::to_value(&client.peer_info().unwrap().protocol_version).unwrap(), "2025-11-25");

    let tools = client.list_all_tools().await.unwrap();
    assert!(tools.iter().any(|tool| tool.name == "echo"), "{tools:?}");
    assert_eq!(text(&call(&client, "echo", json!({"message": "hi"})).await), "hi");
    assert_eq!(text(&call(&client, "progress", json!({"steps": 20, "delay_ms": 1})).await), "done");
    let progress = client.service().progress.lock().unwrap().clone();
    assert_eq!(progress, (1..=20).map(f64::from).collect::<Vec<_>>());
    assert_eq!(text(&call(&client, "ask", json!({})).await), "accept Ada");
    assert_eq!(served.handle.sessions().await.unwrap().len(), 1);

    client.cancel().await.unwrap();
    assert_eq!(served.handle.sessions().await.unwrap().len(), 0, "the client ends its session");
}
