//! Client requests of tasks: before the call is a task, while it becomes one, from another task of
//! the runtime, and after the end.

use std::sync::Arc;

use futures_util::FutureExt;
use mcp_http::message::RawJson;
use mcp_http::server::{ClientError, TaskSupport, Tool, ToolError};
use mcp_http::store::MemoryEngine;
use mcp_http::{Context, McpServer, McpService};
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};

use super::{Name, Poller, accept, ms, pass};
use crate::support::{App, FarEngine, Pace};

fn later<M, F, R>(name: &str, handler: F) -> McpServer
where
    F: mcp_http::server::Handler<(), M, Output = R>,
    R: mcp_http::server::IntoToolResult + Send,
    M: 'static,
{
    McpServer::new("asking", "1").with_tool(Tool::new(name, "Asks.", handler).task_on_demand(TaskSupport::Optional))
}

fn apps(server: impl Fn() -> McpServer) -> [App; 2] {
    let far = FarEngine::new(|_, _| Pace { there: ms(10), back: ms(10) });
    [
        App::of(McpService::builder(server()).engine(MemoryEngine::new())),
        App::of(McpService::builder(server()).engine(far)),
    ]
}

async fn name(cx: &Context) -> Result<String, ClientError> {
    Ok(cx.elicit::<Name>("Who?").key("who").await?.accepted().map_or_else(String::new, |Name { name }| name))
}

/// Plays the client until the call has a result, in whatever way the call sends its requests.
async fn result(client: &Poller<'_>, tool: &str) -> Value {
    let mut params = json!({"name": tool, "arguments": {}});
    let answer = loop {
        let (_, answer) = client.send("tools/call", tool, params.clone()).await;
        if answer["result"]["resultType"] != "input_required" {
            break answer;
        }
        params["requestState"] = answer["result"]["requestState"].clone();
        params["inputResponses"] = json!({"who": accept("Ann")});
    };
    assert_eq!(answer["result"]["resultType"], "task", "{answer}");
    let task = answer["result"]["taskId"].as_str().unwrap();
    for _ in 0..100 {
        pass(ms(100)).await;
        let seen = client.get(task).await;
        match seen["status"].as_str() {
            Some("input_required") => drop(client.update(task, json!({"who": accept("Ann")})).await),
            Some("working") => {}
            _ => return seen,
        }
    }
    panic!("the task never ends");
}

#[tokio::test(start_paused = true)]
async fn requests_beside_begin_task_reach_the_client() {
    async fn question_first(cx: Context) -> Result<String, ToolError> {
        let (name, is_task) = tokio::join!(biased; name(&cx), cx.begin_task());
        Ok(format!("{} {is_task}", name?))
    }
    async fn task_first(cx: Context) -> Result<String, ToolError> {
        let (is_task, name) = tokio::join!(biased; cx.begin_task(), name(&cx));
        Ok(format!("{} {is_task}", name?))
    }
    async fn elsewhere(cx: Context) -> Result<String, ToolError> {
        let there = cx.clone();
        let (is_task, name) =
            tokio::join!(tokio::spawn(async move { there.begin_task().await }), async { name(&cx).await });
        Ok(format!("{} {}", name?, is_task.map_err(ToolError::internal)?))
    }
    for app in apps(|| later("tool", question_first))
        .iter()
        .chain(&apps(|| later("tool", task_first)))
        .chain(&apps(|| later("tool", elsewhere)))
    {
        let done = result(&Poller::new(app), "tool").await;
        assert_eq!(done["status"], "completed", "{done}");
        assert_eq!(done["result"]["content"][0]["text"], "Ann true", "{done}");
    }
}

#[tokio::test(start_paused = true)]
async fn tasks_begun_elsewhere_are_answered_at_once() {
    async fn elsewhere(cx: Context) -> Result<String, ToolError> {
        let there = cx.clone();
        tokio::spawn(async move {
            pass(ms(1)).await;
            there.begin_task().await
        });
        pass(ms(60_000)).await;
        Ok("done".to_owned())
    }
    for app in apps(|| later("tool", elsewhere)) {
        let start = tokio::time::Instant::now();
        Poller::new(&app).begin("tool", json!({})).await;
        assert!(start.elapsed() < ms(200), "{:?}", start.elapsed());
    }
}

