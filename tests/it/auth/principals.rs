//! Principals of tokens: sessions belong to issuer, client and subject, whatever token is presented.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::Method;
use mcp_http::{AccessToken, Context, McpServer, McpService};
use serde_json::json;

use super::{bearer, people, resource_server};
use crate::support::{App, Client, RequestExt, initialize, modern_call, ping, text_of};

async fn whoami(cx: Context, token: AccessToken) -> String {
    let principal = cx.principal().map(ToString::to_string).unwrap_or_default();
    format!("{principal} {}", token.scopes().collect::<Vec<_>>().join("+"))
}

async fn maybe(token: Option<AccessToken>) -> String {
    token.map_or_else(|| "anonymous".to_owned(), |token| token.subject().to_owned())
}

fn server() -> McpServer {
    McpServer::new("members", "1").tool("whoami", "Names the caller.", whoami).tool("maybe", "Names the caller.", maybe)
}

fn app() -> App {
    let auth = resource_server(people(), |auth| auth);
    App::of(McpService::builder(server())).layered(|router| router.layer(auth.layer()))
}

async fn open(app: &App, token: &str) -> Client {
    let opening = crate::support::request(Method::POST).message(initialize("2025-11-25", json!({})));
    let reply = app.send(bearer(opening, token)).await;
    let session = reply.header("mcp-session-id").unwrap().to_owned();
    Client { app: app.clone(), session, version: "2025-11-25".to_owned(), principal: None }
}

/// Another valid token of the same principal uses the session; a token of another principal finds
/// none.
#[tokio::test(start_paused = true)]
async fn sessions_belong_to_their_tokens_principal() {
    let app = app();
    let client = open(&app, "alice").await;
    let ask = |token: &str| bearer(client.request(Method::POST).message(ping(1)), token);
    for (token, status) in [("alice", 200), ("alice-too", 200), ("bob", 404), ("eve", 404), ("mallory", 401)] {
        assert_eq!(app.send(ask(token)).await.status, status, "{token}");
    }
    for (method, last_event) in [(Method::GET, Some("0-1")), (Method::GET, None), (Method::DELETE, None)] {
        let mut request = client.request(method);
        if let Some(last_event) = last_event {
            request = request.header("last-event-id", last_event);
        }
        assert_eq!(app.send(bearer(request, "bob")).await.status, 404);
    }
    assert_eq!(app.send(bearer(client.request(Method::DELETE), "alice-too")).await.status, 200);
}

/// Handlers of both eras see the token of their own request.
#[tokio::test(start_paused = true)]
async fn the_token_is_an_extractor() {
    let app = app();
    let alice = "[\"https://login.example.com\",\"cli\",\"alice\"]";
    let client = open(&app, "alice").await;
    for (token, scopes) in [("alice", "files:read+files:write"), ("alice-too", "files:read")] {
        let call = crate::support::call(1, "whoami", json!({}));
        let reply = app.send(bearer(client.request(Method::POST).message(call), token)).await;
        assert_eq!(text_of(reply).await, format!("{alice} {scopes}"));
        let reply = app.send(bearer(modern_call("whoami", json!({})), token)).await;
        assert_eq!(text_of(reply).await, format!("{alice} {scopes}"));
    }
    let open_to_all = App::of(McpService::builder(server()));
    assert_eq!(text_of(open_to_all.call_tool("maybe", json!({})).await).await, "anonymous");
    let refused = open_to_all.call_tool("whoami", json!({})).await.message().await;
    assert_eq!(refused["result"]["isError"], true, "{refused}");
    assert_eq!(text_of(app.send(bearer(modern_call("maybe", json!({})), "bob")).await).await, "bob");
}

/// A principal that was shut out does not come back with a token that is still valid.
#[tokio::test(start_paused = true)]
async fn a_remembered_token_can_be_rejected() {
    let shut_out = Arc::new(AtomicBool::new(false));
    let known = Arc::clone(&shut_out);
    let auth = resource_server(people(), |auth| {
        auth.accept_if(move |token| token.subject() != "alice" || !known.load(Ordering::Relaxed))
    });
    let app = App::of(McpService::builder(server())).layered(|router| router.layer(auth.layer()));
    let (alice, bob) = (open(&app, "alice").await, open(&app, "bob").await);
    let ping_of = |client: &Client, token: &str| bearer(client.request(Method::POST).message(ping(1)), token);
    assert_eq!(app.send(ping_of(&alice, "alice")).await.status, 200);
    shut_out.store(true, Ordering::Relaxed);
    for request in [ping_of(&alice, "alice"), ping_of(&alice, "alice-too"), bearer(alice.request(Method::GET), "alice")]
    {
        let reply = app.send(request).await;
        assert_eq!(reply.status, 401);
        assert!(reply.header("www-authenticate").unwrap().contains("invalid_token"));
    }
    assert_eq!(app.send(ping_of(&bob, "bob")).await.status, 200);
    let principal = AccessToken::new("https://login.example.com", "bob").with_client_id("cli").principal();
    assert_eq!((auth.forget(&principal), auth.forget(&principal)), (1, 0));
    assert_eq!(app.send(ping_of(&bob, "bob")).await.status, 200);
}
