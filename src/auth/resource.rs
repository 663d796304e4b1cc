//! The protected resource: its identifier (RFC 8707), and the address of its metadata (RFC 9728).

use std::net::IpAddr;

use http::Uri;

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// A resource identifier that was checked.
#[derive(Debug, Clone)]
pub(super) struct Resource {
    text: String,
    /// Scheme and authority.
    origin: String,
    /// The path without a trailing slash; empty for a resource at the root.
    path: String,
}

impl Resource {
    /// Parses an identifier. The error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let uri = secure(text)?;
        if uri.query().is_some() {
            return Err(format!("{text:?} has a query; a resource identifier should have none"));
        }
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let scheme = uri.scheme_str().unwrap_or_default();
        let origin = format!("{scheme}://{authority}");
        let default_port = if scheme == "https" { ":443" } else { ":80" };
        if !text.starts_with(&origin) || authority.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(format!("write scheme and host of {text:?} in lower case, as clients do"));
        }
        if authority.ends_with(default_port) {
            return Err(format!("leave out the port {default_port} in {text:?}, as clients do"));
        }
        let path = uri.path().trim_end_matches('/').to_owned();
        if path.contains(['{', '}', '"', '\\']) {
            return Err(format!("the path of {text:?} has a character that a URL must encode"));
        }
        Ok(Self { text: text.to_owned(), origin, path })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns `true` if an audience names this resource. For a resource at the root of its origin,
    /// the forms with and without the slash are the same URL, and clients send either.
    pub(super) fn is(&self, audience: &str) -> bool {
        audience == self.text || (self.path.is_empty() && audience.strip_suffix('/').unwrap_or(audience) == self.origin)
    }

    /// Returns the path of the metadata document.
    pub(super) fn metadata_path(&self) -> String {
        format!("{WELL_KNOWN}{}", self.path)
    }

    /// Returns the path at the root, which clients try last.
    pub(super) fn root_path() -> &'static str {
        WELL_KNOWN
    }

    /// Returns the URL of the metadata document.
    pub(super) fn metadata_url(&self) -> String {
        format!("{}{}", self.origin, self.metadata_path())
    }
}

/// Parses a URL that must be `https`, or `http` to a loopback name. It may have no user info and no
/// fragment.
pub(super) fn secure(text: &str) -> Result<Uri, String> {
    if !text.is_ascii() {
        return Err(format!("{text:?} has characters that a URL must encode"));
    }
    if text.contains('#') {
        return Err(format!("{text:?} has a fragment"));
    }
    let uri: Uri = text.parse().map_err(|_| format!("{text:?} is not a URL"))?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(format!("{text:?} is not an absolute URL"));
    };
    if authority.as_str().contains('@') {
        return Err("the URL has user info".to_owned());
    }
    match scheme {
        "https" => Ok(uri),
        "http" if is_loopback(authority.host()) => Ok(uri),
        _ => Err(format!("{text:?} must be https, or http on a loopback name")),
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_urls_contain_the_resource_path() {
        let rows = [
            ("https://mcp.example.com/mcp", "https://mcp.example.com/.well-known/oauth-protected-resource/mcp"),
            ("https://mcp.example.com", "https://mcp.example.com/.well-known/oauth-protected-resource"),
            ("https://mcp.example.com/", "https://mcp.example.com/.well-known/oauth-protected-resource"),
            ("https://x.example:8443/a/mcp/", "https://x.example:8443/.well-known/oauth-protected-resource/a/mcp"),
            ("http://127.0.0.1:3000/mcp", "http://127.0.0.1:3000/.well-known/oauth-protected-resource/mcp"),
            ("http://[::1]:3000/mcp", "http://[::1]:3000/.well-known/oauth-protected-resource/mcp"),
        ];
        for (resource, url) in rows {
            assert_eq!(Resource::parse(resource).unwrap().metadata_url(), url);
        }
    }

    #[test]
    fn resources_must_be_in_normal_form() {
        let wrong = [
            "mcp.example.com",
            "/mcp",
            "http://mcp.example.com/mcp",
            "http://localhost.example/mcp",
            "https://mcp.example.com/mcp#a",
            "https://mcp.example.com/mcp?a=b",
            "https://user@mcp.example.com/mcp",
            "https://MCP.example.com/mcp",
            "HTTPS://mcp.example.com/mcp",
            "https://mcp.example.com:443/mcp",
            "https://mcp.example.com/{id}",
            "ftp://mcp.example.com/mcp",
            "https://mcp.example.com/m\u{fc}",
            "",
        ];
        for text in wrong {
            assert!(Resource::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn audiences_match_exactly_except_a_root_slash() {
        let deep = Resource::parse("https://mcp.example.com/mcp").unwrap();
        assert!(deep.is("https://mcp.example.com/mcp"));
        for other in ["https://mcp.example.com/mcp/", "https://mcp.example.com", "https://mcp.example.com/MCP", ""] {
            assert!(!deep.is(other), "{other}");
        }
        for text in ["https://mcp.example.com", "https://mcp.example.com/"] {
            let root = Resource::parse(text).unwrap();
            assert!(root.is("https://mcp.example.com") && root.is("https://mcp.example.com/"));
            assert!(!root.is("https://mcp.example.com//") && !root.is("https://mcp.example.com/mcp"));
        }
    }
}
