//! Tasks: calls of 2026-07-28 whose client polls for the answer on any node, while the handler runs
//! on the node of the call.

mod ending;
mod faults;
mod input_requests;
mod races;

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use mcp_http::message::ErrorObject;
use mcp_http::server::{CallToolResult, TaskSupport, Tool, ToolError};
use mcp_http::store::MemoryEngine;
use mcp_http::store::engine::SessionEngine;
use mcp_http::{Args, Context, McpServer, McpService, McpServiceBuilder, Principal, TaskId, Tasks};
use serde_json::{Value, json};

use crate::support::{App, RequestExt, call, request};

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Name {
    name: String,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Wait {
    ms: u64,
}

async fn slow(cx: Context, Args(Wait { ms }): Args<Wait>) -> String {
    cx.progress_message(1, 2, Some("half way")).await;
    tokio::time::sleep(Duration::from_millis(ms)).await;
    format!("waited {ms}")
}

async fn fails() -> CallToolResult {
    CallToolResult::error("it failed")
}

async fn breaks() -> Result<String, ErrorObject> {
    Err(ErrorObject::new(-32_603, "broken"))
}

async fn asks(cx: Context) -> Result<String, ToolError> {
    let (first, second) = tokio::join!(cx.elicit::<Name>("First?").key("a"), cx.elicit::<Name>("Second?").key("b"));
    let name = |given: mcp_http::server::Elicited<Name>| given.accepted().map_or("-".to_owned(), |Name { name }| name);
    Ok(format!("{} {}", name(first?), name(second?)))
}

async fn later(cx: Context) -> Result<String, ToolError> {
    let name = cx.elicit::<Name>("Who?").key("who").await?.accepted().map_or("-".to_owned(), |Name { name }| name);
    let is_task = cx.begin_task().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(format!("{name} {is_task}"))
}

fn service(engine: impl SessionEngine) -> McpServiceBuilder {
    McpService::builder(server()).engine(engine)
}

fn server() -> McpServer {
    McpServer::new("tasks", "1.0.0")
        .with_tool(Tool::new("slow", "Waits.", slow).task(TaskSupport::Optional))
        .with_tool(Tool::new("required", "Waits.", slow).task(TaskSupport::Required))
        .with_tool(Tool::new("fails", "Fails.", fails).task(TaskSupport::Required))
        .with_tool(Tool::new("breaks", "Breaks.", breaks).task(TaskSupport::Optional))
        .with_tool(Tool::new("asks", "Asks.", asks).task(TaskSupport::Optional))
        .with_tool(Tool::new("later", "Asks, then works.", later).task_on_demand(TaskSupport::Optional))
        .tool("plain", "Is no task.", async || "plain")
}

fn app() -> App {
    App::of(service(MemoryEngine::new()))
}

/// A client that supports tasks.
#[derive(Clone)]
struct Poller<'a> {
    app: &'a App,
    principal: Option<&'static str>,
    capabilities: Value,
}

impl<'a> Poller<'a> {
    fn new(app: &'a App) -> Self {
        let capabilities = json!({"elicitation": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}});
        Self { app, principal: None, capabilities }
    }

    fn of(self, principal: &'static str) -> Self {
        Self { principal: Some(principal), ..self }
    }

    async fn send(&self, method: &str, name: &str, params: Value) -> (u16, Value) {
        let reply = self.app.send(self.request(method, name, params)).await;
        (reply.status.as_u16(), reply.message().await)
    }

    fn request(&self, method: &str, name: &str, mut params: Value) -> Request<Body> {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": self.capabilities,
        });
        let mut request = request(Method::POST)
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", method)
            .header("mcp-name", name)
            .message(json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}));
        if let Some(principal) = self.principal {
            request.extensions_mut().insert(Principal::new(principal));
        }
        request
    }

    /// Begins a call and leaves after the given time, which may be before the answer or after it.
    async fn leave(&self, tool: &str, arguments: Value, after: Duration) {
        let request = self.request("tools/call", tool, json!({"name": tool, "arguments": arguments}));
        let _ = tokio::time::timeout(after, self.app.send(request)).await;
    }

    async fn call(&self, tool: &str, arguments: Value) -> Value {
        self.send("tools/call", tool, json!({"name": tool, "arguments": arguments})).await.1
    }

    /// Begins a task. Returns its id.
    async fn begin(&self, tool: &str, arguments: Value) -> String {
        let created = self.call(tool, arguments).await;
        assert_eq!(created["result"]["resultType"], "task", "{created}");
        for absent in ["task", "result", "error", "inputRequests", "requestState"] {
            assert_eq!(created["result"].get(absent), None);
        }
        created["result"]["taskId"].as_str().unwrap().to_owned()
    }

    async fn on(&self, method: &str, task: &str, more: Value) -> Value {
        let mut params = json!({"taskId": task});
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.send(method, task, params).await.1
    }

    async fn get(&self, task: &str) -> Value {
        let answer = self.on("tasks/get", task, json!({})).await;
        assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
        answer["result"].clone()
    }

    async fn status(&self, task: &str) -> String {
        self.get(task).await["status"].as_str().unwrap().to_owned()
    }

    async fn update(&self, task: &str, responses: Value) -> Value {
        self.on("tasks/update", task, json!({"inputResponses": responses})).await
    }
}

