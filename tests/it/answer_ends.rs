//! The end of each call: a response, or an error that names the reason. Property tests vary the
//! size of the response, the behaviour of the client, the number of nodes and the distance of the
//! engine.

use std::time::Duration;

use axum::http::StatusCode;
use futures_util::future::join_all;
use mcp_http::store::MemoryEngine;
use mcp_http::store::engine::SessionEngine;
use mcp_http::{Limits, ResponseMode, Streams};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::answers::app;
use crate::support::{App, Client, FarEngine, Pace, Reply, eventually};

const ANSWER: usize = 20_000;
const IN_ALL: usize = 40_000;

/// How a client reads the response of its call.
#[derive(Debug, Clone, Copy)]
enum Manner {
    /// It reads at once.
    Reads,
    /// It reads after a pause.
    Waits { ms: u64 },
    /// It disconnects after the first event and resumes after a pause, at either node.
    Returns { ms: u64, node: usize },
    /// It disconnects and does not resume.
    Leaves,
}

#[derive(Debug, Clone)]
struct Plan {
    session: usize,
    node: usize,
    start_ms: u64,
    bytes: usize,
    notes: u32,
    wait_ms: u64,
    manner: Manner,
}

fn plan() -> impl Strategy<Value = Plan> {
    // Sizes around each bound: what always fits, a stream, a session, a response, all sessions.
    let bytes =
        prop_oneof![Just(1), 900usize..1_100, 3_900usize..4_100, 9_800usize..10_100, 19_800usize..20_100, Just(39_990)];
    let wait = prop_oneof![Just(0u64), Just(1), Just(500), Just(600)];
    let manner = prop_oneof![
        3 => Just(Manner::Reads),
        2 => (0u64..3_000).prop_map(|ms| Manner::Waits { ms }),
        3 => (0u64..3_000, 0usize..2).prop_map(|(ms, node)| Manner::Returns { ms, node }),
        1 => Just(Manner::Leaves),
    ];
    (0usize..3, 0usize..2, 0u64..1_000, bytes, prop_oneof![Just(0u32), 1u32..4, Just(12)], wait, manner).prop_map(
        |(session, node, start_ms, bytes, notes, wait_ms, manner)| Plan {
            session,
            node,
            start_ms,
            bytes,
            notes,
            wait_ms,
            manner,
        },
    )
}

fn node(engine: impl SessionEngine, mode: ResponseMode) -> App {
    let streams = Streams::new().response_mode(mode).replay_buffer(16, 4_000).replay_bytes_per_session(10_000);
    let streams = streams.max_replay_bytes(IN_ALL).keep_finished(3, Duration::from_secs(60));
    app(|service| service.engine(engine).streams(streams).limits(Limits::new().max_response_bytes(ANSWER)))
}

/// How a call ended for its client.
#[derive(Debug)]
enum End {
    Answer(usize),
    Error(String),
    /// The client resumed, and the events that it had missed are no longer retained.
    Forgotten,
}

fn end_of(message: &Value) -> End {
    match message["result"]["content"][0]["text"].as_str() {
        Some(text) => End::Answer(text.len()),
        None => End::Error(message["error"]["message"].as_str().unwrap_or_else(|| panic!("{message}")).to_owned()),
    }
}

/// Reads a response, and resumes until the result arrives. Panics unless exactly one arrives.
async fn follow(client: &Client, reply: Reply, id: &str) -> End {
    let mut reply = reply;
    let (mut last, mut empty) = (None::<String>, 0);
    loop {
        if !reply.is_sse() {
            let status = reply.status;
            let kind = reply.rejection.as_ref().map(mcp_http::error::Rejection::kind);
            if kind == Some("events_expired") {
                return End::Forgotten;
            }
            let message = reply.json().await;
            assert_eq!(message["id"], *id, "{status}");
            return end_of(&message);
        }
        let (mut stream, mut ends, mut bytes) = (reply.sse(), Vec::new(), false);
        while let Some(event) = stream.next_any().await {
            bytes = true;
            last = event.id.clone().or(last);
            if event.data.as_deref().is_some_and(|data| !data.is_empty()) && event.json()["id"] == *id {
                ends.push(end_of(&event.json()));
            }
        }
        assert!(bytes, "an event stream of no byte");
        assert!(ends.len() <= 1, "more than one answer");
        if let Some(end) = ends.pop() {
            return end;
        }
        empty += 1;
        assert!(empty < 5, "no answer, and no reason");
        let back = last.as_deref().unwrap_or_else(|| panic!("a stream that ends without an answer or an id"));
        sleep(Duration::from_secs(1)).await;
        reply = client.resume(back).await;
    }
}

