//! Expiry on open streams: a stream ends when the token of its request expires, and its client comes
//! back with a fresh one.

use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use axum::middleware::map_request;
use mcp_http::store::MemoryEngine;
use mcp_http::{AccessToken, McpServiceBuilder, Principal, ResponseMode, Sessions};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::{
    App, Client, Event, FarEngine, Pace, RequestExt, Sse, call, initialize, modern, modern_call, request, steps,
    streams,
};

/// The time of day on the paused clock.
#[derive(Clone, Copy)]
struct Now(SystemTime, Instant);

impl Now {
    fn new() -> Self {
        Self(SystemTime::now(), Instant::now())
    }
}

/// Puts an authentication layer around an application: the header `valid` says for how many seconds
/// the token of alice is valid.
fn authenticated(app: App, now: Now) -> App {
    let insert = move |mut request: Request<Body>| async move {
        let valid: Option<u64> = request.headers().get("valid").map(|valid| valid.to_str().unwrap().parse().unwrap());
        let mut token = AccessToken::new("https://login.example.com", "alice");
        if let Some(valid) = valid {
            token = token.with_expiry(now.0 + now.1.elapsed() + Duration::from_secs(valid));
        }
        request.extensions_mut().insert(token.principal());
        request.extensions_mut().insert(token);
        request
    };
    app.layered(|router: Router| router.layer(map_request(insert)))
}

fn app(configure: impl FnOnce(McpServiceBuilder) -> McpServiceBuilder) -> App {
    authenticated(App::with(configure), Now::new())
}

async fn open(app: &App, version: &str) -> Client {
    let opening = request(Method::POST).message(initialize(version, json!({})));
    let session = app.send(opening).await.header("mcp-session-id").unwrap().to_owned();
    let client = Client { app: app.clone(), session, version: version.to_owned(), principal: None };
    assert_eq!(client.post(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await.status, 202);
    client
}

fn valid(request: Request<Body>, seconds: u64) -> Request<Body> {
    request.header("valid", &seconds.to_string())
}

/// Reads a stream to its end, with events that have no message.
async fn rest(stream: &mut Sse) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        events.push(event);
    }
    events
}

fn has_message(event: &Event) -> bool {
    event.data.as_deref().is_some_and(|data| !data.is_empty())
}

/// Returns whether a stream ended with a `retry`, and its messages.
fn ended(events: &[Event]) -> (bool, Vec<Value>) {
    let retry = events.last().is_some_and(|event| event.retry.is_some());
    (retry, events.iter().filter(|event| has_message(event)).map(Event::json).collect())
}

/// Returns the time since then in whole seconds. The clock of the machine advances a little, too.
fn seconds_since(started: Instant) -> u64 {
    (started.elapsed() + Duration::from_millis(500)).as_secs()
}

/// Two services on one engine, with one clock: near ones, and ones behind a slow network.
fn nodes() -> [[App; 2]; 2] {
    let now = Now::new();
    let near = MemoryEngine::new();
    let far = FarEngine::new(|_, _| Pace { there: Duration::from_millis(2), back: Duration::from_millis(3) });
    let near = [(); 2].map(|()| App::with(|service| service.engine(near.clone())));
    let far = [(); 2].map(|()| App::with(|service| service.engine(far.clone())));
    [near, far].map(|nodes| nodes.map(|app| authenticated(app, now)))
}

/// Nothing is lost and nothing comes twice, also if the client comes back to another node.
#[tokio::test(start_paused = true)]
async fn a_call_stream_goes_on_with_a_fresh_token() {
    for [a, b] in nodes() {
        let client = open(&a, "2025-11-25").await;
        let progress = call(1, "progress", json!({"steps": 28, "delay_ms": 10_000}));
        let started = Instant::now();
        let mut stream = a.send(valid(client.request(Method::POST).message(progress), 95)).await.sse();
        let (mut seen, mut turns) = (Vec::new(), 0);
        loop {
            let events = rest(&mut stream).await;
            let last = events.iter().rev().find_map(|event| event.id.clone()).unwrap();
            let (comes_back, _) = ended(&events);
            seen.extend(events.into_iter().filter(has_message));
            if !comes_back {
                break;
            }
            turns += 1;
            // Five seconds after the standalone stream would have ended.
            assert_eq!(seconds_since(started), 100 * turns);
            let node = if turns % 2 == 0 { &a } else { &b };
            let resume = client.at(node).request(Method::GET).header("last-event-id", &last);
            stream = node.send(valid(resume, 95)).await.sse();
        }
        let mut expected: Vec<Value> = (1..=28).map(Value::from).collect();
        expected.push(Value::Null);
        assert_eq!((steps(&seen), turns), (expected, 2));
    }
}

