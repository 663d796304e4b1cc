//! Fuzz target `ids`: request ids and event ids, which clients choose or return.

use arbitrary::Arbitrary;
use axum::http::{HeaderValue, Method, StatusCode};
use mcp_http::message::RequestId;

use crate::app::{App, request};

#[derive(Debug, Arbitrary)]
enum Input<'a> {
    /// A JSON string of this text. The bits say which characters are escaped.
    Text(&'a str, u64),
    Integer(i128),
    /// Any text in the place of an id.
    Raw(&'a str),
    /// A value of `Last-Event-ID`.
    Event(&'a [u8]),
    /// The id of a real event with some of its bytes changed.
    Changed(Vec<(u8, u8)>),
}

/// A request id is repeated byte for byte, or the request is rejected. An event id resumes a
/// stream, or is rejected.
pub fn ids(data: &[u8]) {
    crate::run(data, check);
}

async fn check(input: Input<'_>) {
    match &input {
        Input::Text(text, escapes) => echoes(&escaped(text, *escapes)).await,
        Input::Integer(number) => echoes(&number.to_string()).await,
        Input::Raw(text) => {
            if let Ok(id) = text.parse::<RequestId>() {
                assert_eq!(id.as_json(), text.trim(), "{input:?}");
                assert_eq!(id.as_json().parse::<RequestId>(), Ok(id), "{input:?}");
            }
        }
        Input::Event(bytes) => resumes(|_| bytes.to_vec()).await,
        Input::Changed(changes) => {
            resumes(|id| {
                for (at, byte) in changes {
                    let at = usize::from(*at) % id.len();
                    id[at] = *byte;
                }
                id.clone()
            })
            .await;
        }
    }
}

/// Returns a JSON string. A character is escaped if its bit is set or JSON requires it.
fn escaped(text: &str, escapes: u64) -> String {
    let mut json = String::from('"');
    for (at, character) in text.chars().enumerate() {
        let must = character < ' ' || matches!(character, '"' | '\\');
        if must || escapes >> (at % 64) & 1 == 1 {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                json.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            json.push(character);
        }
    }
    json.push('"');
    json
}

async fn echoes(id: &str) {
    const MOST: usize = 1_024;
    let app = App::new(|service| service);
    let session = app.open("2025-11-25").await;
    let reply = app.post(&session, format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#)).await;
    // The quotes of a string do not count.
    let length = if id.starts_with('"') { id.len() - 2 } else { id.len() };
    if length > MOST {
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{id}");
        assert!(id.parse::<RequestId>().is_err(), "{id}");
    } else {
        assert_eq!(reply.status, StatusCode::OK, "{id}");
        assert_eq!(reply.text().await, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#));
        assert_eq!(id.parse::<RequestId>().expect("an id").as_json(), id);
    }
}

/// Resumes with an id made from a real one. Only ids of the same session may resume a stream.
async fn resumes(make: impl FnOnce(&mut Vec<u8>) -> Vec<u8>) {
    let app = App::new(|service| service);
    let session = app.open("2025-11-25").await;
    let call =
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"progress","_meta":{"progressToken":1}}}"#;
    let text = app.post(&session, call).await.text().await;
    let real = text.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().expect("an event id");
    let epoch = real.rsplit('.').next().expect("an epoch");

    let id = make(&mut real.as_bytes().to_vec());
    let Ok(header) = HeaderValue::from_bytes(&id) else { return };
    let mut request = request(Method::GET, Some(&session), "");
    request.headers_mut().insert("last-event-id", header);
    let status = app.send(request).await.status;
    assert!(status.as_u16() < 500, "{status}");
    let ours = std::str::from_utf8(&id).is_ok_and(|id| id.rsplit('.').next() == Some(epoch));
    assert!(status != StatusCode::OK || id.is_empty() || ours, "{status} for {}", id.escape_ascii());
    assert!(status == StatusCode::OK || id != real.as_bytes(), "{status} for a real id");
}
