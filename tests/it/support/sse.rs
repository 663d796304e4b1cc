//! A client's view of a stream: each event as it arrives, and its bytes.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt;
use serde_json::Value;

/// One event, or a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) data: Option<String>,
    pub(crate) retry: Option<u64>,
    pub(crate) comment: bool,
}

impl Event {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let data = self.data.as_deref().unwrap_or_else(|| panic!("no data: {self:?}"));
        serde_json::from_str(data).unwrap_or_else(|error| panic!("{data}: {error}"))
    }

    /// Returns `true` for an id with empty data.
    pub(crate) fn primes(&self) -> bool {
        self.id.is_some() && self.data.as_deref() == Some("")
    }

    #[track_caller]
    pub(crate) fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_else(|| panic!("no id: {self:?}"))
    }
}

/// A stream that is being read. A client that leaves drops it.
pub(crate) struct Sse {
    body: Body,
    buffer: String,
    /// Each chunk as it arrived: what left the server in one piece.
    pub(crate) chunks: Vec<String>,
}

impl Sse {
    pub(crate) fn new(body: Body) -> Self {
        Self { body, buffer: String::new(), chunks: Vec::new() }
    }

    /// Returns the size of the next piece, whose events are skipped, or `None` if the stream was
    /// cut.
    pub(crate) async fn next_piece(&mut self) -> Option<usize> {
        let frame = self.body.frame().await.expect("the stream has ended");
        frame.ok().and_then(|frame| frame.into_data().ok()).map(|data| data.len())
    }

    /// Returns the next event or comment, or `None` at the end. The timeout is an hour. On paused
    /// time, a quiet stream reaches it at once.
    pub(crate) async fn next_any(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.buffer.find("\n\n") {
                let text: String = self.buffer.drain(..end + 2).collect();
                return Some(parse(&text));
            }
            let frame = tokio::time::timeout(Duration::from_secs(3600), self.body.frame()).await;
            match frame.expect("the stream stays silent") {
                Some(frame) => {
                    let data = frame.unwrap().into_data().unwrap();
                    let text = String::from_utf8(data.to_vec()).unwrap();
                    self.buffer.push_str(&text);
                    self.chunks.push(text);
                }
                None => {
                    assert_eq!(self.buffer, "", "the stream breaks off within an event");
                    return None;
                }
            }
        }
    }

    /// Returns the next event that is not a comment.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            match self.next_any().await {
                Some(event) if event.comment => {}
                other => return other,
            }
        }
    }

    /// Returns the next event with a message.
    pub(crate) async fn message(&mut self) -> Option<Event> {
        loop {
            match self.next().await {
                Some(event) if event.data.as_deref().unwrap_or_default().is_empty() => {}
                other => return other,
            }
        }
    }

    /// Returns the messages up to the end.
    pub(crate) async fn rest(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.message().await {
            events.push(event);
        }
        events
    }

    /// Returns `true` if nothing arrives within a (paused) second.
    pub(crate) async fn is_silent(&mut self) -> bool {
        self.buffer.is_empty() && tokio::time::timeout(Duration::from_secs(1), self.body.frame()).await.is_err()
    }
}

/// Returns the progress of each message; `null` for the answer.
pub(crate) fn steps(events: &[Event]) -> Vec<Value> {
    events.iter().map(|event| event.json()["params"]["progress"].clone()).collect()
}

/// Asserts that these are all the messages of a call: `count` steps in order, and the answer.
#[track_caller]
pub(crate) fn whole(events: &[Event], count: u64) {
    let mut expected: Vec<Value> = (1..=count).map(Value::from).collect();
    expected.push(Value::Null);
    assert_eq!(steps(events), expected);
    assert!(events.last().unwrap().json()["result"].is_object());
}

fn parse(text: &str) -> Event {
    let mut event = Event { id: None, data: None, retry: None, comment: true };
    let mut name = None;
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        event.comment &= field.is_empty();
        match field {
            "" => {}
            "id" => event.id = Some(value.to_owned()),
            "data" => {
                assert_eq!(event.data, None, "a message is one data line: {text:?}");
                event.data = Some(value.to_owned());
            }
            "event" => name = Some(value),
            "retry" => event.retry = Some(value.parse().unwrap()),
            other => panic!("field {other:?} in {text:?}"),
        }
    }
    check(&event, name, text);
    event
}

/// Asserts that the fields of an event are those that released clients expect. A message has a
/// name, a priming event has only its id, and a `retry` stands alone. No character is one at which
/// line readers split.
fn check(event: &Event, name: Option<&str>, text: &str) {
    match event.data.as_deref() {
        Some("") => assert!(event.id.is_some() && event.retry.is_none() && name.is_none(), "{text:?}"),
        Some(_) => assert!(event.retry.is_none() && name == Some("message"), "{text:?}"),
        None => assert!(event.id.is_none() && name.is_none(), "{text:?}"),
    }
    assert!(!text.contains(['\u{85}', '\u{2028}', '\u{2029}']), "{text:?}");
}
