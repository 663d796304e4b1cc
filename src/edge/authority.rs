//! The `host[:port]` parser for requests and settings.
//!
//! 1. A name consists of letters, digits, `-` and `_`, in labels of at most 63 characters, 253 in
//!    all (RFC 1123, section 2.1). The underscore occurs in the names of container networks.
//! 2. If the last label of a name is a number, the name must be an IPv4 address in four plain
//!    decimals. Resolvers and filters read spellings such as `127.1`, `0x7f.1` and `0177.0.0.1`
//!    differently (WHATWG URL, "ends in a number").
//! 3. An IPv6 address is in brackets and has no zone (RFC 3986, section 3.2.2).
//! 4. A port is 1 to 65535 without leading zeros.
//! 5. In a request, an empty port counts as none (RFC 3986, section 3.2.3), and a name may end in
//!    the dot of the root. Clients send both. A setting may have neither.
//! 6. User information and percent-encoding are rejected.
//!
//! Parsing a request allocates nothing.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A host with its port, as a request names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Authority<'a> {
    pub(super) host: Host<'a>,
    pub(super) port: Option<u16>,
}

/// A host, as a request names it. A name keeps its case, and comparison ignores it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Host<'a> {
    Name(&'a [u8]),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

impl PartialEq for Host<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Name(a), Self::Name(b)) => a.eq_ignore_ascii_case(b),
            (Self::V4(a), Self::V4(b)) => a == b,
            (Self::V6(a), Self::V6(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Host<'_> {}

/// The longest name in DNS (RFC 1035, section 2.3.4), without its trailing dot.
const MAX_NAME: usize = 253;

/// The longest label of a name (RFC 1035, section 2.3.4).
const MAX_LABEL: usize = 63;

impl<'a> Authority<'a> {
    /// Parses the authority of a request.
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        let text = text.strip_suffix(b":").unwrap_or(text);
        let (host, rest) = match text {
            [b'[', inner @ ..] => {
                let end = inner.iter().position(|byte| *byte == b']')?;
                let address = std::str::from_utf8(inner.get(..end)?).ok()?;
                (Host::V6(address.parse().ok()?), inner.get(end + 1..)?)
            }
            _ => {
                let (host, rest) = text.split_at(text.iter().position(|byte| *byte == b':').unwrap_or(text.len()));
                (Host::read(host)?, rest)
            }
        };
        let port = match rest {
            [] => None,
            [b':', digits @ ..] => Some(port_number(digits)?),
            _ => return None,
        };
        Some(Self { host, port })
    }
}

impl<'a> Host<'a> {
    fn read(text: &'a [u8]) -> Option<Self> {
        if let Some(address) = plain_address(text) {
            return Some(Self::V4(address));
        }
        let text = text.strip_suffix(b".").unwrap_or(text);
        if text.eq_ignore_ascii_case(b"localhost") {
            return Some(Self::Name(text));
        }
        if text.len() > MAX_NAME || !text.split(|byte| *byte == b'.').all(is_label) {
            return None;
        }
        if text.rsplit(|byte| *byte == b'.').next().is_some_and(is_number) {
            return None;
        }
        Some(Self::Name(text))
    }

    /// Returns `true` if the host is `localhost`, in 127.0.0.0/8, or `[::1]`.
    pub(super) fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => name.eq_ignore_ascii_case(b"localhost"),
            Self::V4(address) => address.is_loopback(),
            Self::V6(address) => address.is_loopback(),
        }
    }
}

/// A pattern in a setting: the hosts and ports that it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostPattern {
    name: NamePattern,
    pub(super) port: PortPattern,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum NamePattern {
    Name(String),
    /// `.example.com`, for all its subdomains.
    Under(String),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

/// The port of the pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PortPattern {
    Unsaid,
    Any,
    Only(u16),
}

