//! Client requests of rmcp's handlers: the stream that carries them, requests without an answer,
//! and clients that have none to answer.

use super::*;

#[tokio::test(start_paused = true)]
async fn requests_withdrawn_at_once_are_not_sent() {
    let shared = Shared::default();
    let client = app(&shared).open().await;
    let told = messages(client.call(1, "ask_not", json!({})).await).await;
    assert_eq!(
        told,
        [r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"never mind"}],"isError":false}}"#]
    );
}

#[tokio::test(start_paused = true)]
async fn cancelled_calls_send_no_requests() {
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
    assert!(seen[1].ends_with("the call or the session ended before the client answered"), "{seen:?}");
    assert!(late.rest().await.is_empty());
    drop(other);
    assert!(listening.is_silent().await);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_abandoned_requests_are_cancelled_first() {
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
async fn requests_end_at_their_timeout() {
    let shared = Shared::default();
    let made = shared.clone();
    let server = RmcpServer::new(move || Handler::new(&made)).request_timeout(Duration::from_secs(90));
    let client = App::of(McpService::builder(server)).open().await;
    let mut stream = client.call(1, "ask", json!({})).await.sse();
    let asked = client_request(&mut stream).await;
    let rest = stream.rest().await;
    assert_eq!(rest[0].json()["params"]["requestId"], asked);
    let told = rest[1].json()["result"]["content"][0]["text"].clone();
    assert!(told.as_str().unwrap().ends_with("the client did not answer within 90s"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn requests_use_the_stream_of_their_call() {
    let shared = Shared::default();
    let app = app(&shared);
    let client = app.open().await;
    let mut one = client.call("one", "ask", json!({})).await.sse();
    let mut two = client.call(2, "ask", json!({})).await.sse();
    let (first, second) = (client_request(&mut one).await, client_request(&mut two).await);
    answer(&client, &second, 2).await;
    answer(&client, &first, 1).await;
    let answers = [two.message().await.unwrap().json(), one.message().await.unwrap().json()];
    assert_eq!(answers[0]["result"]["content"][0]["text"], "2 roots");
    assert_eq!((&answers[1]["id"], &answers[1]["result"]["content"][0]["text"]), (&json!("one"), &json!("1 roots")));
}

#[tokio::test(start_paused = true)]
async fn failed_requests_are_errors_for_the_handler() {
    let shared = Shared::default();
    let client = app(&shared).open().await;
    let mut stream = client.call(1, "ask", json!({})).await.sse();
    let id = client_request(&mut stream).await;
    let rejection = json!({"jsonrpc": "2.0", "id": id, "error": {"code": -1, "message": "no"}});
    assert_eq!(client.post(rejection).await.status, 202);
    let told = stream.message().await.unwrap().json()["result"]["content"][0]["text"].clone();
    assert_eq!(told, "error: Mcp error: -1: no");
    let quiet = with(&shared, in_mode(ResponseMode::Json));
    for reply in
        [quiet.open().await.call(1, "ask", json!({})).await, stateless(&shared).post(call(1, "ask", json!({}))).await]
    {
        let told = text(reply).await;
        assert!(
            told.as_str().unwrap().ends_with("the request cannot be sent: the client has no open stream"),
            "{told}"
        );
    }
    let told = text(quiet.call_tool("ask", json!({})).await).await;
    assert!(told.as_str().unwrap().contains("return InputRequiredResult instead"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn requests_of_a_task_find_a_stream() {
    let shared = Shared::default();
    let client = app(&shared).open().await;
    let mut stream = client.call(1, "ask_aside", json!({})).await.sse();
    let asked = client_request(&mut stream).await;
    answer(&client, &asked, 3).await;
    assert_eq!(stream.message().await.unwrap().json()["result"]["content"][0]["text"], "3 roots");
    let mut listening = client.listen_primed().await;
    let calling = {
        let client = client.clone();
        tokio::spawn(async move { client.call(1, "ask_aside", json!({})).await })
    };
    let asked = client_request(&mut listening).await;
    answer(&client, &asked, 4).await;
    assert_eq!(text(calling.await.unwrap()).await, "4 roots");
}

#[tokio::test(start_paused = true)]
async fn slow_requests_are_cancelled() {
    let shared = Shared::default();
    let client = app(&shared).open().await;
    let mut stream = client.call(1, "ask_briefly", json!({})).await.sse();
    let id = client_request(&mut stream).await;
    let told = stream.rest().await;
    assert_eq!(told[0].json()["method"], "notifications/cancelled");
    assert_eq!(told[0].json()["params"]["requestId"], id);
    assert_eq!(told[1].json()["result"]["content"][0]["text"], "error: request timeout after PT5S");
    assert_eq!(told.len(), 2);
}
