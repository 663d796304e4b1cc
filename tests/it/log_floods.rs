//! Floods of log lines: many equal requests leave few lines of each kind, and no kind hides
//! another.

use std::time::{Duration, Instant};

use axum::http::Method;
use mcp_http::{Security, Streams};
use serde_json::json;

use crate::support::{App, Logs, RequestExt, modern_call, request};

fn count(logs: &Logs, what: &str) -> usize {
    logs.text().lines().filter(|line| line.contains(what)).count()
}

/// The throttle lets ten lines through in a second, also where the flood takes many seconds.
fn assert_few(lines: usize, begun: Instant) {
    let most = 10 * (usize::try_from(begun.elapsed().as_secs()).unwrap() + 2);
    assert!((1..=most).contains(&lines), "{lines} lines, and at most {most}");
}

/// Repeated rejections for one reason are throttled, and a rejection for another reason still gets
/// its line.
#[tokio::test(start_paused = true)]
async fn log_throttling_separates_rejection_kinds() {
    let (logs, begun) = (Logs::capture(), Instant::now());
    let app = App::with(|service| service.security(Security::new().trusted_proxies(["127.0.0.1"])));
    let ask = |name: &'static str, value: &'static str| {
        let mut request = request(Method::POST).header(name, value).message(json!({}));
        let proxy: std::net::SocketAddr = "127.0.0.1:1".parse().unwrap();
        request.extensions_mut().insert(axum::extract::ConnectInfo(proxy));
        app.send(request)
    };
    for _ in 0..500 {
        ask("host", "evil.example").await.text().await;
    }
    ask("host", "a b").await.text().await;
    ask("origin", "https://evil.example").await.text().await;
    ask("x-forwarded-host", "a, b").await.text().await;
    for line in ["host cannot be read", "of another site", "forwarding headers disagree"] {
        assert_eq!(count(&logs, line), 1, "{line}: {}", logs.text());
    }
    assert_few(count(&logs, "for another host"), begun);
}

/// Acceptance 170.
#[tokio::test(start_paused = true)]
async fn cut_responses_are_logged_in_few_lines() {
    let (logs, begun) = (Logs::capture(), Instant::now());
    let app = App::with(|service| service.streams(Streams::new().write_timeout(Duration::from_secs(5))));
    let mut replies = Vec::new();
    for _ in 0..200 {
        replies.push(app.send(modern_call("echo", json!({"message": "B".repeat(50_000)}))).await);
    }
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(app.handle.statistics().await.slow_readers, 200);
    let lines = count(&logs, "a response was cut");
    assert_few(lines, begun);
    drop(replies);
}

#[tokio::test(start_paused = true)]
async fn outages_are_logged_in_few_lines() {
    let (logs, begun) = (Logs::capture(), Instant::now());
    let engine = crate::faulty::Faulty::default();
    let app = App::with(|service| service.engine(engine.clone()));
    let client = app.open().await;
    engine.break_down(mcp_http::error::StoreErrorKind::Unavailable);
    for id in 0..500 {
        client.call(id, "echo", json!({"message": "x"})).await.text().await;
    }
    let lines = count(&logs, "the session engine cannot be reached");
    assert_few(lines, begun);
}

#[tokio::test(start_paused = true)]
async fn panics_are_logged_in_few_lines() {
    let (logs, begun) = (Logs::capture(), Instant::now());
    let app = App::new();
    let client = app.open().await;
    for id in 0..200 {
        client.call(id, "boom", json!({})).await.text().await;
        app.send(modern_call("boom", json!({}))).await.text().await;
    }
    let lines = count(&logs, "a handler panicked");
    assert_few(lines, begun);
}
