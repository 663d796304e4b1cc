//! Envelopes: parses a POST body into one message or a batch of requests, notifications and
//! responses, in one pass and without copies.

use std::borrow::Cow;

use bytes::Bytes;
use bytestring::ByteString;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::params::{Params, Scanned};
use super::{RawJson, RequestId};

/// A parsed body.
#[derive(Debug)]
pub(crate) enum Body {
    /// One message.
    One(Envelope),
    /// A JSON array of messages; each is valid or malformed by itself.
    Batch(Vec<Result<Envelope, Malformed>>),
}

impl Body {
    /// Returns the id to echo when the whole body is rejected.
    pub(crate) fn request_id(&self) -> Option<&RequestId> {
        match self {
            Self::One(Envelope { kind: Kind::Request { id, .. }, .. }) => Some(id),
            Self::One(_) | Self::Batch(_) => None,
        }
    }
}

/// One JSON-RPC message: its kind and its parameters.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) kind: Kind,
    /// The parameters, an object or array; `None` if the message has none.
    pub(crate) params: Option<Params>,
}

/// The three kinds of JSON-RPC message.
#[derive(Debug)]
pub(crate) enum Kind {
    Request {
        id: RequestId,
        method: Cow<'static, str>,
    },
    Notification {
        method: Cow<'static, str>,
    },
    /// A response to a request of this server, with the raw `result` or `error`.
    Answer {
        id: RequestId,
        outcome: Result<RawJson, RawJson>,
    },
}

/// The reason why a body is rejected.
#[derive(Debug)]
pub(crate) enum Malformed {
    /// Not JSON, not UTF-8, or nested too deep: -32700.
    NotJson,
    /// JSON, but not a JSON-RPC message: -32600. The id is echoed if it could be read.
    NotAMessage { id: Option<RequestId>, why: &'static str },
    /// A request for which the access token lacks scopes: -32007. Only in batches; otherwise the
    /// whole body is rejected.
    Forbidden { id: RequestId, scopes: Vec<String> },
}

/// The deepest nesting of arrays and objects, which is that of the JSON parser (its own limit is
/// 128). It is checked here so that excessive depth is an error of the body, never of a handler.
pub(crate) const MAX_DEPTH: usize = 127;

/// The most messages in one batch, the figure of the official TypeScript SDK.
pub(crate) const MAX_BATCH: usize = 100;

/// The UTF-8 byte order mark, which some clients send. JSON has none, and a parser may ignore it
/// (RFC 8259, section 8.1).
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The longest method, in bytes. It is kept with its call and appears in log lines. Names of the
/// specification have some 30 bytes.
pub(crate) const METHOD: usize = 1_024;

/// Parses a whole body.
pub(crate) fn parse(body: &Bytes) -> Result<Body, Malformed> {
    if too_deep(body) {
        return Err(Malformed::NotJson);
    }
    let start = if body.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    // Checked once for the whole body, because unused members must be UTF-8 too (RFC 8259, section
    // 8.1).
    let body = ByteString::try_from(body.slice(start..)).map_err(|_| Malformed::NotJson)?;
    if body.trim_ascii_start().starts_with('[') { parse_batch(&body) } else { parse_one(&body, &body).map(Body::One) }
}

fn parse_batch(body: &ByteString) -> Result<Body, Malformed> {
    let elements: Vec<&RawValue> = serde_json::from_str(body).map_err(|_| Malformed::NotJson)?;
    let why = match elements.len() {
        0 => "an empty batch",
        1..=MAX_BATCH => {
            return Ok(Body::Batch(elements.iter().map(|element| parse_one(body, element.get())).collect()));
        }
        _ => "a batch of more than 100 messages",
    };
    Err(Malformed::NotAMessage { id: None, why })
}

/// The members of a message, borrowed from the body. Unknown members are ignored.
#[derive(Deserialize)]
#[serde(bound(deserialize = "P: Deserialize<'de>"))]
struct Members<'a, P> {
    #[serde(borrow, default)]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Text<'a>>,
    #[serde(default)]
    params: Option<P>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// A string, borrowed unless it has escapes. serde does not borrow a `Cow` inside an `Option`.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Distinguishes `null` from an absent member.
fn present<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl<'a, P> Members<'a, P> {
    /// Converts the parameters; `None` if the conversion fails.
    fn cut(self, cut: impl FnOnce(P) -> Option<Params>) -> Option<Members<'a, Params>> {
        let Self { jsonrpc, id, method, params, result, error } = self;
        let params = match params {
            Some(params) => Some(cut(params)?),
            None => None,
        };
        Some(Members { jsonrpc, id, method, params, result, error })
    }
}

