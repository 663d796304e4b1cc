//! Batches: arrays of messages, which exist in revision 2025-03-26 only.

use axum::http::Method;
use mcp_http::{ResponseMode, Sessions, Streams};
use serde_json::{Value, json};

use crate::support::{App, Client, Reply, RequestExt, call, initialize, ping, request};
use crate::table::{read, seen, sent};

fn note() -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/initialized"})
}

async fn old(app: &App) -> Client {
    app.open_version("2025-03-26").await
}

/// Returns the responses of a batch, from a stream or a JSON array.
async fn answers(reply: Reply) -> Vec<Value> {
    assert_eq!(reply.status, 200);
    if reply.is_sse() {
        return reply.sse().rest().await.iter().map(|event| event.json()).collect();
    }
    match reply.json().await {
        Value::Array(answers) => answers,
        other => panic!("no array: {other}"),
    }
}

/// Acceptance 72, 166.
#[tokio::test(start_paused = true)]
async fn only_the_first_revision_has_batches() {
    let app = App::new();
    for version in ["2025-06-18", "2025-11-25"] {
        let client = app.open_version(version).await;
        for batch in [json!([ping(1)]), json!([note()]), json!([1]), json!([[]])] {
            let reply = client.post(batch.clone()).await;
            assert_eq!(reply.rejection.as_ref().map(|rejected| rejected.kind()), Some("batch_not_served"), "{batch}");
            assert_eq!(read(reply).await, seen(400, -32600, None), "{version} {batch}");
        }
    }
    let got = answers(old(&app).await.post(json!([ping(1)])).await).await;
    assert_eq!(got, [json!({"jsonrpc": "2.0", "id": 1, "result": {}})]);
}

/// Acceptance 72, 73.
#[tokio::test(start_paused = true)]
async fn batches_have_one_to_a_hundred_messages() {
    let client = old(&App::new()).await;
    assert_eq!(read(client.post(json!([])).await).await, seen(400, -32600, None));
    let many = |count: i32| Value::Array((0..count).map(ping).collect());
    assert_eq!(read(client.post(many(101)).await).await, seen(400, -32600, None));
    let got = answers(client.post(many(100)).await).await;
    assert_eq!(got.len(), 100);
    assert_eq!(client.app.handle.sessions().await.unwrap()[0].calls, 0);
    // A batch that exceeds the calls that a session may have in flight is rejected as a whole.
    let held: Vec<Reply> = futures_util::future::join_all((0..30).map(|at| {
        let client = client.clone();
        async move { client.call(at, "hold", json!({"label": format!("{at}")})).await }
    }))
    .await;
    let rejected = client.post(many(100)).await;
    assert_eq!(read(rejected).await, seen(429, -32603, None));
    assert_eq!(client.app.handle.sessions().await.unwrap()[0].calls, held.len());
}

/// A batch without requests gets 202 and an empty body, in each response mode.
///
/// Acceptance 73.
#[tokio::test(start_paused = true)]
async fn batches_of_notifications_get_202() {
    for app in [App::new(), App::in_mode(ResponseMode::Json)] {
        let client = old(&app).await;
        let answer = json!({"jsonrpc": "2.0", "id": "s9-9", "result": {}});
        for batch in [json!([note()]), json!([note(), answer, note()])] {
            let reply = client.post(batch).await;
            assert_eq!(reply.status, 202);
            assert_eq!(reply.text().await, "");
        }
    }
}

/// Acceptance 73.
#[tokio::test(start_paused = true)]
async fn batches_answer_each_request_and_invalid_element() {
    let broken = json!([
        ping(1),
        7,
        note(),
        {"jsonrpc": "1.0", "id": "x", "method": "ping"},
        {"jsonrpc": "2.0", "id": null, "method": "ping"},
        call(2, "echo", json!({"message": "hi"})),
        {"jsonrpc": "2.0", "id": 3, "method": "no/such"},
    ]);
    for app in [App::new(), App::in_mode(ResponseMode::Json)] {
        let mut got = answers(old(&app).await.post(broken.clone()).await).await;
        let position =
            |id: Value, code: Value| move |answer: &Value| answer["id"] == id && answer["error"]["code"] == code;
        for (id, code) in [
            (json!(1), json!(null)),
            (json!(2), json!(null)),
            (json!(3), json!(-32601)),
            (json!("x"), json!(-32600)),
            // The responses to two messages without an id: the member is absent, not null.
            (json!(null), json!(-32600)),
            (json!(null), json!(-32600)),
        ] {
            let at = got.iter().position(position(id.clone(), code.clone()));
            let answer = got.swap_remove(at.unwrap_or_else(|| panic!("{id} {code} in {got:?}")));
            assert_eq!(answer.get("id").is_none(), id.is_null(), "{answer}");
        }
        assert_eq!(got, Vec::<Value>::new(), "nothing else");
    }
}

