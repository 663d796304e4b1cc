//! Challenges: the status, the header and the quoting of each rejection, for every kind of request
//! in both eras.

use axum::body::Body;
use axum::http::{Method, Request};
use mcp_http::AccessToken;
use mcp_http::auth::{ResourceServer, TokenError, TokenVerifier};
use serde_json::json;

use super::{METADATA, bearer, people, protected, resource_server};
use crate::support::{App, Logs, RequestExt, initialize, modern, modern_call, ping, request};

fn scoped() -> ResourceServer {
    resource_server(people(), |auth| auth.scopes_supported(["files:read", "offline_access"]))
}

/// A request of each kind that an endpoint serves.
fn requests() -> Vec<(&'static str, Request<Body>)> {
    vec![
        ("initialize", request(Method::POST).message(initialize("2025-11-25", json!({})))),
        ("ping", request(Method::POST).message(ping(1))),
        ("batch", request(Method::POST).message(json!([ping(1), ping(2)]))),
        (
            "notification",
            request(Method::POST).message(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})),
        ),
        ("get", request(Method::GET).header("mcp-session-id", "0f5bd1f2-3c4e-4a6b-8c7d-9e0f1a2b3c4d")),
        ("resume", request(Method::GET).header("last-event-id", "0-1")),
        ("delete", request(Method::DELETE)),
        ("discover", modern("server/discover", json!({}))),
        ("call", modern_call("echo", json!({}))),
        ("listen", modern("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}}))),
        ("put", request(Method::PUT)),
        ("not JSON", request(Method::POST).raw("{")),
    ]
}

async fn sessions(app: &App) -> usize {
    app.handle.sessions().await.unwrap().len()
}

/// Without a token, and with a wrong one, every request is answered alike, and leaves nothing.
#[tokio::test(start_paused = true)]
async fn a_request_without_a_valid_token_is_challenged() {
    let app = protected(&scoped(), |service| service);
    let missing = format!("Bearer resource_metadata=\"{METADATA}\", scope=\"files:read\"");
    let invalid = format!(
        "Bearer resource_metadata=\"{METADATA}\", error=\"invalid_token\", error_description=\"Unauthorized: the access \
         token is not valid for this resource\", scope=\"files:read\""
    );
    for ((what, plain), (_, with_token)) in requests().into_iter().zip(requests()) {
        let reply = app.send(plain).await;
        assert_eq!((reply.status.as_u16(), reply.header("www-authenticate")), (401, Some(&*missing)), "{what}");
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert_eq!(reply.header("mcp-session-id"), None);
        let body = reply.json().await;
        assert_eq!((body["error"]["code"].as_i64(), body.get("id")), (Some(-32600), None), "{what}: {body}");
        let reply = app.send(bearer(with_token, "mallory")).await;
        assert_eq!((reply.status.as_u16(), reply.header("www-authenticate")), (401, Some(&*invalid)), "{what}");
    }
    assert_eq!(sessions(&app).await, 0);
}

/// A request that does not present its token by one header is a bad request, whatever the token is.
#[tokio::test(start_paused = true)]
async fn a_malformed_authorization_is_a_bad_request() {
    let app = protected(&scoped(), |service| service);
    let opening = || request(Method::POST).message(initialize("2025-11-25", json!({})));
    let in_url = |request: Request<Body>, query: &str| {
        let (mut parts, body) = request.into_parts();
        parts.uri = format!("/mcp?{query}").parse().unwrap();
        Request::from_parts(parts, body)
    };
    let long = "a".repeat(100 << 10);
    let rows = [
        ("two headers", bearer(opening(), "alice").and_header("authorization", "Bearer alice")),
        ("two tokens", opening().header("authorization", "Bearer alice, Bearer alice")),
        ("another scheme", opening().header("authorization", "Basic YWxpY2U6")),
        ("a token only", opening().header("authorization", "alice")),
        ("no token", opening().header("authorization", "Bearer")),
        ("not a token", opening().header("authorization", "Bearer \u{e9}")),
        ("in the URL", in_url(opening(), "access_token=alice")),
        ("in the URL, too", in_url(bearer(opening(), "alice"), "a=b&access_token=alice")),
        ("100 KB", bearer(opening(), &long)),
    ];
    for (what, request) in rows {
        let reply = app.send(request).await;
        assert_eq!(reply.status, 400, "{what}");
        let challenge = reply.header("www-authenticate").unwrap().to_owned();
        let start = format!("Bearer resource_metadata=\"{METADATA}\", error=\"invalid_request\", error_description=\"");
        assert!(challenge.starts_with(&start) && challenge.ends_with('"'), "{what}: {challenge}");
        assert!(!challenge.contains("alice") && !challenge.contains("aaaa"), "{what}: {challenge}");
    }
    assert_eq!(sessions(&app).await, 0);
    // A token in the body is none: the body is not even read.
    let form = opening().header("content-type", "application/x-www-form-urlencoded").raw("access_token=alice");
    assert_eq!(app.send(form).await.status, 401);
    let any_case = opening().header("authorization", "BEARER alice");
    assert_eq!(app.send(any_case).await.status, 200);
}

