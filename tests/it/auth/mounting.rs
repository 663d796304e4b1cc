//! Mounting: the layer around an `McpLayer`, and rejections of requests whose body is still on its
//! way.

use axum::Router;
use axum::http::{Method, Request};
use axum::routing::get;
use mcp_http::{McpLayer, McpListener};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower::ServiceExt;

use super::{bearer, people, resource_server};
use crate::support::{RequestExt, initialize, request, service};

/// Around an `McpLayer`, the layer protects the endpoint and the routes beside it; the metadata is
/// outside.
#[tokio::test(start_paused = true)]
async fn a_layer_around_an_mcp_layer_protects_all_routes() {
    let auth = resource_server(people(), |auth| auth);
    let mcp = service().0.build().unwrap();
    let protected = Router::new().route("/home", get(async || "home")).layer(McpLayer::new(mcp)).layer(auth.layer());
    let app: Router = auth.metadata_router().fallback_service(protected);
    let opening = || request(Method::POST).message(initialize("2025-11-25", json!({})));
    let home = || Request::get("/home").body(axum::body::Body::empty()).unwrap();
    let metadata = Request::get("/.well-known/oauth-protected-resource/mcp").body(axum::body::Body::empty()).unwrap();
    let rows = [
        ("no token", opening(), 401),
        ("a token", bearer(opening(), "alice"), 200),
        ("a route without a token", home(), 401),
        ("a route with a token", bearer(home(), "alice"), 200),
        ("metadata", metadata, 200),
    ];
    for (what, request, expected) in rows {
        assert_eq!(app.clone().oneshot(request).await.unwrap().status(), expected, "{what}");
    }
}

/// A client that sends its whole body before it reads gets its challenge anyway.
#[tokio::test]
async fn a_challenge_is_readable_behind_a_large_body() {
    let auth = resource_server(people(), |auth| auth);
    let mcp = service().0.build().unwrap();
    let app = Router::new().nest("/mcp", mcp.into_router()).layer(auth.layer());
    let listener = McpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let body = vec![b' '; 8 << 20];
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: {addr}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 401") && answer.contains("connection: close"), "{answer}");
    assert!(answer.contains("www-authenticate: bearer resource_metadata="), "{answer}");
    server.abort();
}
