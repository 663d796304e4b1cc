//! The protocol's own headers: duplicate, foreign and stray ones, and the revision that they name.

use axum::body::Body;
use axum::http::{Method, Request};
use mcp_http::Sessions;
use serde_json::json;

use crate::support::{App, RequestExt, call, initialize, modern, ping, request};
use crate::table::{seen, sent};

const VERSION: &str = "mcp-protocol-version";

/// Acceptance 79.
#[tokio::test(start_paused = true)]
async fn duplicate_headers_are_rejected() {
    let client = App::new().open().await;
    let stateless = App::with(|service| service.sessions(Sessions::new().stateless(true)));
    for (name, shown) in [
        ("mcp-session-id", "Mcp-Session-Id"),
        (VERSION, "MCP-Protocol-Version"),
        ("last-event-id", "Last-Event-ID"),
        ("mcp-method", "Mcp-Method"),
        ("mcp-name", "Mcp-Name"),
        ("mcp-param-region", "Mcp-Param-*"),
    ] {
        for (first, second) in [("a", "a"), ("a", "b"), ("a", ""), (client.session.as_str(), client.session.as_str())] {
            for method in [Method::POST, Method::GET, Method::DELETE] {
                let twice = |request: Request<Body>| request.header(name, first).and_header(name, second);
                let mut request = client.request(method.clone());
                if method == Method::POST {
                    request = request.message(call(1, "echo", json!({"message": "x"})));
                }
                let reply = client.app.send(twice(request)).await;
                assert_eq!(reply.status, 400, "{method} {name}");
                let text = reply.text().await;
                assert!(text.contains(&format!("more than one {shown} header")), "{method} {name}: {text}");
            }
        }
        let posted = request(Method::POST).message(call(1, "echo", json!({"message": "x"})));
        let twice = posted.header(name, "a").and_header(name, "a");
        assert_eq!(sent(&stateless, twice).await, seen(400, -32600, None), "{name}");
    }
    let two_params = client.request(Method::POST).message(call(1, "echo", json!({"message": "x"})));
    let two_params = two_params.header("mcp-param-a", "1").header("mcp-param-b", "1");
    assert_eq!(sent(&client.app, two_params).await, seen(200, 0, Some("1")), "two names are no double");
    assert_eq!(client.delete().await.status, 200, "the session outlived every rejected DELETE");
}

/// A header with another served revision is accepted, but the revision agreed in `initialize`
/// applies.
///
/// Acceptance 75, 76.
#[tokio::test(start_paused = true)]
async fn a_header_with_another_served_revision_is_accepted() {
    let app = App::new();
    let client = app.open_version("2025-06-18").await;
    for header in [None, Some("2025-03-26"), Some("2025-06-18"), Some("2025-11-25")] {
        let mut request = client.request(Method::POST).without(VERSION);
        if let Some(version) = header {
            request = request.header(VERSION, version);
        }
        let reply = app.send(request.message(call(1, "whoami", json!({})))).await;
        let answer = reply.json().await;
        // The agreed revision applies, not that of the header.
        assert_eq!(answer["result"]["content"][0]["text"], "nobody test 2025-06-18", "{header:?}");
    }
    let opening = request(Method::POST).message(initialize("2025-03-26", json!({}))).header(VERSION, "2025-11-25");
    assert_eq!(app.send(opening).await.json().await["result"]["protocolVersion"], "2025-03-26");
}

/// Acceptance 9, 77.
#[tokio::test(start_paused = true)]
async fn unserved_revisions_are_rejected_on_every_method() {
    let client = App::new().open().await;
    for version in ["1999-01-01", "2025-11-26", "2025-11-25, 2025-11-25", "2025-11-25x", "latest"] {
        for method in [Method::POST, Method::GET, Method::DELETE] {
            let mut request = client.request(method.clone()).header(VERSION, version);
            if method == Method::POST {
                request = request.message(call("a", "echo", json!({"message": "x"})));
            }
            let reply = client.app.send(request).await;
            assert_eq!(reply.status, 400, "{method} {version:?}");
            let error = reply.json().await;
            assert_eq!(error["error"]["code"], -32022, "{method} {version:?}");
            assert!(error["error"]["message"].as_str().unwrap().starts_with("Unsupported protocol version"));
            assert_eq!(
                error["error"]["data"]["supported"],
                json!(["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"])
            );
            assert_eq!(error.get("id"), (method == Method::POST).then_some(&json!("a")));
        }
    }
    assert_eq!(client.text_of("echo", json!({"message": "alive"})).await, "alive");
}

/// Acceptance 29, 32.
#[tokio::test(start_paused = true)]
async fn unknown_ids_get_404_and_invalid_400() {
    let app = App::new();
    let client = app.open().await;
    let id = &client.session;
    let guess = |from: &str, to: &str| id.replacen(from, to, 1);
    let last = id.chars().last().unwrap().to_string();
    let other = if last == "0" { "1" } else { "0" };
    let long = "a".repeat(8_000);
    let not_found = [
        format!("{}{other}", &id[..id.len() - 1]),
        id.to_uppercase() + "x",
        id[1..].to_owned(),
        format!("{id}{id}"),
        format!("{id},{id}"),
        format!("\"{id}\""),
        guess("-", "--"),
        "00000000-0000-0000-0000-000000000000".to_owned(),
        "..".to_owned(),
        "../../etc/passwd".to_owned(),
        "'or'1'='1".to_owned(),
        "%00".to_owned(),
        "undefined".to_owned(),
        "null".to_owned(),
        long,
    ];
    let bad = ["a b", "a\tb", "\u{e9}", "\u{feff}"].map(str::to_owned);
    for (ids, status, code) in [(&not_found[..], 404, -32001), (&bad[..], 400, -32600)] {
        for id in ids {
            for method in [Method::POST, Method::GET, Method::DELETE] {
                let request = client.request(method.clone()).header("mcp-session-id", id);
                let (request, echoed) = match method {
                    Method::POST => (request.message(call(1, "echo", json!({"message": "x"}))), Some("1")),
                    _ => (request, None),
                };
                assert_eq!(sent(&app, request).await, seen(status, code, echoed), "{method} {id:?}");
            }
        }
    }
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(sent(&app, request(method)).await, seen(400, -32600, None));
    }
    assert_eq!(app.handle.statistics().await.sessions, Some(1));
}

