//! HTTP methods, `Accept` and `Content-Type`: what is served and what is rejected.

use axum::http::Method;
use mcp_http::{ResponseMode, Sessions, Streams};
use serde_json::json;

use crate::support::{App, RequestExt, Served, call, exchange, initialize, request};
use crate::table::{seen, sent};

/// Acceptance 61, 62, 63.
#[tokio::test(start_paused = true)]
async fn a_post_must_accept_both_media_types() {
    let client = App::new().open().await;
    let rows: [(&[&str], bool); 19] = [
        // An absent header accepts everything, an empty one nothing.
        (&[], true),
        (&[""], false),
        (&["application/json, text/event-stream"], true),
        (&["text/event-stream,application/json"], true),
        (&["Application/JSON; charset=utf-8, TEXT/event-stream"], true),
        // Wildcards and weights.
        (&["*/*"], true),
        (&["application/*, text/*"], true),
        (&["text/html, */*;q=0.1"], true),
        (&["application/json;q=0.9, text/event-stream;q=0.1"], true),
        (&["application/json, text/event-stream;q=0"], false),
        (&["*/*, application/json;q=0"], false),
        // Several headers form one list.
        (&["application/json", "text/event-stream"], true),
        (&["text/html", "application/*", "text/*;q=0.5"], true),
        // Only one of the two, or types that resemble them.
        (&["application/json"], false),
        (&["text/event-stream"], false),
        (&["text/html"], false),
        (&["application/json-seq, text/event-stream"], false),
        (&["application/vnd.x+json, text/event-stream"], false),
        (&["application/json, text/event-streams"], false),
    ];
    for (values, served) in rows {
        let echo = call(1, "echo", json!({"message": "x"}));
        let mut request = client.request(Method::POST).message(echo).without("accept");
        for value in values {
            request = request.and_header("accept", value);
        }
        let expected = if served { seen(200, 0, Some("1")) } else { seen(406, -32600, None) };
        assert_eq!(sent(&client.app, request).await, expected, "{values:?}");
    }
}

/// In JSON mode a POST need not accept event streams.
///
/// Acceptance 64.
#[tokio::test(start_paused = true)]
async fn in_json_mode_accepting_json_suffices() {
    let json_mode = Streams::new().response_mode(ResponseMode::Json);
    let client = App::with(|service| service.streams(json_mode)).open().await;
    for (accept, expected) in [
        ("application/json", seen(200, 0, Some("1"))),
        ("application/*", seen(200, 0, Some("1"))),
        ("text/event-stream", seen(406, -32600, None)),
    ] {
        let echo = client.request(Method::POST).message(call(1, "echo", json!({"message": "x"})));
        assert_eq!(sent(&client.app, echo.header("accept", accept)).await, expected, "{accept}");
    }
    let get = client.request(Method::GET).header("accept", "application/json");
    assert_eq!(sent(&client.app, get).await, seen(406, -32600, None), "a GET streams in every mode");
}

/// Acceptance 65.
#[tokio::test(start_paused = true)]
async fn a_get_needs_the_event_stream() {
    let client = App::new().open().await;
    for (accept, status) in [
        ("text/event-stream", 200),
        ("text/*", 200),
        ("*/*;q=0.1", 200),
        ("application/json", 406),
        ("text/event-stream;q=0, */*", 406),
        ("", 406),
    ] {
        let reply = client.app.send(client.request(Method::GET).header("accept", accept)).await;
        assert_eq!(reply.status, status, "{accept}");
        assert_eq!(reply.is_sse(), status == 200, "{accept}");
    }
}

/// Acceptance 66.
#[tokio::test(start_paused = true)]
async fn bodies_are_declared_as_utf8_json() {
    let app = App::new();
    for (values, served) in [
        (&["application/json"][..], true),
        (&["APPLICATION/Json"], true),
        (&["application/json; charset=utf-8"], true),
        (&["application/json;charset=\"UTF-8\""], true),
        (&["application/json; charset=utf-16"], false),
        (&[], false),
        (&[""], false),
        (&["text/plain"], false),
        (&["text/json"], false),
        (&["application/jsonp"], false),
        (&["application/x-www-form-urlencoded"], false),
        (&["application/json, text/plain"], false),
        (&["application/json, application/json"], false),
        (&["application/json", "application/json"], false),
    ] {
        let mut request = request(Method::POST).raw(initialize("2025-11-25", json!({})).to_string());
        for value in values {
            request = request.and_header("content-type", value);
        }
        let expected = if served { seen(200, 0, Some("0")) } else { seen(415, -32600, None) };
        assert_eq!(sent(&app, request).await, expected, "{values:?}");
    }
    let zipped = request(Method::POST).message(initialize("2025-11-25", json!({}))).header("content-encoding", "gzip");
    assert_eq!(sent(&app, zipped).await, seen(415, -32600, None), "a coding hides the JSON");
}

/// Other methods get 405 with `Allow`, and open neither a session nor a stream.
///
/// Acceptance 78, 168.
#[tokio::test(start_paused = true)]
async fn other_methods_get_405_and_open_nothing() {
    let app = App::new();
    let client = app.open().await;
    let stateless = App::with(|service| service.sessions(Sessions::new().stateless(true)));
    for method in ["HEAD", "OPTIONS", "PUT", "PATCH", "TRACE", "CONNECT", "PROPFIND", "post", "get"] {
        let method: Method = method.parse().unwrap();
        let opening = initialize("2025-11-25", json!({}));
        for request in [
            request(method.clone()).message(opening.clone()),
            client.request(method.clone()),
            client.request(method.clone()).message(opening),
        ] {
            let reply = app.send(request).await;
            assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, Some("GET, POST, DELETE")), "{method}");
            assert_eq!(reply.header("mcp-session-id"), None, "{method}");
        }
        let reply = stateless.send(request(method.clone())).await;
        assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, Some("POST")), "{method}");
    }
    let sessions = app.handle.sessions().await.unwrap();
    assert_eq!(sessions.len(), 1);
    assert_eq!((sessions[0].calls, sessions[0].readers, sessions[0].bytes), (0, 0, 0));
}

/// Acceptance 168.
#[tokio::test]
async fn json_answers_carry_their_length() {
    let served = Served::new().await;
    let mut stream = served.connect().await;
    let quiet = std::time::Duration::from_millis(300);
    let bodies = [initialize("2025-11-25", json!({})).to_string(), "{".to_owned(), "[]".to_owned()];
    for body in bodies {
        let answer = exchange(&mut stream, served.post(None, &body).as_bytes(), quiet).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or_else(|| panic!("{head}"));
        assert_eq!(length.parse(), Ok(body.len()), "{answer}");
        assert!(!head.contains("transfer-encoding"), "{head}");
    }
    for method in ["HEAD", "OPTIONS"] {
        let request = format!("{method} /mcp HTTP/1.1\r\nHost: {}\r\n\r\n", served.addr);
        let answer = exchange(&mut stream, request.as_bytes(), quiet).await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
        assert_eq!(answer.ends_with("\r\n\r\n"), method == "HEAD", "{answer}");
    }
    assert_eq!(served.handle.statistics().await.sessions, Some(1), "the one that was opened");
}