impl HostPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with the entry.
    pub(super) fn parse(entry: &str) -> Result<Self, &'static str> {
        let (entry, wildcard) = match entry.strip_suffix(":*") {
            Some(entry) => (entry, Some(PortPattern::Any)),
            None => (entry, None),
        };
        let (text, under) = match entry.strip_prefix("*.") {
            Some(text) => (text, true),
            None => (entry, false),
        };
        let end = text.find(':').unwrap_or(text.len());
        let exact = !text.ends_with(':') && !text.get(..end).unwrap_or(text).ends_with('.');
        let authority = Authority::parse(text.as_bytes()).filter(|_| exact);
        let Authority { host, port } = authority.ok_or_else(|| what_is_wrong(entry))?;
        let name = match host {
            Host::Name(_) => {
                let name = text.get(..end).unwrap_or(text).to_ascii_lowercase();
                if under { NamePattern::Under(format!(".{name}")) } else { NamePattern::Name(name) }
            }
            _ if under => return Err("is an address; only names have a wildcard"),
            Host::V4(address) => NamePattern::V4(address),
            Host::V6(address) => NamePattern::V6(address),
        };
        let port = match (wildcard, port) {
            (Some(_), Some(_)) => return Err("has two ports"),
            (Some(any), None) => any,
            (None, Some(port)) => PortPattern::Only(port),
            (None, None) => PortPattern::Unsaid,
        };
        Ok(Self { name, port })
    }

    /// Returns `true` if the pattern matches the host, regardless of the port.
    pub(super) fn names(&self, host: &Host<'_>) -> bool {
        match (&self.name, host) {
            (NamePattern::Name(name), Host::Name(host)) => host.eq_ignore_ascii_case(name.as_bytes()),
            (NamePattern::Under(suffix), Host::Name(host)) => {
                let cut = host.len().saturating_sub(suffix.len());
                cut > 0 && host.get(cut..).is_some_and(|tail| tail.eq_ignore_ascii_case(suffix.as_bytes()))
            }
            (NamePattern::V4(address), Host::V4(host)) => address == host,
            (NamePattern::V6(address), Host::V6(host)) => address == host,
            _ => false,
        }
    }

    /// Returns `true` if the pattern matches the value of a `Host` header. A value without a port
    /// means the default port of the request's scheme (RFC 9110, section 7.2). The scheme is
    /// unknown here, so both 80 and 443 match.
    pub(super) fn matches(&self, authority: &Authority<'_>) -> bool {
        let port = match (self.port, authority.port) {
            (PortPattern::Unsaid | PortPattern::Any, _) => true,
            (PortPattern::Only(port), Some(actual)) => port == actual,
            (PortPattern::Only(port), None) => matches!(port, 80 | 443),
        };
        port && self.names(&authority.host)
    }
}

fn what_is_wrong(entry: &str) -> &'static str {
    if entry == "*" {
        "is no name; to allow everything, say so with the setting named `insecure_any_..`"
    } else if entry.contains('/') {
        "has a scheme or a path too many"
    } else if !entry.is_ascii() {
        "is not ASCII; write the name as browsers send it, in punycode"
    } else if entry.parse::<Ipv6Addr>().is_ok() {
        "is an IPv6 address; it needs brackets"
    } else {
        "is no host name or address with an optional port"
    }
}

