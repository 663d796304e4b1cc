//! Introspection: tokens that only their authorization server can read.

use std::time::Duration;

use axum::http::Method;
use mcp_http::auth::{Introspection, IntrospectionBuilder};
use serde_json::{Value, json};

use super::authorization_server::{AuthorizationServer, Mood, SLOW_MACHINE, TIMEOUT, seconds};
use super::{RESOURCE, bearer, protected, resource_server};
use crate::support::{App, RequestExt, initialize, request};

fn app(server: &AuthorizationServer, change: impl FnOnce(IntrospectionBuilder) -> IntrospectionBuilder) -> App {
    let builder = Introspection::builder(&server.issuer, format!("{}/introspect", server.issuer));
    let verifier = change(builder.client_secret("mcp server", "a:b").timeout(SLOW_MACHINE)).build().unwrap();
    protected(&resource_server(verifier, |auth| auth), |service| service)
}

async fn status(app: &App, token: &str) -> u16 {
    let opening = request(Method::POST).message(initialize("2025-11-25", json!({})));
    app.send(bearer(opening, token)).await.status.as_u16()
}

#[expect(clippy::needless_pass_by_value, reason = "callers write json!(..) in place")]
fn active(more: Value) -> Value {
    let mut claims = json!({"active": true, "sub": "alice", "client_id": "cli", "aud": RESOURCE, "exp": seconds(300)});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

/// The response decides, and is remembered for a while.
#[tokio::test]
async fn tokens_are_valid_as_introspection_reports() {
    let server = AuthorizationServer::new(&[]).await;
    let app = app(&server, |introspection| introspection);
    let rows = [
        ("good", active(json!({})), 200),
        ("issuer", active(json!({"iss": server.issuer})), 200),
        ("machine", active(json!({"sub": null})), 200),
        ("inactive", active(json!({"active": false})), 401),
        ("text", active(json!({"active": "true"})), 401),
        ("other-issuer", active(json!({"iss": "https://evil.example"})), 401),
        ("other-audience", active(json!({"aud": ["https://a.example"]})), 401),
        ("no-audience", active(json!({"aud": null})), 401),
        ("expired", active(json!({"exp": seconds(-5)})), 401),
        ("bound", active(json!({"cnf": {}})), 401),
        ("nobody", active(json!({"sub": null, "client_id": null})), 401),
    ];
    for (token, claims, _) in &rows {
        server.issue(token, claims.clone());
    }
    for (token, _, expected) in &rows {
        assert_eq!(status(&app, token).await, *expected, "{token}");
    }
    assert_eq!(status(&app, "unknown").await, 401);
    let asked = server.count("/introspect");
    assert_eq!(status(&app, "good").await, 200);
    assert_eq!(server.count("/introspect"), asked, "it is remembered");
    let (authorization, form) = server.forms().remove(0);
    // "mcp%20server:a%3Ab" (RFC 6749, 2.3.1).
    assert_eq!(authorization, "Basic bWNwJTIwc2VydmVyOmElM0Fi");
    assert_eq!(form, "token=good&token_type_hint=access_token");
}

/// A withdrawn token is rejected once the time is over.
#[tokio::test]
async fn a_withdrawn_token_is_forgotten() {
    let server = AuthorizationServer::new(&[]).await;
    server.issue("t", active(json!({})));
    let app = app(&server, |introspection| introspection.remember_for(Duration::ZERO));
    assert_eq!(status(&app, "t").await, 200);
    server.issue("t", json!({"active": false}));
    assert_eq!(status(&app, "t").await, 401);
}

/// A server that does not respond, or not as it should, makes tokens unavailable.
#[tokio::test]
async fn misbehaving_servers_count_as_unavailable() {
    let server = AuthorizationServer::new(&[]).await;
    server.issue("t", active(json!({})));
    let app = app(&server, |introspection| {
        introspection.insecure_accept_without_audience(true).max_requests(1).timeout(TIMEOUT)
    });
    for mood in [Mood::Redirects, Mood::Slow, Mood::Huge, Mood::HugeUntold, Mood::Fails, Mood::NotJson] {
        server.set_mood(mood);
        assert_eq!(status(&app, "t").await, 503, "{mood:?}");
    }
    server.set_mood(Mood::Slow);
    let (first, second) = tokio::join!(status(&app, "t"), status(&app, "u"));
    assert_eq!((first, second, server.forms().len()), (503, 503, 0));
    server.set_mood(Mood::Good);
    server.issue("t", active(json!({"aud": null})));
    assert_eq!(status(&app, "t").await, 200);
}

/// An endpoint that anybody may ask would tell strangers which tokens are valid.
#[test]
fn an_endpoint_needs_credentials_and_https() {
    let error = Introspection::builder("https://i.example", "http://i.example/introspect").build().unwrap_err();
    let expected = ["Introspection::endpoint", "Introspection::client_secret"];
    assert_eq!(error.settings().collect::<Vec<_>>(), expected);
}
