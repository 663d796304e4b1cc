//! The lines of events: their names, and characters that some clients take for line ends.
//! `support::Sse` checks the same rules on every stream of every test.

use axum::http::Method;
use mcp_http::server::LogLevel;
use mcp_http::{Context, McpServer, ResponseMode, Streams};
use serde_json::{Value, json};

use crate::support::{App, LOG_KEY, RequestExt, envelope, initialize, mirrored, request};

/// Every character at which a line reader may split, and neighbouring ones at which none may.
const ENDS: &str = "a\u{85}b\u{2028}c\u{2029}d\u{84}\u{2027}\u{202a}é世";

fn tools(server: McpServer) -> McpServer {
    server.tool("ends", "Says what ends lines, in each way there is.", async |cx: Context| {
        cx.progress_message(1, 2, Some(ENDS)).await;
        cx.log(LogLevel::Error, json!(ENDS)).await;
        ENDS
    })
}

fn app(resumable: bool) -> App {
    let streams = Streams::new().response_mode(ResponseMode::Sse).resumable(resumable);
    App::serving(tools, move |service| service.streams(streams))
}

/// Returns the texts of the three messages (progress, log, result) and the id of the result.
fn texts_of(messages: &[Value]) -> [&Value; 4] {
    assert_eq!(messages.len(), 3, "{messages:?}");
    let answer = &messages[2];
    let text = &answer["result"]["content"][0]["text"];
    [&messages[0]["params"]["message"], &messages[1]["params"]["data"], text, &answer["id"]]
}

/// Reads the messages of a whole stream like a client that splits lines at every Unicode line end.
fn read(text: &str) -> Vec<Value> {
    let ends = ['\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'];
    let data = text.split(ends).filter_map(|line| line.strip_prefix("data: "));
    data.filter(|data| !data.is_empty()).map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// Streams are checked live, replayed and without resumption, with texts of the server and ids of
/// the client.
///
/// Acceptance 181, 182.
#[tokio::test(start_paused = true)]
async fn no_character_of_a_message_ends_its_line() {
    for resumable in [true, false] {
        for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
            let client = app(resumable).open_version(version).await;
            let text = client.call(ENDS, "ends", json!({})).await.text().await;
            assert_eq!(texts_of(&read(&text)), [&json!(ENDS); 4], "{version}: {text}");
            assert_eq!(text.matches("event: message\n").count(), 3, "{version}: {text}");
            if resumable {
                let first = text.lines().find_map(|line| line.strip_prefix("id: ")).unwrap();
                let start = format!("{}.0.{}", first.split('.').next().unwrap(), first.rsplit('.').next().unwrap());
                let again = client.resume(&start).await.text().await;
                assert_eq!(texts_of(&read(&again)), [&json!(ENDS); 4], "{version}: {again}");
            }
        }
    }
}

/// Acceptance 181, 182.
#[tokio::test(start_paused = true)]
async fn no_character_ends_a_line() {
    let app = app(true);
    let meta = json!({"progressToken": "t", LOG_KEY: "error"});
    let mut message = envelope("tools/call", json!({"name": "ends", "_meta": meta}));
    message["id"] = json!(ENDS);
    let text = app.send(mirrored(message)).await.text().await;
    assert_eq!(texts_of(&read(&text)), [&json!(ENDS); 4], "{text}");
    assert_eq!(text.matches("event: message\n").count(), 3, "{text}");
}

/// JSON bodies keep these characters unescaped, since no released client splits them.
///
/// Acceptance 182.
#[tokio::test(start_paused = true)]
async fn json_answers_are_unchanged() {
    let app = App::serving(tools, |service| service);
    let mut opening = initialize("2025-11-25", json!({}));
    opening["id"] = json!(ENDS);
    let text = app.send(request(Method::POST).message(opening)).await.text().await;
    assert!(text.contains(&format!("\"id\":\"{ENDS}\"")), "{text}");
}
