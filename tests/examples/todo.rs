//! The example `todo`: its REST routes and MCP tools work on the same todos, and each user sees
//! only their own.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::process::Command;

use serde_json::{Value, json};

use super::Example;

const ALICE: &str = "Authorization: Bearer alices-secret";
const BOB: &str = "Authorization: Bearer bobs-secret";

fn start() -> Example {
    Example::start("todo")
}

/// Calls a REST route. Returns the status and the body.
fn rest(example: &Example, route: &str, user: &str, body: &str) -> (u16, Value) {
    let response = example.send(&format!("{route} HTTP/1.1\r\n{user}"), body);
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
}

/// An MCP session of a user that supports elicitation.
struct Client<'a> {
    example: &'a Example,
    headers: String,
}

impl<'a> Client<'a> {
    fn open(example: &'a Example, user: &str) -> Self {
        let initialize = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}},
            "clientInfo": {"name": "t", "version": "1"}}});
        let response = example.send(&format!("POST /mcp HTTP/1.1\r\n{user}"), &initialize.to_string());
        let id = response.lines().find_map(|line| line.strip_prefix("mcp-session-id: "));
        let id = id.unwrap_or_else(|| panic!("{response}"));
        Self { example, headers: format!("{user}\r\nMcp-Session-Id: {id}\r\nMCP-Protocol-Version: 2025-11-25") }
    }

    fn post(&self, message: &Value) -> BufReader<TcpStream> {
        BufReader::new(self.example.begin(&format!("POST /mcp HTTP/1.1\r\n{}", self.headers), &message.to_string()))
    }

    /// Sends a request. Returns all messages of the response.
    fn request(&self, method: &str, params: &Value) -> Vec<Value> {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let mut response = String::new();
        self.post(&message).read_to_string(&mut response).unwrap();
        let events =
            response.lines().filter_map(|line| line.strip_prefix("data: ").or(line.strip_prefix("{\"").map(|_| line)));
        events.filter_map(|data| serde_json::from_str(data).ok()).collect()
    }

    /// Sends a request. Returns its result.
    fn result(&self, method: &str, params: &Value) -> Value {
        let messages = self.request(method, params);
        let last = messages.last().unwrap_or_else(|| panic!("no answer to {method}"));
        last.get("result").unwrap_or_else(|| panic!("{last}")).clone()
    }

    /// Opens the GET stream.
    fn open_stream(&self) -> BufReader<TcpStream> {
        let mut stream = BufReader::new(self.example.begin(&format!("GET /mcp HTTP/1.1\r\n{}", self.headers), ""));
        let mut head = String::new();
        while !head.contains("event-stream") {
            assert!(stream.read_line(&mut head).unwrap() > 0, "{head}");
        }
        stream
    }

    fn call(&self, tool: &str, arguments: &Value) -> Value {
        self.result("tools/call", &json!({"name": tool, "arguments": arguments, "_meta": {"progressToken": 1}}))
    }
}

/// Returns the next message of an event stream.
fn next_message(stream: &mut BufReader<TcpStream>) -> Value {
    loop {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).unwrap() > 0, "the stream ended");
        if let Some(message) = line.strip_prefix("data: ").and_then(|data| serde_json::from_str(data).ok()) {
            return message;
        }
    }
}

