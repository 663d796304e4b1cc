//! Admission: checks the head of a request.

use std::sync::Arc;

use http::HeaderMap;
use http::request::Parts;

use super::accept::{Accepts, Needs};
use super::budget::Budget;
use super::content_type;
use super::headers::{Head, McpHeaders};
use super::security::Security;
use crate::error::Rejection;

/// The settings that the edge needs.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    pub(crate) security: Security,
    pub(crate) allow: Allow,
    /// What a POST must accept: [`Needs::Json`] if the service never streams.
    pub(crate) post_needs: Needs,
    /// The byte budget of all request bodies in flight.
    pub(crate) bodies: Arc<Budget>,
}

/// The methods that are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allow {
    /// POST, GET and DELETE: the service has sessions.
    Sessions,
    /// Only POST: the service has no sessions.
    PostOnly,
}

/// A method that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Post,
    /// A method of sessions only.
    Session(SessionMethod),
}

/// A method that only sessions have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionMethod {
    Get,
    Delete,
}

/// The parsed head of an admitted request.
#[derive(Debug, Clone)]
pub(crate) struct Admitted {
    pub(crate) method: Method,
    pub(crate) headers: McpHeaders,
    /// The client accepts an event stream. Matters for services that do not always stream.
    pub(crate) takes_streams: bool,
    /// The declared length of the body.
    pub(crate) length: Option<u64>,
}

impl Allow {
    /// Returns the value of the `Allow` header.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Sessions => "GET, POST, DELETE",
            Self::PostOnly => "POST",
        }
    }

    /// Rejects a method that is not served.
    pub(crate) fn check(self, method: &http::Method) -> Result<Method, Rejection> {
        match (self, method) {
            (_, &http::Method::POST) => Ok(Method::Post),
            (Self::Sessions, &http::Method::GET) => Ok(Method::Session(SessionMethod::Get)),
            (Self::Sessions, &http::Method::DELETE) => Ok(Method::Session(SessionMethod::Delete)),
            _ => Err(Rejection::MethodNotAllowed { allow: self.as_str() }),
        }
    }
}

/// Makes the checks of this module that need no body, in their order.
pub(crate) fn admit(parts: &Parts, gate: &Gate) -> Result<Admitted, Rejection> {
    let head = Head::read(&parts.headers);
    gate.security.check(parts, &head)?;
    let method = gate.allow.check(&parts.method)?;
    let accepts = Accepts::read(head.accept, &parts.headers);
    check_media_types(&parts.headers, &head, accepts, method, gate.post_needs)?;
    let headers = McpHeaders::of(&head, &parts.headers)?;
    let length = head.content_length.first().and_then(|length| length.to_str().ok()?.parse().ok());
    Ok(Admitted { method, headers, takes_streams: accepts.sse, length })
}

fn check_media_types(
    headers: &HeaderMap,
    head: &Head<'_>,
    accepts: Accepts,
    method: Method,
    post_needs: Needs,
) -> Result<(), Rejection> {
    match method {
        Method::Post => {
            accepts.require(post_needs)?;
            content_type::check(head, headers)?;
        }
        Method::Session(SessionMethod::Get) => accepts.require(Needs::EventStream)?,
        // The response has no body.
        Method::Session(SessionMethod::Delete) => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const GATE: fn() -> Gate = || Gate {
        security: Security::new(),
        allow: Allow::Sessions,
        post_needs: Needs::Both,
        bodies: Budget::new(0, 0),
    };

    fn head(method: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri("/mcp");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn kind(method: &str, headers: &[(&str, &str)]) -> Result<Method, &'static str> {
        admit(&head(method, headers), &GATE()).map(|admitted| admitted.method).map_err(|rejected| rejected.kind())
    }

    #[test]
    fn the_first_failed_check_decides_the_rejection() {
        // All checks fail at first. Each row corrects what the previous row was rejected for.
        let wrong = [
            ("host", "evil.example"),
            ("origin", "http://evil.example"),
            ("accept", "text/html"),
            ("content-type", "text/plain"),
            ("mcp-session-id", "a"),
            ("mcp-session-id", "b"),
        ];
        let right = [
            ("host", "localhost"),
            ("origin", "http://localhost:5173"),
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
        ];
        let fixed = |n: usize| [&right[..n], &wrong[n..]].concat();
        assert_eq!(kind("PUT", &fixed(0)), Err("host_not_allowed"));
        assert_eq!(kind("PUT", &fixed(1)), Err("origin_not_allowed"));
        assert_eq!(kind("PUT", &fixed(2)), Err("method_not_allowed"));
        assert_eq!(kind("POST", &fixed(2)), Err("not_acceptable"));
        assert_eq!(kind("POST", &fixed(3)), Err("unsupported_media_type"));
        assert_eq!(kind("POST", &fixed(4)), Err("duplicate_header"));
        assert_eq!(kind("POST", &right), Ok(Method::Post));
    }

    #[test]
    fn each_method_requires_its_own_media_types() {
        let host = ("host", "localhost");
        assert_eq!(kind("GET", &[host, ("accept", "text/event-stream")]), Ok(Method::Session(SessionMethod::Get)));
        assert_eq!(kind("GET", &[host, ("accept", "application/json")]), Err("not_acceptable"));
        assert_eq!(kind("DELETE", &[host, ("accept", "text/html")]), Ok(Method::Session(SessionMethod::Delete)));
        let json = [host, ("accept", "application/json"), ("content-type", "application/json")];
        assert_eq!(kind("POST", &json), Err("not_acceptable"));
        let never_streams = Gate { post_needs: Needs::Json, ..GATE() };
        assert!(admit(&head("POST", &json), &never_streams).is_ok());
    }

    #[test]
    fn other_methods_get_the_list_of_allowed_ones() {
        for (allow, method, served) in [
            (Allow::Sessions, http::Method::OPTIONS, None),
            (Allow::Sessions, http::Method::HEAD, None),
            (Allow::Sessions, http::Method::DELETE, Some(Method::Session(SessionMethod::Delete))),
            (Allow::PostOnly, http::Method::GET, None),
            (Allow::PostOnly, http::Method::DELETE, None),
            (Allow::PostOnly, http::Method::POST, Some(Method::Post)),
        ] {
            let rejected = Rejection::MethodNotAllowed { allow: allow.as_str() };
            assert_eq!(allow.check(&method), served.ok_or(rejected), "{method}");
        }
        assert_eq!(Allow::PostOnly.as_str(), "POST");
    }
}
