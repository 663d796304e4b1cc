//! Bursts: more messages than can be read at once, with a reader that reads, one that stopped, or
//! none.

use std::time::Duration;

use mcp_http::server::LogLevel;
use mcp_http::{Args, Context, McpServer, McpServiceBuilder, ResponseMode, Sessions, Streams};
use serde_json::json;
use tokio::time::Instant;

use crate::support::{App, Event, Served};

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Burst {
    tasks: u32,
    each: u32,
    /// Characters of padding in each message.
    #[serde(default)]
    padding: usize,
}

/// Adds the tool `burst`: several tasks emit concurrently, and the result follows when all are
/// done.
fn tools(server: McpServer) -> McpServer {
    server.tool("burst", "Emits from several tasks.", async |cx: Context, Args(burst): Args<Burst>| {
        let padding = "x".repeat(burst.padding);
        let tasks: Vec<_> = (0..burst.tasks)
            .map(|task| {
                let (cx, padding) = (cx.clone(), padding.clone());
                tokio::spawn(async move {
                    for number in 1..=burst.each {
                        let text = format!("{task} {number} {padding}");
                        cx.log(LogLevel::Info, text).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        "burst"
    })
}

/// Asserts that all messages of every task arrived, and in ascending order.
#[track_caller]
fn complete(events: &[Event], tasks: usize, each: u64) {
    let mut reached = vec![0; tasks];
    let (answer, messages) = events.split_last().unwrap();
    assert_eq!(answer.json()["result"]["content"][0]["text"], "burst");
    for message in messages {
        let params = message.json()["params"].clone();
        let text = params["data"].as_str().unwrap_or_else(|| panic!("{params}")).to_owned();
        let mut words = text.split(' ').map(|word| word.parse::<u64>().unwrap_or_default());
        let (task, number) = (words.next().unwrap(), words.next().unwrap());
        let task = &mut reached[usize::try_from(task).unwrap()];
        *task += 1;
        assert_eq!(*task, number);
    }
    assert_eq!(reached, vec![each; tasks]);
}

fn app(change: impl FnOnce(Streams) -> Streams) -> App {
    App::serving(tools, |service: McpServiceBuilder| service.streams(change(Streams::new())))
}

/// Acceptance 91, 102, 163.
#[tokio::test(start_paused = true)]
async fn a_reading_client_gets_the_whole_burst() {
    for mode in [ResponseMode::Auto, ResponseMode::Sse] {
        let client = app(|streams| streams.response_mode(mode)).open().await;
        let events = client.call(1, "progress", json!({"steps": 10_000})).await.sse().rest().await;
        assert_eq!(events.len(), 10_001, "{}", events[0].data.as_deref().unwrap());
        let statistics = client.app.handle.statistics().await;
        assert_eq!((statistics.dropped, statistics.slow_readers), (0, 0));
    }
}

/// A reader loses nothing, even if the replay buffer is small or the messages are large.
///
/// Acceptance 91.
#[tokio::test(start_paused = true)]
async fn small_logs_and_large_messages_lose_nothing() {
    for (kept, padding) in [((16, 1 << 20), 10), ((1_024, 1 << 20), 5_000), ((64, 64 << 10), 300)] {
        let client = app(|streams| streams.replay_buffer(kept.0, kept.1)).open().await;
        let burst = json!({"tasks": 1, "each": 1_000, "padding": padding});
        let events = client.call(1, "burst", burst).await.sse().rest().await;
        complete(&events, 1, 1_000);
        assert_eq!(client.app.handle.statistics().await.slow_readers, 0);
    }
}

/// No message is lost, and those of one task keep their order, although several tasks emit
/// concurrently.
///
/// Acceptance 93.
#[tokio::test(start_paused = true)]
async fn messages_of_each_task_arrive_in_order() {
    let client = app(|streams| streams).open().await;
    let events = client.call(1, "burst", json!({"tasks": 8, "each": 1_000})).await.sse().rest().await;
    complete(&events, 8, 1_000);
}

/// The same holds with several threads.
///
/// Acceptance 93.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn messages_of_each_task_keep_order_across_threads() {
    for stateless in [false, true] {
        let app =
            App::serving(tools, |service: McpServiceBuilder| service.sessions(Sessions::new().stateless(stateless)));
        let reply = if stateless {
            app.post(crate::support::call(1, "burst", json!({"tasks": 8, "each": 2_000}))).await
        } else {
            app.open().await.call(1, "burst", json!({"tasks": 8, "each": 2_000})).await
        };
        complete(&reply.sse().rest().await, 8, 2_000);
    }
}

/// Without a reader the handler is not slowed down. The client is informed of the gap when it
/// resumes.
///
/// Acceptance 104, 113, 175.
#[tokio::test(start_paused = true)]
async fn a_gap_without_a_reader_is_reported() {
    let client = app(|streams| streams).open().await;
    let mut stream = client.call(1, "progress", json!({"steps": 10_000, "delay_ms": 1})).await.sse();
    let first = stream.message().await.unwrap();
    drop(stream);
    tokio::time::sleep(Duration::from_secs(11)).await;
    let events = client.resume(first.id()).await.sse().rest().await;
    let lost = events[0].json()["params"]["data"]["lost"].as_u64().unwrap();
    assert_eq!(events.len() - 2, 1_024);
    assert_eq!(lost, 10_000 - 1 - 1_024);
    assert_eq!(events.last().unwrap().json()["result"]["content"][0]["text"], "done");
    assert_eq!(client.app.handle.statistics().await.dropped, lost);
}

/// Nothing makes this handler wait: it has no reader and does not pause by itself. Other tasks
/// still run meanwhile.
///
/// Acceptance 102.
#[tokio::test]
async fn busy_calls_let_other_tasks_run() {
    for (mode, stateless) in [(ResponseMode::Auto, false), (ResponseMode::Json, false), (ResponseMode::Auto, true)] {
        let app = App::with(|service| {
            let service = service.sessions(Sessions::new().stateless(stateless));
            service.streams(Streams::new().response_mode(mode))
        });
        let message = crate::support::call(1, "progress", json!({"steps": 100_000}));
        let call = if stateless {
            let app = app.clone();
            // This client reads, because a disconnect would cancel its call.
            tokio::spawn(async move { drop(app.post(message).await.text().await) })
        } else {
            let client = app.open().await;
            tokio::spawn(async move { drop(client.post(message).await) })
        };
        let mut turns = 0;
        let mut over = std::pin::pin!(async {
            call.await.unwrap();
            app.handle.drain(Duration::from_secs(60)).await
        });
        while futures_util::poll!(over.as_mut()).is_pending() {
            turns += 1;
            tokio::task::yield_now().await;
        }
        assert!(turns >= 8, "{turns} turns in {mode:?}, stateless: {stateless}");
    }
}

/// The reader stays attached and reads nothing. It is detached after the slow-reader timeout, and
/// the call continues.
///
/// Acceptance 102, 163, 170.
#[tokio::test(start_paused = true)]
async fn a_stopped_reader_is_detached_and_calls_continue() {
    let client = app(|streams| streams.slow_reader_timeout(Duration::from_secs(10))).open().await;
    let start = Instant::now();
    let reply = client.call(1, "burst", json!({"tasks": 1, "each": 10_000, "padding": 200})).await;
    loop {
        let busy: usize = client.app.handle.sessions().await.unwrap().iter().map(|session| session.calls).sum();
        if busy == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let took = start.elapsed().as_secs();
    assert!((10..12).contains(&took), "the call was delayed for {took} s");
    let statistics = client.app.handle.statistics().await;
    assert_eq!(statistics.slow_readers, 1);
    assert!(statistics.dropped > 0);
    let mut stream = reply.sse();
    let prime = stream.next().await.unwrap();
    let farewell = stream.next().await.unwrap();
    assert_eq!((farewell.retry, stream.next().await), (Some(1_000), None));
    let events = client.resume(prime.id()).await.sse().rest().await;
    assert_eq!(events[0].json()["params"]["data"]["reason"], "events_lost");
    assert_eq!(events.last().unwrap().json()["result"]["content"][0]["text"], "burst");
}

/// A stateless stream has no log to resume from, so the response of the slow reader is aborted.
///
/// Acceptance 102, 163, 170.
#[tokio::test(start_paused = true)]
async fn stateless_streams_of_stopped_readers_are_aborted() {
    let app = App::serving(tools, |service: McpServiceBuilder| service.sessions(Sessions::new().stateless(true)));
    let reply = app.post(crate::support::call(1, "burst", json!({"tasks": 1, "each": 10_000, "padding": 200}))).await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(app.handle.statistics().await.slow_readers, 1);
    let text = reply.text().await;
    assert!(!text.contains("\"result\""), "{}", text.len());
    assert_eq!(app.handle.drain(Duration::from_secs(1)).await.calls, 0);
}

/// Messages after the result are dropped and counted.
///
/// Acceptance 140.
#[tokio::test(start_paused = true)]
async fn messages_after_the_result_are_dropped_and_counted() {
    let client = App::new().open().await;
    let mut get = client.listen().await;
    assert!(get.next().await.unwrap().primes());
    assert_eq!(client.text_of("detached", json!({"label": "a"})).await, "answered");
    client.app.probe.release("a");
    assert!(get.is_silent().await);
    assert_eq!(client.app.probe.state("a"), Some("finished"));
    assert_eq!(client.app.handle.statistics().await.dropped, 1);
}

/// Of several real connections, one is no longer read; the others are served at once.
///
/// Acceptance 94, 102, 163.
#[tokio::test]
async fn an_unread_connection_delays_no_other() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    // This is much longer than the other connections take.
    let patience = Duration::from_secs(8);
    let served = Served::with(|service| service.streams(Streams::new().slow_reader_timeout(patience))).await;
    let opening = crate::support::initialize("2025-11-25", json!({})).to_string();
    let mut other = served.connect().await;
    let request = served.post(None, &opening);
    let opened = crate::support::exchange(&mut other, request.as_bytes(), Duration::from_millis(200)).await;
    let session = opened.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).unwrap().to_owned();

    let mut stalled = served.connect().await;
    let burst = crate::support::call(1, "progress", json!({"steps": 200_000})).to_string();
    stalled.write_all(served.post(Some(&session), &burst).as_bytes()).await.unwrap();
    let started = Instant::now();
    for id in 2..20 {
        let echo = crate::support::call(id, "echo", json!({"message": "quick"})).to_string();
        other.write_all(served.post(Some(&session), &echo).as_bytes()).await.unwrap();
        let mut bytes = vec![0; 4_096];
        let read = tokio::time::timeout(patience, other.read(&mut bytes)).await.unwrap().unwrap();
        let answer = String::from_utf8_lossy(&bytes[..read]).into_owned();
        assert!(answer.contains("quick"), "{answer}");
    }
    assert!(started.elapsed() < patience);
    for _ in 0..1_200 {
        let busy: usize = served.handle.sessions().await.unwrap().iter().map(|session| session.calls).sum();
        if busy == 0 && served.handle.statistics().await.slow_readers > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let statistics = served.handle.statistics().await;
    assert_eq!(statistics.slow_readers, 1);
    assert!(statistics.dropped > 0);
    let calls: usize = served.handle.sessions().await.unwrap().iter().map(|session| session.calls).sum();
    assert_eq!(calls, 0, "the call of the reader that stopped has finished");
}
