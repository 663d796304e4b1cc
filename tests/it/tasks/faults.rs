//! Tasks on an engine that is slow and fails: a client that leaves, an operation that is lost, a
//! result that cannot be stored. In each case the task ends and its capacity is released.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mcp_http::error::StoreErrorKind::{Full, FullForPrincipal, Unavailable};
use mcp_http::server::{TaskSupport, Tool};
use mcp_http::{Context, McpService, Tasks};
use serde_json::{Value, json};

use super::{Poller, accept, ms, pass, server, service};
use crate::support::{App, FarEngine, Fault, Pace};

const FAR: Pace = Pace { there: ms(100), back: ms(100) };

fn far() -> FarEngine {
    FarEngine::new(|_, _| FAR)
}

/// Returns an application with one task for each principal.
fn narrow(engine: FarEngine) -> App {
    App::of(service(engine).tasks(Tasks::new().ttl(None).max_tasks_per_principal(1)))
}

/// Returns `true` if the principal may begin another task, because all of its own have ended.
async fn can_begin(app: &App) -> bool {
    let created = Poller::new(app).of("ann").call("fails", json!({})).await;
    assert!(
        created["result"]["resultType"] == "task" || created["error"]["message"] == "Too many tasks of this principal"
    );
    created["result"]["resultType"] == "task"
}

