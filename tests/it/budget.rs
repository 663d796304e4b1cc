//! The budget for request bodies: how much the bodies in flight may hold together, and which
//! requests are rejected before their body is read.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{Method, Request};
use futures_util::stream;
use mcp_http::server::{TaskSupport, Tool};
use mcp_http::{Args, Limits, McpServer, McpService, Principal, ResponseMode, Streams};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::support::{App, Client, RequestExt, call, eventually, modern, modern_call, ping, request};
use crate::table::{seen, sent};

const BODY: usize = 64 << 10;

/// An application whose budget holds two bodies of 60,000 bytes.
fn app(mode: ResponseMode) -> App {
    App::with(|service| {
        let limits = Limits::new().max_body_bytes(BODY).max_total_body_bytes(2 * BODY);
        service.limits(limits).streams(Streams::new().response_mode(mode))
    })
}

fn padded(label: &str, bytes: usize) -> Value {
    json!({"label": label, "pad": "x".repeat(bytes)})
}

fn held(client: Option<&Client>, label: &str, bytes: usize) -> Request<Body> {
    match client {
        Some(client) => client.request(Method::POST).message(call(1, "hold", padded(label, bytes))),
        None => modern_call("hold", padded(label, bytes)),
    }
}

/// A body that never yields a byte.
fn silent() -> Body {
    Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>())
}

#[tokio::test(start_paused = true)]
async fn bodies_of_calls_in_flight_share_one_budget() {
    for mode in [ResponseMode::Auto, ResponseMode::Sse, ResponseMode::Json] {
        for modern in [false, true] {
            let app = app(mode);
            let client = if modern { None } else { Some(app.open().await) };
            let mut running = Vec::new();
            for label in ["a", "b"] {
                let (there, request) = (app.clone(), held(client.as_ref(), label, 60_000));
                running.push(tokio::spawn(async move { there.send(request).await.text().await }));
                eventually("it runs", async || app.probe.state(label).is_some()).await;
            }
            let what = format!("{mode:?} {modern}");
            let rejected = app.send(held(client.as_ref(), "c", 60_000)).await;
            assert_eq!((rejected.status.as_u16(), rejected.header("retry-after")), (503, Some("2")), "{what}");
            let error = rejected.json().await;
            assert_eq!(error["error"]["message"], "Too many bytes of request bodies in flight: the limit is 131072");
            assert_eq!(app.handle.statistics().await.rejected.get("too_many_bodies"), Some(&1), "{what}");
            // Small bodies are served in any case.
            app.probe.release("small");
            assert_eq!(app.send(held(client.as_ref(), "small", 10_000)).await.status, 200, "{what}");
            app.probe.release("a");
            running.remove(0).await.unwrap();
            app.probe.release("c");
            assert_eq!(app.send(held(client.as_ref(), "c", 60_000)).await.status, 200, "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_over_the_budget_are_not_read() {
    let app = app(ResponseMode::Auto);
    let client = app.open().await;
    for label in ["a", "b"] {
        let (there, request) = (app.clone(), held(Some(&client), label, 60_000));
        tokio::spawn(async move { there.send(request).await.text().await });
        eventually("it runs", async || app.probe.state(label).is_some()).await;
    }
    let start = Instant::now();
    let declared = modern("tools/list", json!({})).raw(silent()).header("content-length", "60000");
    assert_eq!(sent(&app, declared).await, seen(503, -32603, None));
    let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 1_000])));
    let growing = endless.take_some(40);
    let request = modern("tools/list", json!({})).raw(Body::from_stream(growing));
    assert_eq!(sent(&app, request).await, seen(503, -32603, None));
    assert!(start.elapsed() < Duration::from_secs(1), "on the paused clock");
}

trait TakeSome: futures_util::Stream + Sized {
    /// Yields this number of items, and then stays pending.
    fn take_some(self, count: usize) -> impl futures_util::Stream<Item = Self::Item>;
}