fn accept(name: &str) -> Value {
    json!({"action": "accept", "content": {"name": name}})
}

fn is_empty_ack(answer: &Value) -> bool {
    let result = answer["result"].as_object().unwrap();
    result["resultType"] == "complete" && result.keys().all(|key| key == "resultType" || key == "_meta")
}

async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A task begins at one node, and is polled and answered at the other.
#[cfg(feature = "redis")]
pub(crate) async fn tasks_are_served_by_either_node(here: impl SessionEngine, there: impl SessionEngine) {
    let (a, b) = (App::of(service(here)), App::of(service(there)));
    let (here, there) = (Poller::new(&a), Poller::new(&b));
    let task = here.begin("asks", json!({})).await;
    // Each request to the client is an update of its own.
    until(&there, &task, "input_required with both requests", |task| {
        task["status"] == "input_required" && ["a", "b"].iter().all(|key| task["inputRequests"].get(key).is_some())
    })
    .await;
    let answers = json!({"a": accept("Ann"), "b": accept("Bob")});
    assert!(is_empty_ack(&there.update(&task, answers).await));
    let done = until(&there, &task, "completed", |task| task["status"] == "completed").await;
    assert_eq!(done["result"]["content"][0]["text"], "Ann Bob");
    assert_eq!(here.get(&task).await, done);
}

#[cfg(feature = "redis")]
async fn until(client: &Poller<'_>, task: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let reached = async {
        loop {
            let found = client.get(task).await;
            if holds(&found) {
                return found;
            }
            pass(ms(20)).await;
        }
    };
    tokio::time::timeout(ms(60_000), reached).await.unwrap_or_else(|_| panic!("never {what}"))
}

#[tokio::test(start_paused = true)]
async fn a_call_becomes_a_task() {
    let app = app();
    let client = Poller::new(&app);
    let task = client.begin("slow", json!({"ms": 2_000})).await;
    let working = client.get(&task).await;
    assert_eq!((&working["status"], &working["taskId"]), (&json!("working"), &json!(task)));
    assert_eq!((&working["ttlMs"], &working["pollIntervalMs"]), (&json!(3_600_000), &json!(1_000)));
    assert_eq!(working["statusMessage"], "half way");
    assert!(working["createdAt"].as_str().unwrap().ends_with('Z'));
    pass(Duration::from_secs(3)).await;
    let completed = client.get(&task).await;
    assert_eq!(completed["status"], "completed");
    assert_eq!(completed["result"]["content"][0]["text"], "waited 2000");
    assert_eq!(client.get(&task).await, completed, "it may be asked for again");
}

#[tokio::test(start_paused = true)]
async fn tool_errors_complete_and_protocol_errors_fail() {
    let app = app();
    let client = Poller::new(&app);
    let failed = client.get(&client.begin("fails", json!({})).await).await;
    assert_eq!((&failed["status"], &failed["result"]["isError"]), (&json!("completed"), &json!(true)));
    let broken = client.get(&client.begin("breaks", json!({})).await).await;
    assert_eq!((&broken["status"], &broken["error"]["message"]), (&json!("failed"), &json!("broken")));
    assert_eq!(broken.get("result"), None);
}

