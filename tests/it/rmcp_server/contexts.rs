//! Contexts of rmcp's handlers: the extensions of a request, and the use of a context after its
//! request has ended.

use super::*;

#[tokio::test(start_paused = true)]
async fn request_tokens_are_cancelled_with_the_answer() {
    let shared = Shared::default();
    let app = app(&shared);
    assert_eq!(text(app.call_tool("leave_a_task", json!({})).await).await, "left");
    sleep(Duration::from_millis(1)).await;
    assert_eq!(shared.seen(), ["the task has ended"]);
    let stateless = stateless(&shared);
    assert_eq!(text(stateless.post(call(1, "leave_a_task", json!({}))).await).await, "left");
    sleep(Duration::from_millis(1)).await;
    assert_eq!(shared.seen(), ["the task has ended"]);
    let client = app.open().await;
    assert_eq!(text(client.call(1, "leave_a_task", json!({})).await).await, "left");
    sleep(Duration::from_millis(1)).await;
    assert_eq!(shared.seen().last().unwrap(), "the task has ended");
}

#[tokio::test(start_paused = true)]
async fn cancellations_carry_their_reason() {
    let shared = Shared::default();
    let client = app(&shared).open().await;
    sleep(Duration::from_millis(1)).await;
    let mut waiting = client.call(9, "wait", json!({})).await.sse();
    shared.seen();
    let params = json!({"requestId": 9, "reason": "enough"});
    client.post(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})).await;
    assert!(waiting.rest().await.is_empty());
    sleep(Duration::from_secs(5)).await;
    assert_eq!(shared.seen(), ["cancelled 9: enough", "cleaned up"]);
}

#[tokio::test(start_paused = true)]
async fn retained_contexts_do_not_delay_a_drain() {
    for stateless_mode in [false, true] {
        let shared = Shared::default();
        let app = with(&shared, |service| service.sessions(Sessions::new().stateless(stateless_mode)));
        if stateless_mode {
            app.post(call(1, "keep_context", json!({}))).await.message().await;
        } else {
            app.open().await.call(1, "keep_context", json!({})).await.message().await;
        }
        assert!(shared.context.lock().unwrap().is_some());
        let begun = tokio::time::Instant::now();
        let report = app.handle.drain(Duration::from_secs(60)).await;
        assert_eq!((report.cut_calls, begun.elapsed()), (0, Duration::ZERO), "stateless: {stateless_mode}");
    }
    let shared = Shared::default();
    let app = app(&shared);
    app.call_tool("keep_context", json!({})).await.message().await;
    let begun = tokio::time::Instant::now();
    let report = app.handle.drain(Duration::from_secs(60)).await;
    assert_eq!((report.cut_calls, begun.elapsed()), (0, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn each_handler_is_initialized_once() {
    let engine = MemoryEngine::new();
    let (here, there) = (Shared::default(), Shared::default());
    let node = |shared: &Shared| with(shared, |service| service.engine(engine.clone()));
    let (a, b) = (node(&here), node(&there));
    let reply = a.post(initialize("2025-11-25", json!({}))).await;
    let session = reply.header("mcp-session-id").unwrap().to_owned();
    let client = Client { app: a, session, version: "2025-11-25".into(), principal: None };
    // The client's notification arrives at another node than the one that opened its session.
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(client.at(&b).post(ready.clone()).await.status, 202);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(there.seen(), ["initialize by test at /", "initialized"]);
    assert_eq!(text(client.call(1, "count", json!({})).await).await, "1");
    assert_eq!(here.seen(), ["initialize by test at /", "initialized"]);
    // A repeated notification is ignored.
    assert_eq!(client.post(ready).await.status, 202);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(here.seen(), Vec::<String>::new());
}
