//! Advisories of MCP SDKs and their dependencies that can concern a server. Each attack is sent to
//! this crate as it was to theirs, and each test names its ids. The guide `advisories` explains
//! them, and lists those that cannot concern a server.

mod owners;
mod sums;
mod text;

use std::collections::BTreeSet;

use axum::http::{Method, StatusCode};
use mcp_http::McpService;
use serde_json::json;

use crate::support::{App, RequestExt, initialize, modern_call, opening, ping, request};

/// Returns a server of this crate, and one behind a handler of rmcp's.
fn servers() -> Vec<(&'static str, App)> {
    vec![
        ("McpServer", App::new()),
        #[cfg(feature = "rmcp")]
        ("RmcpServer", App::of(McpService::builder(mcp_http::RmcpServer::new(Echo::default)))),
    ]
}

#[cfg(feature = "rmcp")]
use self::rmcp_handler::Echo;

#[cfg(feature = "rmcp")]
mod rmcp_handler {
    //! A handler with the tool that these tests call.

    use rmcp::handler::server::wrapper::Parameters;
    use rmcp::{ServerHandler, schemars, tool, tool_handler, tool_router};

    #[derive(Default)]
    pub(super) struct Echo;

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct Message {
        message: String,
    }

    #[tool_router]
    impl Echo {
        /// Repeats the message.
        #[tool]
        fn echo(&self, Parameters(Message { message }): Parameters<Message>) -> String {
            message
        }
    }

    #[tool_handler]
    impl ServerHandler for Echo {}
}

/// CVE-2025-53365: an exception after a session was opened ended the process.
#[tokio::test(start_paused = true)]
async fn cve_2025_53365_session_errors_do_not_end_the_process() {
    for (server, app) in servers() {
        let client = app.open().await;
        for message in [
            json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": 5}}),
            json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "echo", "arguments": 7}}),
            json!({"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "boom", "arguments": {}}}),
            json!({"jsonrpc": "2.0", "id": 4, "method": "tools/call"}),
            json!({"jsonrpc": "2.0", "id": 5, "method": "resources/read", "params": {"uri": {}}}),
            json!({"jsonrpc": "2.0", "id": 6, "method": "logging/setLevel", "params": {"level": "loud"}}),
            json!({"jsonrpc": "2.0", "id": 7, "method": "completion/complete", "params": []}),
            json!({"jsonrpc": "2.0", "id": 8, "result": {}}),
            json!({"jsonrpc": "2.0", "id": "none", "error": {"code": "x", "message": 1}}),
            json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": {}}}),
            json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": 7}),
            json!({"jsonrpc": "2.0", "method": "notifications/roots/list_changed", "params": "x"}),
        ] {
            let status = client.post(message.clone()).await.status;
            assert!(status.is_success() || status.is_client_error(), "{server} {status} {message}");
            assert_eq!(client.post(ping(9)).await.text().await, r#"{"jsonrpc":"2.0","id":9,"result":{}}"#, "{message}");
        }
    }
}

/// CVE-2025-53366: a malformed request was answered with 500, and so was every request after it.
#[tokio::test(start_paused = true)]
async fn cve_2025_53366_a_malformed_request_ends_nothing() {
    for (server, app) in servers() {
        for body in
            ["", "{", "null", "7", "\"x\"", "[]", "[{}]", "{}", r#"{"jsonrpc":"1.0"}"#, r#"{"jsonrpc":"2.0","id":{}}"#]
        {
            let reply = app.send(request(Method::POST).header("content-type", "application/json").raw(body)).await;
            assert_eq!(reply.status, 400, "{server} {body}");
        }
        let mut wrong = initialize("2025-11-25", json!({}));
        wrong["params"] = json!({"protocolVersion": []});
        assert!(app.post(wrong).await.header("mcp-session-id").is_none());
        assert_eq!(app.send(opening()).await.status, 200, "{server}");
    }
}

/// CVE-2025-66414, CVE-2025-66416, CVE-2026-34742, CVE-2026-35568, CVE-2026-42559
/// (GHSA-89vp-x53w-74fx, RUSTSEC-2026-0189): a page of another site reached a server on the user's
/// machine by DNS rebinding.
#[tokio::test(start_paused = true)]
async fn cve_2026_42559_dns_rebinding_is_rejected_by_default() {
    for (server, app) in servers() {
        let client = app.open().await;
        for (header, value) in
            [("host", "rebind.evil.example:3000"), ("origin", "http://rebind.evil.example:3000"), ("origin", "null")]
        {
            for method in [Method::POST, Method::GET, Method::DELETE] {
                let reply = app.send(client.request(method.clone()).header(header, value)).await;
                assert_eq!(reply.status, 403, "{server} {header} {method}");
            }
            assert_eq!(app.send(opening().header(header, value)).await.status, 403, "{server} {header}");
            let modern = modern_call("echo", json!({"message": "hi"})).header(header, value);
            assert_eq!(app.send(modern).await.status, 403, "{server} {header}");
        }
        assert_eq!(client.post(ping(1)).await.status, 200);
    }
}

/// CVE-2026-33252: a page of another site could post to a server, because the server checked
/// neither the body's type nor the origin.
#[tokio::test(start_paused = true)]
async fn cve_2026_33252_cross_site_posts_are_rejected() {
    for (server, app) in servers() {
        let body = initialize("2025-11-25", json!({})).to_string();
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "text/plain; application/json",
        ] {
            let reply = app.send(opening().header("content-type", kind).raw(body.clone())).await;
            assert_eq!(reply.status, 415, "{server} {kind}");
        }
        assert_eq!(app.send(opening().without("content-type")).await.status, 415, "{server}");
        assert_eq!(app.send(opening().header("origin", "https://evil.example")).await.status, 403, "{server}");
        assert!(app.handle.sessions().await.unwrap().is_empty());
    }
}

/// CVE-2026-59950: a WebSocket transport did not check hosts and origins.
#[tokio::test(start_paused = true)]
async fn cve_2026_59950_there_is_no_websocket() {
    for (server, app) in servers() {
        let client = app.open().await;
        let upgrade = client
            .request(Method::GET)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let reply = app.send(upgrade).await;
        assert_ne!(reply.status, StatusCode::SWITCHING_PROTOCOLS, "{server}");
        assert_eq!(reply.header("upgrade"), None, "{server}");
    }
}

/// Returns the ids of advisories in a text.
fn ids(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-');
    words.filter(|word| ["CVE-", "GHSA-", "GO-", "RUSTSEC-"].iter().any(|kind| word.starts_with(kind))).collect()
}

#[test]
fn the_guide_names_each_advisory_that_is_tested() {
    let guide = include_str!("../../../src/guide/advisories.md");
    let (guide, _) = guide.split_once("## What cannot concern a server").unwrap();
    let here = [include_str!("mod.rs"), include_str!("owners.rs"), include_str!("sums.rs"), include_str!("text.rs")];
    let comments = here.map(|text| text.lines().filter(|line| line.starts_with("/// ")).collect::<Vec<_>>().join("\n"));
    let tested: BTreeSet<_> = comments.iter().flat_map(|text| ids(text)).collect();
    assert!(tested.len() > 20, "{tested:?}");
    assert_eq!(ids(guide), tested);
}