/// A background job outlives its task. Its request to the client fails, both if it began before the
/// end of the task and if it began after.
#[tokio::test(start_paused = true)]
async fn requests_fail_after_the_task_ends() {
    for cancelled in [true, false] {
        let (told, heard) = mpsc::unbounded_channel();
        let heard = Arc::new(Mutex::new(heard));
        let handler = move |cx: Context| {
            let told = told.clone();
            async move {
                cx.begin_task().await;
                let there = cx.clone();
                tokio::spawn(async move {
                    for _ in 0..2 {
                        told.send(name(&there).await.map_err(|error| error.to_string())).unwrap();
                    }
                });
                pass(ms(1_000)).await;
                "done"
            }
        };
        for app in apps(|| later("tool", handler.clone())) {
            let client = Poller::new(&app);
            let task = client.begin("tool", json!({})).await;
            pass(ms(500)).await;
            assert_eq!(client.status(&task).await, "input_required");
            if cancelled {
                client.on("tasks/cancel", &task, json!({})).await;
            }
            pass(ms(2_000)).await;
            assert_eq!(client.status(&task).await, if cancelled { "cancelled" } else { "completed" });
            let mut heard = heard.lock().await;
            for _ in 0..2 {
                let answer = heard.recv().now_or_never().expect("the handler got no error").unwrap();
                assert_eq!(answer, Err("the call or the session ended before the client answered".to_owned()));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn withdrawn_requests_are_no_longer_listed() {
    async fn impatient(cx: Context) -> Result<String, ToolError> {
        cx.begin_task().await;
        let asked = cx.elicit::<Name>("Who?").key("who").timeout(ms(1_000)).await;
        pass(ms(1_000)).await;
        Ok(asked.err().map_or_else(String::new, |error| error.to_string()))
    }
    for app in apps(|| later("tool", impatient)) {
        let client = Poller::new(&app);
        let task = client.begin("tool", json!({})).await;
        pass(ms(500)).await;
        assert_eq!(client.status(&task).await, "input_required");
        pass(ms(1_000)).await;
        assert_eq!(client.status(&task).await, "working");
        // The answer comes too late, and is acknowledged anyway.
        assert!(super::is_empty_ack(&client.update(&task, json!({"who": accept("Ann")})).await));
        pass(ms(1_000)).await;
        let done = client.get(&task).await;
        assert_eq!(done["result"]["content"][0]["text"], "the client did not answer within 1s", "{done}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_with_equal_keys_are_distinguished() {
    async fn alike(cx: Context) -> Result<String, ToolError> {
        cx.begin_task().await;
        let ask = |key: &'static str, words: &'static str| cx.elicit::<Name>(words).key(key).into_future();
        let asked = [ask("x-2", "0?"), ask("x", "1?"), ask("x", "2?")];
        let names = futures_util::future::try_join_all(asked).await?;
        Ok(names.into_iter().map(|name| name.accepted().unwrap().name).collect::<Vec<_>>().join(" "))
    }
    for app in apps(|| later("tool", alike)) {
        let client = Poller::new(&app);
        let task = client.begin("tool", json!({})).await;
        pass(ms(1_000)).await;
        let asked = client.get(&task).await["inputRequests"].as_object().unwrap().clone();
        assert_eq!(asked.len(), 3, "{asked:?}");
        let answers: serde_json::Map<_, _> = asked
            .iter()
            .map(|(key, request)| (key.clone(), accept(request["params"]["message"].as_str().unwrap())))
            .collect();
        client.update(&task, answers.into()).await;
        pass(ms(1_000)).await;
        assert_eq!(client.get(&task).await["result"]["content"][0]["text"], "0? 1? 2?");
    }
}

/// An answer that was used is not kept, so a task may send requests for as long as it lives.
#[tokio::test(start_paused = true)]
async fn used_answers_are_not_retained() {
    async fn endless(cx: Context) -> Result<String, ToolError> {
        cx.begin_task().await;
        loop {
            let params = RawJson::parse(r#"{"message":"?","requestedSchema":{"type":"object","properties":{}}}"#);
            cx.request("elicitation/create", params.map_err(ToolError::internal)?, ms(60_000)).await?;
        }
    }
    let service = McpService::builder(later("tool", endless)).engine(MemoryEngine::new());
    let app = App::of(service.tasks(mcp_http::Tasks::new().max_task_bytes(100_000)));
    let client = Poller::new(&app);
    let task = client.begin("tool", json!({})).await;
    for round in 1..=100 {
        pass(ms(10)).await;
        let asked = client.get(&task).await;
        let keys: Vec<_> = asked["inputRequests"].as_object().unwrap_or_else(|| panic!("{asked}")).keys().collect();
        assert_eq!(keys, [&format!("elicitation-{round}")]);
        client.update(&task, json!({keys[0]: {"action": "decline", "padding": "x".repeat(10_000)}})).await;
    }
}