impl<S: futures_util::Stream> TakeSome for S {
    fn take_some(self, count: usize) -> impl futures_util::Stream<Item = Self::Item> {
        use futures_util::StreamExt;
        self.take(count).chain(stream::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn task_requests_hold_a_quarter_of_the_budget() {
    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct Nothing {}
    async fn long(Args(Nothing {}): Args<Nothing>) -> &'static str {
        tokio::time::sleep(Duration::from_secs(100)).await;
        "done"
    }
    let server = McpServer::new("a", "1").with_tool(Tool::new("long", "Waits.", long).task(TaskSupport::Required));
    let limits = Limits::new().max_body_bytes(BODY).max_total_body_bytes(4 * BODY);
    let app = App::of(McpService::builder(server).limits(limits));
    let begin = |bytes: usize| {
        let capabilities = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
        let meta = json!({"io.modelcontextprotocol/clientCapabilities": capabilities});
        let arguments = json!({"pad": "x".repeat(bytes)});
        app.send(modern("tools/call", json!({"name": "long", "arguments": arguments, "_meta": meta})))
    };
    assert_eq!(begin(40_000).await.json().await["result"]["resultType"], "task");
    let full = begin(40_000).await.json().await;
    let why = "Too many bytes of requests that are tasks: they may hold a quarter of the limit for request bodies";
    assert_eq!(full["error"], json!({"code": -32603, "message": why}));
    assert_eq!(begin(10_000).await.json().await["result"]["resultType"], "task", "small ones are not counted");
    tokio::time::sleep(Duration::from_secs(101)).await;
    assert_eq!(begin(40_000).await.json().await["result"]["resultType"], "task", "the first has ended");
}

#[test]
fn the_budget_holds_the_largest_body() {
    let service = McpService::<()>::builder(McpServer::new("a", "1"))
        .limits(Limits::new().max_body_bytes(100).max_total_body_bytes(99))
        .build();
    let why = "setting `Limits::max_total_body_bytes`: 99 must be at least `Limits::max_body_bytes`, 100: a body of that size could never be read";
    assert_eq!(service.unwrap_err().to_string(), why);
}

/// Acceptance 29.
#[tokio::test(start_paused = true)]
async fn unknown_sessions_are_rejected_before_the_body() {
    let app = App::new();
    let (ann, unknown) = (app.open_principal("ann").await, "0".repeat(36));
    let post = |session: &str| {
        let request = request(Method::POST).header("content-type", "application/json").raw(silent());
        request.header("content-length", "3000000").header("mcp-session-id", session)
    };
    let start = Instant::now();
    for version in [None, Some("2025-06-18")] {
        let with = |request: Request<Body>| match version {
            Some(version) => request.header("mcp-protocol-version", version),
            None => request,
        };
        for session in [&*unknown, "another-servers", &*ann.session] {
            assert_eq!(sent(&app, with(post(session))).await, seen(404, -32001, None), "{session} {version:?}");
        }
        assert_eq!(sent(&app, with(post(&ann.session)).principal("bob")).await, seen(404, -32001, None));
        assert_eq!(sent(&app, with(post("\u{e9}"))).await, seen(400, -32600, None));
    }
    assert!(start.elapsed() < Duration::from_secs(1), "on the paused clock");
    // A small body that has already arrived is read for its id.
    let message = request(Method::POST).message(ping(7)).header("mcp-session-id", &unknown);
    assert_eq!(sent(&app, message).await, seen(404, -32001, Some("7")));
    // A request of 2026-07-28 needs no session, so an unknown one does not reject it: its body is
    // awaited.
    let stray = post(&unknown).header("mcp-protocol-version", "2026-07-28");
    assert!(timeout(Duration::from_secs(29), app.send(stray)).await.is_err());
    let served = modern("tools/list", json!({})).header("mcp-session-id", &unknown);
    assert_eq!(app.send(served).await.status, 200);
}

/// A principal or an address may hold half of the budget, in both eras, so that one client cannot
/// exhaust it.
#[tokio::test(start_paused = true)]
async fn one_client_holds_half_of_the_budget() {
    for by_principal in [true, false] {
        for modern in [false, true] {
            let app =
                App::with(|service| service.limits(Limits::new().max_body_bytes(BODY).max_total_body_bytes(4 * BODY)));
            let of = |who: u8, mut request: Request<Body>| {
                if by_principal {
                    request.extensions_mut().insert(Principal::new(format!("p{who}")));
                } else {
                    let address = SocketAddr::from(([10, 0, 0, who], 1));
                    request.extensions_mut().insert(ConnectInfo(address));
                }
                request
            };
            let clients = if modern {
                [None, None]
            } else if by_principal {
                [Some(app.open_principal("p1").await), Some(app.open_principal("p2").await)]
            } else {
                [Some(app.open().await), Some(app.open().await)]
            };
            let mut running = Vec::new();
            for label in ["a", "b"] {
                let (there, request) = (app.clone(), of(1, held(clients[0].as_ref(), label, 60_000)));
                running.push(tokio::spawn(async move { there.send(request).await.text().await }));
                eventually("it runs", async || app.probe.state(label).is_some()).await;
            }
            let what = format!("principal: {by_principal}, modern: {modern}");
            let rejected = app.send(of(1, held(clients[0].as_ref(), "c", 60_000))).await;
            assert_eq!(rejected.status, 503, "{what}");
            let error = rejected.json().await;
            assert_eq!(error["error"]["message"], "Too many bytes of request bodies in flight: the limit is 131072");
            for label in ["d", "e"] {
                let (there, request) = (app.clone(), of(2, held(clients[1].as_ref(), label, 60_000)));
                running.push(tokio::spawn(async move { there.send(request).await.text().await }));
                eventually("the other half is there for others", async || app.probe.state(label).is_some()).await;
            }
            for label in ["a", "b", "d", "e"] {
                app.probe.release(label);
            }
            for answer in running {
                assert!(answer.await.unwrap().contains("result"), "{what}");
            }
            app.probe.release("c");
            assert_eq!(app.send(of(1, held(clients[0].as_ref(), "c", 60_000))).await.status, 200, "{what}");
        }
    }
}
