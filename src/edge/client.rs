//! The client's address: that of the connection, or the one that trusted proxies report.
//!
//! 1. `X-Forwarded-For` and the `for` parameters of `Forwarded` (RFC 7239, section 5.2) are read
//!    from the right. Each proxy appends the address it saw, so the rightmost address that is not a
//!    trusted proxy is the client.
//! 2. If no header names a client, because it is absent or unreadable, the request counts in the
//!    proxy's own share.
//! 3. If one of the headers names a client, the other must be absent or name the same. A proxy that
//!    writes only one of them passes the other on as its client wrote it, and the client may pose
//!    as another. Such a request is rejected.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, header::FORWARDED};

use super::list;
use crate::error::Rejection;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The maximum number of addresses that are read. Real chains of proxies are shorter.
const MAX_HOPS: usize = 16;

/// What one header says about the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Nothing,
    Client(IpAddr),
    Unreadable,
}

/// Returns the address of the client behind a trusted proxy.
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

/// Returns the elements of a list header.
fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a [u8]> {
    headers.get_all(name).iter().flat_map(|value| list::split(value.as_bytes(), b',')).collect()
}

/// Returns the rightmost address that is not a proxy. If all are proxies, the leftmost is itself
/// the client.
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

/// Reads an element of `Forwarded`.
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

/// Reads an address as proxies write it: alone, in brackets, or with a port.
fn read(text: &[u8]) -> Said {
    let text = str::from_utf8(text).unwrap_or_default();
    let address = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(address, _)| address),
        None => match text.split_once(':') {
            // More than one colon: IPv6 without brackets.
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
    const REJECTED: &str = "refused";

    fn client(x: &[&str], forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for (name, values) in [(X_FORWARDED_FOR, x), (FORWARDED, forwarded)] {
            for value in values {
                headers.append(&name, HeaderValue::from_str(value).unwrap());
            }
        }
        let is_proxy = |address: &IpAddr| address.to_string().starts_with("10.");
        address(&headers, PROXY.parse().unwrap(), is_proxy)
            .map_or_else(|_| REJECTED.to_owned(), |client| client.to_string())
    }

    #[test]
    fn the_rightmost_address_without_proxies_is_the_client() {
        let rows: [(&[&str], &[&str], &str); 20] = [
            (&[], &[], PROXY),
            (&["192.0.2.7"], &[], "192.0.2.7"),
            (&["192.0.2.7:4711"], &[], "192.0.2.7"),
            (&["[2001:db8::1]:4711"], &[], "2001:db8::1"),
            (&["2001:db8::1"], &[], "2001:db8::1"),
            (&["::ffff:192.0.2.7"], &[], "192.0.2.7"),
            // Proxies append on the right, so the client's own text is on the left.
            (&["198.51.100.1, 192.0.2.7"], &[], "192.0.2.7"),
            (&["198.51.100.1", "192.0.2.7, 10.0.0.2"], &[], "192.0.2.7"),
            (&["nonsense, 192.0.2.7"], &[], "192.0.2.7"),
            // Only proxies.
            (&["10.0.0.9, 10.0.0.2"], &[], "10.0.0.9"),
            (&["192.0.2.7, unknown"], &[], PROXY),
            (&["192.0.2.7, "], &[], PROXY),
            (&[], &[r#"for="[2001:db8::1]:1";proto=https"#], "2001:db8::1"),
            (&[], &["for=198.51.100.1, For=192.0.2.7;by=_x, host=a.example"], "192.0.2.7"),
            (&[], &["for=192.0.2.7, for=_hidden"], PROXY),
            (&[], &[r#"for="192.0.2.7"#], PROXY),
            // Both headers, and a forged one beside the proxy's.
            (&["192.0.2.7"], &["for=192.0.2.7"], "192.0.2.7"),
            (&["192.0.2.7"], &["for=198.51.100.1"], REJECTED),
            (&["192.0.2.7"], &["for=_hidden"], REJECTED),
            (&["unknown"], &["for=_hidden"], PROXY),
        ];
        for (x, forwarded, expected) in rows {
            assert_eq!(client(x, forwarded), expected, "{x:?} {forwarded:?}");
        }
    }

    #[test]
    fn a_long_proxy_chain_is_not_followed() {
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
