//! Subscriptions of 2026-07-28 to rmcp's handlers: notifications of calls, and those of a handler
//! that serves subscriptions itself.

use super::*;

#[tokio::test(start_paused = true)]
async fn changes_announced_by_calls_reach_subscribers() {
    let shared = Shared::default();
    let app = app(&shared);
    let client = app.open().await;
    let mut listening = client.listen_primed().await;
    let mut subscribed = app.send(listen()).await.sse();
    subscribed.message().await.unwrap();
    // A call without a session notifies every subscriber.
    let subscribe = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/subscribe", "params": {"uri": "a:b"}});
    assert_eq!(client.post(subscribe).await.text().await, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    assert_eq!(messages(app.call_tool("change", json!({})).await).await.len(), 1);
    for stream in [&mut listening, &mut subscribed] {
        let told = [stream.message().await.unwrap().json(), stream.message().await.unwrap().json()];
        assert_eq!(told[0]["method"], "notifications/tools/list_changed");
        assert_eq!(
            (&told[1]["method"], &told[1]["params"]["uri"]),
            (&json!("notifications/resources/updated"), &json!("a:b"))
        );
    }
    // A call in a session notifies its own client.
    assert_eq!(messages(client.call(1, "change", json!({})).await).await.len(), 1);
    assert_eq!(listening.message().await.unwrap().json()["method"], "notifications/tools/list_changed");
    assert!(subscribed.is_silent().await);
}

#[tokio::test(start_paused = true)]
async fn handlers_serve_their_own_subscriptions() {
    for mode in [ResponseMode::Auto, ResponseMode::Json] {
        let shared = Shared { listens: true, ..Shared::default() };
        let app = with(&shared, in_mode(mode));
        let mut subscribed = app.send(listen()).await.sse();
        let told =
            [subscribed.message().await.unwrap().data.unwrap(), subscribed.message().await.unwrap().data.unwrap()];
        assert_eq!(
            told,
            [
                r#"{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":1},"notifications":{"toolsListChanged":true,"resourceSubscriptions":["a:b"]}}}"#,
                r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":1}}}"#,
            ]
        );
        assert_eq!(app.handle.statistics().await.listens, 1);
        let report = app.handle.drain(Duration::from_secs(60)).await;
        assert_eq!((report.closed_streams, report.cut_calls), (1, 0));
        assert_eq!(
            subscribed.message().await.unwrap().data.unwrap(),
            r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":1,"io.modelcontextprotocol/serverInfo":{"name":"handler","version":"1.0.0"}}}}"#
        );
        assert!(subscribed.message().await.is_none());
        sleep(Duration::from_secs(10)).await;
        assert_eq!(shared.seen(), ["listened"]);
        assert_eq!(app.send(listen()).await.status, 503);
    }
}