#[test]
fn rest_and_mcp_share_todos() {
    let todo = start();
    let alice = Client::open(&todo, ALICE);
    assert_eq!(rest(&todo, "POST /todos", ALICE, r#"{"title":"milk"}"#).0, 201);
    let added = alice.call("add_todo", &json!({"title": " bread "}));
    assert_eq!(added["structuredContent"], json!({"id": 2, "title": "bread", "done": false}));
    assert_eq!(rest(&todo, "POST /todos/1/complete", ALICE, "").1["done"], true);
    let open = alice.call("list_todos", &json!({"done": false}));
    assert_eq!(open["structuredContent"]["result"], json!([{"id": 2, "title": "bread", "done": false}]));
    assert_eq!(alice.call("remove_todo", &json!({"id": 2}))["content"][0]["text"], r#"Removed "bread"."#);
    assert_eq!(rest(&todo, "GET /todos", ALICE, "").1, json!([{"id": 1, "title": "milk", "done": true}]));

    let failed = alice.call("complete_todo", &json!({"id": 2}));
    assert_eq!((&failed["isError"], &failed["content"][0]["text"]), (&json!(true), &json!("There is no todo 2.")));
    assert_eq!(rest(&todo, "DELETE /todos/2", ALICE, ""), (404, json!({"error": "There is no todo 2."})));
    assert_eq!(rest(&todo, "POST /todos", ALICE, r#"{"title":" "}"#).0, 422);
}

#[test]
fn users_and_sites_are_separate() {
    let todo = start();
    assert_eq!(rest(&todo, "POST /todos", ALICE, r#"{"title":"milk"}"#).0, 201);
    assert_eq!(rest(&todo, "GET /todos", BOB, "").1, json!([]));
    assert_eq!(Client::open(&todo, BOB).call("list_todos", &json!({}))["structuredContent"]["result"], json!([]));
    assert_eq!(rest(&todo, "DELETE /todos/1", BOB, "").0, 404);
    for route in ["GET /todos", "POST /mcp"] {
        assert_eq!(rest(&todo, route, "X-Test: 1", "{}").0, 401, "{route}");
    }
    let preflight = "OPTIONS /mcp HTTP/1.1\r\nAccess-Control-Request-Method: POST\r\nOrigin: https://todo.example";
    assert!(todo.send(preflight, "").contains("access-control-allow-origin: https://todo.example"));
}

#[test]
fn changes_by_rest_notify_mcp_clients() {
    let todo = start();
    let alice = Client::open(&todo, ALICE);
    alice.result("resources/subscribe", &json!({"uri": "todo://1"}));
    let mut stream = alice.open_stream();
    rest(&todo, "POST /todos", ALICE, r#"{"title":"milk"}"#);
    assert_eq!(next_message(&mut stream)["method"], "notifications/resources/list_changed");
    rest(&todo, "POST /todos/1/complete", ALICE, "");
    let updated = next_message(&mut stream);
    assert_eq!(updated["method"], "notifications/resources/updated");
    assert_eq!(updated["params"]["uri"], "todo://1");
}

#[test]
fn import_reports_progress() {
    let todo = start();
    let alice = Client::open(&todo, ALICE);
    let params = json!({"name": "import_todos", "arguments": {"titles": ["a", "b"]}, "_meta": {"progressToken": 1}});
    let messages = alice.request("tools/call", &params);
    let progress: Vec<_> = messages.iter().filter(|message| message["method"] == "notifications/progress").collect();
    assert_eq!(progress.len(), 2, "{messages:?}");
    assert_eq!(progress[1]["params"], json!({"progressToken": 1, "progress": 2, "total": 2, "message": "b"}));
    assert_eq!(messages.last().unwrap()["result"]["content"][0]["text"], "Imported 2 todos.");
}

#[test]
fn clear_done_needs_a_confirmation() {
    let todo = start();
    let alice = Client::open(&todo, ALICE);
    alice.call("import_todos", &json!({"titles": ["a", "b"]}));
    assert_eq!(alice.call("clear_done", &json!({}))["content"][0]["text"], "There is no completed todo.");
    alice.call("complete_todo", &json!({"id": 1}));
    for (answer, text, left) in [
        (json!({"action": "decline"}), "No todo was removed.", 2),
        (json!({"action": "accept", "content": {"sure": true}}), "Removed 1 todos.", 1),
    ] {
        let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call",
            "params": {"name": "clear_done", "arguments": {}}});
        let mut stream = alice.post(&call);
        let request = next_message(&mut stream);
        assert_eq!(request["method"], "elicitation/create");
        assert_eq!(request["params"]["message"], "This removes 1 completed todos.");
        let mut accepted = String::new();
        alice
            .post(&json!({"jsonrpc": "2.0", "id": request["id"], "result": answer}))
            .read_to_string(&mut accepted)
            .unwrap();
        assert!(accepted.starts_with("HTTP/1.1 202"), "{accepted}");
        assert_eq!(next_message(&mut stream)["result"]["content"][0]["text"], text);
        assert_eq!(rest(&todo, "GET /todos", ALICE, "").1.as_array().unwrap().len(), left);
    }
}

#[test]
fn todos_are_resources_and_part_of_a_prompt() {
    let todo = start();
    let alice = Client::open(&todo, ALICE);
    alice.call("import_todos", &json!({"titles": ["milk", "bread"]}));
    let read = alice.result("resources/read", &json!({"uri": "todo://2"}));
    let text: Value = serde_json::from_str(read["contents"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(text, json!({"id": 2, "title": "bread", "done": false}));
    let unknown = alice.request("resources/read", &json!({"uri": "todo://77"}));
    assert!(unknown[0]["error"]["code"].is_i64(), "{unknown:?}");

    let argument = json!({"name": "id", "value": "1"});
    let reference = json!({"type": "ref/resource", "uri": "todo://{id}"});
    let completed = alice.result("completion/complete", &json!({"ref": reference, "argument": argument}));
    assert_eq!(completed["completion"]["values"], json!(["1"]));

    let prompt = alice.result("prompts/get", &json!({"name": "plan_day", "arguments": {"hours": "4"}}));
    let text = prompt["messages"][0]["content"]["text"].as_str().unwrap();
    assert_eq!(text, "Plan a day of 4 hours around these todos:\n- milk\n- bread");
}

#[cfg(unix)]
#[test]
fn todo_stops_at_sigterm_with_an_open_stream() {
    let mut todo = start();
    let _stream = Client::open(&todo, ALICE).open_stream();
    let signal = Command::new("kill").args(["-TERM", &todo.process.id().to_string()]).status().unwrap();
    assert!(signal.success());
    assert!(todo.process.wait().unwrap().success());
}
