//! Mismatch texts: the rejection of a header that differs from the body shows both values,
//! truncated and escaped.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use http::HeaderValue;

use crate::error::Rejection;

/// The maximum number of characters shown of each value. They are enough to recognize a name, and
/// keep the rejection of two long values short.
const MAX_SHOWN: usize = 64;

/// Returns the rejection of a header that does not repeat the body.
pub(crate) fn differs(header: impl Into<Cow<'static, str>>, stated: &str, body: Option<&str>) -> Rejection {
    let stated = Quoted(stated);
    let why = match body {
        Some(body) => format!("is {stated}, but the body says {}", Quoted(body)),
        None => format!("is {stated}, but the body says nothing of it"),
    };
    Rejection::HeaderMismatch { header: header.into(), why: why.into() }
}

/// Returns the rejection of a header that is missing, repeated or unreadable.
pub(crate) fn mismatch(header: impl Into<Cow<'static, str>>, why: &'static str) -> Rejection {
    Rejection::HeaderMismatch { header: header.into(), why: why.into() }
}

/// Returns the text of a header. Bytes that are not UTF-8 are replaced.
pub(crate) fn lossy_text(value: &HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}

/// A quoted text: its first characters, with unprintable ones escaped.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        let mut characters = self.0.chars();
        for character in characters.by_ref().take(MAX_SHOWN) {
            write!(f, "{}", character.escape_debug())?;
        }
        f.write_char('"')?;
        if characters.next().is_some() { f.write_str("..") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(stated: &str, body: Option<&str>) -> String {
        differs("Mcp-Name", stated, body).to_error().message.into_owned()
    }

    #[test]
    fn both_values_are_shortened_and_escaped() {
        assert_eq!(text("a", Some("b")), r#"Header mismatch: Mcp-Name is "a", but the body says "b""#);
        assert_eq!(text("a", None), r#"Header mismatch: Mcp-Name is "a", but the body says nothing of it"#);
        let odd = text("\u{202e}\"\n\u{0}", Some("世界 é"));
        assert_eq!(odd, "Header mismatch: Mcp-Name is \"\\u{202e}\\\"\\n\\0\", but the body says \"世界 é\"");
        let long = "x".repeat(1_000_000);
        let cut = format!("\"{}\"..", "x".repeat(64));
        assert_eq!(text(&long, Some(&long)), format!("Header mismatch: Mcp-Name is {cut}, but the body says {cut}"));
        assert!(text(&"\u{10ffff}".repeat(100), Some(&"\u{10ffff}".repeat(100))).len() < 1_500);
    }
}
