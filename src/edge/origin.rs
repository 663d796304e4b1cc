//! Origins: parses the `Origin` header, and the patterns of settings that match it.
//!
//! 1. An origin is `scheme://host[:port]`, with nothing behind it (RFC 6454, section 6.2).
//! 2. `null` is the origin of every sandboxed page and every file. It identifies no site, so a
//!    setting cannot list it.
//! 3. An omitted port is the default of the scheme: 80 for `http`, 443 for `https`.

use super::authority::{Authority, HostPattern, PortPattern};

/// An origin, as a request names it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a> {
    scheme: &'a [u8],
    authority: Authority<'a>,
}

impl<'a> Origin<'a> {
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        let at = text.windows(3).position(|window| window == b"://")?;
        let scheme = is_scheme(text.get(..at)?).then(|| text.get(..at))??;
        Some(Self { scheme, authority: Authority::parse(text.get(at + 3..)?)? })
    }

    /// Returns `true` for a web page on a loopback name.
    pub(super) fn is_loopback(&self) -> bool {
        default_port(self.scheme).is_some() && self.authority.host.is_loopback()
    }

    /// Returns `true` for a web page with exactly the host and port of the request's own host. The
    /// scheme cannot be compared: behind a proxy that terminates TLS, the server does not know its
    /// own scheme.
    pub(super) fn is_of(&self, site: &Authority<'_>) -> bool {
        let Some(default) = default_port(self.scheme) else { return false };
        self.authority.host == site.host && self.authority.port.unwrap_or(default) == site.port.unwrap_or(default)
    }
}

/// An origin, or a group of them, in a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OriginPattern {
    scheme: String,
    host: HostPattern,
}

impl OriginPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with the entry.
    pub(super) fn parse(entry: &str) -> Result<Self, &'static str> {
        if entry.eq_ignore_ascii_case("null") {
            return Err("is every sandboxed page and no site; it cannot be listed");
        }
        let (scheme, host) = match entry.split_once("://") {
            Some((scheme, host)) if is_scheme(scheme.as_bytes()) => (scheme.to_ascii_lowercase(), host),
            _ if entry == "*" => return Err("is no site; to allow every one, use the setting `insecure_any_origin`"),
            _ => return Err("has no scheme; an origin is scheme://host[:port]"),
        };
        if host.ends_with('/') {
            return Err("ends in a slash; an origin is scheme://host[:port]");
        }
        Ok(Self { scheme, host: HostPattern::parse(host)? })
    }

    pub(super) fn matches(&self, origin: &Origin<'_>) -> bool {
        let default = default_port(origin.scheme);
        let port = match self.host.port {
            PortPattern::Any => true,
            PortPattern::Unsaid => origin.authority.port.or(default) == default,
            PortPattern::Only(port) => origin.authority.port.or(default) == Some(port),
        };
        port && origin.scheme.eq_ignore_ascii_case(self.scheme.as_bytes()) && self.host.names(&origin.authority.host)
    }
}

fn default_port(scheme: &[u8]) -> Option<u16> {
    if scheme.eq_ignore_ascii_case(b"http") {
        Some(80)
    } else if scheme.eq_ignore_ascii_case(b"https") {
        Some(443)
    } else {
        None
    }
}

/// Returns `true` for a scheme of RFC 3986, section 3.1.
fn is_scheme(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_alphabetic)
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_origin_is_exactly_scheme_and_host() {
        for text in ["http://localhost", "https://a.example:8443", "chrome-extension://abcdef", "HTTP://[::1]:1"] {
            assert!(Origin::parse(text.as_bytes()).is_some(), "{text}");
        }
        for text in [
            // Not a site.
            "",
            "null",
            "*",
            "file://",
            "about:blank",
            "data:,x",
            // An incomplete site.
            "localhost",
            "//localhost",
            "http:/localhost",
            "http:localhost",
            "://localhost",
            "1http://a",
            // More than a site.
            "http://a/",
            "http://a/b",
            "http://a?b",
            "http://a#b",
            "http://u@a",
            "http://a http://b",
            "http://a, http://b",
            // An unreadable host.
            "http://127.1",
            "http://a..",
            "http://%61",
            "http://a:0",
        ] {
            assert!(Origin::parse(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn patterns_match_exactly_their_origins() {
        let rows: [(&str, &[&str], &[&str]); 5] = [
            // Without a port: the default port, written or omitted.
            (
                "https://a.example",
                &["https://a.example", "HTTPS://A.example:443"],
                &["http://a.example", "https://a.example:8443", "https://b.a.example", "https://a.example.evil"],
            ),
            ("http://a.example:8080", &["http://a.example:8080"], &["http://a.example", "https://a.example:8080"]),
            ("http://a.example:*", &["http://a.example", "http://a.example:1"], &["https://a.example"]),
            ("https://*.a.example", &["https://b.a.example"], &["https://a.example", "https://b.a.example:1"]),
            // A scheme without a default port.
            ("chrome-extension://abc", &["chrome-extension://abc"], &["http://abc", "chrome-extension://abc:1"]),
        ];
        for (pattern, inside, outside) in rows {
            let parsed = OriginPattern::parse(pattern).unwrap();
            let matches = |text: &str| Origin::parse(text.as_bytes()).is_some_and(|origin| parsed.matches(&origin));
            assert!(inside.iter().all(|text| matches(text)), "{pattern}");
            assert!(!outside.iter().any(|text| matches(text)), "{pattern}");
        }
    }

    #[test]
    fn invalid_patterns_are_rejected_with_a_reason() {
        for (entry, why) in [
            ("null", "sandboxed"),
            ("*", "insecure_any_origin"),
            ("a.example", "no scheme"),
            ("https://a.example/", "slash"),
            ("https://a.example/b", "path"),
            ("https://*", "insecure_any"),
        ] {
            let error = OriginPattern::parse(entry).unwrap_err();
            assert!(error.contains(why), "{entry}: {error}");
        }
    }

    #[test]
    fn same_site_needs_the_same_host_and_port() {
        let rows = [
            ("http://a.example", "a.example", true),
            ("https://A.example", "a.EXAMPLE", true),
            ("https://a.example", "a.example:443", true),
            ("http://a.example:8080", "a.example:8080", true),
            // Another port, another name, not a web page.
            ("https://a.example", "a.example:80", false),
            ("http://a.example:8080", "a.example", false),
            ("http://b.a.example", "a.example", false),
            ("http://127.0.0.1", "localhost", false),
            ("chrome-extension://abc", "abc", false),
        ];
        for (origin, site, expected) in rows {
            let site = Authority::parse(site.as_bytes()).unwrap();
            assert_eq!(Origin::parse(origin.as_bytes()).unwrap().is_of(&site), expected, "{origin}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80), text in "(http|a)?:?//?[:a.*0-9]{0,9}") {
            let _ = Origin::parse(&bytes);
            let _ = Origin::parse(text.as_bytes());
            let _ = OriginPattern::parse(&text);
        }
    }
}
