//! URIs of resources, compared by the equivalence of RFC 3986 (section 6.2.2).
//!
//! 1. A character that is not allowed in a URI, such as one outside of ASCII, equals its
//!    percent-encoded UTF-8 (RFC 3987, section 3.1). So does an unreserved one (`%7E`, `~`).
//! 2. The case of hexadecimal digits and of the scheme does not matter. The case of a host matters
//!    for schemes other than `http` and `https`, where servers use the host for names of their own.
//! 3. `http` and `https` have `/` for a missing path, and a default port (section 6.2.3).
//! 4. A `%` that starts no encoded byte is a literal one, the same as `%25`.
//! 5. Dots in paths are not resolved: the handler decides what they lead to.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize, Serializer};

/// The URI of a resource in its original spelling. Two of them are equal if RFC 3986 says so.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Box<str>", into = "Box<str>")]
pub(crate) struct ResourceUri {
    written: Box<str>,
    /// The form for comparison, if it differs.
    canonical: Option<Box<str>>,
}

impl ResourceUri {
    pub(crate) fn new(written: impl Into<Box<str>>) -> Self {
        let written = written.into();
        let canonical = match canonical(&written) {
            Cow::Borrowed(_) => None,
            Cow::Owned(other) => Some(other.into()),
        };
        Self { written, canonical }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.written
    }

    /// Returns the form for comparison.
    pub(crate) fn canonical(&self) -> &str {
        self.canonical.as_deref().unwrap_or(&self.written)
    }
}

impl PartialEq for ResourceUri {
    fn eq(&self, other: &Self) -> bool {
        self.canonical() == other.canonical()
    }
}

impl Eq for ResourceUri {}

impl Hash for ResourceUri {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.canonical().hash(state);
    }
}

impl From<Box<str>> for ResourceUri {
    fn from(written: Box<str>) -> Self {
        Self::new(written)
    }
}

impl From<ResourceUri> for Box<str> {
    fn from(uri: ResourceUri) -> Self {
        uri.written
    }
}

/// Returns the form in which URIs are compared.
pub(crate) fn canonical(uri: &str) -> Cow<'_, str> {
    written(uri, true)
}

/// Returns that form of the literal text at the start of a template.
pub(crate) fn canonical_start(text: &str) -> Cow<'_, str> {
    written(text, false)
}

/// Returns that form of other literal text of a template.
pub(crate) fn canonical_part(text: &str) -> Cow<'_, str> {
    if text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    encode(text, &mut out);
    Cow::Owned(out)
}

/// Returns a URI as the protocol's schemas require it: characters outside of ASCII are
/// percent-encoded.
pub(crate) fn ascii(uri: &str) -> Cow<'_, str> {
    if uri.is_ascii() { Cow::Borrowed(uri) } else { canonical(uri) }
}

/// Serializes a URI in the form of [`ascii`].
pub(crate) fn serialize_ascii<S: Serializer>(uri: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&ascii(uri))
}

fn written(uri: &str, is_whole: bool) -> Cow<'_, str> {
    let Some((scheme, rest)) = uri.split_once(':') else { return canonical_part(uri) };
    let is_web = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    if !is_web && rest.bytes().all(is_plain) && !scheme.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Borrowed(uri);
    }
    let mut out = scheme.to_ascii_lowercase();
    let default_port = if out == "http" { ":80" } else { ":443" };
    out.push(':');
    match rest.strip_prefix("//").filter(|_| is_web) {
        None => encode(rest, &mut out),
        Some(rest) => {
            let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
            let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
            out.push_str("//");
            if let Some(user) = user {
                encode(user, &mut out);
                out.push('@');
            }
            let mut host = host;
            // Repeated until nothing changes, so that the canonical form of a malformed authority
            // is stable too.
            while let Some(shorter) = host.strip_suffix(default_port).or_else(|| host.strip_suffix(':')) {
                host = shorter;
            }
            let from = out.len();
            encode(host, &mut out);
            lowercase(&mut out, from);
            if is_whole && !path.starts_with('/') {
                out.push('/');
            }
            encode(path, &mut out);
        }
    }
    if out == uri { Cow::Borrowed(uri) } else { Cow::Owned(out) }
}

/// Returns `true` if a byte is the same in every spelling.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'%' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
}

fn encode(text: &str, out: &mut String) {
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let encoded = match after {
            [high, low, after @ ..] if *first == b'%' => digit(*high).zip(digit(*low)).map(|pair| (pair, after)),
            _ => None,
        };
        if let Some(((high, low), after)) = encoded {
            let byte = high << 4 | low;
            rest = after;
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                out.push(char::from(byte));
            } else {
                percent(byte, out);
            }
        } else if is_plain(*first) {
            out.push(char::from(*first));
        } else {
            percent(*first, out);
        }
    }
}

/// Lowercases the letters of a host, except the digits of its percent-encoded bytes.
fn lowercase(text: &mut String, from: usize) {
    let host = text.split_off(from);
    for (at, part) in host.split('%').enumerate() {
        let (digits, letters) = part.split_at(if at == 0 { 0 } else { part.len().min(2) });
        if at > 0 {
            text.push('%');
        }
        text.push_str(digits);
        text.extend(letters.chars().map(|letter| letter.to_ascii_lowercase()));
    }
}

fn percent(byte: u8, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |half: u8| char::from(DIGITS[usize::from(half & 0xF)]);
    out.extend(['%', digit(byte >> 4), digit(byte)]);
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn uris_are_equal_by_rfc_3986() {
        for (one, other, expected) in [
            ("docs://über", "docs://%C3%BCber", true),
            ("docs://%c3%bcber", "docs://%C3%BCber", true),
            ("docs://a%7Eb%41", "docs://a~bA", true),
            ("DOCS://a", "docs://a", true),
            ("docs://a\"b", "docs://a%22b", true),
            ("https://EXAMPLE.com", "https://example.com/", true),
            ("https://example.com:443/a?b", "https://example.com/a?b", true),
            ("http://example.com:80?b", "http://example.com/?b", true),
            ("http://me@Example.com:8080/A", "http://me@example.com:8080/A", true),
            ("docs://a%2Fb", "docs://a/b", false),
            ("docs://Readme", "docs://readme", false),
            ("docs://a%", "docs://a%25", true),
            ("docs://a/../b", "docs://b", false),
            ("http://a/B", "http://a/b", false),
            ("urn:Ä", "urn:%C3%84", true),
        ] {
            assert_eq!(ResourceUri::new(one) == ResourceUri::new(other), expected, "{one} {other}");
        }
        assert!(matches!(canonical("docs://readme"), Cow::Borrowed(_)));
        assert!(matches!(canonical("https://example.com/a"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn canonical_forms_are_stable(uri in "(http|docs)://[a-zA-ZäÖ%0-9:@{}\" ~/.?]{0,20}") {
            let once = canonical(&uri).into_owned();
            prop_assert_eq!(canonical(&once), once.as_str());
            prop_assert!(once.is_ascii());
        }
    }
}
