//! The log: each line names the call that it belongs to, even after the call moved to a task of its
//! own.

use std::io;

use mcp_http::server::ToolError;
use mcp_http::{Args, McpHandle};
use serde_json::json;

use crate::support::{App, Logs};

async fn fails_late() -> Result<&'static str, ToolError> {
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    Err(io::Error::other("the database is down"))?;
    Ok("unreachable")
}

/// The captured log of a test must not depend on which thread registered a call site first.
///
/// Acceptance 206.
#[test]
fn captured_logs_ignore_thread_order() {
    fn say() {
        tracing::info!("said");
    }
    let logs = Logs::capture();
    std::thread::spawn(say).join().unwrap();
    assert_eq!(logs.text(), "", "the line of another thread");
    say();
    assert_eq!(logs.text().matches("said").count(), 1, "{}", logs.text());
}

/// Acceptance 83.
#[tokio::test(start_paused = true)]
async fn failures_are_logged_with_tool_id_and_session() {
    let logs = Logs::capture();
    let app = App::serving(|server| server.tool("fails", "Fails late.", fails_late), |service| service);
    let client = app.open().await;
    let answer = client.call(7, "fails", json!({})).await.message().await;
    assert_eq!(answer["result"]["isError"], true);
    assert!(!answer.to_string().contains("database"), "{answer}");
    let session = &client.session;
    let log = logs.text();
    let line = log.lines().find(|line| line.contains("the database is down")).unwrap_or_else(|| panic!("{log}"));
    for part in ["mcp.call", "tools/call", "fails", "id=7", &session[..8]] {
        assert!(line.contains(part), "{part} is missing: {line}");
    }
    assert!(!log.contains(session), "a whole session id is a secret: {log}");
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Uri {
    uri: String,
}

/// Acceptance 93.
#[tokio::test(start_paused = true)]
async fn a_tool_can_announce_its_changes() {
    async fn touch(mcp: McpHandle, Args(args): Args<Uri>) -> &'static str {
        mcp.resource_updated(args.uri);
        mcp.tools_changed();
        "touched"
    }
    let app = App::serving(|server| server.tool("touch", "Touches.", touch), |service| service);
    let client = app.open().await;
    let mut stream = client.listen().await;
    client
        .post(json!({"jsonrpc": "2.0", "id": 1, "method": "resources/subscribe", "params": {"uri": "test://fixed"}}))
        .await;
    assert_eq!(client.text_of("touch", json!({"uri": "test://fixed"})).await, "touched");
    let methods = [stream.message().await.unwrap().json(), stream.message().await.unwrap().json()]
        .map(|note| note["method"].clone());
    assert_eq!(methods, ["notifications/resources/updated", "notifications/tools/list_changed"]);
}
