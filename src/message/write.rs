//! Decides how messages of ours are written: compact JSON on one line, into one buffer.

use std::borrow::Cow;

use bytes::Bytes;

use super::{ErrorObject, RawJson, RequestId};

/// The answer to a request.
pub(crate) fn answer(id: &RequestId, outcome: &Result<RawJson, ErrorObject>) -> Bytes {
    match outcome {
        Ok(result) => {
            let id = id.as_json().as_bytes();
            let result = one_line(result.as_bytes());
            concat(&[br#"{"jsonrpc":"2.0","id":"#, id, br#","result":"#, &result, b"}"])
        }
        Err(error) => failure(Some(id), error),
    }
}

/// An error; without an id where none could be read, never with `null`.
pub(crate) fn failure(id: Option<&RequestId>, error: &ErrorObject) -> Bytes {
    let internal: &[u8] = br#"{"code":-32603,"message":"Internal error"}"#;
    let text = serde_json::to_vec(error).unwrap_or_else(|_| internal.to_vec());
    let text = one_line(&text);
    match id {
        Some(id) => concat(&[br#"{"jsonrpc":"2.0","id":"#, id.as_json().as_bytes(), br#","error":"#, &text, b"}"]),
        None => concat(&[br#"{"jsonrpc":"2.0","error":"#, &text, b"}"]),
    }
}

/// A notification to the client.
pub(crate) fn notification(method: &str, params: &RawJson) -> Bytes {
    let method = quoted(method);
    concat(&[br#"{"jsonrpc":"2.0","method":"#, method.as_bytes(), br#","params":"#, &one_line(params.as_bytes()), b"}"])
}

/// A question to the client.
pub(crate) fn request(id: &str, method: &str, params: &RawJson) -> Bytes {
    let (id, method) = (quoted(id), quoted(method));
    let head: &[u8] = br#"{"jsonrpc":"2.0","id":"#;
    concat(&[
        head,
        id.as_bytes(),
        br#","method":"#,
        method.as_bytes(),
        br#","params":"#,
        &one_line(params.as_bytes()),
        b"}",
    ])
}

/// Answers of a batch as one array.
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

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned())
}

/// JSON that somebody else wrote may hold line breaks between its tokens, which would end an SSE
/// `data:` line. Inside strings JSON has none.
fn one_line(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'\n', b'\r', text).is_none() {
        return text.into();
    }
    text.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect::<Vec<_>>().into()
}

fn concat(parts: &[&[u8]]) -> Bytes {
    parts.concat().into()
}

#[cfg(test)]
mod tests {
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
    fn an_error_without_a_known_id_has_no_id() {
        let error = ErrorObject::new(-32700, "Parse error");
        assert_eq!(failure(None, &error), r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"}}"#);
    }
}
