//! Decides what a line of the child is and how a line to it is written. Ids, parameters and results are
//! passed on as the text they are.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use mcp_http::message::{ErrorObject, RawJson};
use serde::Deserialize;
use serde_json::value::RawValue;

/// What the `_meta` of a request of 2026-07-28 says in place of an `initialize`.
const ENVELOPE: [&str; 4] = [
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientInfo",
    "io.modelcontextprotocol/clientCapabilities",
    "io.modelcontextprotocol/logLevel",
];

/// A message of the child.
pub(crate) enum Message {
    Request { id: RawJson, method: String, params: Option<RawJson> },
    Notification { method: String, params: Option<RawJson> },
    Answer { id: RawJson, outcome: Result<RawJson, ErrorObject> },
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// The messages of a line: one, or those of a batch (2025-03-26). `None`: it is no line of the protocol.
pub(crate) fn read(line: &Bytes) -> Option<Vec<Message>> {
    let text = std::str::from_utf8(line).ok()?;
    if text.trim_start().starts_with('[') {
        let elements: Vec<Envelope<'_>> = serde_json::from_str(text).ok()?;
        return elements.iter().map(|envelope| message(line, text, envelope)).collect();
    }
    Some(vec![message(line, text, &serde_json::from_str(text).ok()?)?])
}

fn message(line: &Bytes, text: &str, envelope: &Envelope<'_>) -> Option<Message> {
    let cut = |part: &RawValue| RawJson::parse(kept(line, place(text, part))).ok();
    let Envelope { id, method, params, result, error } = envelope;
    let id = id.map(cut);
    let params = params.and_then(cut);
    match (id, method) {
        (Some(id), Some(method)) => Some(Message::Request { id: id?, method: method.to_string(), params }),
        (None, Some(method)) => Some(Message::Notification { method: method.to_string(), params }),
        (Some(id), None) => {
            let outcome = match (result, error) {
                (Some(result), _) => Ok(cut(result)?),
                (None, error) => Err(failure(*error)),
            };
            Some(Message::Answer { id: id?, outcome })
        }
        (None, None) => None,
    }
}

/// A part of a line, which may be kept for long: it holds on to no line that is much longer.
fn kept(line: &Bytes, part: Range<usize>) -> Bytes {
    if part.len() < line.len() / 2 { Bytes::copy_from_slice(&line[part]) } else { line.slice(part) }
}

/// An answer without a result is an answer all the same: somebody waits for it.
fn failure(error: Option<&RawValue>) -> ErrorObject {
    let error = error.and_then(|error| serde_json::from_str(error.get()).ok());
    error.unwrap_or_else(|| {
        let text = "The server answered with neither a result nor an error that can be read";
        ErrorObject::new(ErrorObject::INTERNAL_ERROR, text)
    })
}

/// Where a part of a text stands in it.
fn place(whole: &str, part: &RawValue) -> Range<usize> {
    let start = part.get().as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.get().len()
}

/// Parameters with a progress token, which is another one on the other side.
pub(crate) struct Token {
    place: Range<usize>,
}

impl Token {
    /// Of a request: in its `_meta`.
    pub(crate) fn of_request(params: &RawJson) -> Result<Option<Self>, serde_json::Error> {
        #[derive(Deserialize)]
        struct Params<'a> {
            #[serde(borrow, default, rename = "_meta")]
            meta: Option<Meta<'a>>,
        }
        #[derive(Deserialize)]
        struct Meta<'a> {
            #[serde(borrow, default, rename = "progressToken")]
            token: Option<&'a RawValue>,
        }
        let read: Params<'_> = params.read_borrowed()?;
        let token = read.meta.and_then(|meta| meta.token);
        Ok(token.map(|token| Self { place: place(params.as_str(), token) }))
    }

    /// Of a notification of progress.
    pub(crate) fn of_progress(params: &RawJson) -> Option<Self> {
        #[derive(Deserialize)]
        struct Params<'a> {
            #[serde(borrow, rename = "progressToken")]
            token: &'a RawValue,
        }
        let read: Params<'_> = params.read_borrowed().ok()?;
        Some(Self { place: place(params.as_str(), read.token) })
    }

    pub(crate) fn text<'a>(&self, params: &'a RawJson) -> &'a str {
        &params.as_str()[self.place.clone()]
    }

    /// The same parameters with another token.
    pub(crate) fn replaced(&self, params: &RawJson, token: &str) -> String {
        let text = params.as_str();
        [&text[..self.place.start], token, &text[self.place.end..]].concat()
    }
}

/// Parameters as a child of the session revisions knows them: without what each request of 2026-07-28 says
/// of its client.
pub(crate) fn without_envelope(params: &RawJson) -> Result<RawJson, serde_json::Error> {
    let mut params: BTreeMap<String, RawJson> = params.read()?;
    if let Some(meta) = params.get_mut("_meta") {
        let mut members: BTreeMap<String, RawJson> = meta.read()?;
        members.retain(|name, _| !ENVELOPE.contains(&name.as_str()));
        *meta = RawJson::from_value(&members)?;
    }
    RawJson::from_value(&params)
}

/// The request that a `notifications/cancelled` names.
pub(crate) fn cancelled(params: &RawJson) -> Option<RawJson> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Cancelled {
        request_id: RawJson,
    }
    params.read().ok().map(|cancelled: Cancelled| cancelled.request_id)
}

/// A request, as a line.
pub(crate) fn request(id: u64, method: &str, params: Option<&str>) -> Bytes {
    line(format_args!(r#""id":{id},"method":{}{}"#, quoted(method), member(params)))
}

/// A notification, as a line.
pub(crate) fn notification(method: &str, params: Option<&str>) -> Bytes {
    line(format_args!(r#""method":{}{}"#, quoted(method), member(params)))
}

/// An answer, as a line.
pub(crate) fn answer(id: &RawJson, outcome: &Result<RawJson, ErrorObject>) -> Bytes {
    let id = id.as_str();
    match outcome {
        Ok(result) => line(format_args!(r#""id":{id},"result":{}"#, result.as_str())),
        Err(error) => {
            let error = RawJson::from_value(error).unwrap_or_else(|_| RawJson::empty_object());
            line(format_args!(r#""id":{id},"error":{}"#, error.as_str()))
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn member(params: Option<&str>) -> String {
    params.map(|params| format!(r#","params":{params}"#)).unwrap_or_default()
}

/// JSON has line breaks only where it could have spaces; here one would end the message.
fn line(members: std::fmt::Arguments<'_>) -> Bytes {
    let text = format!(r#"{{"jsonrpc":"2.0",{members}}}"#);
    let text = if text.contains(['\n', '\r']) { text.replace(['\n', '\r'], " ") } else { text };
    Bytes::from(text + "\n")
}
