//! Value size: estimates the memory that a JSON text takes as a tree of values, before one is
//! built.
//!
//! A body of `[[],[],..]` or `{"a":1},..` takes a hundred times its own size as a
//! `serde_json::Value`. Many handlers deserialize one, and rmcp does before any handler. A text
//! without many commas and brackets costs one fast count here, and a short one nothing.

/// The most bytes that the values of a body take together, as estimated (413 beyond): sixteen times
/// the largest body. A table of objects or numbers takes less, but lists of empty lists would take
/// a hundred times their text.
pub(crate) const VALUES: usize = 64 << 20;

/// Bytes of one value, with the spare capacity of its list and a short text of its own.
const VALUE: usize = 64;

/// Bytes of an array beside its values: the smallest list has a capacity of four.
const ARRAY: usize = 128;

/// Bytes of an object beside its values: the smallest map has a capacity of eleven.
const OBJECT: usize = 640;

/// Returns `true` if the values of a text may take more than `limit` bytes.
pub(crate) fn is_larger(text: &[u8], limit: usize) -> bool {
    // Each byte may start an object.
    if text.len().saturating_mul(VALUE + OBJECT) <= limit {
        return false;
    }
    let count = |byte| memchr::memchr_iter(byte, text).count();
    size(count(b','), count(b'['), count(b'{')) > limit && size_outside_strings(text) > limit
}

fn size(commas: usize, arrays: usize, objects: usize) -> usize {
    commas * VALUE + arrays * (VALUE + ARRAY) + objects * (VALUE + OBJECT)
}

/// Returns the size without the content of strings, because text of any kind has many commas.
fn size_outside_strings(text: &[u8]) -> usize {
    let (mut commas, mut arrays, mut objects) = (0, 0, 0);
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b',' => commas += 1,
            b'[' => arrays += 1,
            b'{' => objects += 1,
            b'"' => super::envelope::skip_string(&mut bytes),
            _ => {}
        }
    }
    size(commas, arrays, objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_skips_strings() {
        for (text, bytes) in [
            ("", 0),
            ("1", 0),
            ("[1,2,3]", 2 * VALUE + VALUE + ARRAY),
            (r#"{"a,[{":"\",[{","b":[]}"#, VALUE + (VALUE + OBJECT) + (VALUE + ARRAY)),
            (r#"["#, VALUE + ARRAY),
            (r#"","#, 0),
        ] {
            assert_eq!(size_outside_strings(text.as_bytes()), bytes, "{text}");
        }
    }

    #[test]
    fn only_large_trees_exceed_the_limit() {
        let limit = 64 << 20;
        let of = |part: &str| format!("[{}1]", part.repeat((4 << 20) / part.len())).into_bytes();
        for (part, expected) in [
            ("[],", true),
            (r#"{"a":1},"#, true),
            ("1,", true),
            ("1.234567,", false),
            ("[12.345678,45.678901],", false),
            (
                r#"{"id":123456,"name":"a name of twenty letters","email":"somebody@example.com","at":"2026-07-28"},"#,
                false,
            ),
        ] {
            assert_eq!(is_larger(&of(part), limit), expected, "{part}");
        }
        let table = format!("\"{}\"", "1,2,3,{[".repeat(500_000));
        assert!(!is_larger(table.as_bytes(), limit));
        assert!(!is_larger(&of("[],")[..90_000], limit), "a short text is not counted");
    }
}
