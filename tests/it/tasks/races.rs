//! Races on tasks: clients ask, answer and cancel while handlers end. Threads and time are real,
//! and what each client does is drawn from a seed.

use std::collections::BTreeMap;
use std::time::Duration;

use mcp_http::server::{TaskSupport, Tool, ToolError};
use mcp_http::store::MemoryEngine;
use mcp_http::{Args, Context, McpServer, McpService, Tasks};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{Name, Poller, accept};
use crate::support::{App, FarEngine, Pace};

const SEEDS: u64 = 4;
const CLIENTS: u64 = 6;
const TASKS: u64 = 12;

/// A xorshift generator, which is random enough here.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % limit
    }
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Seed {
    seed: u64,
}

/// Works, reports progress, sends requests and stops waiting in a random order. May panic at the
/// end.
async fn restless(cx: Context, Args(Seed { seed }): Args<Seed>) -> Result<String, ToolError> {
    let mut dice = Dice::new(seed);
    let mut names = Vec::new();
    for step in 0..dice.below(8) {
        match dice.below(5) {
            0 => cx.progress_message(step, None, Some(format!("step {step}"))).await,
            1 => tokio::time::sleep(Duration::from_micros(dice.below(2_000))).await,
            2 => {
                let there = cx.clone();
                tokio::spawn(async move { drop(there.elicit::<Name>("There?").await) });
            }
            3 => drop(cx.elicit::<Name>("In time?").timeout(Duration::from_micros(dice.below(500))).await),
            _ => names.extend(cx.elicit::<Name>("Who?").await?.accepted().map(|Name { name }| name)),
        }
    }
    if dice.below(10) == 0 {
        std::panic::resume_unwind(Box::new("as it happens"));
    }
    Ok(names.join(" "))
}

fn server() -> McpServer {
    McpServer::new("races", "1")
        .with_tool(Tool::new("restless", "Does a bit of all.", restless).task(TaskSupport::Required))
}

/// Polls, answers and cancels a task at random until it has ended. Returns every status that it
/// saw.
async fn meddle(app: App, task: String, seed: u64) -> Vec<Value> {
    let (client, mut dice) = (Poller::new(&app), Dice::new(seed));
    let mut seen = Vec::new();
    for turn in 0.. {
        let now = client.get(&task).await;
        let over = !matches!(now["status"].as_str(), Some("working" | "input_required"));
        seen.push(now.clone());
        if over {
            break;
        }
        match dice.below(if turn < 300 { 60 } else { 2 }) {
            0 => drop(client.on("tasks/cancel", &task, json!({})).await),
            1..20 => {
                let asked = now["inputRequests"].as_object();
                let answers = asked.into_iter().flatten().map(|(key, _)| (key.clone(), accept("Ann")));
                drop(client.update(&task, answers.collect::<serde_json::Map<_, _>>().into()).await);
            }
            20..30 => drop(client.update(&task, json!({"stray": accept("x"), "elicitation-1": accept("Eve")})).await),
            30..40 => tokio::task::yield_now().await,
            _ => tokio::time::sleep(Duration::from_micros(dice.below(500))).await,
        }
    }
    seen
}

async fn storm(here: &App, there: &App, seed: u64) {
    let mut clients = Vec::new();
    for n in 0..TASKS {
        let task = Poller::new(here).begin("restless", json!({"seed": seed * 1_000 + n})).await;
        for client in 0..CLIENTS {
            let app = if client % 2 == 0 { here.clone() } else { there.clone() };
            let meddling = meddle(app, task.clone(), seed * 100_000 + n * 100 + client);
            clients.push((n, tokio::spawn(timeout(Duration::from_secs(30), meddling))));
        }
    }
    let mut ends = BTreeMap::new();
    for (n, client) in clients {
        let mut seen = client.await.unwrap().unwrap_or_else(|_| panic!("seed {seed}: task {n} never ends"));
        let end = seen.pop().unwrap();
        assert_eq!(end.get("inputRequests"), None, "seed {seed}: what has ended asks nothing");
        let first = ends.entry(n).or_insert_with(|| end.clone());
        assert_eq!(*first, end, "seed {seed}: the first end is the end");
        assert!(seen.is_sorted_by_key(|seen| seen["lastUpdatedAt"].as_str().unwrap().to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_clients_see_one_end() {
    for seed in 0..SEEDS {
        let engine = MemoryEngine::new();
        let [here, there] = [(); 2].map(|()| App::of(McpService::builder(server()).engine(engine.clone())));
        storm(&here, &there, seed).await;
        for app in [here, there] {
            assert_eq!(app.handle.drain(Duration::from_secs(10)).await.cut_calls, 0, "seed {seed}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_clients_see_one_end_on_slow_engines() {
    for seed in SEEDS..2 * SEEDS {
        let mut turn = 0;
        let paces = std::sync::Mutex::new(move || {
            turn += 1;
            let micros = |n: u64| Duration::from_micros(Dice::new(turn * 7 + n).below(300));
            Pace { there: micros(1), back: micros(2) }
        });
        let engine = FarEngine::new(move |_, _| (paces.lock().unwrap())());
        let [here, there] = [(); 2].map(|()| App::of(McpService::builder(server()).engine(engine.clone())));
        storm(&here, &there, seed).await;
        for app in [here, there] {
            assert_eq!(app.handle.drain(Duration::from_secs(10)).await.cut_calls, 0, "seed {seed}");
        }
        // A background job of a handler may still have its last operations to do.
        let gone = async {
            while engine.joined() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        assert!(timeout(Duration::from_secs(10), gone).await.is_ok(), "seed {seed}: something keeps a service");
    }
}

/// A client that polls without a pause does not delay others, and others do not delay it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_end_under_constant_polling() {
    // Capacity for all of them: beyond the limit, tasks that ended are removed, and on a busy machine
    // one client may not have polled its own yet.
    let service = McpService::builder(server()).tasks(Tasks::new().max_tasks(8 * 40));
    let app = App::of(service);
    let mut clients = Vec::new();
    for n in 0..8_u64 {
        let app = app.clone();
        clients.push(tokio::spawn(async move {
            let client = Poller::new(&app);
            for seed in 0..40 {
                let task = client.begin("restless", json!({"seed": n * 1_000 + seed})).await;
                loop {
                    // Yields where a socket would.
                    tokio::task::yield_now().await;
                    let now = client.get(&task).await;
                    let Some(asked) = now["inputRequests"].as_object() else {
                        if now["status"] == "working" {
                            continue;
                        }
                        break;
                    };
                    let answers: serde_json::Map<_, _> =
                        asked.iter().map(|(key, _)| (key.clone(), accept("Ann"))).collect();
                    client.update(&task, answers.into()).await;
                }
            }
        }));
    }
    for client in clients {
        timeout(Duration::from_secs(60), client).await.expect("a task never ends").unwrap();
    }
}
