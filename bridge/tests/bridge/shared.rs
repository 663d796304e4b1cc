//! Clients of 2026-07-28: they have no session and share one process.

use serde_json::{Value, json};

use crate::support::{Bridge, final_message, text, wait_for, wait_until_gone};

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{"sampling":{}}}"#;

/// Sends a request of 2026-07-28. Returns the status and the answer.
fn send(bridge: &Bridge, method: &str, name: &str, params: &str) -> (u16, String) {
    let name = if name.is_empty() { String::new() } else { format!("\r\nMcp-Name: {name}") };
    let head = format!("POST /mcp HTTP/1.1\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: {method}{name}");
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}{META}}}}}"#);
    let (status, _, body) = bridge.request(&head, &body);
    (status, final_message(&body))
}

fn call(bridge: &Bridge, tool: &str, arguments: &str) -> (u16, String) {
    send(bridge, "tools/call", tool, &format!(r#""name":"{tool}","arguments":{arguments},"#))
}

pub(crate) fn pid(bridge: &Bridge) -> u32 {
    text(&call(bridge, "pid", "{}").1).parse().unwrap()
}

#[test]
fn by_default_requests_without_a_session_are_rejected() {
    let bridge = Bridge::start(&[], &[]);
    let (status, body) = send(&bridge, "server/discover", "", "");
    assert_eq!(status, 400, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["error"]["code"], -32000, "a code of its era would look like a server of that era");
    let text = answer["error"]["message"].as_str().unwrap();
    assert!(text.contains("(supported versions: 2025-03-26, 2025-06-18, 2025-11-25)"), "{text}");
    assert!(!bridge.log().contains("process started"));
}

#[test]
fn discovery_omits_capabilities_that_need_a_session() {
    let bridge = Bridge::start(&["--stateless", "shared"], &[]);
    let (status, body) = send(&bridge, "server/discover", "", "");
    assert_eq!(status, 200, "{body}");
    let result = serde_json::from_str::<Value>(&body).unwrap()["result"].clone();
    // Without what needs a session: log levels and resource subscriptions.
    let capabilities = json!({"tools": {"listChanged": true}, "resources": {}, "experimental": {"a": 1.5}});
    assert_eq!(result["capabilities"], capabilities, "{body}");
    assert_eq!(result["instructions"], "Use with care.");
    assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "test-server", "{body}");
    assert_eq!(pid(&bridge), pid(&bridge));
    let received: Vec<(String, Value)> = serde_json::from_str(&text(&call(&bridge, "received", "{}").1)).unwrap();
    assert_eq!(received.len(), 2, "{received:?}");
    assert_eq!(received[0].1["capabilities"], json!({}));
    assert_eq!(received[1].0, "notifications/initialized");
    // A session still has a process of its own.
    assert_ne!(bridge.open().pid(), pid(&bridge));
}

#[test]
fn client_metadata_is_stripped_from_requests() {
    let bridge = Bridge::start(&["--stateless", "shared"], &[]);
    send(&bridge, "resources/list", "", r#""cursor":"c\n1","n":1.50,"#);
    let received: Vec<(String, Value)> = serde_json::from_str(&text(&call(&bridge, "received", "{}").1)).unwrap();
    let list = received.iter().find(|(method, _)| method == "resources/list").unwrap();
    assert_eq!(list.1, json!({"cursor": "c\n1", "n": 1.5, "_meta": {}}));
}

#[test]
fn a_shared_process_must_start() {
    let bridge = Bridge::command(&["--stateless", "shared"], &["/no/such/program"]).output().unwrap();
    assert!(!bridge.status.success());
    let said = String::from_utf8(bridge.stderr).unwrap();
    assert!(said.contains("/no/such/program"), "{said}");
}

#[test]
fn client_requests_of_a_shared_process_are_rejected() {
    let bridge = Bridge::start(&["--stateless", "shared"], &[]);
    let (_, answer) = call(&bridge, "request_client", r#"{"id":"q","method":"sampling/createMessage"}"#);
    let error: Value = serde_json::from_str(&text(&answer)).unwrap();
    assert_eq!(error["code"], -32601, "{answer}");
}

#[test]
fn methods_that_change_a_shared_process_are_rejected() {
    let bridge = Bridge::start(&["--stateless", "shared"], &[]);
    for method in ["logging/setLevel", "resources/subscribe", "tasks/list"] {
        let (status, answer) = send(&bridge, method, "", "");
        assert_eq!(status, 404, "{method}: {answer}");
    }
    assert!(!call(&bridge, "received", "{}").1.contains("setLevel"));
}

#[test]
fn a_shared_process_restarts_at_the_next_call() {
    let bridge = Bridge::start(&["--stateless", "shared"], &[]);
    let first = pid(&bridge);
    assert!(call(&bridge, "crash", "{}").1.contains("The server behind the bridge has ended"));
    wait_until_gone(first);
    assert_ne!(pid(&bridge), first);
}

#[test]
fn a_client_that_disconnects_cancels_its_call() {
    let bridge = Bridge::start(&["--stateless", "shared"], &[]);
    let first = pid(&bridge);
    let head = "POST /mcp HTTP/1.1\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: hold";
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"hold","arguments":{{"as":"held"}},{META}}}}}"#
    );
    let held = bridge.send(head, &body);
    wait_for("the process holds the call", || {
        text(&call(&bridge, "held_calls", "{}").1).contains("held").then_some(())
    });
    drop(held);
    wait_for("the process receives the cancellation", || {
        call(&bridge, "received", "{}").1.contains("notifications/cancelled").then_some(())
    });
    assert_eq!(pid(&bridge), first);
}

#[test]
fn changes_of_a_shared_process_reach_subscribers() {
    let bridge = Bridge::start(&["--stateless", "shared"], &[]);
    let head = "POST /mcp HTTP/1.1\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: subscriptions/listen";
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{{"notifications":{{"toolsListChanged":true}},{META}}}}}"#
    );
    let mut stream = bridge.send(head, &body);
    assert!(crate::support::next_event(&mut stream).contains("acknowledged"));
    call(&bridge, "list_changed", "{}");
    assert!(crate::support::next_event(&mut stream).contains("notifications/tools/list_changed"));
}
