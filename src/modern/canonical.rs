//! Decides when two JSON texts mean the same, so that what a client sends again may have its
//! members in another order.

use serde_json::Value;

/// The text of a value with the members of each object in the order of their names.
pub(super) fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            out.push(b'{');
            for (at, (name, value)) in members.into_iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                crate::message::write::string(name, out);
                out.push(b':');
                write(value, out);
            }
            out.push(b'}');
        }
        Value::Array(elements) => {
            out.push(b'[');
            for (at, element) in elements.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(element, out);
            }
            out.push(b']');
        }
        Value::String(text) => crate::message::write::string(text, out),
        plain => out.extend_from_slice(plain.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> String {
        let mut out = Vec::new();
        write(&serde_json::from_str(json).unwrap(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn order_and_blanks_do_not_count_and_everything_else_does() {
        assert_eq!(
            text(r#"{"b": [1, {"y": null, "x": "ü"}], "a": true}"#),
            text(r#"{"a":true,"b":[1,{"x":"\u00fc","y":null}]}"#)
        );
        assert_ne!(text(r#"{"a":[1,2]}"#), text(r#"{"a":[2,1]}"#));
        assert_ne!(text(r#"{"a":1}"#), text(r#"{"a":"1"}"#));
    }
}
