//! Error texts: rewords errors of serde for clients, without Rust types and positions in the text.

use std::borrow::Cow;
use std::fmt::Display;

/// Returns the reason of a deserialization error.
pub(crate) fn reason(error: &impl Display) -> String {
    let text = error.to_string();
    let text = text.rfind(" at line ").map_or(&*text, |end| &text[..end]);
    if text.starts_with("data did not match any variant of ") || text.starts_with("no variant of enum ") {
        return "it matches none of the allowed forms".into();
    }
    let Some((before, expected)) = text.rsplit_once("expected ") else { return text.to_owned() };
    let (start, found) = match before.strip_prefix("invalid type: ") {
        Some("sequence, ") => ("invalid type: array, ", ""),
        Some("map, ") => ("invalid type: object, ", ""),
        Some("unit value, " | "Option value, ") => ("invalid type: null, ", ""),
        _ => ("", before),
    };
    format!("{start}{found}expected {}", in_json(expected))
}

/// The most bytes of a client's text that an error or a log line repeats: enough to recognize it.
pub(super) const MAX_REPEATED: usize = 160;

/// Shortens a text that an error or a log line repeats.
pub(crate) fn bounded(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_REPEATED {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}..", &text[..text.floor_char_boundary(MAX_REPEATED)]))
}

/// Returns what serde expected, in terms of JSON.
pub(crate) fn in_json(expected: &str) -> Cow<'_, str> {
    let plain = match expected {
        "u8" => "an integer from 0 to 255",
        "u16" => "an integer from 0 to 65535",
        "u32" => "an integer from 0 to 4294967295",
        "u64" | "u128" | "usize" => "an integer from 0",
        "i8" => "an integer from -128 to 127",
        "i16" => "an integer from -32768 to 32767",
        "i32" => "an integer from -2147483648 to 2147483647",
        "i64" | "i128" | "isize" => "an integer",
        "f32" | "f64" => "a number",
        "bool" => "a boolean",
        "a map" => "an object",
        "a sequence" | "a tuple" => "an array",
        "unit" => "null",
        "option" => "a value or null",
        "a borrowed string" => "a string",
        "string or map" => "a string or an object",
        _ => "",
    };
    if !plain.is_empty() {
        return Cow::Borrowed(plain);
    }
    // These are followed by a name.
    for (named, plain) in [
        ("struct ", "an object"),
        ("struct variant ", "an object"),
        ("internally tagged enum ", "an object"),
        ("adjacently tagged enum ", "an object"),
        ("tuple struct ", "an array"),
        ("tuple variant ", "an array"),
        ("unit struct ", "null"),
        ("unit variant ", "a string"),
        ("newtype struct ", "a value"),
        ("newtype variant ", "a value"),
        ("enum ", "a string or an object"),
    ] {
        if expected.starts_with(named) {
            return Cow::Borrowed(plain);
        }
    }
    match expected.strip_prefix("a tuple of size ") {
        Some(size) => Cow::Owned(format!("an array of {size}")),
        None => Cow::Borrowed(expected),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only its errors are used")]
    enum Command {
        Start { port: u16 },
        Pair(u8, u8),
        One(bool),
        Stop,
    }

    #[derive(Debug, Deserialize)]
    #[serde(tag = "kind")]
    #[allow(dead_code, reason = "only its errors are used")]
    enum Tagged {
        A { deep: Inner },
    }

    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    #[allow(dead_code, reason = "only its errors are used")]
    enum Untagged {
        A { a: u8 },
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only its errors are used")]
    struct Inner(u8, u8);

    fn reason_of<T: for<'a> Deserialize<'a> + std::fmt::Debug>(json: &str) -> String {
        reason(&serde_json::from_str::<T>(json).unwrap_err())
    }

    #[test]
    fn error_texts_name_no_rust_types() {
        for (text, expected) in [
            (reason_of::<u8>("300"), "invalid value: integer `300`, expected an integer from 0 to 255"),
            (reason_of::<i64>("\"a\""), "invalid type: string \"a\", expected an integer"),
            (reason_of::<Vec<f64>>("[true]"), "invalid type: boolean `true`, expected a number"),
            (reason_of::<Command>(r#"{"Start":7}"#), "invalid type: integer `7`, expected an object"),
            (reason_of::<Command>(r#"{"Pair":7}"#), "invalid type: integer `7`, expected an array"),
            (reason_of::<Command>(r#"{"One":7}"#), "invalid type: integer `7`, expected a boolean"),
            (reason_of::<Command>(r#""Go""#), "unknown variant `Go`, expected one of `Start`, `Pair`, `One`, `Stop`"),
            (reason_of::<Tagged>(r#"{"kind":"A","deep":7}"#), "invalid type: integer `7`, expected an array"),
            (reason_of::<Tagged>("7"), "invalid type: integer `7`, expected an object"),
            (reason_of::<u8>("[]"), "invalid type: array, expected an integer from 0 to 255"),
            (reason_of::<u8>("{}"), "invalid type: object, expected an integer from 0 to 255"),
            (reason_of::<u8>("null"), "invalid type: null, expected an integer from 0 to 255"),
            (reason_of::<Untagged>("7"), "it matches none of the allowed forms"),
            (reason_of::<Inner>("[1]"), "invalid length 1, expected an array"),
            (reason_of::<(u8, u8)>("[1]"), "invalid length 1, expected an array of 2"),
        ] {
            assert_eq!(text, expected);
        }
    }
}
