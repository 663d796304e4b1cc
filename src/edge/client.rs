//! Where a request comes from: the connection's address, or the one that trusted proxies name.
//!
//! 1. `X-Forwarded-For` and the `for` parameters of `Forwarded` (RFC 7239, section 5.2) are read from the right:
//!    each proxy adds the address it saw, so the rightmost one that is no trusted proxy is the client.
//! 2. Where a header that stands alone cannot be read, the request counts as the proxy's own.
//! 3. Where both headers are there, they must name the same client. A proxy that writes one of them passes the other on
//!    as its client made it up, to be counted as somebody else: such a request is refused.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, header::FORWARDED};

use super::list;
use crate::error::Rejection;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The most addresses read: longer chains of proxies do not exist.
const MAX_HOPS: usize = 16;

/// What one header says of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Nothing,
    Client(IpAddr),
    Unreadable,
}

/// The address of the client behind a connection from a trusted proxy.
pub(super) fn address(
    headers: &HeaderMap,
    proxy: IpAddr,
    is_proxy: impl Fn(&IpAddr) -> bool,
) -> Result<IpAddr, Rejection> {
    let plain = rightmost(&elements(headers, &X_FORWARDED_FOR), read, &is_proxy);
    let forwarded = rightmost(&elements(headers, &FORWARDED), read_pairs, &is_proxy);
    match (plain, forwarded) {
        (Said::Client(client), Said::Nothing) | (Said::Nothing, Said::Client(client)) => Ok(client),
        (Said::Client(client), Said::Client(same)) if client == same => Ok(client),
        (Said::Nothing | Said::Unreadable, Said::Nothing | Said::Unreadable) => Ok(proxy),
        _ => Err(Rejection::InvalidHeader("Forwarded")),
    }
}

/// The elements of a header's list.
fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a [u8]> {
    headers.get_all(name).iter().flat_map(|value| list::split(value.as_bytes(), b',')).collect()
}

/// The rightmost address that is no proxy; where all are proxies, the first of them asks for itself.
fn rightmost(elements: &[&[u8]], read: impl Fn(&[u8]) -> Said, is_proxy: impl Fn(&IpAddr) -> bool) -> Said {
    let mut last = Said::Nothing;
    let hops = elements.iter().rev().map(|element| read(element)).filter(|said| *said != Said::Nothing);
    for (count, hop) in hops.enumerate() {
        let Said::Client(address) = hop else { return Said::Unreadable };
        if count == MAX_HOPS {
            return Said::Unreadable;
        }
        last = hop;
        if !is_proxy(&address) {
            break;
        }
    }
    last
}

/// An element of `Forwarded`.
fn read_pairs(element: &[u8]) -> Said {
    let mut said = Said::Nothing;
    for pair in list::split(element, b';').filter(|pair| !pair.is_empty()) {
        match list::parameter(pair) {
            Some((name, value)) if name.eq_ignore_ascii_case(b"for") => said = read(value),
            Some(_) => {}
            None => return Said::Unreadable,
        }
    }
    said
}

/// An address as proxies write it: alone, in brackets, with a port.
fn read(text: &[u8]) -> Said {
    let text = str::from_utf8(text).unwrap_or_default();
    let address = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(address, _)| address),
        None => match text.split_once(':') {
            // With more than one colon it is IPv6 without brackets.
            Some((address, port)) if !port.contains(':') => address,
            _ => text,
        },
    };
    address.parse().map_or(Said::Unreadable, |address: IpAddr| Said::Client(address.to_canonical()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const PROXY: &str = "10.0.0.1";
    const REFUSED: &str = "refused";

    fn client(x: &[&str], forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for (name, values) in [(X_FORWARDED_FOR, x), (FORWARDED, forwarded)] {
            for value in values {
                headers.append(&name, HeaderValue::from_str(value).unwrap());
            }
        }
        let is_proxy = |address: &IpAddr| address.to_string().starts_with("10.");
        address(&headers, PROXY.parse().unwrap(), is_proxy)
            .map_or_else(|_| REFUSED.to_owned(), |client| client.to_string())
    }

    #[test]
    fn the_rightmost_address_that_is_no_proxy_is_the_client() {
        let rows: [(&[&str], &[&str], &str); 20] = [
            (&[], &[], PROXY),
            (&["192.0.2.7"], &[], "192.0.2.7"),
            (&["192.0.2.7:4711"], &[], "192.0.2.7"),
            (&["[2001:db8::1]:4711"], &[], "2001:db8::1"),
            (&["2001:db8::1"], &[], "2001:db8::1"),
            (&["::ffff:192.0.2.7"], &[], "192.0.2.7"),
            // What the client wrote is to the left of what the proxies did.
            (&["198.51.100.1, 192.0.2.7"], &[], "192.0.2.7"),
            (&["198.51.100.1", "192.0.2.7, 10.0.0.2"], &[], "192.0.2.7"),
            (&["nonsense, 192.0.2.7"], &[], "192.0.2.7"),
            // Proxies only.
            (&["10.0.0.9, 10.0.0.2"], &[], "10.0.0.9"),
            (&["192.0.2.7, unknown"], &[], PROXY),
            (&["192.0.2.7, "], &[], PROXY),
            (&[], &[r#"for="[2001:db8::1]:1";proto=https"#], "2001:db8::1"),
            (&[], &["for=198.51.100.1, For=192.0.2.7;by=_x, host=a.example"], "192.0.2.7"),
            (&[], &["for=192.0.2.7, for=_hidden"], PROXY),
            (&[], &[r#"for="192.0.2.7"#], PROXY),
            // Both, and a made-up one beside the proxy's.
            (&["192.0.2.7"], &["for=192.0.2.7"], "192.0.2.7"),
            (&["192.0.2.7"], &["for=198.51.100.1"], REFUSED),
            (&["192.0.2.7"], &["for=_hidden"], REFUSED),
            (&["unknown"], &["for=_hidden"], PROXY),
        ];
        for (x, forwarded, expected) in rows {
            assert_eq!(client(x, forwarded), expected, "{x:?} {forwarded:?}");
        }
    }

    #[test]
    fn a_chain_without_end_is_not_followed() {
        let chain = |proxies: usize| format!("192.0.2.7{}", ", 10.0.0.2".repeat(proxies));
        assert_eq!(client(&[&chain(MAX_HOPS - 1)], &[]), "192.0.2.7");
        assert_eq!(client(&[&chain(MAX_HOPS)], &[]), PROXY);
    }

    proptest! {
        #[test]
        fn reading_never_panics(value in "[ -~]{0,60}") {
            let _ = client(&[&value], &[&value]);
        }
    }
}
