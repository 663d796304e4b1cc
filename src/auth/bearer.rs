//! The token of a request: reads `Authorization: Bearer`, and nothing else (RFC 6750, 2.1).

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::rejection::AuthRejection;

/// Returns the token of a request.
pub(super) fn token<'a>(
    headers: &'a HeaderMap,
    query: Option<&str>,
    max_bytes: usize,
) -> Result<&'a str, AuthRejection> {
    let malformed = |why| Err(AuthRejection::Malformed(why));
    if query.is_some_and(|query| query.split('&').any(|pair| pair.split('=').next() == Some("access_token"))) {
        return malformed("the access token must not be part of the URL");
    }
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Err(AuthRejection::Missing) };
    if values.next().is_some() {
        return malformed("the request has more than one Authorization header");
    }
    let Some((scheme, token)) = value.as_bytes().split_at_checked("Bearer".len()) else {
        return malformed("the Authorization header must have the scheme Bearer");
    };
    if !scheme.eq_ignore_ascii_case(b"Bearer") || token.first() != Some(&b' ') {
        return malformed("the Authorization header must have the scheme Bearer");
    }
    let token = token.trim_ascii();
    if token.len() > max_bytes {
        return Err(AuthRejection::TooLong { limit: max_bytes });
    }
    match std::str::from_utf8(token) {
        Ok(text) if is_token(token) => Ok(text),
        _ => malformed("the access token has characters that no token has"),
    }
}

/// Returns `true` for a `b64token` of RFC 6750, 2.1.
fn is_token(text: &[u8]) -> bool {
    let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
    end > 0 && text[..end].iter().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(values: &[&str], query: Option<&str>) -> Result<String, AuthRejection> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        token(&headers, query, 16).map(ToOwned::to_owned)
    }

    #[test]
    fn a_token_follows_the_scheme_in_any_case() {
        for value in ["Bearer abc", "bearer abc", "BEARER abc", "Bearer   abc "] {
            assert_eq!(read(&[value], Some("a=b")).unwrap(), "abc");
        }
        assert_eq!(read(&["Bearer a-._~+/9=="], None).unwrap(), "a-._~+/9==");
        assert_eq!(read(&[], None), Err(AuthRejection::Missing));
    }

    #[test]
    fn anything_else_is_malformed() {
        let rows: [(&[&str], Option<&str>); 11] = [
            (&["Bearer a", "Bearer a"], None),
            (&["Basic YTpi"], None),
            (&["Bearer"], None),
            (&["Bearer "], None),
            (&["Bearerabc"], None),
            (&["Bearer a b"], None),
            (&["Bearer a,b"], None),
            (&["Bearer ="], None),
            (&["a"], None),
            (&["Bearer a"], Some("access_token=a")),
            (&[], Some("x=1&access_token=a")),
        ];
        for (values, query) in rows {
            assert!(matches!(read(values, query), Err(AuthRejection::Malformed(_))), "{values:?} {query:?}");
        }
        assert_eq!(read(&["Bearer aaaaaaaaaaaaaaaaa"], None), Err(AuthRejection::TooLong { limit: 16 }));
    }
}
