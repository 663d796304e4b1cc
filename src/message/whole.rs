//! Whole numbers: reads numbers with a fraction or an exponent as integers, if they are whole.
//!
//! JSON has one kind of number, and JSON Schema counts `5.0` as an integer, but serde reads it as a
//! float. Only text that fails to deserialize is read again with such numbers as integers, so other
//! text costs nothing.

use serde::de::DeserializeOwned;

/// More digits than any of Rust's integer types has.
const DIGITS: usize = 39;

/// Deserializes a value; `5.0` and `5e0` are integers.
///
/// # Errors
///
/// The same as `serde_json`.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text).or_else(|error| match with_integers(text) {
        Some(text) => serde_json::from_str(&text),
        None => Err(error),
    })
}

/// Returns a JSON text with its whole numbers as integers; `None` if nothing changes.
pub(crate) fn with_integers(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = String::new();
    let (mut at, mut copied) = (0, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = after_string(bytes, at),
            b'-' | b'0'..=b'9' => {
                let rest = bytes.get(at..).unwrap_or_default();
                let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                let end = at + rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
                if let Some(integer) = text.get(at..end).and_then(integer) {
                    out.push_str(text.get(copied..at).unwrap_or_default());
                    out.push_str(&integer);
                    copied = end;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    if copied == 0 {
        return None;
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    Some(out)
}

/// Returns the end of the string that starts here.
fn after_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += found;
        if bytes.get(at) == Some(&b'"') {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
}

/// Returns a number with a fraction or an exponent as an integer, if it is whole.
fn integer(number: &str) -> Option<String> {
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (number, 0),
    };
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let (before, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if number.len() == sign.len() + before.len() {
        return None;
    }
    let digits = format!("{before}{fraction}");
    let shift = i64::from(exponent) - i64::try_from(fraction.len()).ok()?;
    let zeros = usize::try_from(shift.unsigned_abs()).ok()?;
    let digits = digits.trim_start_matches('0');
    let whole = match digits {
        "" => "0".to_owned(),
        _ if shift >= 0 => {
            // Checked before it is written out.
            if zeros > DIGITS || digits.len() + zeros > DIGITS {
                return None;
            }
            format!("{digits}{}", "0".repeat(zeros))
        }
        _ => {
            let (whole, rest) = digits.split_at_checked(digits.len().checked_sub(zeros)?)?;
            if whole.is_empty() || whole.len() > DIGITS || rest.bytes().any(|digit| digit != b'0') {
                return None;
            }
            whole.to_owned()
        }
    };
    Some(if whole == "0" { whole } else { format!("{sign}{whole}") })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whole_numbers_become_integers_and_others_stay() {
        for (number, expected) in [
            ("5.0", Some("5")),
            ("5e0", Some("5")),
            ("-5.00", Some("-5")),
            ("0.5e1", Some("5")),
            ("5E+2", Some("500")),
            ("500e-2", Some("5")),
            ("-0.0", Some("0")),
            ("0e99999", Some("0")),
            ("9007199254740993.0", Some("9007199254740993")),
            ("18446744073709551615.0", Some("18446744073709551615")),
            ("5", None),
            ("-5", None),
            ("5.5", None),
            ("5e-1", None),
            ("1e400", None),
            ("1e99999999999", None),
            ("0.1", None),
        ] {
            assert_eq!(integer(number).as_deref(), expected, "{number}");
        }
    }

    #[test]
    fn strings_are_unchanged() {
        let json = r#"{"5.0":"5.0 \" 5.0","a":[5.0,-1e1,1.5,{"b":0.0}]}"#;
        assert_eq!(with_integers(json).as_deref(), Some(r#"{"5.0":"5.0 \" 5.0","a":[5,-10,1.5,{"b":0}]}"#));
        assert_eq!(with_integers(r#"["5.0", 5, "\\"]"#), None);
        assert_eq!(read::<Vec<u8>>("[5.0, 25.5e1]").unwrap(), [5, 255]);
        for bad in ["[5.5]", "[256.0]", "[-1.0]", "[1e3]"] {
            assert!(read::<Vec<u8>>(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_rewritten_text_has_the_same_numbers(numbers in prop::collection::vec("-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,4})?(e[+-]?[0-9])?", 1..6)) {
            let text = format!("[{}]", numbers.join(","));
            let read = |text: &str| serde_json::from_str::<Vec<f64>>(text).unwrap();
            if let Some(rewritten) = with_integers(&text) {
                prop_assert_eq!(read(&rewritten), read(&text));
            }
        }
    }
}
