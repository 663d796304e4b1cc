//! The bounds of what a client sends and a service stores, repeats or compares. At the bound a
//! request is served in both eras. One byte above it, the request is rejected with a text that
//! names the bound.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use mcp_http::message::RawJson;
use mcp_http::server::{ClientError, TaskSupport, Tool};
use mcp_http::{Args, Limits, Sessions};
use serde_json::{Value, json};

use crate::support::{
    App, CAPABILITIES_KEY, CLIENT_KEY, Client, Logs, RequestExt, call, envelope, eventually, initialize, mirrored,
    modern, request,
};

/// The services that a bound holds for: typed and rmcp's, with and without sessions.
fn services() -> Vec<(&'static str, App)> {
    let typed = ("typed", App::new());
    let stateless = App::with(|service| service.sessions(Sessions::new().stateless(true)));
    let mut services = vec![typed, ("stateless", stateless)];
    #[cfg(feature = "rmcp")]
    services.push(("rmcp", crate::rmcp_server::plain()));
    services
}

/// Sends a request, and returns the status and the message of its response.
async fn answer(app: &App, request: Request<Body>) -> (u16, Value) {
    let reply = app.send(request).await;
    (reply.status.as_u16(), reply.message().await)
}

fn error(code: i64, text: &str) -> Value {
    json!({"code": code, "message": text})
}

/// Returns a JSON string with this number of bytes between its quotes.
fn long(bytes: usize) -> Value {
    Value::String("x".repeat(bytes))
}

/// Returns a request without a session, either for a stateless service or to open a session.
fn alone(message: Value) -> Request<Body> {
    request(Method::POST).message(message)
}

/// Opens a legacy client, if the service has sessions.
async fn client(kind: &str, app: &App) -> Option<Client> {
    if kind == "stateless" { None } else { Some(app.open().await) }
}

fn of(client: Option<&Client>, message: Value) -> Request<Body> {
    match client {
        Some(client) => client.request(Method::POST).message(message),
        None => alone(message),
    }
}

/// Acceptance 199.
#[tokio::test(start_paused = true)]
async fn ids_are_echoed_up_to_their_bound() {
    let too_long = error(-32600, "Invalid request: `id` has more than 1,024 bytes");
    for (kind, app) in services() {
        let client = client(kind, &app).await;
        for (length, served) in [(Limits::MAX_REQUEST_ID_BYTES, true), (Limits::MAX_REQUEST_ID_BYTES + 1, false)] {
            let message = json!({"jsonrpc": "2.0", "id": long(length), "method": "tools/list"});
            let mut asked = envelope("tools/list", json!({}));
            asked["id"] = long(length);
            let mut opening = initialize("2025-11-25", json!({}));
            opening["id"] = long(length);
            let requests = [of(client.as_ref(), message), mirrored(asked), alone(opening)];
            for (at, request) in requests.into_iter().enumerate() {
                let (status, answer) = answer(&app, request).await;
                if served {
                    assert_eq!((status, &answer["id"]), (200, &long(length)), "{kind} {at}");
                    assert!(answer["result"].is_object(), "{kind} {at}: {answer}");
                } else {
                    assert_eq!((status, &answer["error"], answer.get("id")), (400, &too_long, None), "{kind} {at}");
                }
            }
        }
    }
}

