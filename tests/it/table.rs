//! Rows of the tables of rejections: status and code of an answer, and its id as it was written.

use axum::body::Body;
use axum::http::Request;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::support::{App, Reply};

/// The parts of a response that a table compares.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    /// The code of the JSON-RPC error, or 0 if there is none.
    pub(crate) code: i64,
    /// The JSON text of the id.
    pub(crate) id: Option<String>,
}

/// Returns the response that a row expects.
pub(crate) fn seen(status: u16, code: i64, id: Option<&str>) -> Seen {
    Seen { status, code, id: id.map(str::to_owned) }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<Code>,
}

#[derive(Deserialize)]
struct Code {
    code: i64,
}

/// Sends a request and reads the parts that a table compares. Only responses with status 202 or 200
/// may have no body.
pub(crate) async fn sent(app: &App, request: Request<Body>) -> Seen {
    read(app.send(request).await).await
}

pub(crate) async fn read(reply: Reply) -> Seen {
    let (status, sse) = (reply.status.as_u16(), reply.is_sse());
    let text = reply.text().await;
    assert!(!text.contains(r#""id":null"#), "{text}");
    if text.is_empty() {
        return seen(status, 0, None);
    }
    let json = if sse { text.rsplit("data: ").next().unwrap().trim() } else { &text };
    let answer: Answer<'_> = serde_json::from_str(json).unwrap_or_else(|error| panic!("{text}: {error}"));
    seen(status, answer.error.map_or(0, |error| error.code), answer.id.map(RawValue::get))
}
