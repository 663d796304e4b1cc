//! Patterns: parses URI templates. `{id}` matches one segment, `{+rest}` everything to the end.
//!
//! Exactly these two forms of RFC 6570 are supported. `{*rest}`, as axum's routes write it, is read
//! as `{+rest}`, which clients see. Values are percent-decoded. Literal text is compared by the
//! equivalence of RFC 3986.

use crate::error::ConfigError;
use crate::message::{canonical_part, canonical_start};

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// The form for clients.
    pub(crate) public: String,
    /// The form for the matcher.
    pub(crate) route: String,
    /// The names of its variables, in order.
    pub(crate) variables: Vec<String>,
}

impl Pattern {
    pub(crate) fn parse(template: &str) -> Result<Self, ConfigError> {
        let wrong = |why: &str| ConfigError::new("resource_template", format!("{template:?}: {why}"));
        if !has_scheme(template) {
            return Err(wrong("not a URI template with a scheme"));
        }
        let mut pattern = Self { public: String::new(), route: String::new(), variables: Vec::new() };
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let (inside, after) = after.split_once('}').ok_or_else(|| wrong("a `{` without its `}`"))?;
            if before.contains('}') {
                return Err(wrong("a `}` without its `{`"));
            }
            let (name, many) = match inside.strip_prefix(['+', '*']) {
                Some(name) => (name, true),
                None => (inside, false),
            };
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                return Err(wrong("only `{name}` and `{+name}` are supported, with a name of letters, digits and `_`"));
            }
            if pattern.variables.iter().any(|known| known == name) {
                return Err(wrong("a variable appears twice"));
            }
            let (public, route) = if many { ("+", "*") } else { ("", "") };
            pattern.public.push_str(&format!("{before}{{{public}{name}}}"));
            let before = if pattern.route.is_empty() { canonical_start(before) } else { canonical_part(before) };
            pattern.route.push_str(&format!("{before}{{{route}{name}}}"));
            pattern.variables.push(name.to_owned());
            rest = after;
        }
        if rest.contains('}') {
            return Err(wrong("a `}` without its `{`"));
        }
        if pattern.variables.is_empty() {
            return Err(wrong("without a variable it is a resource, not a template"));
        }
        pattern.public.push_str(rest);
        pattern.route.push_str(&canonical_part(rest));
        Ok(pattern)
    }
}

/// Returns the value of a variable, percent-decoded; `None` if the result is not UTF-8.
pub(crate) fn decoded(value: &str) -> Option<String> {
    if !value.contains('%') {
        return Some(value.to_owned());
    }
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        rest = match (first, after) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                bytes.push(hex(*high)? << 4 | hex(*low)?);
                after
            }
            _ => {
                bytes.push(*first);
                after
            }
        };
    }
    String::from_utf8(bytes).ok()
}

/// Returns `true` if the text starts like a URI (RFC 3986, section 3.1) and has no whitespace or
/// control characters.
pub(super) fn has_scheme(uri: &str) -> bool {
    let Some((scheme, _)) = uri.split_once(':') else { return false };
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
        && !uri.contains(|any: char| any.is_whitespace() || any.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_have_a_public_form_and_a_route() {
        let pattern = Pattern::parse("file://{host}/{*path}").unwrap();
        assert_eq!(pattern.public, "file://{host}/{+path}");
        assert_eq!(pattern.route, "file://{host}/{*path}");
        assert_eq!(pattern.variables, ["host", "path"]);
        assert_eq!(Pattern::parse("file://{host}/{+path}").unwrap(), pattern);
    }

    #[test]
    fn unsupported_templates_are_rejected() {
        for bad in ["a://b", "a://{", "a://}", "a://{x}}", "a://{}", "a://{?q}", "a://{x,y}", "a://{x}/{x}", "{x}"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_are_decoded_once() {
        let rows =
            [("a", Some("a")), ("a%20b", Some("a b")), ("%2525", Some("%25")), ("%", Some("%")), ("%zz", Some("%zz"))];
        for (value, wanted) in rows {
            assert_eq!(decoded(value).as_deref(), wanted, "{value}");
        }
        assert_eq!(decoded("%C3%BC").as_deref(), Some("ü"));
        assert_eq!(decoded("%ff"), None);
    }
}