/// Says that it cannot say, as long as its authorization server is away.
struct Away;

impl TokenVerifier for Away {
    async fn verify(&self, _: &str, _: &str) -> Result<AccessToken, TokenError> {
        Err(TokenError::Unavailable("connection refused by 10.0.0.7".into()))
    }
}

/// A client would throw its token away after a 401, although the token may be valid.
#[tokio::test(start_paused = true)]
async fn unverifiable_tokens_are_not_invalid_tokens() {
    // The second verifier knows alice. The first one may know everybody else.
    let app = protected(&resource_server(Away, |auth| auth.verifier(people())), |service| service);
    let logs = Logs::capture();
    let reply = app.send(bearer(request(Method::POST).message(ping(1)), "mallory")).await;
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, Some("10")));
    assert_eq!(reply.header("www-authenticate"), None);
    let body = reply.text().await;
    assert!(!body.contains("10.0.0.7"), "{body}");
    assert!(!logs.text().contains("mallory"), "{}", logs.text());
    let opening = request(Method::POST).message(initialize("2025-11-25", json!({})));
    assert_eq!(app.send(bearer(opening, "alice")).await.status, 200);
}

/// Rejects each token in its own way, by the name of the token.
struct Rejects;

impl TokenVerifier for Rejects {
    async fn verify(&self, token: &str, _: &str) -> Result<AccessToken, TokenError> {
        match token {
            "expired" => Err(TokenError::Expired),
            "forged" => Err(TokenError::Invalid("forged".into())),
            "panics" => panic!("on purpose"),
            _ => Err(TokenError::Foreign("unknown".into())),
        }
    }
}

/// The rejection of the verifier that knows a token is final, whatever the next one would say.
#[tokio::test(start_paused = true)]
async fn the_verifier_that_knows_a_token_decides() {
    let app = protected(&resource_server(Rejects, |auth| auth.verifier(Away).verifier(people())), |service| service);
    for (token, status) in [("expired", 401), ("forged", 401), ("panics", 503), ("mallory", 503), ("alice", 400)] {
        let reply = app.send(bearer(request(Method::POST).message(ping(1)), token)).await;
        assert_eq!(reply.status, status, "{token}");
    }
}

/// States another resource as the audience.
struct OfAnother;

impl TokenVerifier for OfAnother {
    async fn verify(&self, token: &str, resource: &str) -> Result<AccessToken, TokenError> {
        let audience = match token {
            "list" => vec!["https://a.example".to_owned(), resource.to_owned()],
            "none" => vec![],
            "slash" => vec![format!("{resource}/")],
            "alias" => vec!["api://mcp".to_owned()],
            other => vec![other.to_owned()],
        };
        Ok(AccessToken::new("https://login.example.com", "alice").with_audience(audience))
    }
}

/// Whatever a verifier accepts, a token for another resource is rejected.
#[tokio::test(start_paused = true)]
async fn a_token_must_be_for_this_resource() {
    let app = protected(&resource_server(OfAnother, |auth| auth.audience("api://mcp")), |service| service);
    for (token, status) in
        [("list", 200), ("alias", 200), ("none", 401), ("slash", 401), ("https://mcp.example.com", 400), ("a", 401)]
    {
        let opening = request(Method::POST).message(initialize("2025-11-25", json!({})));
        assert_eq!(app.send(bearer(opening, token)).await.status, status, "{token}");
    }
}