#[tokio::test(start_paused = true)]
async fn clients_without_tasks_wait_or_fail() {
    let app = app();
    let client = Poller { capabilities: json!({}), ..Poller::new(&app) };
    assert_eq!(client.call("slow", json!({"ms": 10})).await["result"]["content"][0]["text"], "waited 10");
    let required = json!({"requiredCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}}});
    let (status, rejected) =
        client.send("tools/call", "required", json!({"name": "required", "arguments": {"ms": 1}})).await;
    assert_eq!((status, &rejected["error"]["code"], &rejected["error"]["data"]), (400, &json!(-32021), &required));
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let (status, rejected) = client.send(method, "none", json!({"taskId": "none"})).await;
        assert_eq!((status, &rejected["error"]["code"], &rejected["error"]["data"]), (400, &json!(-32021), &required));
    }
    // A client of a session waits for the answer in any case.
    let session = app.open().await;
    let answer = session.post(call(1, "required", json!({"ms": 1}))).await.message().await;
    assert_eq!(answer["result"]["content"][0]["text"], "waited 1");
}

#[tokio::test(start_paused = true)]
async fn tasks_send_requests_one_by_one() {
    let app = app();
    let client = Poller::new(&app);
    let task = client.begin("asks", json!({})).await;
    let waiting = client.get(&task).await;
    assert_eq!(waiting["status"], "input_required");
    assert_eq!(waiting["inputRequests"]["a"]["method"], "elicitation/create");
    assert_eq!(waiting["inputRequests"].as_object().unwrap().len(), 2);
    assert!(is_empty_ack(&client.update(&task, json!({"stray": accept("x"), "a": accept("Ann")})).await));
    let waiting = client.get(&task).await;
    assert_eq!(waiting["inputRequests"].as_object().unwrap().keys().collect::<Vec<_>>(), ["b"]);
    // A second answer to the same request changes nothing.
    assert!(is_empty_ack(&client.update(&task, json!({"a": accept("Eve")})).await));
    assert!(is_empty_ack(&client.update(&task, json!({"b": accept("Bob")})).await));
    tokio::task::yield_now().await;
    let completed = client.get(&task).await;
    assert_eq!(completed["result"]["content"][0]["text"], "Ann Bob", "{completed}");
    assert_eq!(completed.get("inputRequests"), None);
}

#[tokio::test(start_paused = true)]
async fn requests_before_begin_task_end_the_call() {
    let app = app();
    let client = Poller::new(&app);
    let asked = client.call("later", json!({})).await;
    assert_eq!(asked["result"]["resultType"], "input_required");
    let params = json!({
        "name": "later", "arguments": {},
        "requestState": asked["result"]["requestState"], "inputResponses": {"who": accept("Ann")},
    });
    let (_, created) = client.send("tools/call", "later", params.clone()).await;
    assert_eq!(created["result"]["resultType"], "task");
    assert_eq!((created["result"].get("requestState"), created["result"].get("inputRequests")), (None, None));
    pass(Duration::from_secs(2)).await;
    let done = client.get(created["result"]["taskId"].as_str().unwrap()).await;
    assert_eq!(done["result"]["content"][0]["text"], "Ann true");
    let plain = Poller { capabilities: json!({"elicitation": {}}), ..client.clone() };
    let (_, answer) = plain.send("tools/call", "later", params).await;
    assert_eq!(answer["result"]["content"][0]["text"], "Ann false");
}

#[tokio::test(start_paused = true)]
async fn cancelled_tasks_stop_and_stay_cancelled() {
    let app = app();
    let client = Poller::new(&app);
    let task = client.begin("slow", json!({"ms": 60_000})).await;
    assert!(is_empty_ack(&client.on("tasks/cancel", &task, json!({})).await));
    assert_eq!(client.status(&task).await, "cancelled");
    pass(Duration::from_secs(120)).await;
    assert_eq!(client.status(&task).await, "cancelled");
    assert!(is_empty_ack(&client.on("tasks/cancel", &task, json!({})).await), "twice is once");
    let done = client.begin("fails", json!({})).await;
    assert!(is_empty_ack(&client.on("tasks/cancel", &done, json!({})).await));
    assert_eq!(client.status(&done).await, "completed");
}

#[tokio::test(start_paused = true)]
async fn a_task_outlives_the_connection_that_began_it() {
    let app = app();
    let client = Poller::new(&app);
    let task = client.begin("slow", json!({"ms": 5_000})).await;
    pass(Duration::from_secs(6)).await;
    assert_eq!(client.status(&task).await, "completed");
}

#[tokio::test(start_paused = true)]
async fn tasks_are_visible_to_their_principal_only() {
    let app = app();
    let ann = Poller::new(&app).of("ann");
    let task = ann.begin("slow", json!({"ms": 1_000})).await;
    let unknown = TaskId::random().to_string();
    for (client, task) in [
        (Poller::new(&app).of("bob"), &*task),
        (Poller::new(&app), &*task),
        (ann.clone(), &*unknown),
        (ann.clone(), "no id of ours"),
    ] {
        for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
            let answer = client.on(method, task, json!({"inputResponses": {}})).await;
            assert_eq!(answer["error"], json!({"code": -32602, "message": "Task not found"}));
        }
    }
    assert_eq!(ann.status(&task).await, "working");
}

