//! Claims: reads the members that authorization servers use for scopes, client and expiry.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use crate::auth::verifier::TokenError;
use crate::identity::AccessToken;

/// Returns the access token of verified claims.
pub(super) fn access_token(
    issuer: &str,
    claims: Map<String, Value>,
    leeway: Duration,
) -> Result<AccessToken, TokenError> {
    // The library also accepts a list that contains the issuer.
    if text(&claims, "iss") != Some(issuer) {
        return Err(TokenError::invalid("it has another issuer"));
    }
    if claims.contains_key("cnf") {
        return Err(TokenError::invalid("it is bound to a key of its client, which is not checked here"));
    }
    let expires_at = expiry(&claims).and_then(|expiry| expiry.checked_add(leeway));
    let subject =
        text(&claims, "sub").filter(|subject| !subject.is_empty()).ok_or(TokenError::invalid("it has no subject"))?;
    let mut token = AccessToken::new(issuer, subject)
        .with_scopes(scopes(&claims))
        .with_audience(audience(&claims))
        .with_expiry(expires_at.ok_or(TokenError::invalid("its expiry cannot be read"))?);
    // RFC 9068; OpenID Connect; Okta; version 1 of Entra.
    if let Some(client) = ["client_id", "azp", "cid", "appid"].iter().find_map(|name| text(&claims, name)) {
        token = token.with_client_id(client);
    }
    Ok(token.with_claims(claims))
}

pub(in crate::auth) fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name)?.as_str()
}

/// Returns the scopes: `scope` of RFC 9068, or `scp` as Entra (text) and Okta (list) write it.
pub(in crate::auth) fn scopes(claims: &Map<String, Value>) -> Vec<String> {
    match claims.get("scope").or_else(|| claims.get("scp")) {
        Some(Value::String(scopes)) => scopes.split(' ').filter(|scope| !scope.is_empty()).map(Into::into).collect(),
        Some(Value::Array(scopes)) => scopes.iter().filter_map(Value::as_str).map(Into::into).collect(),
        _ => Vec::new(),
    }
}

/// Returns the audience, which may be a text or a list.
pub(in crate::auth) fn audience(claims: &Map<String, Value>) -> Vec<String> {
    match claims.get("aud") {
        Some(Value::String(audience)) => vec![audience.clone()],
        Some(Value::Array(audience)) => audience.iter().filter_map(Value::as_str).map(Into::into).collect(),
        _ => Vec::new(),
    }
}

/// Returns the moment of `exp`, which may have a fraction.
pub(in crate::auth) fn expiry(claims: &Map<String, Value>) -> Option<SystemTime> {
    let seconds = claims.get("exp")?;
    let since = match seconds.as_u64() {
        Some(seconds) => Duration::from_secs(seconds),
        None => Duration::try_from_secs_f64(seconds.as_f64()?).ok()?,
    };
    SystemTime::UNIX_EPOCH.checked_add(since)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(claims: &Value) -> Result<AccessToken, TokenError> {
        access_token("https://i", claims.as_object().unwrap().clone(), Duration::from_secs(30))
    }

    #[test]
    fn claims_of_several_servers_are_read() {
        let base = |more: Value| {
            let mut claims = json!({"iss": "https://i", "sub": "s", "exp": 100, "aud": "a"});
            claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            read(&claims).unwrap()
        };
        let rows = [
            (json!({"scope": "a b", "client_id": "c"}), vec!["a", "b"], Some("c")),
            (json!({"scp": "a b", "appid": "c"}), vec!["a", "b"], Some("c")),
            (json!({"scp": ["a", "b"], "cid": "c", "aud": ["x", "a"]}), vec!["a", "b"], Some("c")),
            (json!({"scope": "", "azp": "c"}), vec![], Some("c")),
            (json!({"exp": 100.0}), vec![], None),
        ];
        for (claims, scopes, client) in rows {
            let token = base(claims.clone());
            assert_eq!(token.scopes().collect::<Vec<_>>(), scopes, "{claims}");
            assert_eq!(token.client_id(), client);
            assert!(token.audience().iter().any(|audience| audience == "a"));
            assert_eq!(token.expires_at(), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(130)));
        }
    }

    #[test]
    fn claims_must_name_one_owner() {
        for claims in [
            json!({"iss": ["https://i"], "sub": "s", "exp": 100}),
            json!({"iss": "https://i/", "sub": "s", "exp": 100}),
            json!({"iss": "https://i", "sub": "", "exp": 100}),
            json!({"iss": "https://i", "exp": 100}),
            json!({"iss": "https://i", "sub": 7, "exp": 100}),
            json!({"iss": "https://i", "sub": "s"}),
            json!({"iss": "https://i", "sub": "s", "exp": -1}),
            json!({"iss": "https://i", "sub": "s", "exp": 1e300}),
            json!({"iss": "https://i", "sub": "s", "exp": u64::MAX}),
            json!({"iss": "https://i", "sub": "s", "exp": 100, "cnf": {"jkt": "x"}}),
        ] {
            assert!(read(&claims).is_err(), "{claims}");
        }
    }
}
