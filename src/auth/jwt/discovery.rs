//! Discovery: finds the keys of an authorization server by its metadata (RFC 8414, OpenID Connect
//! Discovery).

use serde::Deserialize;

use crate::auth::fetch::{FetchError, Fetcher};
use crate::auth::resource::secure;

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: Option<String>,
}

/// Returns the URL of the keys. The error says why there is none.
pub(super) async fn jwks_url(issuer: &str, fetcher: &Fetcher) -> Result<String, String> {
    for url in metadata_urls(issuer)? {
        match fetcher.get(&url).await {
            Ok(document) => return read(issuer, &document),
            Err(FetchError::Missing) => {}
            Err(FetchError::Failed(why)) => return Err(format!("its metadata cannot be fetched: {why}")),
        }
    }
    Err("it publishes no metadata; set jwks_url".to_owned())
}

fn read(issuer: &str, document: &[u8]) -> Result<String, String> {
    let metadata: Metadata = serde_json::from_slice(document).map_err(|_| "its metadata cannot be read".to_owned())?;
    // Compared as text: RFC 8414, 3.3 wants them to be identical.
    if metadata.issuer != issuer {
        return Err(format!("its metadata is of the issuer {:?}", metadata.issuer));
    }
    let url = metadata.jwks_uri.ok_or("its metadata names no jwks_uri".to_owned())?;
    let uri = secure(&url).map_err(|why| format!("its jwks_uri: {why}"))?;
    if uri.scheme_str() == Some("http") && issuer.starts_with("https:") {
        return Err("its jwks_uri is not https".to_owned());
    }
    Ok(url)
}

/// Returns the places of the metadata, in the order that the specification gives to clients.
fn metadata_urls(issuer: &str) -> Result<Vec<String>, String> {
    let uri = secure(issuer)?;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let origin = format!("{}://{authority}", uri.scheme_str().unwrap_or("https"));
    let path = uri.path().trim_end_matches('/');
    let mut urls = vec![
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
        format!("{origin}/.well-known/openid-configuration{path}"),
    ];
    if !path.is_empty() {
        urls.push(format!("{origin}{path}/.well-known/openid-configuration"));
    }
    Ok(urls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_urls_follow_the_client_order() {
        let plain = [
            "https://auth.example.com/.well-known/oauth-authorization-server",
            "https://auth.example.com/.well-known/openid-configuration",
        ];
        assert_eq!(metadata_urls("https://auth.example.com").unwrap(), plain);
        assert_eq!(metadata_urls("https://auth.example.com/").unwrap(), plain);
        let tenant = [
            "https://auth.example.com/.well-known/oauth-authorization-server/tenant1",
            "https://auth.example.com/.well-known/openid-configuration/tenant1",
            "https://auth.example.com/tenant1/.well-known/openid-configuration",
        ];
        assert_eq!(metadata_urls("https://auth.example.com/tenant1").unwrap(), tenant);
    }

    #[test]
    fn metadata_needs_its_issuer_and_safe_urls() {
        let read = |metadata: &str| read("https://i.example", metadata.as_bytes());
        let good = r#"{"issuer": "https://i.example", "jwks_uri": "https://keys.example/jwks"}"#;
        assert_eq!(read(good).unwrap(), "https://keys.example/jwks");
        for wrong in [
            r#"{"issuer": "https://i.example/", "jwks_uri": "https://keys.example/jwks"}"#,
            r#"{"issuer": "https://I.example", "jwks_uri": "https://keys.example/jwks"}"#,
            r#"{"issuer": "https://i.example"}"#,
            r#"{"issuer": "https://i.example", "jwks_uri": "http://keys.example/jwks"}"#,
            r#"{"issuer": "https://i.example", "jwks_uri": "http://127.0.0.1/jwks"}"#,
            r#"{"issuer": "https://i.example", "jwks_uri": "file:///etc/passwd"}"#,
            "[]",
            "<html>",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
