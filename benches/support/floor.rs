//! The floors: bare axum routes that do as little as the response requires. They check no header,
//! implement no protocol, and cannot resume a stream.

use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use dashmap::DashMap;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    params: Params<'a>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    arguments: Arguments,
}

#[derive(Deserialize)]
struct Arguments {
    message: String,
}

#[derive(Serialize)]
struct Answer<'a> {
    jsonrpc: &'static str,
    id: &'a RawValue,
    result: Outcome,
}

#[derive(Serialize)]
struct Outcome {
    content: [Text; 1],
}

#[derive(Serialize)]
struct Text {
    r#type: &'static str,
    text: String,
}

fn answer(body: &[u8]) -> Answer<'_> {
    let request: Request<'_> = serde_json::from_slice(body).expect("a call");
    assert!(request.method == "tools/call" && request.params.name == "echo");
    let text = Text { r#type: "text", text: request.params.arguments.message };
    Answer { jsonrpc: "2.0", id: request.id, result: Outcome { content: [text] } }
}

/// Answers `echo` as JSON.
pub(crate) fn json() -> Router {
    Router::new().route("/mcp", post(async |body: Bytes| Json(answer(&body)).into_response()))
}

/// Answers `echo` as one event of axum's `Sse`.
pub(crate) fn sse() -> Router {
    async fn echo(body: Bytes) -> Response {
        let event = Event::default().json_data(answer(&body)).expect("JSON");
        Sse::new(stream::iter([Ok::<_, Infallible>(event)])).into_response()
    }
    Router::new().route("/mcp", post(echo))
}

type Sessions = Arc<DashMap<String, AtomicU64>>;

/// Like [`json`], after a lookup of the session in a map of 1,000.
pub(crate) fn session(known: &str) -> Router {
    async fn echo(State(sessions): State<Sessions>, headers: HeaderMap, body: Bytes) -> Response {
        let id = headers.get("mcp-session-id").and_then(|id| id.to_str().ok()).expect("a session");
        sessions.get(id).expect("a known session").fetch_add(1, Ordering::Relaxed);
        Json(answer(&body)).into_response()
    }
    let sessions: Sessions = (0..999).map(|n| (n.to_string(), AtomicU64::new(0))).collect::<DashMap<_, _>>().into();
    sessions.insert(known.to_owned(), AtomicU64::new(0));
    Router::new().route("/mcp", post(echo)).with_state(sessions)
}

/// Answers any request with the events of a recorded stream, through axum's `Sse`.
pub(crate) fn replay(recorded: &str) -> Router {
    let events: Arc<[Vec<(String, String)>]> = recorded.split_terminator("\n\n").map(fields).collect();
    let answer = async move |_: Bytes| {
        let replayed = (0..events.len()).map(move |at| {
            let event = events[at].iter().fold(Event::default(), |event, (name, value)| match name.as_str() {
                "event" => event.event(value),
                "id" => event.id(value),
                "retry" => event.retry(Duration::from_millis(value.parse().expect("a number"))),
                _ => event.data(value),
            });
            Ok::<_, Infallible>(event)
        });
        Sse::new(stream::iter(replayed))
    };
    Router::new().route("/mcp", post(answer))
}

fn fields(event: &str) -> Vec<(String, String)> {
    let field = |line: &str| {
        let (name, value) = line.split_once(": ").expect("a field");
        // The session's part of an event id is random, and has one to seven digits. Here all ids
        // have the same length, because a buffer that grows at another byte changes the number of
        // allocations.
        let value = if name == "id" { format!("{value:0>12}") } else { value.to_owned() };
        (name.to_owned(), value)
    };
    event.lines().map(field).collect()
}
