//! Hostile requests: none causes a panic, a hang, a leak or a server error.

use std::time::Duration;

use axum::http::Method;
use mcp_http::Limits;
use serde_json::json;
use tokio::time::timeout;

use crate::hostile::harmless;
use crate::support::{App, MODERN, RequestExt, envelope, mirrored, modern, modern_call, request, text_of};

/// Returns the text of a request with more members in `_meta` and in its parameters, unchanged.
fn written(method: &str, meta: &str, params: &str) -> String {
    let capabilities = r#""io.modelcontextprotocol/clientCapabilities":{}"#;
    let version = format!(r#""io.modelcontextprotocol/protocolVersion":"{MODERN}""#);
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":{method},"params":{{"_meta":{{{version},{capabilities}{meta}}}{params}}}}}"#
    )
}

/// Hostile members get an answer of bounded length.
///
/// Acceptance 67, 68, 71, 83.
#[tokio::test(start_paused = true)]
async fn hostile_members_are_answered_within_bounds() {
    let app = App::new();
    let long = "A".repeat(100_000);
    let keys: String = (0..20_000).map(|at| format!(r#","k{at}":{at}"#)).collect();
    let call = |params: &str| written("\"tools/call\"", "", params);
    let told = |meta: &str| written("\"tools/call\"", meta, r#","name":"progress","arguments":{"steps":1}"#);
    let bodies = [
        written("\"\\u0000\\r\\n\\u2028\"", "", ""),
        written("\"__proto__\"", "", ""),
        written(&format!("\"{long}\""), "", ""),
        written("\"tools/list\"", &keys, ""),
        written("\"tools/list\"", "", &keys),
        written("\"tools/list\"", "", &format!(r#","cursor":"{long}""#)),
        written("\"resources/read\"", "", &format!(r#","uri":"test://{long}""#)),
        written("\"completion/complete\"", "", r#","ref":[],"argument":[]"#),
        // Members that occur twice.
        written("\"tools/list\"", &format!(r#","io.modelcontextprotocol/protocolVersion":"{MODERN}""#), ""),
        written("\"tools/list\"", r#","io.modelcontextprotocol/clientCapabilities":{}"#, ""),
        written("\"tools/list\"", "", r#","_meta":{}"#),
        call(r#","name":"echo","name":"boom","arguments":{"message":"x"}"#),
        call(r#","name":"echo","arguments":{"message":"x"},"arguments":{"message":"y"}"#),
        call(r#","name":"echo","arguments":{"message":"x","message":"y"}"#),
        // Names and arguments.
        call(&format!(r#","name":"{long}""#)),
        call(r#","name":"echo","arguments":null"#),
        call(r#","name":"echo","arguments":["x"]"#),
        call(r#","name":"echo","arguments":{"message":"\ud800"}"#),
        call(&format!(r#","name":"echo","arguments":{{"message":{{"{long}":1}}}}"#)),
        // Progress tokens, log levels, names.
        told(r#","progressToken":{"a":[1,2]}"#),
        told(r#","progressToken":1e999"#),
        told(",\"progressToken\":[\n1\r\n]"),
        told(r#","progressToken":"\ud800""#),
        told(&format!(r#","io.modelcontextprotocol/logLevel":"{long}""#)),
        told(&format!(r#","io.modelcontextprotocol/clientInfo":"{long}""#)),
        told(r#","io.modelcontextprotocol/clientInfo":{"name":"\ud800","version":1e999}"#),
    ];
    for body in bodies {
        let what: String = body.chars().take(250).collect();
        let named = serde_json::from_str::<serde_json::Value>(&body);
        // Each body is sent with the headers that mirror it where possible, and with those of
        // another request.
        let mut requests =
            vec![modern("tools/list", json!({})).raw(body.clone()), modern_call("echo", json!({})).raw(body.clone())];
        if let Ok(message) = named
            && message["method"].as_str().is_some_and(|method| method.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            requests.push(mirrored(message).raw(body));
        }
        for request in requests {
            let reply = timeout(Duration::from_secs(1), app.send(request)).await.expect("an answer");
            let sse = reply.is_sse();
            let text = if what.contains("tools/list") && reply.status == 200 {
                reply.text().await
            } else {
                harmless(reply, &what).await
            };
            assert!(text.contains(r#""jsonrpc":"2.0""#), "{what}: {text}");
            if sse {
                let known = |line: &str| line.is_empty() || line == "event: message" || line.starts_with("data: {");
                assert!(text.lines().all(known), "{what}: {text}");
            }
        }
    }
    assert_eq!(text_of(app.call_tool("echo", json!({"message": "alive"})).await).await, "alive");
    assert_eq!(app.handle.drain(Duration::ZERO).await.calls, 0);
}

/// Requests with many or long headers are answered in bounded time.
///
/// Acceptance 62, 79, 130, 131.
#[tokio::test(start_paused = true)]
async fn header_bombs_are_answered_in_their_time() {
    let app = App::new();
    let start = std::time::Instant::now();
    for (name, value) in [
        ("accept", "*/*;q=0,".repeat(10_000)),
        ("content-type", format!("application/json{}", "; a=\"\\\"\"".repeat(5_000))),
        ("mcp-protocol-version", "2".repeat(60_000)),
        ("mcp-method", "tools/call".repeat(6_000)),
        ("mcp-name", "echo".repeat(15_000)),
        ("mcp-name", format!("=?base64?{}?=", "A".repeat(60_000))),
        ("mcp-name", "=?base64?".repeat(6_000)),
        ("mcp-name", " \t".repeat(30_000)),
        ("mcp-param-x", "=?base64?".repeat(6_000)),
        ("mcp-session-id", "0".repeat(60_000)),
        ("last-event-id", "z.".repeat(30_000)),
    ] {
        let echo = modern_call("echo", json!({"message": "x"})).header(name, &value);
        harmless(app.send(echo).await, name).await;
    }
    let mut many = modern_call("echo", json!({"message": "x"}));
    for at in 0..20_000 {
        many = many.header(&format!("mcp-param-x{at}"), "x");
    }
    harmless(app.send(many).await, "many names").await;
    let mut twice = modern_call("echo", json!({"message": "x"}));
    for _ in 0..20_000 {
        twice = twice.and_header("mcp-param-x", "x");
    }
    assert_eq!(app.send(twice).await.status, 400);
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert_eq!(text_of(app.call_tool("echo", json!({"message": "alive"})).await).await, "alive");
}

/// A client can drop a call and its response at any moment, and nothing of the call remains.
///
/// Acceptance 139, 176.
#[tokio::test(start_paused = true)]
async fn clients_can_disconnect_at_any_moment() {
    let app = App::with(|service| service.limits(Limits::new().max_calls_per_principal(1)));
    for moment in 0..150 {
        let call = async {
            let steps = json!({"steps": 5, "delay_ms": 20});
            let reply = app.send(modern_call("progress", steps).principal("ann")).await;
            assert_eq!(reply.status, 200, "after {moment} ms");
            reply.text().await
        };
        let read = timeout(Duration::from_millis(moment), call).await;
        assert_eq!(read.is_ok(), moment > 100, "{moment} {read:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(app.handle.drain(Duration::ZERO).await.calls, 0);
}

/// A client cannot reach the behaviour of the other era by leaving a header out.
///
/// Acceptance 4, 6, 7.
#[tokio::test(start_paused = true)]
async fn no_mixture_of_eras_is_served() {
    let app = App::new();
    let client = app.open().await;
    let whole = envelope("tools/call", json!({"name": "echo", "arguments": {"message": "x"}}));
    let mut bare = whole.clone();
    bare["params"].as_object_mut().unwrap().remove("_meta").unwrap();
    // A complete request of 2026-07-28 in a session, with the session's version header or without
    // any.
    for request in [client.request(Method::POST), client.request(Method::POST).without("mcp-protocol-version")] {
        let request = request.header("mcp-method", "tools/call").header("mcp-name", "echo");
        let reply = app.send(request.message(whole.clone())).await;
        assert_eq!((reply.status.as_u16(), reply.header("mcp-session-id")), (400, None));
        assert_eq!(reply.error().await.0, -32020);
    }
    // A request of a session with the version header of 2026-07-28 and the session id.
    let reply = app.send(mirrored(bare).header("mcp-session-id", &client.session)).await;
    assert_eq!((reply.status.as_u16(), reply.header("mcp-session-id")), (400, None));
    assert_eq!(reply.error().await.0, -32602);
    // The same request, with escapes in its text.
    let escaped = whole
        .to_string()
        .replace("io.modelcontextprotocol/protocolVersion", "io.modelcontextprotocol\\/protocolVersion");
    let without = request(Method::POST).header("content-type", "application/json").raw(escaped.clone());
    assert_eq!(app.send(without).await.error().await.0, -32020);
    assert_eq!(text_of(app.send(mirrored(whole).raw(escaped)).await).await, "x");
}