/// A nested array is one invalid element, even if its members resemble those of a request.
///
/// Acceptance 68, 73.
#[tokio::test(start_paused = true)]
async fn arrays_inside_a_batch_are_no_messages() {
    let client = old(&App::new()).await;
    for element in [
        json!([]),
        json!([ping(1)]),
        // The members of a request by position.
        json!(["2.0", 1, "ping"]),
        json!(["2.0", 1, "tools/call", {"name": "echo", "arguments": {"message": "x"}}]),
    ] {
        let got = answers(client.post(json!([element])).await).await;
        assert_eq!(got.len(), 1, "{element}");
        assert_eq!((&got[0]["error"]["code"], got[0].get("id")), (&json!(-32600), None), "{element}");
    }
}

/// Acceptance 73.
#[tokio::test(start_paused = true)]
async fn batch_answers_in_json_are_always_an_array() {
    let client = old(&App::in_mode(ResponseMode::Json)).await;
    let reply = client.post(json!([call(1, "slow", json!({"ms": 2000, "label": "a"})), ping(2)])).await;
    let got = answers(reply).await;
    assert_eq!(got.iter().map(|answer| &answer["id"]).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(answers(client.post(json!([ping(3)])).await).await.len(), 1);
}

/// Acceptance 73, 93.
#[tokio::test(start_paused = true)]
async fn batch_streams_end_after_the_last_answer() {
    let client = old(&App::new()).await;
    let batch = json!([ping(1), call(2, "progress", json!({"steps": 2, "delay_ms": 10})), ping(3)]);
    let got = answers(client.post(batch).await).await;
    let ids: Vec<_> = got.iter().filter_map(|message| message.get("id")).collect();
    assert_eq!(ids, [1, 3, 2]);
    assert_eq!(got.iter().filter(|message| message["method"] == "notifications/progress").count(), 2);
    assert_eq!(got.last().unwrap()["id"], 2);
}

/// A batch that contains `initialize` is rejected as a whole, inside and outside of a session.
///
/// Acceptance 36.
#[tokio::test(start_paused = true)]
async fn initialize_is_no_part_of_a_batch() {
    let app = App::new();
    let opening = initialize("2025-03-26", json!({}));
    for batch in [json!([opening]), json!([ping(1), opening])] {
        let reply = app.post(batch.clone()).await;
        assert_eq!(reply.rejection.as_ref().map(|rejected| rejected.kind()), Some("initialize_in_batch"));
        assert_eq!(read(reply).await, seen(400, -32600, None));
        let reply = old(&app).await.post(batch).await;
        assert_eq!(read(reply).await, seen(400, -32600, None));
    }
    let sessions = app.handle.sessions().await.unwrap();
    assert!(sessions.iter().all(|session| session.calls == 0), "{sessions:?}");
}

/// Duplicate ids are answered twice by default. A service with exclusive ids rejects the whole
/// batch.
///
/// Acceptance 84.
#[tokio::test(start_paused = true)]
async fn duplicate_ids_are_answered_twice_or_rejected() {
    let twice = json!([ping(1), ping(1)]);
    let got = answers(old(&App::new()).await.post(twice.clone()).await).await;
    assert_eq!(got.iter().map(|answer| &answer["id"]).collect::<Vec<_>>(), [1, 1]);
    let strict = App::with(|service| service.streams(Streams::new().reject_duplicate_ids(true)));
    let client = old(&strict).await;
    let reply = client.post(twice).await;
    assert_eq!(reply.rejection.as_ref().map(|rejected| rejected.kind()), Some("duplicate_id"));
    assert_eq!(read(reply).await, seen(400, -32600, None));
    assert_eq!(answers(client.post(json!([ping(1), ping("1")])).await).await.len(), 2, "1 is not \"1\"");
}

/// Without sessions no revision was agreed, so `MCP-Protocol-Version` decides. An absent header
/// counts as 2025-03-26, which has batches.
///
/// Acceptance 72, 125.
#[tokio::test(start_paused = true)]
async fn without_sessions_the_version_header_allows_batches() {
    let app = App::with(|service| service.sessions(Sessions::new().stateless(true)));
    let batch = || request(Method::POST).message(json!([ping(1), 7]));
    for (version, status) in
        [(None, 200), (Some("2025-03-26"), 200), (Some("2025-06-18"), 400), (Some("2025-11-25"), 400)]
    {
        let request = match version {
            Some(version) => batch().header("mcp-protocol-version", version),
            None => batch(),
        };
        let reply = app.send(request).await;
        assert_eq!(reply.status, status, "{version:?}");
        if status == 200 {
            assert_eq!(answers(reply).await.len(), 2, "{version:?}");
        }
    }
    let opening = request(Method::POST).message(json!([initialize("2025-03-26", json!({}))]));
    assert_eq!(sent(&app, opening).await, seen(400, -32600, None));
}
