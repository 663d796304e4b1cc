//! The `data:` line of an event: JSON text with the characters escaped at which some clients end a
//! line.
//!
//! SSE ends a line only at CR and LF. Some released clients also end it at the line ends of
//! Unicode, U+0085, U+2028 and U+2029 (Python's `str.splitlines`). In JSON these characters occur
//! only inside strings, where an escape means the same.
//!
//! Every event passes this function. So it also covers stored events, those of earlier versions,
//! and JSON text that users wrote. JSON bodies do not need it.

/// Appends JSON text as one line.
pub(super) fn data_line(json: &[u8], out: &mut Vec<u8>) {
    let mut from = 0;
    // The first bytes of these characters are rare in most text, and `memchr` searches many bytes
    // at a time.
    for at in memchr::memchr2_iter(0xc2, 0xe2, json) {
        let (escape, length): (&[u8], usize) = match json.get(at..) {
            Some([0xc2, 0x85, ..]) => (b"\\u0085", 2),
            Some([0xe2, 0x80, 0xa8, ..]) => (b"\\u2028", 3),
            Some([0xe2, 0x80, 0xa9, ..]) => (b"\\u2029", 3),
            _ => continue,
        };
        out.extend_from_slice(json.get(from..at).unwrap_or_default());
        out.extend_from_slice(escape);
        from = at + length;
    }
    out.extend_from_slice(json.get(from..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(text: &str) -> String {
        let mut out = Vec::new();
        data_line(text.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_line_ends_of_unicode_are_escaped() {
        for (text, expected) in [
            ("", ""),
            (r#"{"a":1}"#, r#"{"a":1}"#),
            ("\"a\u{2028}b\u{2029}\u{85}\"", r#""a\u2028b\u2029\u0085""#),
            (
                "\"\u{2027}\u{202a}\u{84}\u{86}\u{20a8}é世\u{e285}\"",
                "\"\u{2027}\u{202a}\u{84}\u{86}\u{20a8}é世\u{e285}\"",
            ),
            ("\u{2028}", r"\u2028"),
        ] {
            assert_eq!(line(text), expected, "{text:?}");
        }
        // An incomplete character at the end, which only a broken engine produces.
        let mut out = Vec::new();
        data_line(b"x\xe2\x80", &mut out);
        assert_eq!(out, b"x\xe2\x80");
    }

    proptest! {
        #[test]
        fn line_escapes_preserve_the_json_value(
            text in prop_oneof![any::<String>(), "[a\u{85}\u{2028}\u{2029}\u{2030}é世\"\\\\]{0,100}"],
        ) {
            let written = line(&serde_json::to_string(&text).unwrap());
            let cut = written.contains(['\u{85}', '\u{2028}', '\u{2029}']);
            prop_assert!(!cut, "{:?}", written);
            prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
        }
    }
}
