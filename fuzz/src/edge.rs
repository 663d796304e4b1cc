//! Fuzz target `edge`: requests with any method, headers and body.

use std::time::Duration;

use arbitrary::Arbitrary;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt;
use mcp_http::era_of;
use mcp_http::message::Era;

use crate::app::App;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    method: Verb<'a>,
    /// Headers that replace the usual ones, or are added to them.
    headers: Vec<(Name<'a>, Worth<'a>)>,
    append: bool,
    body: Vec<Piece<'a>>,
}

#[derive(Debug, Arbitrary)]
enum Verb<'a> {
    Post,
    Get,
    Delete,
    Other(&'a str),
}

#[derive(Debug, Arbitrary)]
enum Name<'a> {
    Known(u8),
    Other(&'a [u8]),
}

#[derive(Debug, Arbitrary)]
enum Worth<'a> {
    Session,
    Absent,
    Known(u8),
    Other(&'a [u8]),
}

#[derive(Debug, Arbitrary)]
enum Piece<'a> {
    Known(u8),
    Bytes(&'a [u8]),
}

const NAMES: [&str; 13] = [
    "host",
    "origin",
    "accept",
    "content-type",
    "content-length",
    "content-encoding",
    "mcp-session-id",
    "mcp-protocol-version",
    "last-event-id",
    "forwarded",
    "mcp-method",
    "mcp-name",
    "mcp-param-region",
];

const VALUES: [&str; 20] = [
    "127.0.0.1:3000",
    "localhost",
    "[::1]:80",
    "http://localhost:3000",
    "null",
    "evil.example",
    "*/*",
    "text/event-stream;q=0, application/json",
    "application/json; charset=utf-8",
    "text/plain",
    "2025-03-26",
    "2025-11-25",
    "2026-07-28",
    "0.0.0",
    "99999999999999999999",
    "gzip",
    "tools/call",
    "tools/list",
    "echo",
    "=?base64?ZWNobw==?=",
];

const PIECES: [&str; 28] = [
    r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"a","version":"1"}}}"#,
    r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hi"}}}"#,
    r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"progress","_meta":{"progressToken":1}}}"#,
    r#"{"jsonrpc":"2.0","id":"x","method":"#,
    r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
    r#"{"jsonrpc":"2.0","id":4,"method":"tools/list","params":{"cursor":"#,
    r#"{"jsonrpc":"2.0","id":5,"method":"logging/setLevel","params":{"level":"debug"}}"#,
    r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
    r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"#,
    r#"{"jsonrpc":"2.0","id":"s1-0","result":{}}"#,
    r#"{"jsonrpc":"2.0","id":6,"method":"initialize","params":{"protocolVersion":"#,
    "[",
    "]",
    "{",
    "}",
    "}}",
    ",",
    "\"",
    "\\u0000",
    "null",
    "1e999",
    "\"2025-11-25\"",
    "\u{feff}",
    r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hi"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#,
    r#"{"jsonrpc":"2.0","id":8,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"#,
    r#","io.modelcontextprotocol/clientCapabilities":{}}}}"#,
    r#""2026-07-28""#,
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];

/// The service never panics, never answers 5xx for a client's fault, never answers to the id
/// `null`, and opens or ends a session only if its answer says so.
pub fn edge(data: &[u8]) {
    crate::run(data, check);
}

async fn check(input: Input<'_>) {
    let app = App::new(|service| service);
    let session = app.open("2025-11-25").await;
    let Some((request, sent)) = build(&input, &session) else { return };
    let method = request.method().clone();
    let era = era_of(request.headers(), &sent);

    let reply = app.send(request).await;
    let (status, headers) = (reply.status, reply.headers.clone());
    assert!(status.as_u16() < 500, "{status} for {input:?}");
    let mut body = reply.body;
    let mut text = Vec::new();
    // A stream that stays open is dropped.
    while let Ok(Some(frame)) = tokio::time::timeout(Duration::from_secs(1), body.frame()).await {
        text.extend_from_slice(frame.expect("a whole body").data_ref().expect("data"));
    }
    drop(body);
    let text = String::from_utf8(text).expect("text");
    assert!(!text.contains(r#""id":null"#), "{text} for {input:?}");

    let expected = match (&method, status, headers.get("mcp-session-id")) {
        (&Method::POST, StatusCode::OK, Some(named)) if *named != session.as_str() => 2,
        (&Method::DELETE, StatusCode::OK, _) => 0,
        _ => 1,
    };
    assert_eq!(app.handle.statistics().await.sessions, Some(expected), "{status} {text} for {input:?}");
    if method == Method::POST {
        belongs(era, status, &headers, &text, &input);
    }
}

/// Checks that an answer contains nothing of the other era.
fn belongs(era: Option<Era>, status: StatusCode, headers: &HeaderMap, text: &str, input: &Input<'_>) {
    let of_another = match era {
        Some(Era::Modern) => headers.contains_key("mcp-session-id"),
        Some(Era::Legacy) => text.contains("resultType") || text.contains("-32020"),
        None => !status.is_client_error(),
    };
    assert!(!of_another, "{era:?}: {status} {text} for {input:?}");
}

/// Returns the request and its body, or `None` if HTTP does not allow it.
fn build(input: &Input<'_>, session: &str) -> Option<(Request<Body>, Bytes)> {
    let method = match input.method {
        Verb::Post => Method::POST,
        Verb::Get => Method::GET,
        Verb::Delete => Method::DELETE,
        Verb::Other(name) => Method::from_bytes(name.as_bytes()).ok()?,
    };
    let mut body = Vec::new();
    for piece in &input.body {
        body.extend_from_slice(match piece {
            Piece::Known(at) => pick(&PIECES, *at).as_bytes(),
            Piece::Bytes(bytes) => bytes,
        });
    }
    let body = Bytes::from(body);
    let mut request = crate::app::request(method, None, body.clone());
    for (name, value) in &input.headers {
        let name = match name {
            Name::Known(at) => HeaderName::from_static(pick(&NAMES, *at)),
            Name::Other(name) => HeaderName::from_bytes(name).ok()?,
        };
        let value = match value {
            Worth::Session => session.parse().ok()?,
            Worth::Known(at) => HeaderValue::from_static(pick(&VALUES, *at)),
            Worth::Other(value) => HeaderValue::from_bytes(value).ok()?,
            Worth::Absent => {
                request.headers_mut().remove(name);
                continue;
            }
        };
        if input.append {
            request.headers_mut().append(name, value);
        } else {
            request.headers_mut().insert(name, value);
        }
    }
    Some((request, body))
}

fn pick(from: &[&'static str], at: u8) -> &'static str {
    from[usize::from(at) % from.len()]
}
