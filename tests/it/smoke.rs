//! A smoke test of the test support: one conversation that uses each part of it.

use std::time::Duration;

use serde_json::json;

use crate::support::{App, Served, exchange};

#[tokio::test(start_paused = true)]
async fn a_session_opens_calls_streams_resumes_and_ends() {
    let app = App::new();
    let client = app.open().await;
    assert_eq!(client.text_of("echo", json!({"message": "hi"})).await, "hi");

    let mut stream = client.call(2, "progress", json!({"steps": 3, "delay_ms": 10})).await.sse();
    assert!(stream.next().await.unwrap().primes());
    let first = stream.message().await.unwrap();
    assert_eq!(first.json()["params"]["progress"], 1);
    drop(stream);
    let mut rest = client.resume(first.id()).await.sse();
    let events = rest.rest().await;
    assert_eq!(
        events.iter().map(|event| event.json()["params"]["progress"].clone()).collect::<Vec<_>>(),
        [json!(2), json!(3), json!(null)]
    );
    assert_eq!(client.delete().await.status, 200);
    assert_eq!(client.call(3, "echo", json!({"message": "hi"})).await.status, 404);
}

#[tokio::test]
async fn an_answer_is_one_json_body() {
    let served = Served::new().await;
    let mut stream = served.connect().await;
    let request = served.post(None, r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#);
    let answer = exchange(&mut stream, request.as_bytes(), Duration::from_millis(300)).await;
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(
        answer.ends_with(
            r#""id":7,"error":{"code":-32600,"message":"Bad request: the Mcp-Session-Id header is required"}}"#
        ),
        "{answer}"
    );
}
