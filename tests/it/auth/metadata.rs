//! Metadata of the protected resource (RFC 9728): the document, its places, browsers and caches.

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use mcp_http::auth::{FixedTokens, ResourceServer};
use serde_json::json;

use super::{METADATA, people, protected, resource_server};
use crate::support::{RequestExt, request};

fn get(path: &str) -> Request<Body> {
    let mut get = request(Method::GET).without("accept");
    *get.uri_mut() = path.parse().unwrap();
    get
}

/// The document is what the operator stated. A request's Host is not in it.
#[tokio::test(start_paused = true)]
async fn metadata_is_public_and_independent_of_requests() {
    let auth = resource_server(people(), |auth| {
        auth.scopes_supported(["files:read", "offline_access"])
            .name("Files")
            .authorization_server("https://b.example/t")
    });
    assert_eq!(auth.metadata_url(), METADATA);
    let app = protected(&auth, |service| service);
    let path = "/.well-known/oauth-protected-resource/mcp";
    let foreign = get(path).header("host", "evil.example").header("x-forwarded-host", "evil.example");
    for request in [get(path), foreign, get(path).header("origin", "https://app.example")] {
        let reply = app.send(request).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("cache-control"), Some("public, max-age=3600"));
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
        let expected = json!({
            "resource": "https://mcp.example.com/mcp",
            "authorization_servers": ["https://login.example.com", "https://b.example/t"],
            "scopes_supported": ["files:read"],
            "bearer_methods_supported": ["header"],
            "resource_name": "Files",
        });
        assert_eq!(reply.json().await, expected);
    }
    let mut preflight = get(path).header("origin", "https://app.example");
    *preflight.method_mut() = Method::OPTIONS;
    let reply = app.send(preflight.header("access-control-request-headers", "mcp-protocol-version")).await;
    assert_eq!((reply.status.as_u16(), reply.header("access-control-allow-origin")), (204, Some("*")));
    assert_eq!(reply.header("access-control-allow-headers"), Some("*"));
    assert_eq!(app.send(get("/.well-known/oauth-protected-resource")).await.status, 404, "not asked for");
    let mut post = get(path);
    *post.method_mut() = Method::POST;
    assert_eq!(app.send(post).await.status, 405);
}

/// The document is also at the root where that was asked for, and for a resource at the root.
#[tokio::test(start_paused = true)]
async fn the_document_can_be_at_the_root() {
    let root = "/.well-known/oauth-protected-resource";
    let app = protected(&resource_server(people(), |auth| auth.root_metadata(true)), |service| service);
    for path in [root, "/.well-known/oauth-protected-resource/mcp"] {
        assert_eq!(app.send(get(path)).await.json().await["resource"], "https://mcp.example.com/mcp", "{path}");
    }
    for resource in ["https://mcp.example.com", "https://mcp.example.com/"] {
        let auth = ResourceServer::builder(resource).authorization_server("https://login.example.com");
        let auth = auth.verifier(people()).root_metadata(true).build().unwrap();
        let app = protected(&auth, |service| service);
        assert_eq!(app.send(get(root)).await.json().await["resource"], resource);
    }
}

/// All problems are reported at once.
#[test]
fn settings_are_checked_together() {
    let error = ResourceServer::builder("http://mcp.example.com/mcp")
        .authorization_server("login.example.com")
        .scopes_supported(["a b"])
        .required_scopes(["\""])
        .max_token_bytes(0)
        .build()
        .unwrap_err();
    let settings: Vec<_> = error.settings().collect();
    let expected =
        ["authorization_server", "verifier", "scopes_supported", "required_scopes", "max_token_bytes", "resource"];
    assert_eq!(settings, expected.map(|name| format!("ResourceServer::{name}")));
    let none = ResourceServer::builder("https://mcp.example.com/mcp").verifier(FixedTokens::new()).build();
    assert_eq!(none.unwrap_err().setting(), "ResourceServer::authorization_server");
    let router: Router<u8> = resource_server(people(), |auth| auth).metadata_router();
    assert!(router.has_routes());
}