/// Acceptance 199.
#[tokio::test(start_paused = true)]
async fn the_longest_id_is_cancelled_batched_and_answered() {
    let app = App::new();
    let client = app.open().await;
    let id = long(Limits::MAX_REQUEST_ID_BYTES);
    let held = tokio::spawn({
        let (client, id) = (client.clone(), id.clone());
        async move { client.call(id, "hold", json!({"label": "a"})).await.text().await }
    });
    eventually("the call runs", async || app.probe.state("a").is_some()).await;
    assert_eq!(client.cancel(id.clone()).await.status, 202);
    held.await.unwrap();
    assert_eq!(app.probe.state("a"), Some("cancelled"));

    let old = app.open_version("2025-03-26").await;
    let batch = json!([
        {"jsonrpc": "2.0", "id": id, "method": "ping"},
        {"jsonrpc": "2.0", "id": long(Limits::MAX_REQUEST_ID_BYTES + 1), "method": "ping"},
    ]);
    let answers = old.post(batch).await.json().await;
    let texts: Vec<_> = answers.as_array().unwrap().iter().map(|answer| &answer["error"]["message"]).collect();
    assert!(texts.contains(&&json!("Invalid request: `id` has more than 1,024 bytes")), "{answers}");
    assert!(answers.as_array().unwrap().iter().any(|answer| answer["id"] == id), "{answers}");

    let stray = json!({"jsonrpc": "2.0", "id": long(Limits::MAX_REQUEST_ID_BYTES + 1), "result": {}});
    let (status, answer) = answer(&app, client.request(Method::POST).message(stray)).await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(-32600)));
}