#[tokio::test(start_paused = true)]
async fn disconnects_during_creation_leave_no_task() {
    for after in [50, 150, 199, 201, 250, 450, 650] {
        for tool in ["slow", "fails", "asks"] {
            let engine = far();
            let app = narrow(engine.clone());
            Poller::new(&app).of("ann").leave(tool, json!({"ms": 60_000}), ms(after)).await;
            pass(ms(5_000)).await;
            // A task whose id was sent to the client continues.
            let told = after > 200 && tool != "fails";
            assert_eq!(can_begin(&app).await, !told, "{tool} left after {after} ms");
            pass(ms(400_000)).await;
            assert!(can_begin(&app).await, "{tool} left after {after} ms");
            pass(ms(5_000)).await;
            drop(app);
            pass(ms(5_000)).await;
            assert_eq!(engine.joined(), 0, "{tool} left after {after} ms: something keeps the service");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn begin_task_twice_makes_one_task() {
    async fn twice(cx: Context) -> String {
        let (first, second) = tokio::join!(cx.begin_task(), cx.begin_task());
        format!("{first} {second} {}", cx.begin_task().await)
    }
    let engine = far();
    let server = server().with_tool(Tool::new("twice", "Begins twice.", twice).task_on_demand(TaskSupport::Optional));
    let service = McpService::builder(server).engine(engine.clone());
    let app = App::of(service.tasks(Tasks::new().ttl(None).max_tasks_per_principal(2)));
    let ann = Poller::new(&app).of("ann");
    let task = ann.begin("twice", json!({})).await;
    pass(ms(2_000)).await;
    assert_eq!(ann.get(&task).await["result"]["content"][0]["text"], "true true true");
    for _ in 0..2 {
        ann.begin("slow", json!({"ms": 1_000})).await;
    }
    pass(ms(5_000)).await;
    drop(app);
    pass(ms(5_000)).await;
    assert_eq!(engine.joined(), 0, "something keeps the service");
}

/// Returns an engine on which the nth operation on a task fails, and the `times - 1` operations
/// after it.
fn failing(nth: usize, times: usize, fault: Fault) -> (FarEngine, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let steps = Arc::clone(&count);
    let engine = FarEngine::new(|_, _| Pace { there: ms(1), back: ms(1) }).failing(move |name| {
        let counts = name.ends_with("_task");
        let step = if counts { steps.fetch_add(1, Ordering::Relaxed) } else { usize::MAX };
        (nth..nth + times).contains(&step).then_some(fault)
    });
    (engine, count)
}

/// Runs a whole task: it is created, sends two requests, is answered and ends. Returns its last
/// state.
async fn whole(app: &App, what: &str) -> Option<Value> {
    let client = Poller::new(app).of("ann");
    let created = client.call("asks", json!({})).await;
    let task = created["result"]["taskId"].as_str()?.to_owned();
    for _ in 0..40 {
        pass(ms(1_000)).await;
        let seen = client.on("tasks/get", &task, json!({})).await["result"].clone();
        match seen["status"].as_str() {
            Some("input_required") => {
                client.update(&task, json!({"a": accept("Ann"), "b": accept("Bob")})).await;
            }
            Some("working") | None => {}
            Some(_) => return Some(seen),
        }
    }
    panic!("{what}: the task never ends: {}", client.on("tasks/get", &task, json!({})).await);
}

#[tokio::test(start_paused = true)]
async fn a_task_ends_whichever_operation_fails() {
    let mut ends = std::collections::BTreeMap::<_, usize>::new();
    for kind in [Unavailable, Full, FullForPrincipal] {
        for (fault, times) in [(Fault::Before(kind), 1), (Fault::After(kind), 1), (Fault::Before(kind), 3)] {
            for nth in 0.. {
                let (engine, steps) = failing(nth, times, fault);
                let app = narrow(engine.clone());
                let end = whole(&app, &format!("step {nth}: {fault:?} {times} times")).await;
                let status = end.as_ref().map_or("rejected", |end| end["status"].as_str().unwrap());
                *ends.entry(status.to_owned()).or_default() += 1;
                if let Some(end) = end.filter(|end| end["status"] == "completed" && end["result"]["isError"] != true) {
                    assert_eq!(end["result"]["content"][0]["text"], "Ann Bob");
                }
                let all = steps.load(Ordering::Relaxed);
                pass(ms(10_000)).await;
                if nth + times >= all {
                    break;
                }
                assert!(can_begin(&app).await, "step {nth}: {fault:?} {times} times");
                pass(ms(10_000)).await;
                drop(app);
                pass(ms(400_000)).await;
                assert_eq!(engine.joined(), 0, "step {nth}: {fault:?}: something keeps the service");
            }
        }
    }
    assert!(ends["completed"] > ends["rejected"], "{ends:?}");
}

/// The result exists, but the engine is unavailable.
#[tokio::test(start_paused = true)]
async fn unstored_results_are_stored_later() {
    for fault in [Fault::Before(Unavailable), Fault::After(Unavailable)] {
        // The task is created. The operations after that fail for a while.
        let (engine, _) = failing(1, 8, fault);
        let app = App::of(service(engine));
        let client = Poller::new(&app);
        let task = client.begin("required", json!({"ms": 10})).await;
        pass(ms(60_000)).await;
        let completed = client.get(&task).await;
        assert_eq!(completed["status"], "completed", "{fault:?}");
        assert_eq!(completed["result"]["content"][0]["text"], "waited 10");
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_for_the_engine() {
    let (engine, _) = failing(1, usize::MAX - 1, Fault::Before(Unavailable));
    let app = App::of(service(engine));
    Poller::new(&app).begin("required", json!({"ms": 10})).await;
    pass(ms(1_000)).await;
    let start = tokio::time::Instant::now();
    let report = app.handle.drain(ms(2_000)).await;
    assert_eq!((report.calls, report.cut_calls), (1, 1));
    assert!(start.elapsed() <= ms(3_500), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_hundred_concurrent_requests_are_all_listed() {
    async fn hundred(cx: Context) -> Result<String, mcp_http::server::ToolError> {
        let asked = (0..100).map(|n| {
            let cx = cx.clone();
            async move { cx.elicit::<super::Name>("?").key(n.to_string()).await }
        });
        let answers = futures_util::future::try_join_all(asked).await?;
        let names = answers.into_iter().filter_map(mcp_http::server::Elicited::accepted);
        Ok(names.map(|super::Name { name }| name).collect::<Vec<_>>().join(" "))
    }
    let server = server().with_tool(Tool::new("hundred", "Asks a lot.", hundred).task(TaskSupport::Optional));
    let app = App::of(McpService::builder(server).engine(far()));
    let client = Poller::new(&app);
    let task = client.begin("hundred", json!({})).await;
    pass(ms(100_000)).await;
    let asked = client.get(&task).await;
    assert_eq!(asked["inputRequests"].as_object().map(serde_json::Map::len), Some(100), "{asked}");
    let answers: serde_json::Map<_, _> = (0..100).map(|n| (n.to_string(), accept(&n.to_string()))).collect();
    client.update(&task, answers.into()).await;
    pass(ms(2_000)).await;
    let expected: Vec<_> = (0..100).map(|n| n.to_string()).collect();
    assert_eq!(client.get(&task).await["result"]["content"][0]["text"], expected.join(" "));
}
