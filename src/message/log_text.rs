//! Log text: texts of clients for log lines, shortened and without control characters.

use std::borrow::Cow;

use super::error_text::{MAX_REPEATED, bounded};

/// Returns a text for a log line. Quotes and backslashes stay, because subscribers escape them in
/// their own way.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    let text = bounded(text);
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text;
    }
    let mut shown = String::with_capacity(2 * text.len());
    for char in text.chars() {
        match char {
            '"' | '\'' | '\\' => shown.push(char),
            _ => shown.extend(char.escape_debug()),
        }
    }
    Cow::Owned(shown)
}

/// Returns the value of a header for a log line.
pub(crate) fn shown_bytes(value: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(value) {
        Ok(text) => shown(text),
        Err(_) => Cow::Owned(value[..value.len().min(MAX_REPEATED)].escape_ascii().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_text_is_short_and_printable() {
        assert!(matches!(shown("tools/call"), Cow::Borrowed("tools/call")));
        assert_eq!(shown("\"a\\b\""), "\"a\\b\"");
        assert_eq!(shown("a\r\nb\u{1b}[2J\u{202e}é"), "a\\r\\nb\\u{1b}[2J\\u{202e}é");
        assert_eq!(shown(&"é".repeat(100_000)), format!("{}..", "é".repeat(80)));
        assert!(shown(&"\u{0}".repeat(100_000)).len() < 1_000);
        assert_eq!(shown_bytes(b"a\xff\n"), "a\\xff\\n");
        assert!(shown_bytes(&[0xff; 10_000]).len() < 1_000);
    }
}
