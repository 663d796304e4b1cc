//! Races on streams: emitting, resuming, cancelling and ending at the same moment.

use std::time::Duration;

use mcp_http::server::LogLevel;
use mcp_http::{Args, Context, McpServer, ResponseMode, Streams};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::{App, Client, Event, Reply, steps};

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Emit {
    tasks: u32,
}

/// Adds the tool `trail`, whose tasks emit while the call ends. Some of them emit after its end.
fn tools(server: McpServer) -> McpServer {
    server.tool("trail", "Ends while its tasks still speak.", async |cx: Context, Args(emit): Args<Emit>| {
        for task in 0..emit.tasks {
            let cx = cx.clone();
            tokio::spawn(async move { cx.log(LogLevel::Info, task).await });
        }
        tokio::task::yield_now().await;
        "ended"
    })
}

async fn all_of(reply: Reply) -> Vec<Value> {
    if reply.is_sse() {
        return reply.sse().rest().await.iter().map(Event::json).collect();
    }
    vec![reply.json().await]
}

/// Tasks emit around the end of a call, and the answer still arrives once, as the last message.
///
/// Acceptance 91, 140.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn late_messages_never_cost_the_answer() {
    let app = App::serving(tools, |service| service);
    let client = app.open().await;
    let mut heard = 0;
    for id in 0..3_000u64 {
        let tasks = 1 + id % 3;
        let messages = all_of(client.call(id, "trail", json!({"tasks": tasks})).await).await;
        let (answer, progress) = messages.split_last().unwrap_or_else(|| panic!("call {id} has no answer"));
        assert_eq!((&answer["id"], &answer["result"]["content"][0]["text"]), (&json!(id), &json!("ended")));
        assert!(progress.iter().all(|message| message["method"] == "notifications/message"));
        heard += u64::try_from(progress.len()).unwrap();
        // Every lost message is counted as dropped, once the tasks have had time to end.
        if id % 500 == 499 {
            let said: u64 = (0..=id).map(|id| 1 + id % 3).sum();
            let mut dropped = 0;
            for _ in 0..6_000 {
                dropped = app.handle.statistics().await.dropped;
                if heard + dropped == said {
                    break;
                }
                sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(heard + dropped, said);
        }
    }
}

async fn running(client: &Client, delay: u64) -> (String, Vec<Event>) {
    let mut stream = client.call(1, "progress", json!({"steps": 5, "delay_ms": delay})).await.sse();
    let prime = stream.next().await.unwrap();
    let first = stream.message().await.unwrap();
    (prime.id().to_owned(), vec![first])
}

/// Only one of two readers gets the rest, and the events that both were sent have no gap.
///
/// Acceptance 118.
#[tokio::test(start_paused = true)]
async fn the_later_of_two_resumptions_wins() {
    let client = App::new().open().await;
    let (prime, _) = running(&client, 10).await;
    let (one, two) = tokio::join!(client.resume(&prime), client.resume(&prime));
    let (mut one, mut two) = (one.sse(), two.sse());
    let (first, second) = tokio::join!(one.rest(), two.rest());
    let complete = [json!(1), json!(2), json!(3), json!(4), json!(5), Value::Null];
    let (winner, loser) = if second.len() == 6 { (&second, &first) } else { (&first, &second) };
    assert_eq!(steps(winner), complete);
    assert_eq!(steps(loser), complete[..loser.len()]);
    assert!(loser.len() < 6);
    assert_eq!(client.app.handle.sessions().await.unwrap()[0].readers, 0);
}

/// The client resumes at the moment in which the call ends, on real threads.
///
/// Acceptance 113, 114, 115.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn resuming_at_the_end_gets_the_answer() {
    let client = App::new().open().await;
    for round in 0..300 {
        let label = format!("r{round}");
        let mut stream = client.call(round, "note_and_hold", json!({"label": label})).await.sse();
        let first = stream.message().await.unwrap();
        let (resumed, released) = (client.clone(), client.app.probe.clone());
        let id = first.id().to_owned();
        let resume = tokio::spawn(async move {
            let mut rest = resumed.resume(&id).await.sse();
            rest.rest().await
        });
        let release = tokio::spawn(async move { released.release(&label) });
        let (rest, released) = tokio::join!(resume, release);
        released.unwrap();
        let rest = rest.unwrap();
        assert_eq!(rest.len(), 1, "round {round}");
        assert_eq!(rest[0].json()["result"]["content"][0]["text"], "released");
        drop(stream);
    }
    assert_eq!(client.app.handle.sessions().await.unwrap()[0].readers, 0);
    assert_eq!(client.app.handle.sessions().await.unwrap()[0].calls, 0);
}

/// The session is deleted after each possible number of events.
///
/// Acceptance 33, 165.
#[tokio::test(start_paused = true)]
async fn deletes_at_any_moment_end_the_streams() {
    for at in 0..60 {
        let client = App::new().open().await;
        let reply = client.call(1, "progress", json!({"steps": 5, "delay_ms": 10})).await;
        sleep(Duration::from_millis(at)).await;
        assert_eq!(client.delete().await.status, 200);
        let events = reply.sse().rest().await;
        assert!(events.len() <= 6);
        assert_eq!(client.delete().await.status, 404);
        assert!(client.app.handle.sessions().await.unwrap().is_empty());
    }
}

/// Requests race with the end of their session, on real threads. Each of them is answered.
///
/// Acceptance 45, 165.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_at_the_session_end_are_answered() {
    for mode in [ResponseMode::Auto, ResponseMode::Sse, ResponseMode::Json] {
        let app = App::with(|service| service.streams(Streams::new().response_mode(mode)));
        for _ in 0..100 {
            let client = app.open().await;
            let calls: Vec<_> = (0..4)
                .map(|id| {
                    let client = client.clone();
                    tokio::spawn(async move {
                        let reply = client.call(id, "progress", json!({"steps": 3})).await;
                        let status = reply.status.as_u16();
                        (status, reply.text().await)
                    })
                })
                .collect();
            assert_eq!(client.delete().await.status, 200);
            for call in calls {
                let (status, text) = call.await.unwrap();
                assert!([200, 404, 500].contains(&status), "{mode:?} {status} {text}");
            }
        }
        assert!(app.handle.sessions().await.unwrap().is_empty());
        assert_eq!(app.handle.drain(Duration::from_secs(5)).await.cut_calls, 0);
    }
}

/// The cancellation arrives at any moment of its call.
///
/// Acceptance 105, 164.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cancellation_races_leave_at_most_one_answer() {
    let client = App::new().open().await;
    for id in 0..500u64 {
        let caller = client.clone();
        let call = tokio::spawn(async move { all_of(caller.call(id, "progress", json!({"steps": 2})).await).await });
        assert_eq!(client.cancel(id).await.status, 202);
        let messages = call.await.unwrap();
        let answers = messages.iter().filter(|message| message["id"] == id).count();
        assert!(answers <= 1, "{messages:?}");
    }
    assert_eq!(client.app.handle.sessions().await.unwrap()[0].calls, 0);
}
