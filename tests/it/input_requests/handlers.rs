//! Handlers that send client requests in unusual ways: twice under one name, in races, in a loop,
//! and from tasks that outlive the call.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use mcp_http::message::RawJson;
use mcp_http::server::{ClientError, ToolError};
use mcp_http::{Context, McpServer, McpService};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Name, Round, Sure, accept, assert_requests, text};
use crate::support::App;

fn serving(server: McpServer) -> App {
    App::of(McpService::builder(server))
}

fn new() -> McpServer {
    McpServer::new("odd", "1.0.0")
}

async fn name(cx: &Context, key: Option<&'static str>, words: &str) -> Result<String, ClientError> {
    let request = cx.elicit::<Name>(words);
    let answer = if let Some(key) = key { request.key(key).await } else { request.await };
    Ok(answer?.accepted().map(|Name { name }| name).unwrap_or_default())
}

/// A handler's own keys may look like generated keys. Each request still gets its own answer.
///
/// Acceptance 149.
#[tokio::test(start_paused = true)]
async fn keys_like_generated_ones_stay_unique() {
    async fn many(cx: Context) -> Result<String, ToolError> {
        let keys = [Some("x-2"), Some("x"), Some("x"), Some("elicitation-1"), None, None];
        let asked = keys.iter().enumerate().map(|(n, key)| {
            let cx = cx.clone();
            async move { name(&cx, *key, &format!("{n}?")).await }
        });
        Ok(futures_util::future::try_join_all(asked).await?.join(" "))
    }
    let app = serving(new().tool("many", "Asks much.", many));
    let asked = Round::tool(&app, "many").answer().await;
    let questions = asked["result"]["inputRequests"].as_object().unwrap();
    let mut words: Vec<_> = questions.values().map(|request| request["params"]["message"].clone()).collect();
    words.sort_by_key(ToString::to_string);
    assert_eq!(words, ["0?", "1?", "2?", "3?", "4?", "5?"]);
    let answer = |request: &Value| accept(json!({"name": request["params"]["message"]}));
    let answers: serde_json::Map<_, _> = questions.iter().map(|(key, asked)| (key.clone(), answer(asked))).collect();
    let answered = Round::tool(&app, "many").again(&asked, answers.into()).answer().await;
    assert_eq!(text(&answered), "0? 1? 2? 3? 4? 5?");
}

/// The handler drops its request, or its timeout is zero. The call is answered without another
/// round.
///
/// Acceptance 149.
#[tokio::test(start_paused = true)]
async fn abandoned_requests_are_not_sent() {
    async fn gives_up(cx: Context) -> Result<String, ToolError> {
        let asked = cx.roots().timeout(Duration::ZERO).await;
        assert!(matches!(asked, Err(ClientError::Timeout(_))), "{asked:?}");
        let first = select(Box::pin(async { cx.roots().await }), std::future::ready("meanwhile")).await;
        let Either::Right((word, open)) = first else { return Err(ToolError::new("asked")) };
        drop(open);
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(word.to_owned())
    }
    let app = serving(new().tool("gives_up", "Asks and gives up.", gives_up));
    let reply = Round::tool(&app, "gives_up").reply().await.message().await;
    assert_eq!(text(&reply), "meanwhile");
}

/// The request races with a timer, and is sent as soon as the handler has nothing else to do.
///
/// Acceptance 149.
#[tokio::test(start_paused = true)]
async fn requests_in_a_race_are_sent_when_idle() {
    async fn races(cx: Context) -> Result<String, ToolError> {
        tokio::select! {
            roots = cx.roots() => Ok(roots?.len().to_string()),
            () = tokio::time::sleep(Duration::from_secs(3600)) => Ok("late".to_owned()),
        }
    }
    let app = serving(new().tool("races", "Races.", races));
    let asked = Round::tool(&app, "races").answer().await;
    assert_requests(&asked, &["roots-1"]);
    let answered = Round::tool(&app, "races").again(&asked, json!({"roots-1": {"roots": []}})).answer().await;
    assert_eq!(text(&answered), "0");
}

/// A task outlives its call. Its requests to the client fail with `ClientError::Ended`.
///
/// Acceptance 140, 149.
#[tokio::test(start_paused = true)]
async fn requests_after_the_answer_fail_as_ended() {
    let (told, mut heard) = mpsc::unbounded_channel();
    let app = serving(new().tool("leaves", "Leaves a task behind.", move |cx: Context| {
        let told = told.clone();
        async move {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                told.send(cx.is_cancelled().to_string()).unwrap();
                for _ in 0..1_000 {
                    assert!(matches!(cx.roots().await, Err(ClientError::Ended)));
                }
                told.send(cx.elicit::<Sure>("?").await.unwrap_err().to_string()).unwrap();
            });
            "answered"
        }
    }));
    assert_eq!(text(&Round::tool(&app, "leaves").answer().await), "answered");
    assert_eq!(heard.recv().await.unwrap(), "false", "it was answered");
    assert_eq!(heard.recv().await.unwrap(), "the call or the session ended before the client answered");
    assert_eq!(app.handle.drain(Duration::from_secs(1)).await.cut_calls, 0);
}

