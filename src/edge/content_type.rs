//! The `Content-Type` and `Content-Encoding` check: the body must be plain JSON (RFC 9110, sections
//! 8.3 and 8.4; RFC 8259, section 11).
//!
//! 1. There is exactly one `Content-Type`, and it is `application/json`. This check also prevents
//!    web pages from sending a message without a CORS preflight: forms cannot send this type
//!    (Fetch, "CORS-safelisted request-header").
//! 2. Parameters are ignored, but a `charset` must be UTF-8.
//! 3. The body is not compressed. A layer that decompresses removes `Content-Encoding`.

use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderValue};
use mime::Mime;

use super::headers::{Found, Head};
use super::list;
use crate::error::Rejection;

/// Rejects a body that is not declared as plain JSON.
pub(super) fn check(head: &Head<'_>, headers: &HeaderMap) -> Result<(), Rejection> {
    if !matches!(head.content_type, Found::Once(value) if is_json(value)) {
        return Err(Rejection::UnsupportedMediaType);
    }
    if is_encoded(head.content_encoding, headers) { Err(Rejection::EncodedBody) } else { Ok(()) }
}

fn is_json(value: &HeaderValue) -> bool {
    let text = value.as_bytes();
    if text == b"application/json" || text == b"application/json; charset=utf-8" {
        return true;
    }
    let Some(parsed) = value.to_str().ok().and_then(|text| text.trim().parse::<Mime>().ok()) else { return false };
    let utf8 = |charset: mime::Name<'_>| matches!(charset.as_str(), "utf-8" | "utf8");
    parsed.essence_str() == "application/json"
        && parsed.params().all(|(name, value)| name != mime::CHARSET || utf8(value))
}

fn is_encoded(found: Found<'_>, headers: &HeaderMap) -> bool {
    if matches!(found, Found::Nowhere) {
        return false;
    }
    let mut codings = headers.get_all(CONTENT_ENCODING).iter().flat_map(|value| list::split(value.as_bytes(), b','));
    codings.any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;
    use proptest::prelude::*;

    use super::*;

    fn is_accepted(types: &[&str], encodings: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, values) in [(CONTENT_TYPE, types), (CONTENT_ENCODING, encodings)] {
            for value in values {
                headers.append(&name, HeaderValue::from_str(value).unwrap());
            }
        }
        let checked = check(&Head::read(&headers), &headers);
        assert!(matches!(checked, Ok(()) | Err(Rejection::UnsupportedMediaType | Rejection::EncodedBody)));
        checked.is_ok()
    }

    #[test]
    fn the_content_type_is_one_json_type() {
        for value in [
            // Case and white space.
            "application/json",
            "Application/JSON",
            " application/json ",
            "application/json;",
            // Parameters.
            "application/json; charset=utf-8",
            "application/json;charset=UTF-8",
            "application/json; Charset=\"Utf-8\"",
            "application/json; charset=utf8",
            "application/json; version=1; charset=utf-8",
            "application/json; q=0",
        ] {
            assert!(is_accepted(&[value], &[]), "{value}");
        }
        for value in [
            // Other types, even with similar names.
            "",
            "text/plain",
            "application/jsonp",
            "application/json-seq",
            "application/vnd.x+json",
            "text/json",
            "application/*",
            "*/*",
            "application",
            "json",
            "application/json/x",
            "application /json",
            // The types that a form can send.
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=application/json",
            "text/plain; application/json",
            "text/plain, application/json",
            // Two types in one header, even equal ones.
            "application/json, application/json",
            "application/json,text/plain",
            "application/json; charset=utf-8, text/plain",
            // Another charset, or a second one.
            "application/json; charset=utf-16",
            "application/json; charset=latin1",
            "application/json; charset=",
            "application/json; charset=utf-8; charset=utf-16",
            "application/json; charset=utf-16; charset=utf-8",
        ] {
            assert!(!is_accepted(&[value], &[]), "{value}");
        }
        assert!(!is_accepted(&[], &[]));
        assert!(!is_accepted(&["application/json", "application/json"], &[]));
        assert!(!is_accepted(&["application/json", "text/plain"], &[]));
    }

    #[test]
    fn an_encoded_body_is_rejected() {
        for (encodings, accepted) in [
            (&["identity"][..], true),
            (&["Identity, identity"], true),
            (&[""], true),
            (&["gzip"], false),
            (&["identity, gzip"], false),
            (&["identity", "br"], false),
        ] {
            assert_eq!(is_accepted(&["application/json"], encodings), accepted, "{encodings:?}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(value in "(application/json)?[ -~\t]{0,40}") {
            let _ = is_accepted(&[&value], &[&value]);
        }
    }
}