#[tokio::test(start_paused = true)]
async fn progress_tokens_are_bounded_strings_or_integers() {
    let kinds = "Invalid params: `progressToken` is neither a string nor an integer";
    let length = "Invalid params: `progressToken` has more than 256 bytes";
    let most = Limits::MAX_PROGRESS_TOKEN_BYTES;
    let integer = |digits: usize| serde_json::from_str::<Value>(&"1".repeat(digits)).unwrap();
    let tokens = [
        (long(most), None),
        (json!(7), None),
        (json!(-7), None),
        (Value::Null, None),
        (long(most + 1), Some(length)),
        (integer(19), None),
        (json!(1.5), Some(kinds)),
        (json!(true), Some(kinds)),
        (json!([1]), Some(kinds)),
        (json!({"a": 1}), Some(kinds)),
    ];
    for (kind, app) in services() {
        let client = client(kind, &app).await;
        for (token, rejected) in &tokens {
            let params = json!({"_meta": {"progressToken": token}});
            let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params});
            for request in [of(client.as_ref(), message), modern("tools/list", params)] {
                let (status, answer) = answer(&app, request).await;
                match rejected {
                    None => assert_eq!((status, answer.get("error")), (200, None), "{kind} {token}"),
                    Some(text) => {
                        assert_eq!((status, &answer["error"]), (400, &error(-32602, text)), "{kind} {token}");
                        assert_eq!(answer["id"], 1);
                    }
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_fails_only_its_call() {
    let client = App::new().open_version("2025-03-26").await;
    let mut bad = call(1, "echo", json!({"message": "x"}));
    bad["params"]["_meta"]["progressToken"] = long(Limits::MAX_PROGRESS_TOKEN_BYTES + 1);
    let answers = client.post(json!([bad, call(2, "echo", json!({"message": "y"}))])).await.json().await;
    let of = |id: i64| answers.as_array().unwrap().iter().find(|answer| answer["id"] == id).unwrap();
    assert_eq!(of(1)["error"]["message"], "Invalid params: `progressToken` has more than 256 bytes");
    assert_eq!(of(2)["result"]["content"][0]["text"], "y");
}

/// A duplicate member must not hide a malformed progress token from the check.
#[tokio::test(start_paused = true)]
async fn duplicate_progress_tokens_are_rejected() {
    let client = App::new().open().await;
    for params in [
        r#"{"name":"echo","_meta":{"progressToken":1,"progressToken":{}}}"#,
        r#"{"name":"echo","_meta":{},"_meta":{"progressToken":{}}}"#,
    ] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
        let (status, answer) = answer(&client.app, client.raw(body)).await;
        assert_eq!((status, &answer["error"]["code"], &answer["id"]), (400, &json!(-32602), &json!(1)), "{params}");
    }
}

/// Returns a `clientInfo` with this number of bytes of JSON.
fn sized(bytes: usize) -> Value {
    let empty = json!({"name": "c", "version": "1", "title": ""}).to_string().len();
    json!({"name": "c", "version": "1", "title": "x".repeat(bytes - empty)})
}

/// Returns `capabilities` with this number of bytes of JSON.
fn capable(bytes: usize) -> Value {
    let empty = json!({"experimental": {"a": {"b": ""}}}).to_string().len();
    json!({"experimental": {"a": {"b": "x".repeat(bytes - empty)}}})
}

#[tokio::test(start_paused = true)]
async fn client_info_is_bounded_in_initialize() {
    let cases = [
        ("clientInfo", sized(Limits::MAX_CLIENT_INFO_BYTES), None),
        ("clientInfo", sized(Limits::MAX_CLIENT_INFO_BYTES + 1), Some("`clientInfo` has more than 8 KiB")),
        ("capabilities", capable(Limits::MAX_CAPABILITIES_BYTES), None),
        ("capabilities", capable(Limits::MAX_CAPABILITIES_BYTES + 1), Some("`capabilities` has more than 16 KiB")),
        ("_meta", json!({"a": "x".repeat(20_000)}), None),
        ("protocolVersion", long(40_000), Some("the parameters of initialize have more than 32 KiB")),
        ("_meta", json!({"a": "x".repeat(40_000)}), Some("the parameters of initialize have more than 32 KiB")),
    ];
    for (kind, app) in services() {
        for (member, value, rejected) in &cases {
            let before = app.handle.sessions().await.unwrap().len();
            let mut opening = initialize("2025-11-25", json!({}));
            opening["params"][member] = value.clone();
            let (status, answer) = answer(&app, alone(opening)).await;
            let opened = app.handle.sessions().await.unwrap().len() - before;
            match rejected {
                None => {
                    assert_eq!((status, answer.get("error")), (200, None), "{kind} {member}");
                    assert_eq!(opened, usize::from(kind != "stateless"), "{kind} {member}");
                }
                Some(text) => {
                    let expected = error(-32602, &format!("Invalid params: {text}"));
                    assert_eq!((status, &answer["error"], opened), (400, &expected, 0), "{kind} {member}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn client_info_is_bounded_in_modern_requests() {
    let cases = [
        (CLIENT_KEY, sized(Limits::MAX_CLIENT_INFO_BYTES), None),
        (CLIENT_KEY, sized(Limits::MAX_CLIENT_INFO_BYTES + 1), Some("clientInfo` has more than 8 KiB")),
        (CAPABILITIES_KEY, capable(Limits::MAX_CAPABILITIES_BYTES), None),
        (
            CAPABILITIES_KEY,
            capable(Limits::MAX_CAPABILITIES_BYTES + 1),
            Some("clientCapabilities` has more than 16 KiB"),
        ),
    ];
    for (kind, app) in services() {
        for (member, value, rejected) in &cases {
            let (status, answer) = answer(&app, modern("tools/list", json!({"_meta": {*member: value}}))).await;
            match rejected {
                None => assert_eq!((status, answer.get("error")), (200, None), "{kind} {member}"),
                Some(text) => {
                    let expected = error(-32602, &format!("Invalid params: `io.modelcontextprotocol/{text}"));
                    assert_eq!((status, &answer["error"]), (400, &expected), "{kind} {member}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn methods_are_bounded() {
    let too_long = error(-32600, "Invalid request: `method` has more than 1,024 bytes");
    for (kind, app) in services() {
        let client = client(kind, &app).await;
        for (length, rejected) in [(Limits::MAX_METHOD_BYTES, false), (Limits::MAX_METHOD_BYTES + 1, true)] {
            let method = "m".repeat(length);
            let message = json!({"jsonrpc": "2.0", "id": 1, "method": method});
            for request in [of(client.as_ref(), message), mirrored(envelope(&method, json!({})))] {
                let (status, answer) = answer(&app, request).await;
                // rmcp's handler answers any method that it does not know, so only the rejection is
                // compared.
                let is_rejected = (status, &answer["error"], &answer["id"]) == (400, &too_long, &json!(1));
                assert_eq!(is_rejected, rejected, "{kind}: {answer}");
            }
        }
    }
}

/// Sends the client a request whose parameters have this number of bytes.
async fn send_long_request(cx: mcp_http::Context, Args(Sized { bytes, samples }): Args<Sized>) -> String {
    let method = if samples { "sampling/createMessage" } else { "elicitation/create" };
    let params = json!({"message": "x".repeat(bytes - json!({"message": ""}).to_string().len())});
    let params = RawJson::from_value(&params).unwrap();
    match cx.request(method, params, Duration::from_secs(1)).await {
        Err(error @ ClientError::TooLarge { .. }) => error.to_string(),
        other => format!("asked: {other:?}"),
    }
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Sized {
    bytes: usize,
    samples: bool,
}

#[tokio::test(start_paused = true)]
async fn requests_to_clients_are_bounded() {
    let app = App::serving(
        |server| {
            server.with_tool(
                Tool::new("send_long_request", "Asks.", send_long_request).task_on_demand(TaskSupport::Optional),
            )
        },
        |service| service,
    );
    let client = app.open().await;
    let capabilities = json!({"elicitation": {}, "sampling": {}});
    for (limit, samples) in [(Limits::MAX_CLIENT_REQUEST_BYTES, false), (Limits::MAX_SAMPLING_REQUEST_BYTES, true)] {
        for (bytes, asked) in [(limit, true), (limit + 1, false)] {
            let arguments = json!({"bytes": bytes, "samples": samples});
            let legacy = client.call(1, "send_long_request", arguments.clone()).await.text().await;
            let meta = json!({CAPABILITIES_KEY: capabilities});
            let params = json!({"name": "send_long_request", "arguments": arguments, "_meta": meta});
            let modern = app.send(modern("tools/call", params)).await.text().await;
            let rejected = format!("the request was not sent: it has {bytes} bytes, the limit is {limit}");
            for text in [legacy, modern] {
                assert_eq!(text.contains(&rejected), !asked, "{}", &text[..text.len().min(500)]);
                assert_eq!(text.contains(&"x".repeat(1_000)), asked);
            }
        }
    }
}

/// Every line about hostile messages is short and remains one line, so that clients cannot fill or
/// forge the log.
#[tokio::test(start_paused = true)]
async fn log_lines_repeat_little_client_input() {
    let logs = Logs::capture();
    for (kind, app) in services() {
        let client = client(kind, &app).await;
        let long = format!("\u{1b}[2J\u{202e}{}", "a".repeat(900));
        let tool = format!("\u{1b}[2J\n{}", "t".repeat(100_000));
        for message in [
            json!({"jsonrpc": "2.0", "id": long, "method": long}),
            json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": {}}}),
            json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": tool}}),
            json!({"jsonrpc": "2.0", "id": long, "result": {}}),
            json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1, "reason": tool}}),
        ] {
            app.send(of(client.as_ref(), message)).await.text().await;
        }
        let mut opening = initialize("2025-11-25", json!({}));
        opening["params"]["capabilities"] = json!(["a".repeat(5_000)]);
        app.send(alone(opening)).await.text().await;
        app.send(modern("tools/call", json!({"name": tool, "arguments": {}}))).await.text().await;
        app.send(modern("x", json!({})).raw(envelope(&long, json!({})).to_string())).await.text().await;
        app.send(alone(json!({})).header("host", &"h".repeat(5_000))).await.text().await;
        for _ in 0..1_000 {
            app.send(alone(json!({})).header("host", "evil.example")).await.text().await;
        }
    }
    // rmcp writes whole messages in lines of its own, of the target `rmcp`; these are left out.
    let text: String = logs
        .text()
        .lines()
        .filter(|line| line.contains(" mcp_http::"))
        .fold(String::new(), |text, line| text + line + "\n");
    assert!(text.contains("mcp.call") && text.contains("rejected a request for another host"), "{text}");
    let longest = text.lines().map(str::len).max().unwrap();
    assert!(longest < 1_200, "{longest} bytes: {}", text.lines().find(|line| line.len() == longest).unwrap());
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "something that a terminal obeys");
    let rejected = text.lines().filter(|line| line.contains("for another host")).count();
    assert!(rejected < 500, "{rejected} lines for 3,000 rejections");
}