/// Steps with one name in a loop are different steps, and each runs once.
///
/// Acceptance 149.
#[tokio::test(start_paused = true)]
async fn steps_with_equal_names_are_counted() {
    let taken = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&taken);
    let app = serving(new().tool("thrice", "Takes a step thrice.", move |cx: Context| {
        let taken = Arc::clone(&counting);
        async move {
            let mut seats = Vec::new();
            for _ in 0..3 {
                let step = async { Ok::<_, ToolError>(taken.fetch_add(1, Ordering::Relaxed)) };
                seats.push(cx.once("seat", step).await?.to_string());
                cx.elicit::<Sure>("On?").await?;
            }
            Ok::<_, ToolError>(seats.join(" "))
        }
    }));
    let mut answer = Round::tool(&app, "thrice").answer().await;
    for round in 1..=3 {
        let given = json!({format!("elicitation-{round}"): accept(json!({"sure": true}))});
        answer = Round::tool(&app, "thrice").again(&answer, given).answer().await;
    }
    assert_eq!((text(&answer), taken.load(Ordering::Relaxed)), ("0 1 2", 3));
    // In a session, each step simply runs.
    let client = app.open().await;
    let mut stream = client.call(1, "thrice", json!({})).await.sse();
    while let Some(event) = stream.message().await {
        let message = event.json();
        if message["method"] == "elicitation/create" {
            let given = accept(json!({"sure": true}));
            client.post(json!({"jsonrpc": "2.0", "id": message["id"], "result": given})).await;
        } else {
            assert_eq!(text(&message), "3 4 5");
        }
    }
}

/// A failed step runs again in the next round. A value that cannot be carried as JSON is an error.
///
/// Acceptance 149.
#[tokio::test(start_paused = true)]
async fn failed_steps_run_again() {
    let taken = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&taken);
    let app = serving(
        new()
            .tool("fails_first", "Fails the first time.", {
                let taken = Arc::clone(&taken);
                move |cx: Context| {
                    let taken = Arc::clone(&taken);
                    async move {
                        let step = async {
                            match taken.fetch_add(1, Ordering::Relaxed) {
                                0 => Err(ToolError::new("not yet")),
                                n => Ok(n),
                            }
                        };
                        let first = cx.once("step", step).await.is_ok();
                        cx.elicit::<Sure>("On?").await?;
                        Ok::<_, ToolError>(first.to_string())
                    }
                }
            })
            .tool("unkept", "Has no number.", move |cx: Context| {
                let taken = Arc::clone(&counting);
                async move {
                    let value: f64 = cx
                        .once("step", async {
                            taken.fetch_add(1, Ordering::Relaxed);
                            Ok::<_, ToolError>(f64::NAN)
                        })
                        .await?;
                    cx.elicit::<Sure>("On?").await?;
                    Ok::<_, ToolError>(value.to_string())
                }
            }),
    );
    let asked = Round::tool(&app, "fails_first").answer().await;
    let given = json!({"elicitation-1": accept(json!({"sure": true}))});
    assert_eq!(text(&Round::tool(&app, "fails_first").again(&asked, given).answer().await), "true");
    assert_eq!(taken.swap(0, Ordering::Relaxed), 2);
    // `null` is not a number, so the next round would run the step again.
    let answer = Round::tool(&app, "unkept").answer().await;
    assert_eq!(answer["error"], json!({"code": -32603, "message": "Internal error"}));
    assert_eq!(taken.load(Ordering::Relaxed), 1);
}

/// 2026-07-28, Multi Round-Trip Requests: a server sends no request of a kind that the client did
/// not declare.
///
/// Acceptance 25.
#[tokio::test(start_paused = true)]
async fn untyped_requests_need_their_capability() {
    async fn untyped(cx: Context) -> Result<String, ToolError> {
        let params = RawJson::parse(r#"{"messages":[],"maxTokens":1}"#).unwrap();
        let answer = cx.request("sampling/createMessage", params, Duration::from_secs(1)).await?;
        Ok(answer.as_str().to_owned())
    }
    let app = serving(new().tool("untyped", "Asks without types.", untyped));
    let round = || Round::tool(&app, "untyped");
    assert_requests(&round().answer().await, &["sampling-1"]);
    let rejected = Round { capabilities: json!({"elicitation": {}, "roots": {}}), ..round() }.reply().await;
    assert_eq!(rejected.status, 400);
    assert_eq!(rejected.json().await["error"]["data"], json!({"requiredCapabilities": {"sampling": {}}}));
}