/// Only the id, for the response to a message with an invalid member.
#[derive(Deserialize)]
struct OnlyId<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
}

fn parse_one(body: &ByteString, text: &str) -> Result<Envelope, Malformed> {
    // An element of a batch. Deserialized as a struct, an array would be the members by position.
    if text.starts_with('[') {
        return Err(Malformed::NotAMessage { id: None, why: "not a JSON-RPC message" });
    }
    let cut = |raw: &RawValue| RawJson::trusted(body.slice_ref(raw.get()));
    // The parameters are nearly always an object, whose relevant members one pass finds.
    let members: Option<Members<'_, Scanned<'_>>> = serde_json::from_str(text).ok();
    let members = match members.and_then(|members| members.cut(|scanned| scanned.cut(body, text))) {
        Some(members) => members,
        None => read_plainly(body, text)?.cut(|raw| Some(cut(raw).into())).ok_or(Malformed::NotJson)?,
    };
    let id = members.id.map(|raw| read_id(body, raw));
    let known = id.as_ref().and_then(|id| id.as_ref().ok()).cloned();
    let reject = |why| Err(Malformed::NotAMessage { id: known.clone(), why });

    if members.jsonrpc.map(RawValue::get) != Some("\"2.0\"") {
        return reject("`jsonrpc` is not \"2.0\"");
    }
    if let Some(Err(why)) = id {
        return reject(why);
    }
    if members.method.as_ref().is_some_and(|Text(method)| method.len() > METHOD) {
        return reject("`method` has more than 1,024 bytes");
    }
    let params = match members.params {
        Some(params) if !matches!(params.text().as_bytes().first(), Some(b'{' | b'[')) => {
            return reject("`params` is neither an object nor an array");
        }
        params => params,
    };
    let outcome = match (members.result.map(cut), members.error.map(cut)) {
        (Some(result), None) => Some(Ok(result)),
        (None, Some(error)) => Some(Err(error)),
        (None, None) => None,
        (Some(_), Some(_)) => return reject("both `result` and `error`"),
    };
    let kind = match (members.method, known.clone(), outcome) {
        (Some(Text(method)), Some(id), None) => Kind::Request { id, method: known_method(method) },
        (Some(Text(method)), None, None) => Kind::Notification { method: known_method(method) },
        (None, Some(id), Some(outcome)) => Kind::Answer { id, outcome },
        (Some(_), _, Some(_)) => return reject("both a method and a response"),
        (None, _, _) => return reject("neither a request, a notification nor a response"),
    };
    Ok(Envelope { kind, params })
}

/// Parses a message with parameters of any kind.
fn read_plainly<'a>(body: &ByteString, text: &'a str) -> Result<Members<'a, &'a RawValue>, Malformed> {
    serde_json::from_str(text).map_err(|error| {
        if !error.is_data() {
            return Malformed::NotJson;
        }
        let only: Option<OnlyId<'_>> = serde_json::from_str(text).ok();
        let id = only.and_then(|only| only.id).and_then(|raw| read_id(body, raw).ok());
        Malformed::NotAMessage { id, why: "not a JSON-RPC message" }
    })
}

fn read_id(body: &ByteString, raw: &RawValue) -> Result<RequestId, &'static str> {
    RequestId::from_json(body.slice_ref(raw.get())).map_err(|_| RequestId::rejection(raw.get()))
}

/// Common methods, whose names need no allocation.
const COMMON_METHODS: [&str; 18] = [
    "tools/call",
    "tools/list",
    "initialize",
    "notifications/initialized",
    "notifications/cancelled",
    "notifications/progress",
    "notifications/roots/list_changed",
    "ping",
    "resources/read",
    "resources/list",
    "resources/templates/list",
    "resources/subscribe",
    "resources/unsubscribe",
    "prompts/get",
    "prompts/list",
    "completion/complete",
    "logging/setLevel",
    "server/discover",
];

fn known_method(method: Cow<'_, str>) -> Cow<'static, str> {
    match COMMON_METHODS.into_iter().find(|known| *known == method) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(method.into_owned()),
    }
}