fn is_label(label: &[u8]) -> bool {
    (1..=MAX_LABEL).contains(&label.len())
        && label.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Parses an address in four plain decimals.
fn plain_address(text: &[u8]) -> Option<Ipv4Addr> {
    let is_part = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    if text.iter().all(is_part) { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

/// Returns `true` if a resolver could read the label as a number, decimal or hexadecimal.
fn is_number(label: &[u8]) -> bool {
    match label {
        [b'0', b'x' | b'X', digits @ ..] => digits.iter().all(u8::is_ascii_hexdigit),
        digits => digits.iter().all(u8::is_ascii_digit),
    }
}

fn port_number(digits: &[u8]) -> Option<u16> {
    let plain = digits.iter().all(u8::is_ascii_digit) && digits.first().is_some_and(|first| *first != b'0');
    if plain { std::str::from_utf8(digits).ok()?.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_host_has_one_spelling_or_is_unreadable() {
        let readable = [
            // Names.
            "localhost",
            "LOCALHOST:1",
            "example.com",
            "a-b.example.com:65535",
            "localhost.",
            "LocalHost.:80",
            "example.com.",
            // A colon without a port.
            "localhost:",
            "localhost.:",
            "127.0.0.1:",
            "[::1]:",
            "my_service:8080",
            "xn--bcher-kva.example",
            // Addresses.
            "127.0.0.1",
            "127.255.1.2:80",
            "[::1]",
            "[::1]:8080",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]",
            // A label of digits that is not the last.
            "1.example",
            "0x7f.example",
        ];
        for text in readable {
            assert!(Authority::parse(text.as_bytes()).is_some(), "{text}");
        }
        let unreadable = [
            // Empty, or with an empty part.
            "",
            ":",
            ":80",
            ".",
            "a..b",
            "a..",
            "localhost..",
            "localhost::",
            ".a",
            "..",
            "127.0.0.1.",
            // User information, another host behind it, a path, white space, control characters.
            "127.0.0.1@evil.example",
            "localhost:80@evil.example",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            " a",
            "a b",
            "a\t",
            "a,b",
            "http://localhost",
            "a\r\nb",
            "a\0b",
            // Percent-encoding and other alphabets.
            "%6cocalhost",
            "local%68ost",
            "b\u{fc}cher.example",
            "127\u{3002}0.0.1",
            // Ports.
            "a::",
            "a:0",
            "a:080",
            "a:65536",
            "a:99999",
            "a:-1",
            "a:+1",
            "a:1x",
            "a:1:2",
            "a:*",
            "[::1]::",
            "[::1]x",
            "[::1]80",
            // Unusual spellings of IPv4 addresses.
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f.1",
            "0x7f000001",
            "0x",
            "0177.0.0.1",
            "127.0.0.01",
            "127.0.0.256",
            "127.0.0.1.1",
            "1.2.3.4.5",
            "a.1",
            "a.0x1",
            // IPv6: no brackets, a zone, one bracket, a name inside.
            "::1",
            "[::1%lo]",
            "[::1%25lo]",
            "[::1",
            "::1]",
            "[localhost]",
            "[127.0.0.1]",
            "[[::1]]",
            "[]",
            "[v1.x]",
        ];
        for text in unreadable {
            assert_eq!(Authority::parse(text.as_bytes()), None, "{text}");
        }
        assert!(Authority::parse(&[0xff]).is_none());
        assert!(Authority::parse("a".repeat(64).as_bytes()).is_none());
        assert!(Authority::parse("a.".repeat(127).trim_end_matches('.').as_bytes()).is_some());
        assert!(Authority::parse(format!("{}b", "a.".repeat(127)).as_bytes()).is_none());
    }

    #[test]
    fn patterns_match_exactly_their_hosts() {
        let rows: [(&str, &[&str], &[&str]); 9] = [
            // Without a port: any port matches.
            (
                "example.com",
                &["example.com", "EXAMPLE.com:1", "example.com:443"],
                &["a.example.com", "xexample.com", "com"],
            ),
            // A trailing dot, or a colon without a port, is the same host.
            ("a.example.com", &["a.example.com.", "A.example.com.:1", "a.example.com:"], &["a.example.com.evil"]),
            // With a port: only that port, and no port if it is the default of a scheme.
            ("example.com:8080", &["example.com:8080"], &["example.com", "example.com:80"]),
            ("example.com:443", &["example.com:443", "example.com"], &["example.com:80"]),
            ("Example.COM:*", &["example.com", "example.com:9"], &["example.org"]),
            // One or more labels, never zero.
            (
                "*.example.com",
                &["a.example.com", "a.b.example.com:1"],
                &["example.com", "aexample.com", "a.example.com.evil"],
            ),
            ("*.example.com:1", &["a.example.com:1"], &["a.example.com:2", "a.example.com"]),
            // Addresses match by value.
            ("[::1]:8080", &["[::1]:8080", "[0::1]:8080"], &["[::1]", "[::2]:8080"]),
            ("10.0.0.1", &["10.0.0.1:1"], &["10.0.0.2", "10.0.0.1.example"]),
        ];
        for (pattern, inside, outside) in rows {
            let parsed = HostPattern::parse(pattern).unwrap();
            let matches = |text: &str| Authority::parse(text.as_bytes()).is_some_and(|it| parsed.matches(&it));
            assert!(inside.iter().all(|text| matches(text)), "{pattern}");
            assert!(!outside.iter().any(|text| matches(text)), "{pattern}");
        }
    }

    #[test]
    fn invalid_patterns_are_rejected_with_a_reason() {
        let rows = [
            ("*", "insecure_any"),
            ("*:*", "insecure_any"),
            ("http://example.com", "scheme"),
            ("example.com/", "path"),
            ("b\u{fc}cher.example", "punycode"),
            ("::1", "brackets"),
            ("*.10.0.0.1", "address"),
            ("a:1:*", "two ports"),
            ("", "no host name"),
            ("*.", "no host name"),
            ("a.*.b", "no host name"),
            ("*a.b", "no host name"),
            ("a:0", "no host name"),
            ("example.com.", "no host name"),
            ("localhost.", "no host name"),
            ("example.com.:80", "no host name"),
            ("example.com:", "no host name"),
            ("[::1]:", "no host name"),
            ("*.example.com.", "no host name"),
            ("127.1", "no host name"),
        ];
        for (entry, why) in rows {
            let error = HostPattern::parse(entry).unwrap_err();
            assert!(error.contains(why), "{entry}: {error}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80), text in "[\\[\\]:.*@%a0-9x]{0,20}") {
            let _ = Authority::parse(&bytes);
            let _ = Authority::parse(text.as_bytes());
            let _ = HostPattern::parse(&text);
        }

        #[test]
        fn a_parsed_pattern_matches_its_own_text(text in "[a-z0-9.:]{1,20}") {
            if let (Some(authority), Ok(pattern)) = (Authority::parse(text.as_bytes()), HostPattern::parse(&text)) {
                prop_assert!(pattern.matches(&authority));
            }
        }

        #[test]
        fn ipv4_parsing_agrees_with_the_standard_library(octets in any::<[u8; 4]>(), port in 1u16..) {
            let address = Ipv4Addr::from(octets);
            let text = format!("{address}:{port}");
            prop_assert_eq!(Authority::parse(text.as_bytes()), Some(Authority { host: Host::V4(address), port: Some(port) }));
        }
    }
}
