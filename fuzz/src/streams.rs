//! Fuzz target `streams`: a client that is cut off, resumes, is replaced, and disconnects.

use std::time::Duration;

use arbitrary::Arbitrary;
use axum::body::Body;
use axum::http::{Method, StatusCode};
use http_body_util::BodyExt;
use mcp_http::{ResponseMode, Streams};
use serde_json::Value;

use crate::app::{App, Step, request};

#[derive(Debug, Arbitrary)]
struct Input {
    /// Streams keep only four events, so that some are lost.
    small: bool,
    operations: Vec<Operation>,
}

#[derive(Debug, Arbitrary)]
enum Operation {
    Emit(u8),
    Read,
    /// The connection breaks.
    Cut,
    /// The client resumes after an event it has seen.
    Resume(u8),
    /// The same, while the earlier connection is still open.
    TakeOver(u8),
    Finish,
    Delete,
}

/// However often a client is cut off, after the event it resumes with it receives the following
/// events, each once and in order. Lost events are counted, and the answer comes last.
pub fn streams(data: &[u8]) {
    crate::run(data, check);
}

/// What the client knows after an event.
#[derive(Debug, Clone)]
struct Seen {
    id: String,
    /// The number of steps seen or known to be lost.
    steps: u64,
    answered: bool,
}

struct Client {
    app: App,
    session: String,
    body: Option<Body>,
    buffer: String,
    seen: Vec<Seen>,
    steps: u64,
    answered: bool,
    small: bool,
}

async fn check(input: Input) {
    const MOST: usize = 40;
    let small = input.small;
    let app = App::new(|service| {
        let mut streams = Streams::new().response_mode(ResponseMode::Sse);
        if small {
            streams = streams.replay_buffer(4, 1 << 20);
        }
        service.streams(streams)
    });
    let session = app.open("2025-11-25").await;
    let call =
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"steps","_meta":{"progressToken":1}}}"#;
    let reply = app.post(&session, call).await;
    assert_eq!(reply.status, StatusCode::OK);
    let (body, buffer) = (Some(reply.body), String::new());
    let mut client = Client { app, session, body, buffer, seen: Vec::new(), steps: 0, answered: false, small };

    let (mut emitted, mut finished) = (0, false);
    for operation in input.operations.into_iter().take(MOST) {
        match operation {
            Operation::Emit(times) if !finished => {
                let times = times % 20;
                emitted += u64::from(times);
                client.app.steps.send(Step::Emit(times)).expect("a tool that listens");
            }
            Operation::Emit(_) => {}
            Operation::Read => client.read().await,
            Operation::Cut => client.cut(),
            Operation::Resume(at) => {
                client.cut();
                client.come_back(at).await;
            }
            Operation::TakeOver(at) => client.take_over(at).await,
            Operation::Finish => {
                finished = true;
                let _ = client.app.steps.send(Step::Finish);
            }
            Operation::Delete => return client.delete().await,
        }
        assert!(client.steps <= emitted, "{} steps of {emitted}", client.steps);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    let _ = client.app.steps.send(Step::Finish);
    tokio::time::sleep(Duration::from_millis(1)).await;
    client.read().await;
    if !client.answered && !client.seen.is_empty() {
        client.cut();
        client.come_back(u8::MAX).await;
        client.read().await;
    }
    if !client.seen.is_empty() {
        assert!(client.answered, "the answer comes");
        assert_eq!(client.steps, emitted, "every step is seen or reported");
        assert!(client.body.is_none(), "the stream ends with the answer");
    }
}

impl Client {
    fn cut(&mut self) {
        self.body = None;
        self.buffer.clear();
    }

    /// Resumes after the event at an index. Larger indices mean the last event.
    async fn come_back(&mut self, at: u8) {
        let Some(last) = self.seen.len().checked_sub(1) else { return };
        let at = if at == u8::MAX { last } else { usize::from(at) % self.seen.len() };
        let Seen { id, steps, answered } = self.seen[at].clone();
        let reply = self.app.resume(&self.session, &id).await;
        assert_eq!(reply.status, StatusCode::OK, "{id} resumes");
        (self.steps, self.answered, self.body) = (steps, answered, Some(reply.body));
    }

    async fn take_over(&mut self, at: u8) {
        let before = self.body.take();
        self.buffer.clear();
        let replaced = !self.seen.is_empty();
        self.come_back(at).await;
        if let Some(body) = before.filter(|_| replaced) {
            let end = tokio::time::timeout(Duration::from_secs(5), body.collect()).await;
            end.expect("the previous connection is detached").expect("it ends whole");
        }
    }

    /// Reads all available events.
    async fn read(&mut self) {
        const QUIET: Duration = Duration::from_millis(5);
        while let Some(body) = &mut self.body {
            match tokio::time::timeout(QUIET, body.frame()).await {
                Err(_) => return,
                Ok(None) => self.cut(),
                Ok(Some(frame)) => {
                    let data = frame.expect("a whole body").into_data().expect("data");
                    self.buffer.push_str(std::str::from_utf8(&data).expect("text"));
                    while let Some(end) = self.buffer.find("\n\n") {
                        let event: String = self.buffer.drain(..end + 2).collect();
                        self.read_event(&event);
                    }
                }
            }
        }
    }

    fn read_event(&mut self, event: &str) {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
        let (id, data) = (field("id: "), field("data: "));
        if let Some(data) = data.filter(|data| !data.is_empty()) {
            let message: Value = serde_json::from_str(data).expect("the message is JSON");
            assert!(!self.answered, "nothing comes after the answer: {data}");
            match message["method"].as_str() {
                Some("notifications/progress") => {
                    assert_eq!(message["params"]["progress"], self.steps + 1, "each step once, in order");
                    self.steps += 1;
                }
                Some(_) => {
                    assert!(self.small, "nothing is lost within the bounds");
                    assert_eq!(message["params"]["data"]["reason"], "events_lost");
                    self.steps += message["params"]["data"]["lost"].as_u64().expect("a number");
                }
                None => {
                    assert_eq!(message["id"], 1, "{data}");
                    self.answered = true;
                }
            }
        }
        if let Some(id) = id {
            self.seen.push(Seen { id: id.to_owned(), steps: self.steps, answered: self.answered });
        }
    }

    /// Ends the session and checks that nothing of it remains.
    async fn delete(mut self) {
        let reply = self.app.send(request(Method::DELETE, Some(&self.session), "")).await;
        assert_eq!(reply.status, StatusCode::OK);
        self.read().await;
        assert!(self.body.is_none(), "the stream ends with its session");
        if let Some(Seen { id, .. }) = self.seen.last() {
            assert_eq!(self.app.resume(&self.session, id).await.status, StatusCode::NOT_FOUND);
        }
        assert_eq!(self.app.handle.statistics().await.sessions, Some(0));
    }
}