/// Returns `true` if brackets nest deeper than [`MAX_DEPTH`]. A body with fewer opening brackets
/// cannot; counting them is fast, so only other bodies are scanned byte by byte.
fn too_deep(body: &[u8]) -> bool {
    if memchr::memchr2_iter(b'{', b'[', body).take(MAX_DEPTH + 1).count() <= MAX_DEPTH {
        return false;
    }
    let mut depth = 0usize;
    let mut bytes = body.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

pub(super) fn skip_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<Envelope, Malformed> {
        match parse(&Bytes::copy_from_slice(text.as_bytes()))? {
            Body::One(envelope) => Ok(envelope),
            Body::Batch(_) => panic!("a batch"),
        }
    }

    #[track_caller]
    fn rejected(text: &str) -> (Option<String>, &'static str) {
        match one(text) {
            Err(Malformed::NotAMessage { id, why }) => (id.map(|id| id.to_string()), why),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn ids_and_params_keep_their_text() {
        let envelope =
            one(r#"{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/call","params":{"a": 1}}"#).unwrap();
        let Kind::Request { id, method } = envelope.kind else { panic!() };
        assert_eq!((id.as_json(), &*method), ("9007199254740993", "tools/call"));
        assert_eq!(envelope.params.unwrap().text().as_str(), r#"{"a": 1}"#);
    }

    #[test]
    fn an_invalid_message_still_yields_its_id() {
        assert_eq!(rejected(r#"{"jsonrpc":"1.0","id":3,"method":"a"}"#).0.as_deref(), Some("3"));
        assert_eq!(rejected(r#"{"jsonrpc":"2.0","id":"x","method":5}"#).0.as_deref(), Some("\"x\""));
        assert_eq!(rejected(r#"{"jsonrpc":"2.0","id":4,"method":"a","params":7}"#).0.as_deref(), Some("4"));
        assert_eq!(rejected(r#"{"jsonrpc":"2.0","id":null,"method":"a"}"#).0, None);
        assert_eq!(rejected(r#"{"jsonrpc":"2.0","id":1.5,"method":"a"}"#).0, None);
        assert_eq!(rejected("{}").0, None);
        assert_eq!(rejected("7").0, None);
        assert_eq!(rejected(r#"{"jsonrpc":"2.0","id":1,"result":1,"error":{}}"#).1, "both `result` and `error`");
        assert_eq!(rejected(r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"a"}"#).1, "not a JSON-RPC message");
    }

    #[test]
    fn invalid_json_is_a_parse_error() {
        for text in ["", " ", "{", "{\"jsonrpc\":\"2.0\"", "nope", "\"\u{1}\"", "{} {}"] {
            assert!(matches!(one(text), Err(Malformed::NotJson)), "{text:?}");
        }
        assert!(matches!(parse(&Bytes::from_static(b"{\"a\":\"\xff\"}")), Err(Malformed::NotJson)));
    }

    #[test]
    fn depth_counts_brackets_outside_strings_only() {
        let flat = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"a","params":{{"s":"{}\""}}}}"#, "[".repeat(5000));
        assert!(one(&flat).is_ok());
        let deep =
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"a","params":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
        assert!(matches!(one(&deep), Err(Malformed::NotJson)));
        let edge = "[".repeat(MAX_DEPTH) + &"]".repeat(MAX_DEPTH);
        assert!(!too_deep(edge.as_bytes()));
        assert!(too_deep(format!("[{edge}]").as_bytes()));
    }

    #[test]
    fn a_response_carries_its_result_or_error() {
        let ok = one(r#"{"jsonrpc":"2.0","id":"s1-1","result":{"x":1}}"#).unwrap();
        assert!(matches!(ok.kind, Kind::Answer { outcome: Ok(_), .. }));
        let error = one(r#"{"jsonrpc":"2.0","id":"s1-1","error":{"code":1,"message":"no"}}"#).unwrap();
        assert!(matches!(error.kind, Kind::Answer { outcome: Err(_), .. }));
    }

    #[test]
    fn a_batch_has_1_to_100_messages() {
        let batch = |n: usize| parse(&Bytes::from(format!("[{}]", vec!["1"; n].join(","))));
        assert!(batch(0).is_err());
        assert!(matches!(batch(100), Ok(Body::Batch(elements)) if elements.len() == 100));
        assert!(batch(101).is_err());
    }
}
