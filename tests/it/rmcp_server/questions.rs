//! Questions that nobody waits for any more: taken back, and never put on a stream they do not belong on.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_question_that_is_taken_back_at_once_is_not_asked() {
    let shared = Shared::default();
    let client = app(&shared).open().await;
    let told = messages(client.call(1, "ask_not", json!({})).await).await;
    assert_eq!(
        told,
        [r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"never mind"}],"isError":false}}"#]
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_cancelled_asks_nobody_any_more() {
    let shared = Shared::default();
    let client = app(&shared).open().await;
    let mut listening = client.listen_primed().await;
    let other = client.call(1, "ask_late", json!({})).await.sse();
    let mut late = client.call(2, "ask_late", json!({})).await.sse();
    shared.seen();
    assert_eq!(client.cancel(2).await.status, 202);
    sleep(Duration::from_secs(60)).await;
    let seen = shared.seen();
    assert_eq!(seen[0], "cancelled 2");
    assert!(seen[1].ends_with("the call ended before the client answered"), "{seen:?}");
    assert!(late.rest().await.is_empty());
    drop(other);
    assert!(listening.is_silent().await);
}

#[tokio::test(start_paused = true)]
async fn questions_that_their_handler_has_left_are_taken_back_the_oldest_first() {
    let shared = Shared::default();
    let client = app(&shared).open().await;
    let mut listening = client.listen_primed().await;
    client.call(1, "ask_impatiently", json!({"times": 200})).await;
    sleep(Duration::from_secs(300)).await;
    let (mut asked, mut taken_back) = (Vec::new(), Vec::new());
    while asked.len() + taken_back.len() < 272 {
        let message = listening.message().await.unwrap().json();
        match message["method"].as_str().unwrap() {
            "roots/list" => asked.push(message["id"].clone()),
            _ => taken_back.push(message["params"]["requestId"].clone()),
        }
    }
    assert_eq!((asked.len(), &taken_back[..]), (200, &asked[..72]));
    assert!(listening.is_silent().await);
}

#[tokio::test(start_paused = true)]
async fn a_question_is_open_for_as_long_as_is_set_and_no_longer() {
    let shared = Shared::default();
    let made = shared.clone();
    let server = RmcpServer::new(move || Handler::new(&made)).question_timeout(Duration::from_secs(90));
    let client = App::of(McpService::new(server)).open().await;
    let mut stream = client.call(1, "ask", json!({})).await.sse();
    let asked = question(&mut stream).await;
    let rest = stream.rest().await;
    assert_eq!(rest[0].json()["params"]["requestId"], asked);
    let told = rest[1].json()["result"]["content"][0]["text"].clone();
    assert!(told.as_str().unwrap().ends_with("the client did not answer within 90s"), "{told}");
}
