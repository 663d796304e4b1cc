//! Mirrored headers: checks that the headers of a request repeat its body. An intermediary that
//! routes by the headers then sees the request that is served (2026-07-28, Streamable HTTP, "Server
//! Validation").
//!
//! 1. `Mcp-Method` is the method. `Mcp-Name` is the name, the URI or the task that the method
//!    refers to, if it refers to one.
//! 2. `Mcp-Param-..` is the argument that a tool's schema names. It is present exactly if the
//!    argument is present and not `null`. Each header is present once, and has one value.
//! 3. Blanks around a value do not count, but its case does. `=?base64?..?=` is decoded first. A
//!    value that only resembles this form is taken literally.
//! 4. Integers are compared as numbers, and only those that every JSON parser reads alike.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::Value;

use crate::edge::{McpHeaders, differs, lossy_text, mismatch};
use crate::error::Rejection;
use crate::message::{RawJson, RequestMeta};
use crate::server::MirroredArguments;

const METHOD: &str = "Mcp-Method";
const NAME: &str = "Mcp-Name";
const PARAM: &str = "Mcp-Param-*";

/// The largest integer that all readers read alike (RFC 8259, section 6).
const SAFE: f64 = 9_007_199_254_740_991.0;

/// Checks `Mcp-Method` and `Mcp-Name`.
pub(super) fn check_standard(headers: &McpHeaders, method: &str, meta: &RequestMeta) -> Result<(), Rejection> {
    let Some(stated) = &headers.method else { return Err(mismatch(METHOD, "is required")) };
    if stated.as_bytes().trim_ascii() != method.as_bytes() {
        return Err(differs(METHOD, &lossy_text(stated), Some(method)));
    }
    let about = match method {
        "tools/call" | "prompts/get" => &meta.name,
        "resources/read" => &meta.uri,
        "tasks/get" | "tasks/update" | "tasks/cancel" => &meta.task,
        _ => return Ok(()),
    };
    match (&headers.named, about) {
        // The method itself reports missing parameters.
        (None, None) => Ok(()),
        (None, Some(_)) => Err(mismatch(NAME, "is required")),
        (Some(stated), about) => {
            let stated = text(stated).ok_or_else(|| mismatch(NAME, "is not valid"))?;
            let about = about.as_ref().and_then(RawJson::text);
            let same = about.as_ref().is_some_and(|about| *about == stated);
            if same { Ok(()) } else { Err(differs(NAME, &stated, about.as_deref())) }
        }
    }
}

/// Checks the `Mcp-Param-..` headers of a tool.
pub(super) fn check_arguments(
    headers: &HeaderMap,
    params: Option<&RawJson>,
    mirrored: &MirroredArguments,
) -> Result<(), Rejection> {
    #[derive(Default, Deserialize)]
    struct Params {
        #[serde(default)]
        arguments: Value,
    }
    // A handler that reads fewer members may still be able to read these parameters.
    let Params { arguments } = match params {
        Some(params) => params.read().map_err(|_| mismatch(PARAM, "cannot be compared with the body"))?,
        None => Params::default(),
    };
    for one in mirrored.iter() {
        let argument = one.path.iter().try_fold(&arguments, |value, name| value.get(&**name));
        let header = || one.header.as_str().to_owned();
        match (argument.filter(|argument| !argument.is_null()), headers.get(&one.header)) {
            (None, None) => {}
            (None, Some(_)) => return Err(mismatch(header(), "repeats an argument that is absent")),
            (Some(_), None) => return Err(mismatch(header(), "is required")),
            (Some(argument), Some(stated)) => {
                let stated = text(stated).ok_or_else(|| mismatch(header(), "is not valid"))?;
                if !repeats(&stated, argument) {
                    return Err(differs(header(), &stated, Some(&said(argument))));
                }
            }
        }
    }
    Ok(())
}

/// Returns the decoded text of a header, or `None` if it cannot be read.
fn text(value: &HeaderValue) -> Option<Cow<'_, str>> {
    let plain = std::str::from_utf8(value.as_bytes()).ok()?.trim_matches([' ', '\t']);
    if !plain.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
        return None;
    }
    match plain.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        None => Some(Cow::Borrowed(plain)),
        Some(coded) => String::from_utf8(STANDARD.decode(coded).ok()?).ok().map(Cow::Owned),
    }
}

/// Returns an argument as a header would write it.
fn said(argument: &Value) -> Cow<'_, str> {
    match argument {
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

fn repeats(stated: &str, argument: &Value) -> bool {
    match argument {
        Value::String(text) => stated == text,
        Value::Bool(yes) => stated == if *yes { "true" } else { "false" },
        Value::Number(number) => {
            // Zero has two signs and is one number.
            let bits = |number: f64| (number + 0.0).to_bits();
            let (stated, number) = (stated.parse::<f64>().ok(), number.as_f64());
            stated.zip(number).is_some_and(|(stated, number)| stated.abs() <= SAFE && bits(stated) == bits(number))
        }
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn coded_header_values_are_decoded_strictly() {
        let rows: [(&str, Option<&str>); 9] = [
            ("Hello", Some("Hello")),
            ("  Hello\t", Some("Hello")),
            ("=?base64?SGVsbG8=?=", Some("Hello")),
            ("=?base64?SGVsbG8sIOS4lueVjA==?=", Some("Hello, 世界")),
            ("=?base64?SGVsbG8?=", None),
            ("=?base64?SGVs!!!bG8=?=", None),
            ("=?base64?/w==?=", None),
            ("SGVsbG8=", Some("SGVsbG8=")),
            ("=?base64?SGVsbG8=", Some("=?base64?SGVsbG8=")),
        ];
        for (value, expected) in rows {
            assert_eq!(text(&HeaderValue::from_static(value)).as_deref(), expected, "{value}");
        }
        assert_eq!(text(&HeaderValue::from_bytes("Grüße".as_bytes()).unwrap()), None);
    }

    #[test]
    fn integer_and_text_headers_are_distinguished() {
        for (stated, argument, same) in [
            ("42", json!(42), true),
            ("42.0", json!(42), true),
            ("4.2e1", json!(42), true),
            ("-7", json!(-7), true),
            ("-0", json!(0), true),
            ("43", json!(42), false),
            ("9007199254740993", json!(9_007_199_254_740_993_i64), false),
            ("NaN", json!(1), false),
            ("true", json!(true), true),
            ("True", json!(true), false),
            ("42", json!("42"), true),
            ("42.0", json!("42"), false),
            ("x", json!(["x"]), false),
        ] {
            assert_eq!(repeats(stated, &argument), same, "{stated} {argument}");
        }
    }
}
