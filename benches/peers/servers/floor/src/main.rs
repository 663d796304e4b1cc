//! The floors: bare axum routes that do as little as the response requires. They check no header
//! and implement no protocol, so no server on axum is faster.
//!
//! | variant | answers |
//! |---|---|
//! | `json` | the echo as JSON |
//! | `session` | the same, after a lookup in a `DashMap` of sessions, which it also opens and ends |
//! | `sse` | echo and burst as events of axum's `Sse` |
//! | `bytes` | the same events from one buffer, written at once. The buffer keeps the events of `slow` for clients that resume |

mod log;
mod message;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use dashmap::DashMap;
use futures_util::stream;
use uuid::Uuid;

use log::{Logs, Steps};
use message::{Call, Progress, Request};

const SESSION: &str = "mcp-session-id";

fn main() {
    stand::run(async {
        let route = match &*stand::variant() {
            "json" => post(json).delete(async || StatusCode::OK),
            "session" => return stand::serve(sessions()).await,
            "sse" => post(sse),
            "bytes" => return stand::serve(resumable()).await,
            other => panic!("no such variant: {other:?}"),
        };
        stand::serve(Router::new().route("/mcp", route)).await
    });
}

async fn json(body: Bytes) -> Response {
    answer(&Request::read(&body))
}

/// Answers the messages that all floors answer in the same way.
fn answer(request: &Request<'_>) -> Response {
    match request.call() {
        Call::Echo(answer) => Json(answer).into_response(),
        Call::Initialize(answer) => Json(answer).into_response(),
        Call::Notification => StatusCode::ACCEPTED.into_response(),
        Call::Burst | Call::Slow(..) | Call::Other => StatusCode::NOT_IMPLEMENTED.into_response(),
    }
}

/// Sends the answer and its notifications as events, each created when axum asks for it.
async fn sse(body: Bytes) -> Response {
    let request = Request::read(&body);
    let event = match request.call() {
        Call::Echo(answer) => Event::default().json_data(answer),
        Call::Burst => {
            let (token, result) = (request.token(), Event::default().json_data(request.done()).expect("JSON"));
            let steps =
                (1..=50).map(move |step| Event::default().json_data(Progress::new(&token, step, 50)).expect("JSON"));
            let events = steps.chain([result]).map(Ok::<_, Infallible>);
            return Sse::new(stream::iter(events)).into_response();
        }
        _ => return answer(&request),
    };
    Sse::new(stream::iter([Ok::<_, Infallible>(event.expect("JSON"))])).into_response()
}

fn resumable() -> Router {
    let route = post(bytes).get(async |State(logs): State<Logs>, headers: HeaderMap| logs.resume(&headers));
    Router::new().route("/mcp", route).with_state(Logs::default())
}

/// Like [`sse`], but writes the events into one buffer.
async fn bytes(State(logs): State<Logs>, body: Bytes) -> Response {
    let request = Request::read(&body);
    let mut buffer = Vec::with_capacity(8 << 10);
    match request.call() {
        Call::Echo(answer) => event(&mut buffer, &answer),
        Call::Burst => {
            let token = request.token();
            for step in 1..=50 {
                event(&mut buffer, &Progress::new(&token, step, 50));
            }
            event(&mut buffer, &request.done());
        }
        Call::Slow(steps, millis) => {
            let result = serde_json::value::to_raw_value(&request.done()).expect("JSON");
            let pause = Duration::from_millis(millis);
            return logs.start(Steps { token: request.token(), steps, pause, result });
        }
        _ => return answer(&request),
    }
    ([(CONTENT_TYPE, "text/event-stream")], Body::from(buffer)).into_response()
}

fn event(buffer: &mut Vec<u8>, message: &impl serde::Serialize) {
    buffer.extend_from_slice(b"data: ");
    serde_json::to_writer(&mut *buffer, message).expect("JSON");
    buffer.extend_from_slice(b"\n\n");
}

/// The last use of each session, which any server that expires idle sessions has to store.
type Sessions = Arc<DashMap<Uuid, AtomicU64>>;

fn sessions() -> Router {
    let route = post(in_session).delete(end).get(listen);
    Router::new().route("/mcp", route).with_state(Sessions::default())
}

/// Returns the session that a request names, if it is open.
fn find(sessions: &Sessions, headers: &HeaderMap) -> Option<Uuid> {
    let id = headers.get(SESSION)?.to_str().ok()?.parse().ok()?;
    sessions.get(&id)?.fetch_add(1, Ordering::Relaxed);
    Some(id)
}

async fn in_session(State(sessions): State<Sessions>, headers: HeaderMap, body: Bytes) -> Response {
    let request = Request::read(&body);
    if let Call::Initialize(answer) = request.call() {
        let id = Uuid::new_v4();
        sessions.insert(id, AtomicU64::new(0));
        return ([(SESSION, id.to_string())], Json(answer)).into_response();
    }
    match find(&sessions, &headers) {
        Some(_) => answer(&request),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn end(State(sessions): State<Sessions>, headers: HeaderMap) -> StatusCode {
    match find(&sessions, &headers).and_then(|id| sessions.remove(&id)) {
        Some(_) => StatusCode::OK,
        None => StatusCode::NOT_FOUND,
    }
}

/// Opens a stream on which no event ever arrives.
async fn listen(State(sessions): State<Sessions>, headers: HeaderMap) -> Response {
    match find(&sessions, &headers) {
        Some(_) => Sse::new(stream::pending::<Result<Event, Infallible>>()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