async fn carry_out(plan: &Plan, number: usize, clients: &[Client], nodes: &[App]) -> Option<End> {
    sleep(Duration::from_millis(plan.start_ms)).await;
    let client = clients[plan.session].at(&nodes[plan.node]);
    let id = format!("call-{number}");
    let arguments = json!({"bytes": plan.bytes, "notes": plan.notes, "wait_ms": plan.wait_ms});
    let reply = client.call(id.clone(), "fill", arguments).await;
    match plan.manner {
        Manner::Reads => {}
        Manner::Waits { ms } => sleep(Duration::from_millis(ms)).await,
        Manner::Leaves => return None,
        Manner::Returns { ms, node } if reply.is_sse() => {
            let mut stream = reply.sse();
            let first = stream.next().await.unwrap().id().to_owned();
            drop(stream);
            sleep(Duration::from_millis(ms)).await;
            let client = client.at(&nodes[node]);
            let back = client.resume(&first).await;
            assert!(back.status == StatusCode::OK || back.rejection.is_some());
            return Some(follow(&client, back, &id).await);
        }
        Manner::Returns { .. } => {}
    }
    Some(follow(&client, reply, &id).await)
}

async fn every_call_ends(mode: ResponseMode, nodes: [App; 2], plans: Vec<Plan>) {
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(nodes[0].open().await);
    }
    let calls = plans.iter().enumerate().map(|(number, plan)| carry_out(plan, number, &clients, &nodes));
    for (plan, end) in plans.iter().zip(join_all(calls).await) {
        match end {
            None => {}
            Some(End::Answer(bytes)) => assert_eq!(bytes, plan.bytes, "{plan:?}"),
            Some(End::Error(why)) if why.starts_with("Answer too large: the limit is 20000 bytes") => {
                assert!(plan.bytes > ANSWER - 200, "{plan:?}: {why}");
            }
            Some(End::Error(why)) => {
                assert!(why.starts_with("The answer cannot be kept"), "{plan:?}: {why}");
                assert!(plan.bytes > 700 && mode != ResponseMode::Json, "{plan:?}: {why}");
            }
            Some(End::Forgotten) => {
                assert!(matches!(plan.manner, Manner::Returns { .. } | Manner::Waits { .. }), "{plan:?}")
            }
        }
    }
    let kept: usize = nodes[0].handle.sessions().await.unwrap().iter().map(|session| session.bytes).sum();
    assert!(kept <= IN_ALL + 1_024 * plans.len(), "{kept} bytes are kept");
    eventually("all calls have ended, and all readers have left", async || {
        let sessions = nodes[0].handle.sessions().await.unwrap();
        sessions.iter().all(|session| (session.calls, session.readers) == (0, 0))
    })
    .await;
}

/// The same property holds over a real Redis server between the nodes. This test runs on the real
/// clock, hence with fewer cases and shorter pauses.
#[cfg(feature = "redis")]
#[test]
fn each_call_ends_once_over_redis() {
    use mcp_http::store::{RedisEngine, RedisOptions};
    use proptest::test_runner::{Config, TestRunner};

    use crate::redis_server::RedisServer;

    let mode = prop_oneof![2 => Just(ResponseMode::Auto), 1 => Just(ResponseMode::Sse)];
    let cases = (mode, prop::collection::vec(plan(), 4..12));
    let server = RedisServer::start();
    let case = std::cell::Cell::new(0);
    let config = Config { cases: 10, max_shrink_iters: 10, failure_persistence: None, ..Config::default() };
    let run = TestRunner::new(config).run(&cases, |(mode, mut plans)| {
        for plan in &mut plans {
            plan.start_ms /= 4;
            if let Manner::Waits { ms } | Manner::Returns { ms, .. } = &mut plan.manner {
                *ms /= 4;
            }
        }
        case.set(case.get() + 1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let options = RedisOptions::new().namespace(format!("case{}", case.get())).timeout(Duration::from_secs(10));
            let engine = async || RedisEngine::connect_with(server.url(), options.clone()).await.unwrap();
            every_call_ends(mode, [node(engine().await, mode), node(engine().await, mode)], plans).await;
        });
        Ok(())
    });
    run.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn each_call_ends_with_its_answer_or_error(
        mode in prop_oneof![3 => Just(ResponseMode::Auto), 2 => Just(ResponseMode::Sse), 1 => Just(ResponseMode::Json)],
        pace in prop::option::of((0u64..20, 0u64..20)),
        plans in prop::collection::vec(plan(), 1..16),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let nodes = match pace {
                None => {
                    let engine = MemoryEngine::new();
                    [node(engine.clone(), mode), node(engine, mode)]
                }
                Some((there, back)) => {
                    let pace = Pace { there: Duration::from_millis(there), back: Duration::from_millis(back) };
                    let engine = FarEngine::new(move |_, _| pace);
                    [node(engine.clone(), mode), node(engine, mode)]
                }
            };
            every_call_ends(mode, nodes, plans).await;
        });
    }
}
