//! Rejected openings in large numbers: none leaves a session, an id or a task.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Method, Request};
use futures_util::stream;
use mcp_http::message::ErrorObject;
use mcp_http::{Limits, Sessions};
use serde_json::json;

use crate::support::{App, RequestExt, initialize, opening, request};
use crate::table::{seen, sent};

fn raw(body: &str) -> Request<Body> {
    request(Method::POST).header("content-type", "application/json").raw(body.to_owned())
}

/// Returns every way in which the edge or the protocol rejects an opening.
fn rejected() -> Vec<(Request<Body>, u16)> {
    let initialize_with =
        |params: &str| raw(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{params}}}"#));
    vec![
        (opening().header("accept", "text/html"), 406),
        (opening().header("content-type", "text/plain"), 415),
        (opening().header("host", "evil.example"), 403),
        (opening().header("origin", "null"), 403),
        (opening().header("mcp-protocol-version", "1"), 400),
        (opening().header("mcp-session-id", "unknown"), 404),
        (opening().header("mcp-session-id", "a b"), 400),
        (opening().raw("x".repeat(2_000)), 413),
        (opening().header("content-length", "5000000"), 413),
        (raw(""), 400),
        (raw("{"), 400),
        (raw(r#"{"jsonrpc":"2.0","id":null,"method":"initialize","params":{}}"#), 400),
        (raw(&json!([initialize("2025-03-26", json!({}))]).to_string()), 400),
        // A notification opens no session.
        (raw(r#"{"jsonrpc":"2.0","method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#), 400),
        // The protocol rejects these with an error in the response.
        (raw(r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#), 200),
        (initialize_with("{}"), 200),
        (initialize_with(r#"{"protocolVersion":7}"#), 200),
        (initialize_with(r#"{"protocolVersion":"2025-11-25","capabilities":7}"#), 200),
        (initialize_with(r#"{"protocolVersion":"2025-11-25","protocolVersion":"2025-03-26"}"#), 200),
    ]
}

/// After ten thousand rejections the service has no session, and the runtime has no additional
/// task.
///
/// Acceptance 35, 37, 38, 157.
#[tokio::test(start_paused = true)]
async fn rejected_openings_leave_nothing() {
    let app = App::with(|service| service.limits(Limits::new().max_body_bytes(1_000)));
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut count = 0;
    while count < 10_000 {
        for (request, status) in rejected() {
            let shown = format!("{request:?}");
            let reply = app.send(request).await;
            assert_eq!((reply.status.as_u16(), reply.header("mcp-session-id")), (status, None), "{shown}");
            let text = reply.text().await;
            assert!(text.contains(r#""error":{"#), "{shown}: {text}");
            count += 1;
        }
    }
    let statistics = app.handle.statistics().await;
    assert_eq!((statistics.sessions, statistics.opened), (Some(0), 0));
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), before);
}

/// An endless body gets status 413 at the limit, which is 4 MiB by default and cannot be zero.
///
/// Acceptance 38.
#[tokio::test(start_paused = true)]
async fn chunked_bodies_are_cut_at_the_limit() {
    let app = App::with(|service| service.limits(Limits::new().max_body_bytes(1_000)));
    let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 100])));
    let request = request(Method::POST).header("content-type", "application/json").raw(Body::from_stream(endless));
    assert_eq!(sent(&app, request).await, seen(413, -32600, None));
    assert!(
        mcp_http::McpService::builder(mcp_http::McpServer::<()>::new("a", "1"))
            .limits(Limits::new().max_body_bytes(0))
            .build()
            .is_err()
    );
    assert_eq!(Limits::DEFAULT_MAX_BODY_BYTES, 4 * 1024 * 1024);
}

/// The opening hook fails, panics, or still runs when the client leaves. No session remains.
///
/// Acceptance 37, 43, 157.
#[tokio::test(start_paused = true)]
async fn openings_rejected_by_the_hook_leave_nothing() {
    let round = Arc::new(AtomicUsize::new(0));
    let rounds = Arc::clone(&round);
    let sessions = Sessions::new().on_open(move |_| {
        let round = rounds.fetch_add(1, Ordering::Relaxed);
        async move {
            match round {
                0 => {}
                1 => panic!("secret"),
                _ => tokio::time::sleep(Duration::from_secs(60)).await,
            }
            Err(ErrorObject::new(-32099, "not today"))
        }
    });
    let app = App::with(|service| service.sessions(sessions));
    assert_eq!(sent(&app, opening()).await, seen(200, -32099, Some("0")));
    let reply = app.send(opening()).await;
    assert_eq!(reply.header("mcp-session-id"), None);
    let text = reply.text().await;
    assert!(text.contains("-32603") && !text.contains("secret"), "{text}");
    // The client leaves while the hook of the application still runs.
    assert!(tokio::time::timeout(Duration::from_secs(1), app.send(opening())).await.is_err());
    assert_eq!(round.load(Ordering::Relaxed), 3);
    let statistics = app.handle.statistics().await;
    assert_eq!((statistics.sessions, statistics.opened), (Some(0), 0));
}
