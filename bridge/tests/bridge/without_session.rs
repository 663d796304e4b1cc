//! Clients of 2026-07-28, who have no session and so no child of their own.

use serde_json::{Value, json};

use crate::support::{Bridge, gone, last, soon, text};

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{"sampling":{}}}"#;

/// Sends a request of 2026-07-28; the status and the answer.
fn send(bridge: &Bridge, method: &str, name: &str, params: &str) -> (u16, String) {
    let name = if name.is_empty() { String::new() } else { format!("\r\nMcp-Name: {name}") };
    let head = format!("POST /mcp HTTP/1.1\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: {method}{name}");
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}{META}}}}}"#);
    let (status, _, body) = bridge.all(&head, &body);
    (status, last(&body))
}

fn call(bridge: &Bridge, tool: &str, arguments: &str) -> (u16, String) {
    send(bridge, "tools/call", tool, &format!(r#""name":"{tool}","arguments":{arguments},"#))
}

pub(crate) fn pid(bridge: &Bridge) -> u32 {
    text(&call(bridge, "pid", "{}").1).parse().unwrap()
}

#[test]
fn by_default_they_are_told_which_revisions_have_sessions_and_nothing_is_started() {
    let bridge = Bridge::start(&[], &[]);
    let (status, body) = send(&bridge, "server/discover", "", "");
    assert_eq!(status, 400, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["error"]["code"], -32000, "a code of its era would look like a server of that era");
    let text = answer["error"]["message"].as_str().unwrap();
    assert!(text.contains("(supported versions: 2025-03-26, 2025-06-18, 2025-11-25)"), "{text}");
    assert!(!bridge.log().contains("a process was started"));
}

#[test]
fn a_shared_child_is_opened_by_the_bridge_and_says_what_it_can_do_for_them() {
    let bridge = Bridge::start(&["--stateless", "shared"], &[]);
    let (status, body) = send(&bridge, "server/discover", "", "");
    assert_eq!(status, 200, "{body}");
    let result = serde_json::from_str::<Value>(&body).unwrap()["result"].clone();
    // Not what it could only do for one of them: log at a level, tell of one resource.
    let capabilities = json!({"tools": {"listChanged": true}, "resources": {}, "experimental": {"a": 1.5}});
    assert_eq!(result["capabilities"], capabilities, "{body}");
    assert_eq!(result["instructions"], "Mind the child.");
    assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "child", "{body}");
    assert_eq!(pid(&bridge), pid(&bridge));
    let heard: Vec<(String, Value)> = serde_json::from_str(&text(&call(&bridge, "heard", "{}").1)).unwrap();
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert_eq!(heard[0].1["capabilities"], json!({}));
    assert_eq!(heard[1].0, "notifications/initialized");
    // Sessions have theirs all the same.
    assert_ne!(bridge.open().pid(), pid(&bridge));
}

#[test]
fn a_shared_child_does_not_see_what_a_request_says_of_its_client() {
    let bridge = Bridge::start(&["--stateless", "shared"], &[]);
    send(&bridge, "resources/list", "", r#""cursor":"c\n1","n":1.50,"#);
    let heard: Vec<(String, Value)> = serde_json::from_str(&text(&call(&bridge, "heard", "{}").1)).unwrap();
    let list = heard.iter().find(|(method, _)| method == "resources/list").unwrap();
    assert_eq!(list.1, json!({"cursor": "c\n1", "n": 1.5, "_meta": {}}));
}

#[test]
fn a_bridge_whose_shared_child_does_not_start_says_so_at_once() {
    let bridge = Bridge::command(&["--stateless", "shared"], &["/no/such/program"]).output().unwrap();
    assert!(!bridge.status.success());
    let said = String::from_utf8(bridge.stderr).unwrap();
    assert!(said.contains("/no/such/program"), "{said}");
}

#[test]
fn a_shared_child_that_asks_is_told_that_it_cannot() {
    let bridge = Bridge::start(&["--stateless", "shared"], &[]);
    let (_, answer) = call(&bridge, "ask", r#"{"id":"q","method":"sampling/createMessage"}"#);
    let told: Value = serde_json::from_str(&text(&answer)).unwrap();
    assert_eq!(told["code"], -32601, "{answer}");
}

#[test]
fn nobody_changes_a_shared_child_for_everybody() {
    let bridge = Bridge::start(&["--stateless", "shared"], &[]);
    for method in ["logging/setLevel", "resources/subscribe", "tasks/list"] {
        let (status, answer) = send(&bridge, method, "", "");
        assert_eq!(status, 404, "{method}: {answer}");
    }
    assert!(!call(&bridge, "heard", "{}").1.contains("setLevel"));
}

#[test]
fn a_shared_child_that_died_is_replaced_at_the_next_call() {
    let bridge = Bridge::start(&["--stateless", "shared"], &[]);
    let first = pid(&bridge);
    assert!(call(&bridge, "die", "{}").1.contains("The server behind the bridge has ended"));
    gone(first);
    assert_ne!(pid(&bridge), first);
}

#[test]
fn a_client_that_leaves_cancels_its_call_for_the_shared_child() {
    let bridge = Bridge::start(&["--stateless", "shared"], &[]);
    let first = pid(&bridge);
    let head = "POST /mcp HTTP/1.1\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: hold";
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"hold","arguments":{{"as":"held"}},{META}}}}}"#
    );
    let held = bridge.send(head, &body);
    soon("the child holds the call", || text(&call(&bridge, "held", "{}").1).contains("held").then_some(()));
    drop(held);
    soon("the child hears of it", || call(&bridge, "heard", "{}").1.contains("notifications/cancelled").then_some(()));
    assert_eq!(pid(&bridge), first);
}

#[test]
fn news_of_a_shared_child_reaches_who_listens() {
    let bridge = Bridge::start(&["--stateless", "shared"], &[]);
    let head = "POST /mcp HTTP/1.1\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: subscriptions/listen";
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{{"notifications":{{"toolsListChanged":true}},{META}}}}}"#
    );
    let mut listening = bridge.send(head, &body);
    assert!(crate::support::event(&mut listening).contains("acknowledged"));
    call(&bridge, "news", "{}");
    assert!(crate::support::event(&mut listening).contains("notifications/tools/list_changed"));
}
