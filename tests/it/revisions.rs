//! Protocol revisions: which one is agreed on, and how others are rejected.

use axum::body::Body;
use axum::http::{Method, Request};
use mcp_http::message::ProtocolVersion;
use serde_json::{Value, json};

use crate::support::{App, Client, RequestExt, initialize, request};

/// `initialize` with an unknown revision, or one that is switched off, is answered with the newest
/// that sessions speak.
///
/// Acceptance 3.
#[tokio::test(start_paused = true)]
async fn unknown_revisions_get_the_newest_served() {
    let app = App::new();
    for (asked, given) in [
        ("2026-07-28", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
        ("", "2025-11-25"),
        ("2025-11-25", "2025-11-25"),
        ("2025-06-18", "2025-06-18"),
        ("2025-03-26", "2025-03-26"),
    ] {
        let reply = app.post(initialize(asked, json!({}))).await;
        assert!(reply.header("mcp-session-id").is_some(), "{asked}");
        assert_eq!(reply.json().await["result"]["protocolVersion"], given, "{asked}");
    }
    let app = App::with(|service| service.versions([ProtocolVersion::V2025_06_18, ProtocolVersion::V2025_03_26]));
    for asked in ["2025-11-25", "2026-07-28"] {
        let answer = app.post(initialize(asked, json!({}))).await.json().await;
        assert_eq!(answer["result"]["protocolVersion"], "2025-06-18");
    }
}

/// Every method is rejected with -32022, and the error lists the supported revisions.
///
/// Acceptance 9, 10, 18, 77, 80.
#[tokio::test(start_paused = true)]
async fn unserved_version_headers_are_rejected() {
    let app = App::new();
    let client = app.open().await;
    let requests: [fn(&Client) -> Request<Body>; 5] = [
        |_| request(Method::POST).message(initialize("2025-11-25", json!({}))),
        |client| client.request(Method::POST).message(json!({"jsonrpc": "2.0", "id": 0, "method": "ping"})),
        |client| client.request(Method::POST).message(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})),
        |client| client.request(Method::GET),
        |client| client.request(Method::DELETE),
    ];
    for version in ["2027-01-01", "1999-01-01", "2025-11-25, 2025-11-25"] {
        for (n, make) in requests.iter().enumerate() {
            let reply = app.send(make(&client).header("mcp-protocol-version", version)).await;
            assert_eq!(reply.status, 400, "{version} {n}");
            let body = reply.json().await;
            assert_eq!(body["error"]["code"], -32022);
            assert!(body["error"]["message"].as_str().unwrap().starts_with("Unsupported protocol version"));
            assert_eq!(
                body["error"]["data"]["supported"],
                json!(["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"])
            );
            assert_eq!(body["error"]["data"]["requested"], version.replace(' ', ""));
            assert_eq!(body.get("id").cloned(), (n < 2).then(|| json!(0)));
        }
    }
    assert_eq!(app.handle.statistics().await.sessions, Some(1));
    assert_eq!(client.text_of("echo", json!({"message": "still here"})).await, "still here");
}

/// A service of sessions only answers with -32000, as servers of those revisions do.
///
/// Acceptance 9, 10.
#[tokio::test(start_paused = true)]
async fn disabled_revisions_count_as_unknown() {
    let app = App::with(|service| service.versions([ProtocolVersion::V2025_06_18]));
    let reply = app
        .send(
            request(Method::POST)
                .message(initialize("2025-11-25", json!({})))
                .header("mcp-protocol-version", "2025-11-25"),
        )
        .await;
    assert_eq!(reply.status, 400);
    let error = &reply.json().await["error"];
    let message = "Bad Request: Unsupported protocol version: 2025-11-25 (supported versions: 2025-06-18)";
    assert_eq!(error, &json!({"code": -32000, "message": message}));
}

/// `server/discover` outside of 2026-07-28 is rejected, and opens nothing.
///
/// Acceptance 10, 11, 12, 28, 183.
#[tokio::test(start_paused = true)]
async fn discovery_opens_no_session() {
    let app = App::new();
    let discover = |params: Value| json!({"jsonrpc": "2.0", "id": "d", "method": "server/discover", "params": params});
    let claim = json!({"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}});
    let reply = app.post(discover(claim.clone())).await;
    assert_eq!(reply.status, 400);
    assert_eq!(reply.error().await, (-32020, Some(json!("d"))), "the header is missing");
    let sessions_only = App::with(|service| service.versions(ProtocolVersion::SESSION_ERA));
    let body = sessions_only.post(discover(claim)).await.json().await;
    assert_eq!((&body["id"], &body["error"]["code"]), (&json!("d"), &json!(-32000)));
    let message = "Bad Request: Unsupported protocol version: 2026-07-28 (supported versions: 2025-03-26, 2025-06-18, 2025-11-25)";
    assert_eq!(body["error"], json!({"code": -32000, "message": message}));
    assert_eq!(app.post(discover(json!({}))).await.error().await, (-32600, Some(json!("d"))));
    let statistics = app.handle.statistics().await;
    assert_eq!((statistics.sessions, statistics.opened), (Some(0), 0));
}

/// A session gets -32601 for methods of later revisions, and no members of later revisions in its
/// results.
///
/// Acceptance 12, 14.
#[tokio::test(start_paused = true)]
async fn sessions_see_nothing_of_later_revisions() {
    let client = App::new().open().await;
    for method in ["server/discover", "subscriptions/listen", "no/such"] {
        let reply = client.post(json!({"jsonrpc": "2.0", "id": 9, "method": method})).await;
        assert_eq!(reply.status, 200);
        let body = reply.json().await;
        assert_eq!((&body["id"], &body["error"]["code"]), (&json!(9), &json!(-32601)));
        assert_eq!(body["error"].get("data"), None);
    }
    let list = client.post(json!({"jsonrpc": "2.0", "id": 9, "method": "tools/list"})).await.text().await;
    assert!(list.contains("tools") && !list.contains("resultType") && !list.contains("ttlMs"), "{list}");
}

/// The message lists the supported revisions, for each HTTP method. The session continues.
///
/// Acceptance 23.
#[tokio::test(start_paused = true)]
async fn disabled_revisions_are_rejected_with_the_supported() {
    let app = App::with(|service| service.versions([ProtocolVersion::V2025_06_18]));
    let client = app.open_version("2025-06-18").await;
    for method in [Method::POST, Method::GET, Method::DELETE] {
        let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
        let reply = app
            .send(
                client
                    .request(method)
                    .message(ping)
                    .header("mcp-protocol-version", "2025-11-25")
                    .header("accept", "*/*"),
            )
            .await;
        assert_eq!(reply.status, 400);
        let error = reply.json().await["error"].clone();
        assert_eq!((&error["code"], error.get("data")), (&json!(-32000), None));
        assert!(error["message"].as_str().unwrap().ends_with("(supported versions: 2025-06-18)"), "{error}");
    }
    assert_eq!(client.text_of("echo", json!({"message": "still here"})).await, "still here");
}
