//! Canonical JSON: writes equal values alike, and different values differently. A client may resend
//! its parameters with members in another order, but not with any other change.
//!
//! 1. Members are written in the order of their names. Members with the same name keep their order,
//!    because readers differ in which of them they use.
//! 2. A string is written by its value, however it is escaped.
//! 3. A number is written by its digits, of which there may be more than any type holds.
//!
//! The input is known to be JSON and is read once. The memory needed is the size of the text, and a
//! few words for each member of the objects that are currently open.

use std::ops::Range;

use memchr::memchr2;

use crate::message::{RawJson, write};

/// Deeper than anything a client can send. Deeper values are compared as they are written.
const DEEPEST: usize = 256;

/// Writes a value in its canonical form. The members named in `left_out` are left out of the
/// outermost object.
pub(super) fn write(json: &RawJson, left_out: &[&str], out: &mut Vec<u8>) {
    Reader { text: json.as_str(), at: 0, depth: 0 }.value(left_out, out);
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

/// The position of a member in its object, and of its name.
struct Member {
    name: Range<usize>,
    whole: Range<usize>,
}

impl Reader<'_> {
    fn value(&mut self, left_out: &[&str], out: &mut Vec<u8>) {
        match self.seek() {
            Some(b'{' | b'[') if self.depth == DEEPEST => self.copy(self.text.len(), out),
            Some(b'{') => self.object(left_out, out),
            Some(b'[') => self.array(out),
            Some(b'"') => self.string(out),
            _ => {
                let rest = &self.text.as_bytes()[self.at..];
                let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}') || byte.is_ascii_whitespace();
                let length = rest.iter().position(ends).unwrap_or(rest.len());
                self.copy(self.at + length, out);
            }
        }
    }

    fn object(&mut self, left_out: &[&str], out: &mut Vec<u8>) {
        let start = self.open(out);
        let mut members: Vec<Member> = Vec::new();
        while self.seek() == Some(b'"') {
            let from = out.len();
            self.string(out);
            let name = from..out.len();
            out.push(b':');
            self.value(&[], out);
            out.push(b',');
            if left_out.iter().any(|left_out| out[name.start + 1..name.end - 1] == *left_out.as_bytes()) {
                out.truncate(from);
            } else {
                members.push(Member { name: from - start..name.end - start, whole: from - start..out.len() - start });
            }
        }
        if !members.is_sorted_by_key(|member| &out[start..][member.name.clone()]) {
            let unsorted = out.split_off(start);
            members.sort_by_key(|member| &unsorted[member.name.clone()]);
            for member in members {
                out.extend_from_slice(&unsorted[member.whole]);
            }
        }
        self.close(out);
    }

    fn array(&mut self, out: &mut Vec<u8>) {
        self.open(out);
        while self.seek().is_some_and(|byte| byte != b']') {
            self.value(&[], out);
            out.push(b',');
        }
        self.close(out);
    }

    fn string(&mut self, out: &mut Vec<u8>) {
        let rest = &self.text.as_bytes()[self.at..];
        let (mut end, mut escaped) = (1, false);
        while let Some(found) = rest.get(end..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
            end += found;
            if rest[end] == b'"' {
                break;
            }
            escaped = true;
            end += 2;
        }
        let whole = &self.text[self.at..(self.at + end + 1).min(self.text.len())];
        let text: Option<String> = if escaped { serde_json::from_str(whole).ok() } else { None };
        match text {
            Some(text) => write::string(&text, out),
            // An unpaired surrogate escape is no text, so it is written as it is.
            None => out.extend_from_slice(whole.as_bytes()),
        }
        self.at += whole.len();
    }

    /// Copies an opening bracket. Returns the position at which the contents begin.
    fn open(&mut self, out: &mut Vec<u8>) -> usize {
        self.depth += 1;
        self.copy(self.at + 1, out);
        out.len()
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        self.depth -= 1;
        self.copy((self.at + 1).min(self.text.len()), out);
    }

    fn copy(&mut self, end: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.text.as_bytes()[self.at..end]);
        self.at = end;
    }

    /// Skips separators and returns the next byte of a value or bracket.
    fn seek(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':')).count();
        self.text.as_bytes().get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn text(json: &str) -> String {
        let mut out = Vec::new();
        write(&RawJson::parse(json.to_owned()).unwrap(), &[], &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_order_blanks_and_escapes_are_ignored() {
        assert_eq!(
            text(r#" {"b": [1, {"y": null, "x": "ü"}], "a": true, "c/": {} } "#),
            text(r#"{"a":true,"c\/":{},"b":[1,{"x":"\u00fc","y":null}]}"#)
        );
        assert_eq!(text(r#"{"b":[1,2],"a":"x,\"y"}"#), r#"{"a":"x,\"y","b":[1,2,],}"#);
        for (one, other) in [
            (r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#),
            (r#"{"a":1}"#, r#"{"a":"1"}"#),
            (r#"{"a":1}"#, r#"{"a":1.0}"#),
            (r#"{"a":1e999}"#, r#"{"a":2e999}"#),
            ("18446744073709551617", "18446744073709551618"),
            (r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            ("[[],[]]", "[[[]]]"),
            ("[]", "{}"),
            (r#""\ud800""#, r#""\ud801""#),
            (r#""\ud800""#, r#""\\ud800""#),
            (r#"["a,b"]"#, r#"["a","b"]"#),
            (r#"{"a":{"b":1}}"#, r#"{"a":{},"b":1}"#),
        ] {
            assert_ne!(text(one), text(other));
        }
    }

    #[test]
    fn members_are_removed_at_the_top_level_only() {
        let mut out = Vec::new();
        let json = RawJson::trusted(r#"{"a":{"b":1},"\u0062":{"a":[2]},"bb":"b"}"#);
        write(&json, &["b", "c"], &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"a":{"b":1,},"bb":"b",}"#);
    }

    #[test]
    fn no_depth_is_too_deep() {
        for depth in [DEEPEST - 1, DEEPEST, DEEPEST + 1, 100_000] {
            let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth));
            assert_eq!(text(&deep("1")), text(&deep("1")));
            assert_ne!(text(&deep("1")), text(&deep("2")));
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let text = "[ab\"\\\\,:{}\u{1}ü]{0,3}";
        let leaf = prop_oneof![Just(Value::Null), any::<i32>().prop_map(Value::from), text.prop_map(Value::from)];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((text, inner), 0..4).prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    /// Reverses the members of every object, and writes every element on its own line.
    fn respelled(value: &Value) -> String {
        fn turned(value: &Value) -> Value {
            match value {
                Value::Object(members) => {
                    members.iter().rev().map(|(name, value)| (name.clone(), turned(value))).collect()
                }
                Value::Array(elements) => elements.iter().map(turned).collect(),
                plain => plain.clone(),
            }
        }
        serde_json::to_string_pretty(&turned(value)).unwrap().replace('ü', "\\u00fc")
    }

    proptest! {
        #[test]
        fn canonical_texts_are_equal_for_equal_values(one in value(), other in value()) {
            prop_assert_eq!(text(&one.to_string()), text(&respelled(&one)));
            prop_assert_eq!(text(&one.to_string()) == text(&other.to_string()), one == other);
        }
    }
}