#[tokio::test(start_paused = true)]
async fn expired_tasks_are_stopped_and_removed() {
    let short = service(MemoryEngine::new()).tasks(Tasks::new().ttl(Duration::from_secs(2)));
    let app = App::of(short);
    let client = Poller::new(&app);
    let task = client.begin("slow", json!({"ms": 60_000})).await;
    pass(Duration::from_secs(5)).await;
    let gone = client.on("tasks/get", &task, json!({})).await;
    assert_eq!(gone["error"]["code"], -32602);
    assert_eq!(app.handle.drain(Duration::from_millis(10)).await.cut_calls, 0, "its handler was stopped");
}

#[tokio::test(start_paused = true)]
async fn tasks_are_limited() {
    let app = App::of(service(MemoryEngine::new()).tasks(Tasks::new().max_tasks(2).max_tasks_per_principal(1)));
    let (ann, bob, eve) = (Poller::new(&app).of("ann"), Poller::new(&app).of("bob"), Poller::new(&app).of("eve"));
    let first = ann.begin("slow", json!({"ms": 1_000})).await;
    let second = ann.call("slow", json!({"ms": 1_000})).await;
    assert_eq!(second["error"]["message"], "Too many tasks of this principal");
    bob.begin("slow", json!({"ms": 60_000})).await;
    assert_eq!(eve.call("slow", json!({"ms": 1_000})).await["error"]["message"], "Too many tasks");
    pass(Duration::from_secs(2)).await;
    eve.begin("slow", json!({"ms": 1_000})).await;
    assert_eq!(ann.on("tasks/get", &first, json!({})).await["error"]["code"], -32602, "it was done, and made room");
}

#[tokio::test(start_paused = true)]
async fn tasks_are_served_by_every_node() {
    let engine = MemoryEngine::new();
    let (here, there) = (App::of(service(engine.clone())), App::of(service(engine)));
    let task = Poller::new(&here).begin("asks", json!({})).await;
    let client = Poller::new(&there);
    assert_eq!(client.status(&task).await, "input_required");
    client.update(&task, json!({"a": accept("Ann"), "b": accept("Bob")})).await;
    tokio::task::yield_now().await;
    assert_eq!(client.get(&task).await["result"]["content"][0]["text"], "Ann Bob");
    let cancelled = Poller::new(&here).begin("slow", json!({"ms": 60_000})).await;
    client.on("tasks/cancel", &cancelled, json!({})).await;
    assert_eq!(Poller::new(&here).status(&cancelled).await, "cancelled");
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_and_then_fails_tasks() {
    let engine = MemoryEngine::new();
    let (here, there) = (App::of(service(engine.clone())), App::of(service(engine)));
    let quick = Poller::new(&here).begin("slow", json!({"ms": 1_000})).await;
    let long = Poller::new(&here).begin("slow", json!({"ms": 60_000})).await;
    let report = here.handle.drain(Duration::from_secs(5)).await;
    assert_eq!((report.calls, report.cut_calls), (2, 1));
    let client = Poller::new(&there);
    assert_eq!(client.status(&quick).await, "completed");
    let failed = client.get(&long).await;
    assert_eq!(
        (&failed["status"], &failed["error"]["message"]),
        (&json!("failed"), &json!("The server is shutting down"))
    );
}

#[tokio::test(start_paused = true)]
async fn tasks_are_advertised_only_if_used() {
    let app = app();
    let (_, discovered) = Poller::new(&app).send("server/discover", "", json!({})).await;
    assert_eq!(discovered["result"]["capabilities"]["extensions"], json!({"io.modelcontextprotocol/tasks": {}}));
    assert_eq!(discovered["result"]["capabilities"].get("tasks"), None);
    let session = app.post(crate::support::initialize("2025-11-25", json!({}))).await.json().await;
    assert_eq!(session["result"]["capabilities"].get("extensions"), None, "sessions know nothing of it");
    for removed in ["tasks/result", "tasks/list"] {
        let (status, answer) = Poller::new(&app).send(removed, "x", json!({"taskId": "x"})).await;
        assert_eq!((status, &answer["error"]["code"]), (404, &json!(-32601)), "{removed}");
    }
    let plain = App::new();
    let (status, answer) = Poller::new(&plain).send("tasks/get", "x", json!({"taskId": "x"})).await;
    assert_eq!((status, &answer["error"]["code"]), (404, &json!(-32601)));
    // The `task` parameter of earlier revisions is ignored.
    let params = json!({"name": "plain", "arguments": {}, "task": {"ttl": 1}});
    let (_, answer) = Poller::new(&app).send("tools/call", "plain", params).await;
    assert_eq!(answer["result"]["content"][0]["text"], "plain");
}
