//! Requests and notifications that a handler sends as soon as its client is ready. The client opens
//! its standalone stream at the same moment, and none of them may be lost.

use super::handler::Begins;
use super::*;

fn begins(begins: Begins) -> (Shared, App) {
    let shared = Shared { begins, ..Shared::default() };
    let app = app(&shared);
    (shared, app)
}

#[tokio::test(start_paused = true)]
async fn requests_of_on_initialized_wait_for_a_reader() {
    let (shared, app) = begins(Begins::Asking);
    let client = app.open().await;
    sleep(Duration::from_millis(300)).await;
    let mut listening = client.listen_primed().await;
    let asked = client_request(&mut listening).await;
    answer(&client, &asked, 2).await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(shared.seen(), ["initialize by test at /", "initialized", "2 roots"]);
    assert!(listening.is_silent().await);
}

#[tokio::test(start_paused = true)]
async fn messages_of_on_initialized_wait_for_a_reader() {
    let (shared, app) = begins(Begins::Telling);
    let client = app.open().await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(shared.seen().last().unwrap(), "told", "the handler does not wait for a reader");
    let mut listening = client.listen_primed().await;
    let told = [(); 3].map(|()| ());
    let mut messages = Vec::new();
    for () in told {
        messages.push(listening.message().await.unwrap().data.unwrap());
    }
    assert_eq!(
        messages,
        [
            r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"warning","data":"one"}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"warning","data":"two"}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{}}"#,
        ]
    );
    assert!(listening.is_silent().await);
}

#[tokio::test(start_paused = true)]
async fn the_stream_may_be_opened_at_another_node() {
    for begun in [Begins::Asking, Begins::Telling] {
        let engine = MemoryEngine::new();
        let (shared, there) = (Shared { begins: begun, ..Shared::default() }, Shared::default());
        let node = |shared: &Shared| with(shared, |service| service.engine(engine.clone()));
        let (a, b) = (node(&shared), node(&there));
        let client = a.open().await;
        let mut listening = client.at(&b).listen_primed().await;
        if begun == Begins::Asking {
            let asked = client_request(&mut listening).await;
            answer(&client, &asked, 1).await;
            sleep(Duration::from_millis(1)).await;
            assert_eq!(shared.seen().last().unwrap(), "1 roots");
        } else {
            assert_eq!(listening.message().await.unwrap().json()["params"]["data"], "one");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_reader_is_bounded() {
    for begun in [Begins::Asking, Begins::Telling] {
        let (shared, app) = begins(begun);
        let client = app.open().await;
        sleep(Duration::from_secs(10)).await;
        let last = shared.seen().pop().unwrap();
        match begun {
            Begins::Asking => {
                assert!(last.ends_with("the request cannot be sent: the client has no open stream"), "{last}")
            }
            _ => assert_eq!(last, "told"),
        }
        assert!(client.listen_primed().await.is_silent().await, "it comes too late");
    }
}

#[tokio::test(start_paused = true)]
async fn ended_sessions_are_not_waited_for() {
    let (shared, app) = begins(Begins::Asking);
    let client = app.open().await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(shared.seen().last().unwrap(), "initialized");
    assert_eq!(client.delete().await.status, 200);
    sleep(Duration::from_millis(1)).await;
    assert!(shared.seen().last().is_some_and(|last| last.starts_with("error: ")));
    assert_eq!(shared.handlers(), 0);
}