/// Changes between two standalone streams arrive at the second one, once.
#[tokio::test(start_paused = true)]
async fn a_standalone_stream_goes_on_with_a_fresh_token() {
    for ([a, b], version) in nodes().into_iter().zip(["2025-03-26", "2025-11-25"]) {
        let client = open(&a, version).await;
        let mut stream = a.send(valid(client.request(Method::GET), 60)).await.sse();
        a.handle.tools_changed();
        sleep(Duration::from_secs(59)).await;
        a.handle.prompts_changed();
        let (comes_back, messages) = ended(&rest(&mut stream).await);
        let methods = |messages: &[Value]| {
            messages.iter().map(|it| it["method"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let [tools, prompts, resources] =
            ["tools", "prompts", "resources"].map(|list| format!("notifications/{list}/list_changed"));
        assert_eq!((comes_back, methods(&messages)), (true, vec![tools, prompts]), "{version}");
        b.handle.resources_changed();
        sleep(Duration::from_secs(1)).await;
        let mut stream = b.send(valid(client.at(&b).request(Method::GET), 60)).await.sse();
        let (comes_back, messages) = ended(&rest(&mut stream).await);
        assert_eq!((comes_back, methods(&messages)), (true, vec![resources]), "{version}");
        assert_eq!(client.delete().await.status, 200);
    }
}

/// A subscription stream ends with its result, after what was announced.
#[tokio::test(start_paused = true)]
async fn a_subscription_stream_ends_with_its_result() {
    let app = app(|service| service);
    let listen = modern("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}}));
    let started = Instant::now();
    let mut stream = app.send(valid(listen, 60)).await.sse();
    sleep(Duration::from_secs(30)).await;
    app.handle.tools_changed();
    let (_, messages) = ended(&rest(&mut stream).await);
    assert_eq!(seconds_since(started), 60);
    assert_eq!(messages.len(), 3, "{messages:?}");
    assert_eq!(messages[1]["method"], "notifications/tools/list_changed");
    assert_eq!(messages[2]["result"]["resultType"], "complete", "{messages:?}");
}

/// What its client cannot resume goes on for the grace, and no longer.
#[tokio::test(start_paused = true)]
async fn a_call_that_cannot_be_resumed_has_a_grace() {
    let grace = Duration::from_secs(100);
    for (what, stateless) in [("modern", false), ("2025-06-18", false), ("2025-06-18", true)] {
        let app = app(|service| {
            let service = service.streams(streams().expired_token_grace(grace));
            service.sessions(Sessions::new().stateless(stateless))
        });
        for (label, seconds, ends) in [("short", 90, true), ("long", 1_000, false)] {
            let arguments = json!({"label": label, "ms": seconds * 1_000});
            let request = if what == "modern" {
                modern_call("slow", arguments)
            } else if stateless {
                request(Method::POST).header("mcp-protocol-version", what).message(call(1, "slow", arguments))
            } else {
                open(&app, what).await.request(Method::POST).message(call(1, "slow", arguments))
            };
            let started = Instant::now();
            let mut stream = app.send(valid(request, 60)).await.sse();
            let (_, messages) = ended(&rest(&mut stream).await);
            assert_eq!(messages.len(), usize::from(ends), "{what} {stateless} {label}: {messages:?}");
            assert_eq!(seconds_since(started), if ends { seconds } else { 160 }, "{what} {stateless} {label}");
        }
        sleep(Duration::from_secs(1)).await;
        let state = app.probe.state("long");
        let expected = if what == "modern" || stateless { "cancelled" } else { "running" };
        assert_eq!(state, Some(expected), "{what} {stateless}");
    }
}

/// Without a token, without an expiry, and in JSON, nothing ends.
#[tokio::test(start_paused = true)]
async fn a_stream_without_an_expiry_stays() {
    let app = app(|service| service);
    let mut stream = app.send(modern("subscriptions/listen", json!({"notifications": {}}))).await.sse();
    assert!(stream.next_any().await.is_some());
    assert!(tokio::time::timeout(Duration::from_secs(10_000), stream.message()).await.is_err());
    let json = self::app(|service| service.streams(streams().response_mode(ResponseMode::Json)));
    let reply = json.send(valid(modern_call("slow", json!({"label": "a", "ms": 90_000})), 60)).await;
    assert_eq!(reply.message().await["result"]["content"][0]["text"], "slept");
}

/// An expired token of an own layer ends a stream at once.
#[tokio::test(start_paused = true)]
async fn a_token_that_has_expired_ends_its_stream_at_once() {
    let app = app(|service| service);
    let client = open(&app, "2025-11-25").await;
    let (comes_back, messages) = ended(&rest(&mut app.send(valid(client.request(Method::GET), 0)).await.sse()).await);
    assert_eq!((comes_back, messages.len()), (true, 0));
}

/// When somebody is shut out, subscription streams end, too.
#[tokio::test(start_paused = true)]
async fn the_streams_of_a_principal_can_be_ended() {
    let app = app(|service| service);
    let alice = AccessToken::new("https://login.example.com", "alice").principal();
    let client = open(&app, "2025-11-25").await;
    let mut standalone = app.send(client.request(Method::GET)).await.sse();
    let mut listen = app.send(modern("subscriptions/listen", json!({"notifications": {}}))).await.sse();
    assert_eq!(app.handle.end_sessions_of(&Principal::new("bob")).await.unwrap(), 0);
    assert_eq!(app.handle.end_sessions_of(&alice).await.unwrap(), 1);
    assert!(!ended(&rest(&mut standalone).await).0);
    let (_, messages) = ended(&rest(&mut listen).await);
    assert_eq!(messages.last().unwrap()["result"]["resultType"], "complete", "{messages:?}");
}
