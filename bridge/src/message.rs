//! JSON-RPC lines: reads the messages in a line of the process, and writes lines for it. Ids,
//! parameters and results keep their exact text.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use mcp_http::message::{ErrorObject, RawJson};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Keys in `_meta` by which a request of 2026-07-28 describes its client. They replace
/// `initialize`.
const CLIENT_META_KEYS: [&str; 4] = [
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientInfo",
    "io.modelcontextprotocol/clientCapabilities",
    "io.modelcontextprotocol/logLevel",
];

/// A message of the process.
pub(crate) enum Message {
    Request { id: RawJson, method: String, params: Option<RawJson> },
    Notification { method: String, params: Option<RawJson> },
    Response { id: RawJson, outcome: Result<RawJson, ErrorObject> },
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

/// Reads the messages of a line: one, or several in a batch (2025-03-26). Returns `None` if it
/// holds something else.
pub(crate) fn read(line: &Bytes) -> Option<Vec<Message>> {
    let text = std::str::from_utf8(line).ok()?;
    if text.trim_start().starts_with('[') {
        let elements: Vec<Envelope<'_>> = serde_json::from_str(text).ok()?;
        return elements.iter().map(|envelope| message(line, text, envelope)).collect();
    }
    Some(vec![message(line, text, &serde_json::from_str(text).ok()?)?])
}

fn message(line: &Bytes, text: &str, envelope: &Envelope<'_>) -> Option<Message> {
    let raw = |part: &RawValue| RawJson::parse(slice(line, span_of(text, part))).ok();
    let Envelope { id, method, params, result, error } = envelope;
    let id = id.map(raw);
    let params = params.and_then(raw);
    match (id, method) {
        (Some(id), Some(method)) => Some(Message::Request { id: id?, method: method.to_string(), params }),
        (None, Some(method)) => Some(Message::Notification { method: method.to_string(), params }),
        (Some(id), None) => {
            let outcome = match (result, error) {
                (Some(result), _) => Ok(raw(result)?),
                (None, error) => Err(read_error(*error)),
            };
            Some(Message::Response { id: id?, outcome })
        }
        (None, None) => None,
    }
}

/// Returns a part of a line. A small part is copied, so that it does not keep a much longer line in
/// memory.
fn slice(line: &Bytes, part: Range<usize>) -> Bytes {
    if part.len() < line.len() / 2 { Bytes::copy_from_slice(&line[part]) } else { line.slice(part) }
}

/// Reads the error of a response. A response with neither result nor error still answers its call.
fn read_error(error: Option<&RawValue>) -> ErrorObject {
    let error = error.and_then(|error| serde_json::from_str(error.get()).ok());
    error.unwrap_or_else(|| {
        let text = "The server answered with neither a result nor an error that can be read";
        ErrorObject::new(ErrorObject::INTERNAL_ERROR, text)
    })
}

/// Returns the span of a part in the text it borrows from.
fn span_of(whole: &str, part: &RawValue) -> Range<usize> {
    let start = part.get().as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.get().len()
}

/// Returns the error for parameters that cannot be read.
pub(crate) fn invalid_params() -> ErrorObject {
    ErrorObject::invalid_params("Invalid params: `params` and `params._meta` must be objects")
}

/// The position of a progress token in parameters. The bridge replaces the token in both
/// directions.
pub(crate) struct ProgressToken {
    span: Range<usize>,
}

impl ProgressToken {
    /// Finds the token in the `_meta` of a request.
    pub(crate) fn in_request(params: &RawJson) -> Result<Option<Self>, serde_json::Error> {
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
        Ok(token.map(|token| Self { span: span_of(params.as_str(), token) }))
    }

    /// Finds the token in a progress notification.
    pub(crate) fn in_progress(params: &RawJson) -> Option<Self> {
        #[derive(Deserialize)]
        struct Params<'a> {
            #[serde(borrow, rename = "progressToken")]
            token: &'a RawValue,
        }
        let read: Params<'_> = params.read_borrowed().ok()?;
        Some(Self { span: span_of(params.as_str(), read.token) })
    }

    /// Returns the JSON text of the token.
    pub(crate) fn text<'a>(&self, params: &'a RawJson) -> &'a str {
        &params.as_str()[self.span.clone()]
    }

    /// Returns the same parameters with another token.
    pub(crate) fn replace(&self, params: &RawJson, token: &str) -> String {
        let text = params.as_str();
        [&text[..self.span.start], token, &text[self.span.end..]].concat()
    }
}

/// Removes what a request of 2026-07-28 says about its client: a process of the session revisions
/// does not expect it.
pub(crate) fn strip_client_meta(params: &RawJson) -> Result<RawJson, serde_json::Error> {
    let mut params: BTreeMap<String, RawJson> = params.read()?;
    if let Some(meta) = params.get_mut("_meta") {
        let mut members: BTreeMap<String, RawJson> = meta.read()?;
        members.retain(|name, _| !CLIENT_META_KEYS.contains(&name.as_str()));
        *meta = RawJson::from_value(&members)?;
    }
    RawJson::from_value(&params)
}

/// Returns the request id in a `notifications/cancelled`.
pub(crate) fn cancelled_request_id(params: &RawJson) -> Option<RawJson> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Cancelled {
        request_id: RawJson,
    }
    params.read().ok().map(|cancelled: Cancelled| cancelled.request_id)
}

/// Writes a request as a line.
pub(crate) fn request_line(id: u64, method: &str, params: Option<&str>) -> Bytes {
    line(format_args!(r#""id":{id},"method":{}{}"#, json_string(method), params_member(params)))
}

/// Writes a notification as a line.
pub(crate) fn notification_line(method: &str, params: Option<&str>) -> Bytes {
    line(format_args!(r#""method":{}{}"#, json_string(method), params_member(params)))
}

/// Writes a response as a line.
pub(crate) fn response_line(id: &RawJson, outcome: &Result<RawJson, ErrorObject>) -> Bytes {
    let id = id.as_str();
    match outcome {
        Ok(result) => line(format_args!(r#""id":{id},"result":{}"#, result.as_str())),
        Err(error) => {
            let error = RawJson::from_value(error).unwrap_or_else(|_| RawJson::empty_object());
            line(format_args!(r#""id":{id},"error":{}"#, error.as_str()))
        }
    }
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn params_member(params: Option<&str>) -> String {
    params.map(|params| format!(r#","params":{params}"#)).unwrap_or_default()
}

/// Replaces line breaks by spaces: in JSON they occur only between tokens, and here one would end
/// the message.
fn line(members: std::fmt::Arguments<'_>) -> Bytes {
    let text = format!(r#"{{"jsonrpc":"2.0",{members}}}"#);
    let text = if text.contains(['\n', '\r']) { text.replace(['\n', '\r'], " ") } else { text };
    Bytes::from(text + "\n")
}
