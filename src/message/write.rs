//! Serialization of messages to clients: compact JSON on one line, in one buffer.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;

use super::{ErrorObject, RawJson, RequestId};

const NOTIFICATION: &[u8] = br#"{"jsonrpc":"2.0","method":"#;
const PARAMS: &[u8] = br#","params":"#;

/// Writes the response to a request.
pub(crate) fn answer(id: &RequestId, outcome: &Result<RawJson, ErrorObject>) -> Bytes {
    match outcome {
        Ok(result) => {
            let id = id.as_json();
            let result = one_line(result.as_str());
            concat(&[r#"{"jsonrpc":"2.0","id":"#, id, r#","result":"#, &result, "}"])
        }
        Err(error) => failure(Some(id), error),
    }
}

/// Writes an error. If the id is unknown it is omitted, never `null`.
pub(crate) fn failure(id: Option<&RequestId>, error: &ErrorObject) -> Bytes {
    let internal = r#"{"code":-32603,"message":"Internal error"}"#;
    let text = serde_json::to_string(error).unwrap_or_else(|_| internal.to_owned());
    let text = one_line(&text);
    match id {
        Some(id) => concat(&[r#"{"jsonrpc":"2.0","id":"#, id.as_json(), r#","error":"#, &text, "}"]),
        None => concat(&[r#"{"jsonrpc":"2.0","error":"#, &text, "}"]),
    }
}

/// Writes a notification to the client.
pub(crate) fn notification(method: &str, params: &RawJson) -> Bytes {
    let params = one_line(params.as_str());
    let mut text = Vec::with_capacity(NOTIFICATION.len() + method.len() + PARAMS.len() + params.len() + 3);
    text.extend_from_slice(NOTIFICATION);
    string(method, &mut text);
    text.extend_from_slice(PARAMS);
    text.extend_from_slice(params.as_bytes());
    text.push(b'}');
    text.into()
}

/// Writes a progress notification. They are frequent, so they are written without an intermediate
/// value.
pub(crate) fn progress(
    token: &RawJson,
    progress: &impl Serialize,
    total: Option<&impl Serialize>,
    message: Option<&str>,
) -> Result<Bytes, serde_json::Error> {
    const HEAD: &[u8] = br#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"#;
    let mut text = Vec::with_capacity(HEAD.len() + token.as_bytes().len() + 64 + message.map_or(0, str::len));
    text.extend_from_slice(HEAD);
    text.extend_from_slice(one_line(token.as_str()).as_bytes());
    text.extend_from_slice(br#","progress":"#);
    serde_json::to_writer(&mut text, progress)?;
    if let Some(total) = total {
        text.extend_from_slice(br#","total":"#);
        serde_json::to_writer(&mut text, total)?;
    }
    if let Some(message) = message {
        text.extend_from_slice(br#","message":"#);
        string(message, &mut text);
    }
    text.extend_from_slice(b"}}");
    Ok(text.into())
}

/// Writes a request to the client.
pub(crate) fn request(id: &str, method: &str, params: &RawJson) -> Bytes {
    let params = one_line(params.as_str());
    let mut text = Vec::with_capacity(64 + id.len() + method.len() + params.len());
    text.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    string(id, &mut text);
    text.extend_from_slice(br#","method":"#);
    string(method, &mut text);
    text.extend_from_slice(PARAMS);
    text.extend_from_slice(params.as_bytes());
    text.push(b'}');
    text.into()
}

/// Writes the responses to a batch as one array.
pub(crate) fn batch(answers: &[Bytes]) -> Bytes {
    let mut text = Vec::with_capacity(answers.iter().map(|answer| answer.len() + 1).sum::<usize>() + 1);
    text.push(b'[');
    for (at, answer) in answers.iter().enumerate() {
        if at > 0 {
            text.push(b',');
        }
        text.extend_from_slice(answer);
    }
    text.push(b']');
    text.into()
}

/// Writes a JSON string.
pub(crate) fn string(text: &str, out: &mut Vec<u8>) {
    quoted(text, |piece| out.extend_from_slice(piece.as_bytes()));
}

/// Writes a JSON string into a `String`.
pub(crate) fn string_in(text: &str, out: &mut String) {
    quoted(text, |piece| out.push_str(piece));
}

/// Writes a quoted string. Most text needs no escapes, so it is scanned in blocks and written in
/// long pieces.
fn quoted(text: &str, mut push: impl FnMut(&str)) {
    const BLOCK: usize = 64;
    let plain = |byte: &u8| *byte >= b' ' && *byte != b'"' && *byte != b'\\';
    push("\"");
    let mut from = 0;
    for (number, block) in text.as_bytes().chunks(BLOCK).enumerate() {
        // Without a branch per byte, so that the compiler vectorizes it.
        if block.iter().fold(true, |all, byte| all & plain(byte)) {
            continue;
        }
        for (at, byte) in block.iter().enumerate().filter(|(_, byte)| !plain(byte)) {
            let at = number * BLOCK + at;
            push(&text[from..at]);
            escape(*byte, &mut push);
            from = at + 1;
        }
    }
    push(&text[from..]);
    push("\"");
}

/// Escapes a byte that is not allowed in a JSON string.
fn escape(byte: u8, push: &mut impl FnMut(&str)) {
    match byte {
        b'"' => push("\\\""),
        b'\\' => push("\\\\"),
        b'\n' => push("\\n"),
        b'\r' => push("\\r"),
        b'\t' => push("\\t"),
        0x08 => push("\\b"),
        0x0c => push("\\f"),
        _ => push(&format!("\\u{byte:04x}")),
    }
}

/// Replaces line breaks between the tokens of foreign JSON, which would end an SSE `data:` line.
/// JSON strings contain none.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    if memchr::memchr2(b'\n', b'\r', text.as_bytes()).is_none() {
        return text.into();
    }
    text.replace(['\n', '\r'], " ").into()
}

fn concat(parts: &[&str]) -> Bytes {
    let mut text = String::with_capacity(parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| text.push_str(part));
    text.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(text: &str) -> RawJson {
        RawJson::parse(text.to_owned()).unwrap()
    }

    #[test]
    fn messages_are_compact_and_on_one_line() {
        let id: RequestId = "\"a\"".parse().unwrap();
        assert_eq!(
            answer(&id, &Ok(json("{\n \"x\": \"\\n\"\r\n}"))),
            r#"{"jsonrpc":"2.0","id":"a","result":{  "x": "\n"  }}"#
        );
        assert_eq!(notification("n/\"", &json("{}")), r#"{"jsonrpc":"2.0","method":"n/\"","params":{}}"#);
        assert_eq!(
            request("s1-1", "ping", &json("{}")),
            r#"{"jsonrpc":"2.0","id":"s1-1","method":"ping","params":{}}"#
        );
        assert_eq!(batch(&["1".into(), "2".into()]), "[1,2]");
    }

    #[test]
    fn errors_of_unknown_requests_have_no_id() {
        let error = ErrorObject::new(-32700, "Parse error");
        assert_eq!(failure(None, &error), r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"}}"#);
    }

    proptest! {
        #[test]
        fn strings_match_serde_json(
            text in prop_oneof![any::<String>(), "[a-z\"\\\\\u{0}-\u{1f}\u{7f}é]{0,200}"],
        ) {
            let mut out = Vec::new();
            string(&text, &mut out);
            prop_assert_eq!(out, serde_json::to_vec(&text).unwrap());
            let mut out = String::new();
            string_in(&text, &mut out);
            prop_assert_eq!(out, serde_json::to_string(&text).unwrap());
        }
    }
}
