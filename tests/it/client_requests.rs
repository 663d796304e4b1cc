//! Requests to the client: their stream, their order, who may respond, and what happens without a
//! response.

use std::time::Duration;

use mcp_http::message::RawJson;
use mcp_http::{Args, Context, McpServiceBuilder, ResponseMode, Streams};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{App, Client, Event, Sse};

/// An application whose tools also send several requests in a row, from a spawned task, or outside
/// of any call.
fn app(configure: impl FnOnce(McpServiceBuilder) -> McpServiceBuilder) -> App {
    App::serving(
        |server| {
            server
                .tool("ask_thrice", "Asks for roots, says something, asks again.", async |cx: Context| {
                    let mut counts = Vec::new();
                    for round in 1..=3 {
                        cx.progress(round, None).await;
                        counts.push(cx.roots().await.map_or(99, |roots| roots.len()));
                    }
                    format!("{counts:?}")
                })
                .tool("ask_late", "Answers, and asks after it.", async |cx: Context, Args(args): Args<Label>| {
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        let start = Instant::now();
                        let told =
                            format!("{:?} after {:?}", cx.roots().await.map_err(|e| e.to_string()), start.elapsed());
                        let Some(session) = cx.session() else { return };
                        let _ = session.update(&args.label, |text: &mut String| told.clone_into(text)).await;
                    });
                    "answered"
                })
                .tool("told", "Returns the error of a late request.", async |cx: Context, Args(args): Args<Label>| {
                    let session = cx.session().unwrap();
                    session.get::<String>(&args.label).await.unwrap().unwrap_or_default()
                })
                .tool("ask_aside", "Asks on the standalone stream.", async |cx: Context| {
                    let session = cx.session().unwrap();
                    match session.request("roots/list", RawJson::empty_object(), Duration::from_secs(30)).await {
                        Ok(answer) => answer.as_str().to_owned(),
                        Err(error) => format!("error: {error}"),
                    }
                })
        },
        configure,
    )
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Label {
    label: String,
}

fn json_mode(service: McpServiceBuilder) -> McpServiceBuilder {
    service.streams(Streams::new().response_mode(ResponseMode::Json))
}

async fn client_request(stream: &mut Sse) -> Event {
    loop {
        let event = stream.message().await.expect("a request");
        if event.json()["id"].is_string() {
            return event;
        }
    }
}

fn text(event: &Event) -> Value {
    event.json()["result"]["content"][0]["text"].clone()
}

async fn answer(client: &Client, request: &Event, result: Value) -> u16 {
    let id = request.json()["id"].clone();
    client.post(json!({"jsonrpc": "2.0", "id": id, "result": result})).await.status.as_u16()
}

/// Requests to the client and progress notifications keep their order, and the result follows them.
///
/// Acceptance 94.
#[tokio::test(start_paused = true)]
async fn client_requests_keep_order_before_the_result() {
    let client = app(|service| service).open().await;
    let mut stream = client.call(1, "ask_thrice", json!({})).await.sse();
    assert!(stream.next().await.unwrap().primes());
    for round in 1..=3u64 {
        let progress = stream.message().await.unwrap();
        assert_eq!(progress.json()["params"]["progress"], round);
        let asked = stream.message().await.unwrap();
        assert_eq!(asked.json()["method"], "roots/list");
        let roots = vec![json!({"uri": "file:///a"}); usize::try_from(round).unwrap()];
        assert_eq!(answer(&client, &asked, json!({"roots": roots})).await, 202);
    }
    let last = stream.rest().await;
    assert_eq!(last.len(), 1);
    assert_eq!(text(&last[0]), "[1, 2, 3]");
}

/// Only the first response to a request counts. Late, repeated and unknown ones are accepted with
/// 202 and have no effect.
///
/// Acceptance 74, 94.
#[tokio::test(start_paused = true)]
async fn only_the_first_response_counts() {
    let client = App::new().open().await;
    let mut stream = client.call(1, "ask", json!({})).await.sse();
    let asked = client_request(&mut stream).await;
    assert_eq!(answer(&client, &asked, json!({"action": "accept", "content": {"name": "Ann"}})).await, 202);
    assert_eq!(answer(&client, &asked, json!({"action": "accept", "content": {"name": "Bob"}})).await, 202);
    assert_eq!(text(&stream.rest().await[0]), "accept Ann");
    assert_eq!(answer(&client, &asked, json!({"action": "decline"})).await, 202);
    let unknown = client.post(json!({"jsonrpc": "2.0", "id": "s9-9", "result": {}})).await;
    assert_eq!((unknown.status.as_u16(), unknown.text().await.as_str()), (202, ""));
    let number = client.post(json!({"jsonrpc": "2.0", "id": 12, "result": {}})).await;
    assert_eq!(number.status, 202);
}

/// The handler can distinguish a declined, a cancelled, a rejected and a malformed response.
///
/// Acceptance 94.
#[tokio::test(start_paused = true)]
async fn handlers_distinguish_the_kinds_of_response() {
    let client = App::new().open().await;
    for (outcome, told) in [
        (json!({"result": {"action": "decline"}}), "decline"),
        (json!({"result": {"action": "cancel"}}), "cancel"),
        (json!({"error": {"code": -1, "message": "no"}}), "error: the client rejected the request: no"),
        (json!({"result": {"action": "dance"}}), "error: the client's answer does not match the request"),
    ] {
        let mut stream = client.call(1, "ask", json!({})).await.sse();
        let mut answer = json!({"jsonrpc": "2.0", "id": client_request(&mut stream).await.json()["id"]});
        answer.as_object_mut().unwrap().extend(outcome.as_object().unwrap().clone());
        assert_eq!(client.post(answer).await.status, 202);
        let rest = stream.rest().await;
        let text = text(&rest[0]);
        assert!(text.as_str().unwrap().starts_with(told), "{text}");
    }
}

