//! Fuzz target `batch`: batches of any elements, in the one revision that has batches.

use arbitrary::Arbitrary;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::app::App;

#[derive(Debug, Arbitrary)]
enum Element<'a> {
    Request(Id<'a>, Asked),
    Notification(u8),
    /// An answer to a request that the server never sent.
    Answer(Id<'a>),
    Broken(u8),
    Initialize,
}

#[derive(Debug, Arbitrary)]
enum Id<'a> {
    Number(u8),
    Text(&'a str),
}

#[derive(Debug, Arbitrary)]
enum Asked {
    Ping,
    Echo,
    Progress,
    UnknownTool,
    UnknownMethod,
}

const NOTIFICATIONS: [&str; 3] = ["notifications/initialized", "notifications/cancelled", "notifications/unknown"];

const BROKEN: [&str; 8] = [
    "1",
    "null",
    "[]",
    "{}",
    r#"{"jsonrpc":"2.0"}"#,
    r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
    r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
];

/// Each request of a batch is answered once, each invalid element is answered with an error, and
/// other elements get no answer.
pub fn batch(data: &[u8]) {
    crate::run(data, check);
}

async fn check(mut elements: Vec<Element<'_>>) {
    const MOST: usize = 100;
    elements.truncate(MOST);
    let app = App::new(|service| service);
    let session = app.open("2025-03-26").await;
    let texts: Vec<String> = elements.iter().map(write).collect();
    let reply = app.post(&session, format!("[{}]", texts.join(","))).await;

    let opens = elements.iter().any(|element| matches!(element, Element::Initialize));
    let broken = elements.iter().filter(|element| is_broken(element)).count();
    let mut asked: Vec<String> = elements.iter().filter_map(asked_id).collect();
    if elements.is_empty() || opens {
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{elements:?}");
    } else if broken == 0 && asked.is_empty() {
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{elements:?}");
    } else {
        assert_eq!(reply.status, StatusCode::OK, "{elements:?}");
        let mut answers = reply.messages().await;
        answers.retain(|message| message.get("method").is_none());
        assert_eq!(answers.len(), asked.len() + broken, "{answers:?} for {elements:?}");
        let mut answered: Vec<String> = answers.iter().filter(|answer| !is_rejected(answer)).map(id_of).collect();
        asked.sort();
        answered.sort();
        assert_eq!(answered, asked, "{answers:?} for {elements:?}");
    }
    assert_eq!(app.handle.statistics().await.sessions, Some(1));
}

/// Returns `true` for the error of an invalid element.
fn is_rejected(answer: &Value) -> bool {
    answer["error"]["code"] == -32600
}

fn id_of(answer: &Value) -> String {
    answer["id"].to_string()
}

/// Returns `true` for invalid elements, which include ids that no answer could be matched to.
fn is_broken(element: &Element<'_>) -> bool {
    match element {
        Element::Broken(_) => true,
        Element::Request(id, _) | Element::Answer(id) => id.json().to_string().len() > 256,
        Element::Notification(_) | Element::Initialize => false,
    }
}

fn asked_id(element: &Element<'_>) -> Option<String> {
    match element {
        Element::Request(id, _) if !is_broken(element) => Some(id.json().to_string()),
        _ => None,
    }
}

impl Id<'_> {
    fn json(&self) -> Value {
        match self {
            Id::Number(number) => json!(number),
            Id::Text(text) => json!(text),
        }
    }
}

fn write(element: &Element<'_>) -> String {
    let message = match element {
        Element::Request(id, asked) => {
            let (method, params) = match asked {
                Asked::Ping => ("ping", json!({})),
                Asked::Echo => ("tools/call", json!({"name": "echo", "arguments": {"message": "hi"}})),
                Asked::Progress => ("tools/call", json!({"name": "progress", "_meta": {"progressToken": 1}})),
                Asked::UnknownTool => ("tools/call", json!({"name": "none"})),
                Asked::UnknownMethod => ("none", json!({})),
            };
            json!({"jsonrpc": "2.0", "id": id.json(), "method": method, "params": params})
        }
        Element::Notification(at) => {
            let method = NOTIFICATIONS[usize::from(*at) % NOTIFICATIONS.len()];
            json!({"jsonrpc": "2.0", "method": method, "params": {"requestId": at}})
        }
        Element::Answer(id) => json!({"jsonrpc": "2.0", "id": id.json(), "result": {}}),
        Element::Broken(at) => return BROKEN[usize::from(*at) % BROKEN.len()].to_owned(),
        Element::Initialize => json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}),
    };
    message.to_string()
}
