//! The end of tasks: with their service, with their lifetime, with a panic, and in thousands.
//! Nothing of them remains.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mcp_http::server::{TaskSupport, Tool};
use mcp_http::store::MemoryEngine;
use mcp_http::{Args, Context, McpServer, McpService, Tasks};
use serde_json::{Value, json};

use super::{Name, Poller, accept, ms, pass, server, service};
use crate::support::{App, FarEngine, Pace};

fn far(n: u64) -> FarEngine {
    FarEngine::new(move |_, _| Pace { there: ms(n), back: ms(n) })
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_tasks_awaiting_input() {
    for n in [0, 20] {
        let engine = far(n);
        let (here, there) = (App::of(service(engine.clone())), App::of(service(engine)));
        let task = Poller::new(&here).begin("asks", json!({})).await;
        pass(ms(1_000)).await;
        let client = Poller::new(&there);
        assert_eq!(client.status(&task).await, "input_required");
        let report = here.handle.drain(ms(5_000)).await;
        assert_eq!((report.calls, report.cut_calls), (1, 1));
        let failed = client.get(&task).await;
        assert_eq!((&failed["status"], failed.get("inputRequests")), (&json!("failed"), None));
        assert_eq!(failed["error"]["message"], "The server is shutting down");
        // An answer at this point is accepted, and changes nothing.
        assert!(super::is_empty_ack(&client.update(&task, json!({"a": accept("Ann")})).await));
        assert_eq!(client.get(&task).await, failed);
    }
}

#[tokio::test(start_paused = true)]
async fn tasks_accept_answers_until_the_drain_deadline() {
    let engine = MemoryEngine::new();
    let (here, there) = (App::of(service(engine.clone())), App::of(service(engine)));
    let task = Poller::new(&here).begin("asks", json!({})).await;
    let handle = here.handle.clone();
    let drain = tokio::spawn(async move { handle.drain(ms(10_000)).await });
    pass(ms(1_000)).await;
    let (status, _) = Poller::new(&here).send("tasks/get", &task, json!({"taskId": task})).await;
    assert_eq!(status, 503, "which sends the client to another node");
    let client = Poller::new(&there);
    client.update(&task, json!({"a": accept("Ann"), "b": accept("Bob")})).await;
    assert_eq!(drain.await.unwrap().cut_calls, 0);
    assert_eq!(client.get(&task).await["result"]["content"][0]["text"], "Ann Bob");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_service_ends_with_its_tasks() {
    for n in [0, 20] {
        let engine = far(n);
        let (here, there) = (App::of(service(engine.clone())), App::of(service(engine.clone())));
        let nodes = engine.joined();
        let slow = Poller::new(&here).begin("slow", json!({"ms": 60_000})).await;
        let asks = Poller::new(&here).begin("asks", json!({})).await;
        let quick = Poller::new(&here).begin("fails", json!({})).await;
        drop(here);
        pass(ms(30_000)).await;
        assert!(engine.joined() > nodes / 2, "it still runs");
        let client = Poller::new(&there);
        assert_eq!((&*client.status(&slow).await, &*client.status(&asks).await), ("working", "input_required"));
        assert_eq!(client.status(&quick).await, "completed");
        client.update(&asks, json!({"a": accept("Ann"), "b": accept("Bob")})).await;
        pass(ms(60_000)).await;
        assert_eq!((&*client.status(&slow).await, &*client.status(&asks).await), ("completed", "completed"));
        assert_eq!(engine.joined(), nodes / 2, "and then it is gone");
        drop(there);
        pass(ms(60_000)).await;
        assert_eq!(engine.joined(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn tasks_can_expire_at_any_moment() {
    for n in [0, 30] {
        for ttl in (10..600).step_by(70) {
            let engine = far(n);
            let app = App::of(service(engine.clone()).tasks(Tasks::new().ttl(ms(ttl)).max_tasks(1)));
            let client = Poller::new(&app);
            for tool in ["asks", "slow", "later"] {
                let (_, created) =
                    client.send("tools/call", tool, json!({"name": tool, "arguments": {"ms": 300}})).await;
                if let Some(task) = created["result"]["taskId"].as_str() {
                    client.update(task, json!({"a": accept("Ann")})).await;
                }
                pass(ms(5_000)).await;
            }
            assert_eq!(app.handle.drain(ms(1)).await.calls, 0, "{ttl} ms: a handler was not stopped");
            drop(app);
            pass(ms(5_000)).await;
            assert_eq!(engine.joined(), 0, "{ttl} ms: something keeps the service");
        }
    }
}

/// Panics when it is dropped.
struct Bomb(Arc<AtomicUsize>);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        assert!(std::thread::panicking(), "as it is dropped");
    }
}

#[tokio::test(start_paused = true)]
async fn panics_fail_only_their_task() {
    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct When {
        when: String,
    }
    let bombs = Arc::new(AtomicUsize::new(0));
    let handler = {
        let bombs = Arc::clone(&bombs);
        move |cx: Context, Args(When { when }): Args<When>| {
            let bomb = Bomb(Arc::clone(&bombs));
            async move {
                let _bomb = bomb;
                assert!(when != "at once", "secret");
                pass(ms(10)).await;
                assert!(when != "later", "secret");
                if when == "asking" {
                    let _ = cx.elicit::<Name>("Who?").key("a").await;
                    panic!("secret");
                }
                std::future::pending::<&str>().await
            }
        }
    };
    let server = server().with_tool(Tool::new("panics", "Panics.", handler).task(TaskSupport::Required));
    let app = App::of(McpService::builder(server).engine(far(1)));
    let client = Poller::new(&app);
    for when in ["at once", "later", "asking", "cancelled"] {
        let task = client.begin("panics", json!({"when": when})).await;
        pass(ms(1_000)).await;
        match when {
            "asking" => drop(client.update(&task, json!({"a": accept("Ann")})).await),
            "cancelled" => drop(client.on("tasks/cancel", &task, json!({})).await),
            _ => {}
        }
        pass(ms(1_000)).await;
        let end = client.get(&task).await;
        if when == "cancelled" {
            assert_eq!(end["status"], "cancelled");
        } else {
            assert_eq!((&end["status"], &end["error"]["message"]), (&json!("failed"), &json!("Internal error")));
        }
        assert!(!end.to_string().contains("secret"), "{end}");
    }
    assert_eq!(bombs.load(Ordering::Relaxed), 4);
    assert_eq!(app.handle.drain(ms(1)).await.calls, 0);
}

/// A response may be dropped where no runtime exists any more, as at the end of a program.
#[test]
fn responses_can_be_dropped_without_a_runtime() {
    let engine = far(5);
    for steps in 1..40 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let app = App::of(service(engine.clone()));
        let client = Poller::new(&app);
        let request = client.request("tools/call", "asks", json!({"name": "asks", "arguments": {}}));
        let mut reply = Box::pin(app.send(request));
        runtime.block_on(async {
            let _ = tokio::time::timeout(ms(steps), &mut reply).await;
        });
        drop(reply);
        drop(runtime);
    }
}

/// Thousands of tasks fail, are answered, are cancelled or lose their client. The engine keeps only
/// what its limits allow, and the service keeps nothing.
#[tokio::test(start_paused = true)]
async fn thousands_of_tasks_leave_nothing() {
    let engine = far(0);
    let service = service(engine.clone()).tasks(Tasks::new().max_tasks(100).ttl(Duration::from_secs(600)));
    let app = App::of(service);
    let client = Poller::new(&app);
    for n in 0..10_000 {
        match n % 4 {
            0 => drop(client.begin("fails", json!({})).await),
            1 => {
                let task = client.begin("asks", json!({})).await;
                client.update(&task, json!({"a": accept("Ann"), "b": accept("Bob")})).await;
            }
            2 => {
                let task = client.begin("slow", json!({"ms": 60_000})).await;
                client.on("tasks/cancel", &task, json!({})).await;
            }
            _ => client.leave("asks", json!({}), Duration::ZERO).await,
        }
        if n % 40 == 0 {
            // The requests without an answer time out.
            pass(ms(400_000)).await;
        }
    }
    pass(ms(400_000)).await;
    let report = app.handle.drain(ms(1_000)).await;
    assert_eq!((report.calls, report.cut_calls), (0, 0));
    drop(app);
    pass(ms(5_000)).await;
    assert_eq!(engine.joined(), 0, "something keeps the service");
}

/// A result is the tool's own: a task neither adds to it nor truncates it.
#[tokio::test(start_paused = true)]
async fn results_too_large_to_retain_fail() {
    let server: McpServer = McpServer::new("large", "1").with_tool(
        Tool::new("large", "Is large.", |Args(args): Args<super::Wait>| async move { "x".repeat(args.ms as usize) })
            .task(TaskSupport::Required),
    );
    let app = App::of(McpService::builder(server).tasks(Tasks::new().max_task_bytes(10_000)));
    let client = Poller::new(&app);
    let large = client.begin("large", json!({"ms": 20_000})).await;
    let failed: Value = client.get(&large).await;
    assert_eq!(failed["error"]["message"], "The result of the task is too large to be stored");
    let small = client.begin("large", json!({"ms": 5_000})).await;
    assert_eq!(client.get(&small).await["result"]["content"][0]["text"].as_str().map(str::len), Some(5_000));
}

/// A principal with large results loses its own results, and no other principal's.
#[tokio::test(start_paused = true)]
async fn a_principal_evicts_only_its_own_results() {
    let server: McpServer = McpServer::new("large", "1").with_tool(
        Tool::new("large", "Is large.", |Args(args): Args<super::Wait>| async move { "x".repeat(args.ms as usize) })
            .task(TaskSupport::Required),
    );
    let app = App::of(
        McpService::builder(server).tasks(Tasks::new().max_task_bytes(100_000).max_task_bytes_per_principal(20_000)),
    );
    let (ann, bob) = (Poller::new(&app).of("ann"), Poller::new(&app).of("bob"));
    let kept = bob.begin("large", json!({"ms": 15_000})).await;
    pass(ms(100)).await;
    let mut own = Vec::new();
    for _ in 0..20 {
        own.push(ann.begin("large", json!({"ms": 8_000})).await);
        pass(ms(100)).await;
    }
    let length = |answer: &Value| answer["result"]["content"][0]["text"].as_str().map(str::len);
    assert_eq!(length(&bob.get(&kept).await), Some(15_000));
    let mut there = 0;
    for task in &own {
        let answer: Value = ann.on("tasks/get", task, json!({})).await;
        there += usize::from(length(&answer["result"]) == Some(8_000));
    }
    assert_eq!(there, 2, "what fits into the share of one principal");
    let too_large = ann.begin("large", json!({"ms": 25_000})).await;
    assert_eq!(ann.get(&too_large).await["error"]["message"], "The result of the task is too large to be stored");
}
