//! Forwarded hosts: the host that the client requested, as trusted proxies report it.
//!
//! 1. `X-Forwarded-Host` and the `host` parameters of `Forwarded` (RFC 7239, section 5.3) are read,
//!    in all elements.
//! 2. They must name the same host, compared without case. If two proxies disagree, the operator
//!    must configure which one counts. Guessing here would let clients bypass filters.
//! 3. A header that cannot be read is rejected, not skipped.

use http::{HeaderMap, HeaderName, header::FORWARDED};

use super::list;
use crate::error::Rejection;

const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The maximum number of names that are read. Real chains of proxies are shorter, and longer
/// headers are an attack.
const MAX_NAMES: usize = 16;

/// A host, and the header that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Named<'a> {
    pub(super) text: &'a [u8],
    /// The name of the header, for the rejection.
    pub(super) by: &'static str,
}

/// Returns the host that the proxies name; `None` if they name none.
pub(super) fn host(headers: &HeaderMap) -> Result<Option<Named<'_>>, Rejection> {
    let mut agreed = Agreed { host: None, count: 0 };
    for value in headers.get_all(X_FORWARDED_HOST) {
        for text in list::split(value.as_bytes(), b',') {
            agreed.add(Named { text, by: "X-Forwarded-Host" })?;
        }
    }
    for value in headers.get_all(FORWARDED) {
        for pair in list::split(value.as_bytes(), b',').flat_map(|element| list::split(element, b';')) {
            if pair.is_empty() {
                continue;
            }
            let (name, text) = list::parameter(pair).ok_or(Rejection::InvalidHeader("Forwarded"))?;
            if name.eq_ignore_ascii_case(b"host") {
                agreed.add(Named { text, by: "Forwarded" })?;
            }
        }
    }
    Ok(agreed.host)
}

struct Agreed<'a> {
    host: Option<Named<'a>>,
    count: usize,
}

impl<'a> Agreed<'a> {
    fn add(&mut self, named: Named<'a>) -> Result<(), Rejection> {
        self.count += 1;
        let differs = self.host.is_some_and(|host| !host.text.eq_ignore_ascii_case(named.text));
        if differs || self.count > MAX_NAMES {
            return Err(Rejection::InvalidHeader(named.by));
        }
        self.host = self.host.or(Some(named));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn read(x: &[&str], forwarded: &[&str]) -> Result<Option<String>, Rejection> {
        let mut headers = HeaderMap::new();
        for (name, values) in [(X_FORWARDED_HOST, x), (FORWARDED, forwarded)] {
            for value in values {
                headers.append(&name, HeaderValue::from_str(value).unwrap());
            }
        }
        host(&headers).map(|named| named.map(|named| String::from_utf8(named.text.to_vec()).unwrap()))
    }

    #[test]
    fn headers_of_proxies_must_agree() {
        type Expected = Result<Option<&'static str>, &'static str>;
        let rows: [(&[&str], &[&str], Expected); 13] = [
            (&[], &[], Ok(None)),
            (&["a.example"], &[], Ok(Some("a.example"))),
            (&[], &["for=1.2.3.4"], Ok(None)),
            (&[], &["for=1.2.3.4;Host=a.example;proto=https"], Ok(Some("a.example"))),
            (&[], &[r#"host="a.example:8080";;by=_x"#], Ok(Some("a.example:8080"))),
            // The same host twice.
            (&["a.example, A.example"], &["host=a.example"], Ok(Some("a.example"))),
            (&[], &["for=1, host=a.example", "host=a.example"], Ok(Some("a.example"))),
            // Two hosts.
            (&["a.example, b.example"], &[], Err("X-Forwarded-Host")),
            (&["a.example", "b.example"], &[], Err("X-Forwarded-Host")),
            (&["a.example"], &["host=b.example"], Err("Forwarded")),
            (&[], &["host=a.example, host=b.example"], Err("Forwarded")),
            // Unreadable: a port must be quoted here.
            (&[], &["host=a.example:8080"], Err("Forwarded")),
            (&[], &[r#"host="a.example"#], Err("Forwarded")),
        ];
        for (x, forwarded, expected) in rows {
            let expected = expected.map(|host| host.map(str::to_owned)).map_err(Rejection::InvalidHeader);
            assert_eq!(read(x, forwarded), expected, "{x:?} {forwarded:?}");
        }
    }

    #[test]
    fn a_long_proxy_chain_is_rejected() {
        assert!(read(&[&["a"; MAX_NAMES].join(",")], &[]).is_ok());
        assert!(read(&[&["a"; MAX_NAMES + 1].join(",")], &[]).is_err());
    }

    proptest! {
        #[test]
        fn reading_never_panics(value in "[ -~]{0,60}") {
            let _ = read(&[&value], &[&value]);
        }
    }
}
