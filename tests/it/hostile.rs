//! Hostile requests: none causes a panic, a hang, a leak, or a server error for a fault of the
//! client.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::Method;
use mcp_http::Sessions;
use serde_json::{Value, json};

use crate::support::{App, Reply, RequestExt, call, initialize, request};
use crate::table::{read, seen, sent};

/// Asserts that a response to an attack is no server error, leaks nothing and is short; returns its
/// text.
pub(crate) async fn harmless(reply: Reply, what: &str) -> String {
    assert!(!reply.status.is_server_error(), "{what}: {}", reply.status);
    let text = reply.text().await;
    for leak in [r#""id":null"#, "secret", "src/", "panicked", "at line", "RawValue", "/rustc/", "unwrap"] {
        assert!(!text.contains(leak), "{what}: {text}");
    }
    assert!(text.len() < 4_096, "{what}: {} bytes of echo", text.len());
    text
}

/// Acceptance 67, 68, 71, 83.
#[tokio::test(start_paused = true)]
async fn hostile_members_are_answered_within_bounds() {
    let client = App::new().open().await;
    let long = "A".repeat(100_000);
    let keys: String = (0..20_000).map(|at| format!(r#""k{at}":{at},"#)).collect();
    let call = |params: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
    let bodies = [
        // Methods.
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{long}"}}"#),
        r#"{"jsonrpc":"2.0","id":1,"method":""}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"\u0000\r\n\u2028"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"__proto__"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"notifications/cancelled","params":{"requestId":1}}"#.to_owned(),
        // Duplicate, numerous and escaped keys.
        r#"{"jsonrpc":"2.0","jsonrpc":"2.0","id":1,"method":"ping"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{},"params":{}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","x":1,"x":2}"#.to_owned(),
        format!(r#"{{{keys}"jsonrpc":"2.0","id":1,"method":"ping"}}"#),
        call(r#"{"name":"echo","name":"boom","arguments":{"message":"x"}}"#),
        call(r#"{"name":"echo","arguments":{"message":"x"},"arguments":{"message":"y"}}"#),
        call(r#"{"name":"echo","arguments":{"message":"x","message":"y"}}"#),
        // Arguments.
        call(&format!(r#"{{"name":"{long}"}}"#)),
        call(r#"{"name":7}"#),
        call(r#"{"name":"echo","arguments":7}"#),
        call(r#"{"name":"echo","arguments":null}"#),
        call(r#"{"name":"echo","arguments":["x"]}"#),
        call(r#"{"name":"echo","arguments":{"message":"\ud800"}}"#),
        call(&format!(r#"{{"name":"echo","arguments":{{"message":{{"{long}":1}}}}}}"#)),
        call(&format!(r#"{{"name":"progress","arguments":{{"steps":"{long}"}}}}"#)),
        // Progress tokens.
        call(r#"{"name":"progress","arguments":{"steps":1},"_meta":{"progressToken":{"a":[1,2]}}}"#),
        call(r#"{"name":"progress","arguments":{"steps":1},"_meta":{"progressToken":1e999}}"#),
        call(r#"{"name":"progress","arguments":{"steps":1},"_meta":[7]}"#),
        call("{\"name\":\"progress\",\"arguments\":{\"steps\":1},\"_meta\":{\"progressToken\":[\n1\n]}}"),
        // Other methods.
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"../../etc/passwd"}}"#.to_owned(),
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"cursor":"{long}"}}}}"#),
        r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"test://item/%00%ff/../x"}}"#.to_owned(),
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{{"uri":"test://{long}"}}}}"#),
        r#"{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"DEBUG"}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":[],"argument":[]}}"#.to_owned(),
    ];
    for body in bodies {
        let what: String = body.chars().take(150).collect();
        let reply = client.app.send(client.raw(body)).await;
        let status = reply.status;
        // A list of tools is longer than an error may be; all other responses are short.
        let text = if what.contains("tools/list") && status == 200 {
            reply.text().await
        } else {
            harmless(reply, &what).await
        };
        assert!(text.contains(r#""jsonrpc":"2.0""#), "{what}: {text}");
    }
    assert_eq!(client.text_of("echo", json!({"message": "alive"})).await, "alive");
    assert_eq!(client.app.handle.sessions().await.unwrap()[0].calls, 0);
}

/// Acceptance 62, 79, 110.
#[tokio::test(start_paused = true)]
async fn header_bombs_are_answered_in_their_time() {
    let client = App::new().open().await;
    let bombs = [
        ("accept", "*/*;q=0,".repeat(10_000)),
        ("accept", format!("text/event-stream{}", ";a=b".repeat(20_000))),
        ("accept", "\"".repeat(60_000)),
        ("accept", "\\\"".repeat(30_000)),
        ("accept", ",".repeat(60_000)),
        ("content-type", format!("application/json{}", "; a=\"\\\"\"".repeat(5_000))),
        ("content-encoding", "identity,".repeat(6_000)),
        ("mcp-protocol-version", "2".repeat(60_000)),
        ("mcp-session-id", "0".repeat(60_000)),
        ("last-event-id", "z.".repeat(30_000)),
        ("host", "a.".repeat(30_000)),
        ("host", format!("[{}]", ":".repeat(30_000))),
        ("origin", format!("http://{}", "a.".repeat(30_000))),
        ("content-length", "9".repeat(60_000)),
    ];
    let start = std::time::Instant::now();
    for (name, value) in &bombs {
        for method in [Method::POST, Method::GET, Method::DELETE] {
            let mut request = client.request(method.clone());
            if method == Method::POST {
                request = request.message(call(1, "echo", json!({"message": "x"})));
            } else if method == Method::DELETE && !matches!(*name, "mcp-session-id" | "host" | "origin") {
                continue;
            }
            let reply = client.app.send(request.header(name, value)).await;
            if reply.is_sse() {
                assert_eq!(method, Method::GET, "{name}");
                continue;
            }
            harmless(reply, &format!("{method} {name}")).await;
        }
    }
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert_eq!(client.text_of("echo", json!({"message": "alive"})).await, "alive");
}

/// A foreign session and an unknown one give identical responses, so guesses reveal no session.
///
/// Acceptance 29, 56, 58, 60.
#[tokio::test(start_paused = true)]
async fn foreign_and_unknown_sessions_answer_alike() {
    let app = App::new();
    let victim = app.open_principal("ann").await;
    let mut held = victim.call(1, "hold", json!({"label": "a"})).await.sse();
    let anonymous = app.open().await;
    let attempt = |session: &str, method: Method, principal: Option<&str>| {
        let request = request(method.clone()).header("mcp-session-id", session);
        let request =
            if method == Method::POST { request.message(call(1, "echo", json!({"message": "x"}))) } else { request };
        match principal {
            Some(principal) => request.principal(principal),
            None => request,
        }
    };
    let unknown = "0".repeat(victim.session.len());
    for method in [Method::POST, Method::GET, Method::DELETE] {
        for (session, principal) in
            [(&victim.session, Some("bob")), (&victim.session, None), (&anonymous.session, Some("bob"))]
        {
            let theirs = app.send(attempt(session, method.clone(), principal)).await;
            let nobodys = app.send(attempt(&unknown, method.clone(), principal)).await;
            assert_eq!((theirs.status, &theirs.headers), (nobodys.status, &nobodys.headers));
            assert_eq!(theirs.status, 404);
            assert_eq!(theirs.text().await, nobodys.text().await, "{method}: the answers differ");
        }
    }
    // Neither the stolen response nor the stolen cancellation has reached the victim.
    let mut thief = victim.clone();
    thief.principal = None;
    assert_eq!(thief.cancel(1).await.status, 404);
    assert_eq!(thief.post(json!({"jsonrpc": "2.0", "id": "s1-0", "result": {}})).await.status, 404);
    app.probe.release("a");
    assert_eq!(held.rest().await.pop().unwrap().json()["result"]["content"][0]["text"], "released");
    // Session ids cannot be predicted from each other.
    let mut ids: Vec<String> = Vec::new();
    for _ in 0..50 {
        ids.push(app.open().await.session);
    }
    let prefixes: std::collections::HashSet<&str> = ids.iter().map(|id| &id[..8]).collect();
    assert_eq!(prefixes.len(), ids.len());
    assert!(ids.iter().all(|id| id.len() >= 22 && id.bytes().all(|byte| byte.is_ascii_graphic())));
}

/// Acceptance 25, 74, 149.
#[tokio::test(start_paused = true)]
async fn unexpected_responses_change_nothing() {
    let client = App::new().open().await;
    let mut stream = client.call(1, "ask", json!({})).await.sse();
    let request = stream.message().await.unwrap().json();
    assert_eq!(request["method"], "elicitation/create");
    let id = request["id"].as_str().unwrap();
    for other in [json!(1), json!(format!("{id}0")), json!(""), json!(id.to_uppercase()), json!("s99-0")] {
        let reply = client.post(json!({"jsonrpc": "2.0", "id": other, "result": {"action": "decline"}})).await;
        assert_eq!(reply.status, 202);
    }
    assert!(stream.is_silent().await, "another client's answer was taken for it");
    let garbage = json!({"jsonrpc": "2.0", "id": id, "result": {"action": ["accept"], "content": 7}});
    assert_eq!(client.post(garbage).await.status, 202);
    let text = stream.rest().await.pop().unwrap().json()["result"]["content"][0]["text"].as_str().unwrap().to_owned();
    assert!(text.starts_with("error: "), "{text}");
    let late = json!({"jsonrpc": "2.0", "id": id, "result": {"action": "decline"}});
    assert_eq!(client.post(late).await.status, 202);
}

/// An unknown or malformed revision in `initialize` gets the newest session revision.
///
/// Acceptance 3, 8, 9, 12, 16.
#[tokio::test(start_paused = true)]
async fn initialize_always_agrees_on_a_revision() {
    let app = App::new();
    let long = "9".repeat(10_000);
    for version in ["2026-07-28", "1999-01-01", "", "2025-11-25 ", "latest", "\u{0}", long.as_str()] {
        let reply = app.post(initialize(version, json!({}))).await;
        let answer: Value = serde_json::from_str(&harmless(reply, "initialize").await).unwrap();
        assert_eq!(answer["result"]["protocolVersion"], "2025-11-25");
    }
    let mut odd = initialize("2025-11-25", json!({"sampling": {}, "x": [1]}));
    odd["params"]["clientInfo"] = json!({"name": "\u{202e}\u{0}", "version": "1", "icons": [{}], "title": null});
    assert_eq!(read(app.post(odd).await).await, seen(200, 0, Some("0")));
}

/// A stateless service accepts stray messages without effect, and its errors leak nothing.
///
/// Acceptance 125, 127.
#[tokio::test(start_paused = true)]
async fn stateless_mode_exposes_no_sessions() {
    let app = App::with(|service| service.sessions(Sessions::new().stateless(true)));
    for message in [
        json!({"jsonrpc": "2.0", "id": "s0-0", "result": {}}),
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
    ] {
        assert_eq!(app.post(message).await.status, 202);
    }
    for (tool, expected) in [("ask", "error: "), ("roots", "error: "), ("count", "no session"), ("whoami", "nobody ? ")]
    {
        let answer = app.post(call(1, tool, json!({}))).await.message().await;
        let text = answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}"));
        assert!(text.starts_with(expected), "{tool}: {text}");
    }
    for (method, params) in
        [("resources/subscribe", json!({"uri": "test://fixed"})), ("logging/setLevel", json!({"level": "nonsense"}))]
    {
        let posted = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        assert_eq!(read(app.post(posted).await).await, seen(200, -32602, Some("1")), "{method}");
    }
    let boom = app.post(call(1, "boom", json!({}))).await;
    let text = boom.text().await;
    assert!(text.contains("-32603") && !text.contains("secret"), "{text}");
    let bytes = Bytes::from_static(b"\xff\xfe\x00");
    let garbage = request(Method::POST).header("content-type", "application/json").raw(bytes);
    assert_eq!(sent(&app, garbage).await, seen(400, -32700, None));
}
