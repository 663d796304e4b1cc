//! How much memory a JSON text takes as a tree of values, estimated before one is built.
//!
//! A body of `[[],[],..]` or `{"a":1},..` takes a hundred times its own size as `serde_json::Value`s, which is what
//! many handlers read, and rmcp before any handler. A text without many commas and brackets costs one fast count here,
//! and a short one nothing.

/// The most that the values of a body take together (413 beyond), as far as can be estimated: sixteen times the largest
/// body. A table of objects, or of numbers, takes less; lists of nothing would take a hundred times their text.
pub(crate) const VALUES: usize = 64 << 20;

/// Bytes of one value, with the spare room of the list it is in and a short text of its own.
const VALUE: usize = 64;

/// Bytes of an array beside its values: the smallest list has room for four.
const ARRAY: usize = 128;

/// Bytes of an object beside its values: the smallest map has room for eleven.
const OBJECT: usize = 640;

/// Returns `true` if a text may take more than so many bytes as a tree.
pub(crate) fn is_larger(text: &[u8], limit: usize) -> bool {
    // Each byte may begin an object.
    if text.len().saturating_mul(VALUE + OBJECT) <= limit {
        return false;
    }
    let count = |byte| memchr::memchr_iter(byte, text).count();
    size(count(b','), count(b'['), count(b'{')) > limit && size_outside_strings(text) > limit
}

fn size(commas: usize, arrays: usize, objects: usize) -> usize {
    commas * VALUE + arrays * (VALUE + ARRAY) + objects * (VALUE + OBJECT)
}

/// The same without what stands in strings: text of any kind has many commas.
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
    fn an_estimate_counts_what_is_outside_of_strings() {
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
    fn only_a_tree_above_the_limit_is_larger() {
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
        assert!(!is_larger(&of("[],")[..90_000], limit), "a short one is not looked at");
    }
}
