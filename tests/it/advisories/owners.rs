//! Advisories on ownership: answers that went to another client, and sessions, streams and tasks
//! that others could use.

use std::time::Duration;

use axum::http::Method;
use mcp_http::server::{TaskSupport, Tool};
use mcp_http::{McpServer, McpService, Principal, Streams};
use serde_json::json;

use super::servers;
use crate::support::{App, Client, RequestExt, call, modern, modern_call, ping};

/// CVE-2026-25536 (GHSA-345p-7cg4-v4c7), CVE-2026-111770: answers to requests with equal ids went
/// to the wrong client.
#[tokio::test(start_paused = true)]
async fn cve_2026_25536_equal_ids_keep_their_own_answers() {
    for (server, app) in servers() {
        let mut clients = Vec::new();
        for _ in 0..16 {
            clients.push(app.open().await);
        }
        let asked = clients.iter().enumerate().flat_map(|(n, client)| {
            let (app, text) = (app.clone(), format!("of {n}"));
            let modern = modern_call("echo", json!({"message": text}));
            let legacy = client.call(1, "echo", json!({"message": text}));
            let both: [futures_util::future::BoxFuture<'_, _>; 2] =
                [Box::pin(legacy), Box::pin(async move { app.send(modern).await })];
            both.map(|reply| async move { (n, reply.await.message().await) })
        });
        for (n, answer) in futures_util::future::join_all(asked).await {
            assert_eq!(answer["result"]["content"][0]["text"], format!("of {n}"), "{server}");
        }
    }
}

/// CVE-2026-67431, CVE-2026-52869: any client that knew the id of a session could use it.
#[tokio::test(start_paused = true)]
async fn cve_2026_52869_a_stolen_id_opens_no_session() {
    for (server, app) in servers() {
        let ada = app.open_principal("ada").await;
        for thief in [Some("bob"), None] {
            let thief = Client { principal: thief.map(Principal::new), ..ada.clone() };
            for request in [
                thief.request(Method::POST).message(call(1, "echo", json!({"message": "mine"}))),
                thief.request(Method::POST).message(ping(1)),
                thief.request(Method::GET),
                thief.request(Method::DELETE),
            ] {
                let reply = app.send(request).await;
                assert_eq!(reply.status, 404, "{server}");
                assert_eq!(reply.json().await["error"]["code"], -32001, "{server}");
            }
        }
        assert_eq!(ada.post(ping(1)).await.status, 200, "{server}");
    }
}

/// CVE-2026-33946: a second GET with a stolen session id took the stream over. With a principal,
/// such a session does not exist for others. Without one, the newest GET wins, unless the service
/// rejects the second (`Streams::reject_second_stream`).
#[tokio::test(start_paused = true)]
async fn cve_2026_33946_strangers_cannot_take_over_a_stream() {
    let app = App::new();
    let ada = app.open_principal("ada").await;
    let mut stream = ada.listen_primed().await;
    let thief = Client { principal: Some(Principal::new("bob")), ..ada.clone() };
    assert_eq!(app.send(thief.request(Method::GET)).await.status, 404);
    app.handle.tools_changed();
    assert_eq!(stream.message().await.unwrap().json()["method"], "notifications/tools/list_changed");

    let anyone = App::new().open().await;
    let mut old = anyone.listen_primed().await;
    let mut new = anyone.listen_primed().await;
    anyone.app.handle.tools_changed();
    assert_eq!(new.message().await.unwrap().json()["method"], "notifications/tools/list_changed");
    assert!(old.message().await.is_none(), "the old one has ended");

    let app = App::with(|service| service.streams(Streams::new().reject_second_stream(true)));
    let anyone = app.open().await;
    let mut first = anyone.listen_primed().await;
    assert_eq!(app.send(anyone.request(Method::GET)).await.status, 409);
    app.handle.tools_changed();
    assert_eq!(first.message().await.unwrap().json()["method"], "notifications/tools/list_changed");
}

/// GHSA-84j6-jc92-77jm, and similar reports for two other SDKs: a `Last-Event-ID` of another
/// session replayed its events.
#[tokio::test(start_paused = true)]
async fn ghsa_84j6_jc92_77jm_replay_stays_in_its_session() {
    let app = App::new();
    let (ada, bob) = (app.open().await, app.open().await);
    let mut calling = ada.call(1, "note_and_hold", json!({"label": "secret"})).await.sse();
    let id = loop {
        let event = calling.next_any().await.unwrap();
        if let (false, Some(id)) = (event.primes(), event.id.clone()) {
            break id;
        }
    };
    for wrong in [id.as_str(), "1.0.ffffffff", "0", "nonsense", "1.1", "-1.0.0", &"9".repeat(1_000)] {
        let reply = bob.resume(wrong).await;
        assert_eq!(reply.status, 400, "{wrong}");
        assert!(!reply.text().await.contains("notifications/progress"));
    }
    app.probe.release("secret");
    assert_eq!(ada.post(ping(2)).await.status, 200);
}

/// CVE-2026-52870: tasks of other clients were listed, read and cancelled. For `RmcpServer` see
/// `tasks_belong_to_their_principal`.
#[tokio::test(start_paused = true)]
async fn cve_2026_52870_tasks_belong_to_their_principal() {
    let slow = async || {
        tokio::time::sleep(Duration::from_secs(5)).await;
        "the secret"
    };
    let server = McpServer::new("tasks", "1").with_tool(Tool::new("slow", "Waits.", slow).task(TaskSupport::Required));
    let app = App::of(McpService::builder(server));
    let ask = async |principal: Option<&str>, method: &str, mut params: serde_json::Value| {
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
            json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
        let request = modern(method, params);
        let request = if let Some(name) = principal { request.principal(name) } else { request };
        app.send(request).await.message().await
    };
    let begun = ask(Some("ada"), "tools/call", json!({"name": "slow", "arguments": {}})).await;
    let id = begun["result"]["taskId"].as_str().unwrap_or_else(|| panic!("{begun}"));
    for principal in [Some("bob"), None] {
        for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
            let answer = ask(principal, method, json!({"taskId": id, "inputResponses": {}})).await;
            assert_eq!(answer["error"]["message"], "Task not found", "{principal:?} {method}");
        }
        let listed = ask(principal, "tasks/list", json!({})).await;
        assert_eq!(listed["error"]["code"], -32601, "nothing lists tasks");
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
    let got = ask(Some("ada"), "tasks/get", json!({"taskId": id})).await;
    assert_eq!(got["result"]["result"]["content"][0]["text"], "the secret");
}