/// A response is accepted only from the session that received the request.
///
/// Acceptance 29, 94.
#[tokio::test(start_paused = true)]
async fn an_answer_from_another_session_is_no_answer() {
    let app = App::new();
    let (client, other) = (app.open().await, app.open().await);
    let mut stream = client.call(1, "ask", json!({})).await.sse();
    let asked = client_request(&mut stream).await;
    assert_eq!(answer(&other, &asked, json!({"action": "decline"})).await, 202);
    assert!(stream.is_silent().await);
    assert_eq!(answer(&client, &asked, json!({"action": "cancel"})).await, 202);
    assert_eq!(text(&stream.rest().await[0]), "cancel");
}

/// Acceptance 94, 96.
#[tokio::test(start_paused = true)]
async fn requests_need_the_client_capability() {
    let app = App::new();
    let client = app.open_as("2025-11-25", json!({}), None).await;
    for (tool, told) in [
        ("ask", "error: the client does not support elicitation"),
        ("sample", "error: the client does not support sampling"),
        ("roots", "error: the client does not support roots"),
    ] {
        let reply = client.call(1, tool, json!({})).await;
        assert!(!reply.is_sse());
        assert_eq!(reply.message().await["result"]["content"][0]["text"], told);
    }
}

/// In JSON mode a call has no stream: requests to the client fail at once, and the call's
/// notifications are dropped and counted.
///
/// Acceptance 95, 96.
#[tokio::test(start_paused = true)]
async fn json_mode_has_no_client_requests_or_notifications() {
    let app = app(json_mode);
    let client = app.open().await;
    let start = Instant::now();
    for tool in ["ask", "sample", "roots"] {
        let told = client.text_of(tool, json!({})).await;
        assert_eq!(told, "error: the request cannot be sent: the client has no open stream");
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(app.handle.statistics().await.dropped, 0);
    let mut get = client.listen().await;
    assert!(get.next().await.unwrap().primes());
    assert_eq!(client.text_of("progress", json!({"steps": 7})).await, "done");
    assert_eq!(client.text_of("log", json!({})).await, "logged");
    assert!(get.is_silent().await, "what belongs to a call does not move to the standalone stream");
    assert_eq!(app.handle.statistics().await.dropped, 11);
}

/// A request without a response is cancelled at its timeout, and the handler receives an error.
///
/// Acceptance 94.
#[tokio::test(start_paused = true)]
async fn unanswered_client_requests_are_cancelled() {
    let client = App::new().open().await;
    let start = Instant::now();
    let mut stream = client.call(1, "roots", json!({})).await.sse();
    let asked = client_request(&mut stream).await;
    let id = asked.json()["id"].clone();
    let rest = stream.rest().await;
    assert_eq!(
        rest[0].data.as_deref().unwrap(),
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#)
    );
    assert_eq!((rest.len(), text(&rest[1])), (2, json!("error: the client did not answer within 30s")));
    assert_eq!(start.elapsed().as_secs(), 30);
    assert_eq!(answer(&client, &asked, json!({"roots": []})).await, 202);
}

/// A call that has ended may no longer send requests to the client.
///
/// Acceptance 140.
#[tokio::test(start_paused = true)]
async fn client_requests_after_the_call_fail_at_once() {
    let client = app(|service| service).open().await;
    assert_eq!(client.text_of("ask_late", json!({"label": "a"})).await, "answered");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let told = client.text_of("told", json!({"label": "a"})).await;
    assert_eq!(told, r#"Err("the call or the session ended before the client answered") after 0ns"#);
}

/// A request on the standalone stream needs an attached reader, since it is not queued for one.
///
/// Acceptance 97.
#[tokio::test(start_paused = true)]
async fn standalone_client_requests_need_a_reader() {
    let client = app(|service| service).open().await;
    let start = Instant::now();
    let rejected = "error: the request cannot be sent: the client has no open stream";
    assert_eq!(client.text_of("ask_aside", json!({})).await, rejected);
    let mut get = client.listen().await;
    assert!(get.next().await.unwrap().primes());
    drop(get);
    assert_eq!(client.text_of("ask_aside", json!({})).await, rejected);
    assert_eq!(start.elapsed(), Duration::ZERO);

    let mut get = client.listen().await;
    let mut call = client.call(2, "ask_aside", json!({})).await.sse();
    let asked = client_request(&mut get).await;
    assert_eq!(asked.json()["method"], "roots/list");
    assert_eq!(answer(&client, &asked, json!({"roots": []})).await, 202);
    assert_eq!(text(&call.rest().await[0]), r#"{"roots":[]}"#);
}

/// The end of the session ends the call with an error, and a late response to its request gets 404.
///
/// Acceptance 33, 94.
#[tokio::test(start_paused = true)]
async fn client_requests_end_with_their_session() {
    let client = App::new().open().await;
    let mut stream = client.call(1, "ask", json!({})).await.sse();
    let asked = client_request(&mut stream).await;
    assert_eq!(client.delete().await.status, 200);
    let rest = stream.rest().await;
    assert!(rest.len() == 1 && rest[0].json()["error"]["code"] == -32603, "{rest:?}");
    assert_eq!(answer(&client, &asked, json!({"action": "cancel"})).await, 404);
}
