//! List headers: splits them into members and parameters (RFC 9110, sections 5.6.1 to 5.6.6).

/// Splits at a separator outside of quoted strings. An unclosed quote extends to the end.
pub(super) fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (item, after) = match find_unquoted(text, separator) {
            Some(at) => (text.get(..at)?, text.get(at + 1..)),
            None => (text, None),
        };
        rest = after;
        Some(trim(item))
    })
}

/// Parses `name=value`, where the value is a token or a quoted string. A quoted value is returned
/// without its quotes, with its escapes unchanged.
pub(super) fn parameter(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = text.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (text.get(..equals)?, text.get(equals + 1..)?);
    let value = match value {
        [b'"', inner @ ..] => unquote(inner)?,
        _ => is_token(value).then_some(value)?,
    };
    is_token(name).then_some((name, value))
}

/// Returns `true` for a token: one or more of the characters of RFC 9110, section 5.6.2.
pub(super) fn is_token(text: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(allowed)
}

/// Removes optional white space (space and tab) at both ends.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

fn find_unquoted(text: &[u8], separator: u8) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.iter().position(|byte| {
        let found = !quoted && *byte == separator;
        quoted ^= *byte == b'"' && !escaped;
        escaped = quoted && *byte == b'\\' && !escaped;
        found
    })
}

/// Returns the text before the closing quote, which must be the last character.
fn unquote(inner: &[u8]) -> Option<&[u8]> {
    let mut escaped = false;
    let end = inner.iter().position(|byte| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    })?;
    (end + 1 == inner.len()).then(|| inner.get(..end))?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn items(text: &str) -> Vec<&str> {
        split(text.as_bytes(), b',').map(|item| std::str::from_utf8(item).unwrap()).collect()
    }

    #[test]
    fn a_separator_inside_quotes_is_text() {
        assert_eq!(items("a, b\t,c"), ["a", "b", "c"]);
        assert_eq!(items(r#"a="1,2", b"#), [r#"a="1,2""#, "b"]);
        assert_eq!(items(r#"a="\",", b"#), [r#"a="\",""#, "b"]);
        assert_eq!(items(r#"a="\\", b"#), [r#"a="\\""#, "b"]);
        assert_eq!(items(r#"a=", b"#), [r#"a=", b"#]);
        assert_eq!(items(""), [""]);
        assert_eq!(items(",,"), ["", "", ""]);
    }

    #[test]
    fn parameters_have_a_token_or_quoted_value() {
        let rows: [(&str, Option<(&str, &str)>); 12] = [
            ("q=1", Some(("q", "1"))),
            (r#"host="a:1""#, Some(("host", "a:1"))),
            (r#"a="""#, Some(("a", ""))),
            (r#"a="x\"y""#, Some(("a", r#"x\"y"#))),
            // Neither a token nor a quoted string.
            ("a=", None),
            ("a=b c", None),
            (r#"a="b"#, None),
            (r#"a="b"c"#, None),
            (r#"a="b\""#, None),
            // No name, or one that is not a token.
            ("=b", None),
            ("a =b", None),
            ("a", None),
        ];
        for (text, expected) in rows {
            let expected = expected.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            assert_eq!(parameter(text.as_bytes()), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn splitting_loses_nothing_and_never_panics(text in proptest::collection::vec(any::<u8>(), 0..64)) {
            let items: usize = split(&text, b',').count();
            prop_assert!(items <= text.len() + 1);
            let _ = parameter(&text);
        }
    }
}