/// Some proxies blank out the headers that they do not let through, so an empty header counts as
/// absent.
///
/// Acceptance 192.
#[tokio::test(start_paused = true)]
async fn an_empty_header_counts_as_none() {
    let app = App::new();
    for blank in ["", " ", "\t"] {
        let empty = |request: Request<Body>| {
            let request = request.header("mcp-session-id", blank).header(VERSION, blank);
            request.header("last-event-id", blank)
        };
        let opening = app.send(empty(request(Method::POST).message(initialize("2025-11-25", json!({}))))).await;
        assert_eq!(opening.status, 200, "{blank:?}");
        assert_ne!(opening.header("mcp-session-id"), Some(blank));
        let client = app.open().await;
        let call = client.request(Method::POST).message(call(1, "echo", json!({"message": "x"})));
        let reply = app.send(call.header(VERSION, blank).header("last-event-id", blank)).await;
        assert_eq!(reply.status, 200, "{blank:?}");
        let get = client.request(Method::GET).header(VERSION, blank).header("last-event-id", blank);
        assert!(app.send(get).await.sse().next().await.unwrap().primes(), "{blank:?}");
        for method in [Method::POST, Method::GET, Method::DELETE] {
            let nothing = empty(request(method.clone()));
            let nothing = if method == Method::POST { nothing.message(ping(1)) } else { nothing };
            let rejected = app.send(nothing).await;
            assert_eq!(rejected.rejection.as_ref().unwrap().kind(), "session_required", "{method} {blank:?}");
        }
        let list = modern("tools/list", json!({})).header("mcp-session-id", blank).header("last-event-id", blank);
        assert_eq!(sent(&app, list).await, seen(200, 0, Some("1")), "{blank:?}");
        let unsaid = modern("tools/list", json!({})).header(VERSION, blank);
        assert_eq!(sent(&app, unsaid).await, seen(400, -32020, Some("1")), "{blank:?}");
    }
}

/// Headers without a meaning for the request do not affect it, so that clients and proxies may add
/// them.
///
/// Acceptance 125, 167.
#[tokio::test(start_paused = true)]
async fn irrelevant_headers_are_ignored() {
    let stateless = App::with(|service| service.sessions(Sessions::new().stateless(true)));
    for (name, value) in [
        ("mcp-session-id", "unknown"),
        ("mcp-session-id", "a b"),
        ("mcp-session-id", "\u{e9}"),
        ("last-event-id", "1.2.3"),
        ("last-event-id", "\u{e9}"),
    ] {
        let posted = request(Method::POST).message(call(1, "echo", json!({"message": "x"}))).header(name, value);
        let reply = stateless.send(posted).await;
        assert_eq!((reply.status.as_u16(), reply.header("mcp-session-id")), (200, None), "{name}: {value}");
    }
    let client = App::new().open().await;
    for (name, value) in [
        ("last-event-id", "nonsense"),
        ("mcp-method", "tools/list"),
        ("mcp-name", "=?base64?!!?="),
        ("mcp-param-x", "1"),
        ("x-forwarded-host", "evil.example"),
        ("forwarded", "host=evil.example"),
        ("range", "bytes=0-1"),
        ("if-none-match", "*"),
        ("upgrade", "h2c"),
        ("x-http-method-override", "DELETE"),
    ] {
        let posted = client.request(Method::POST).message(call(1, "echo", json!({"message": "x"})));
        assert_eq!(sent(&client.app, posted.header(name, value)).await, seen(200, 0, Some("1")), "{name}: {value}");
    }
}

/// Acceptance 110, 112, 116.
#[tokio::test(start_paused = true)]
async fn unknown_last_event_ids_are_rejected() {
    let app = App::new();
    let (client, other) = (app.open().await, app.open().await);
    let mut stream = client.call(1, "progress", json!({"steps": 1})).await.sse();
    let id = stream.next().await.unwrap().id().to_owned();
    let epoch = id.rsplit('.').next().unwrap();
    let foreign = other.call(1, "progress", json!({"steps": 1})).await.sse().rest().await.pop().unwrap();
    let long = "1".repeat(513);
    let values = [
        "1",
        ".",
        "..",
        "1.2.3.4",
        "-1.0.0",
        "NaN",
        "1.1.\u{e9}",
        "{\"a\":1}",
        &format!(" 1.0.{epoch}0"),
        &format!("1.3w5e11264sgsf.{epoch}"),
        &format!("1.3w5e11264sgsg.{epoch}"),
        &format!("1z141z3.0.{epoch}"),
        &format!("0.1.{epoch}"),
        &format!("1.999.{epoch}"),
        &format!("01.0.{epoch}"),
        &id.to_uppercase().replace('.', ","),
        foreign.id(),
        &long,
    ];
    for value in values {
        let reply = client.resume(value).await;
        assert_eq!(reply.status, 400, "{value:?}: {:?}", reply.rejection);
        assert_eq!(reply.error().await.0, -32600, "{value:?}");
    }
    assert_eq!(client.resume(&id).await.sse().rest().await.len(), 2, "the right one still works");
}
