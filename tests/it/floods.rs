//! Floods: one client that opens sessions or calls without end, and the capacity that remains for
//! the others.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Method, Request};
use mcp_http::store::EndReason;
use mcp_http::{Limits, Security, Sessions};
use serde_json::json;
use tokio::time::sleep;

use crate::support::{App, Client, RequestExt, modern, modern_call, opening, ping};

/// Returns the request as if its connection came from this address.
fn from(address: &str, mut request: Request<Body>) -> Request<Body> {
    let address: SocketAddr = format!("{address}:4711").parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(address));
    request
}

const NEAR: &str = "192.0.2.7";
const FAR: &str = "198.51.100.1";

/// More sessions than fit: the flood by which one connection once ended every idle session.
const FLOOD: usize = 10_100;

/// Sessions that were only opened are evicted before those that their clients used.
#[tokio::test(start_paused = true)]
async fn an_initialize_flood_spares_sessions_in_use() {
    let app = App::new();
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(app.open().await);
    }
    sleep(Duration::from_secs(600)).await;
    for number in 0..FLOOD {
        assert_eq!(app.send(opening()).await.status, 200, "opening {number}");
    }
    for client in &clients {
        assert_eq!(client.post(ping(1)).await.status, 200);
    }
    let statistics = app.handle.statistics().await;
    assert_eq!((statistics.sessions, statistics.ended[&EndReason::Evicted]), (Some(10_000), 120));
}

#[tokio::test(start_paused = true)]
async fn the_oldest_unused_session_is_evicted() {
    let app = App::with(|service| service.sessions(Sessions::new().max_sessions(3)));
    let used = app.open().await;
    let mut unused = Vec::new();
    for _ in 0..2 {
        sleep(Duration::from_secs(1)).await;
        let reply = app.send(opening()).await;
        unused.push(reply.header("mcp-session-id").unwrap().to_owned());
    }
    app.send(opening()).await;
    let client = |session: &String| Client { session: session.clone(), ..used.clone() };
    assert_eq!(client(&unused[0]).post(ping(1)).await.status, 404, "it was the oldest");
    assert_eq!(client(&unused[1]).post(ping(1)).await.status, 200);
    assert_eq!(used.post(ping(1)).await.status, 200);
}

/// Opens a session from an address, and sends `notifications/initialized`.
async fn open_from(app: &App, request: Request<Body>) -> Client {
    // Each session opens at a moment of its own, so that the longest idle one is known.
    sleep(Duration::from_secs(1)).await;
    let reply = app.send(request).await;
    assert_eq!(reply.status, 200, "{:?}", reply.rejection);
    let session = reply.header("mcp-session-id").unwrap().to_owned();
    let client = Client { app: app.clone(), session, version: "2025-11-25".into(), principal: None };
    assert_eq!(client.post(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await.status, 202);
    client
}

/// An address at its limit evicts its own idle sessions, and never those of others.
#[tokio::test(start_paused = true)]
async fn an_address_has_its_share_of_sessions() {
    let app = App::with(|service| service.sessions(Sessions::new().max_sessions(10).max_sessions_per_peer(2)));
    let far = open_from(&app, from(FAR, opening())).await;
    let first = open_from(&app, from(NEAR, opening())).await;
    let mut last = open_from(&app, from(NEAR, opening())).await;
    for _ in 0..20 {
        last = open_from(&app, from(NEAR, opening())).await;
    }
    assert_eq!(first.post(ping(1)).await.status, 404, "its own session made room");
    assert_eq!(far.post(ping(1)).await.status, 200);
    assert_eq!(app.handle.statistics().await.sessions, Some(3));
    // All sessions of this address are in use: it is rejected, and other addresses are not.
    let second = open_from(&app, from(NEAR, opening())).await;
    let _held = [last.listen().await, second.listen().await];
    let reply = app.send(from(NEAR, opening())).await;
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, Some("2")));
    let message = reply.json().await["error"]["message"].clone();
    assert_eq!(
        message,
        "Too many sessions from this address: the limit is 2 (setting `Sessions::max_sessions_per_peer`)"
    );
    assert_eq!(app.handle.statistics().await.rejected["too_many_sessions_of_peer"], 1);
    open_from(&app, from(FAR, opening())).await;
    app.open_principal("ann").await;
    // The address only counts when a session opens; afterwards its id is enough from any address.
    assert_eq!(app.send(from(FAR, last.request(Method::POST).message(ping(2)))).await.status, 200);
}

/// Without a known address, or with the limit switched off, sessions do not count for any peer.
#[tokio::test(start_paused = true)]
async fn without_an_address_no_share_applies() {
    let app = App::with(|service| service.sessions(Sessions::new().max_sessions_per_peer(1)));
    let clients = [app.open().await, app.open().await, app.open().await];
    for client in &clients {
        assert_eq!(client.post(ping(1)).await.status, 200);
    }
    let app = App::with(|service| service.sessions(Sessions::new().max_sessions_per_peer(None)));
    for _ in 0..3 {
        open_from(&app, from(NEAR, opening())).await;
    }
    let sessions = app.handle.sessions().await.unwrap();
    assert!(sessions.len() == 3 && sessions.iter().all(|session| session.info.peer.is_none()));
}

/// The limit counts for the client that a trusted proxy names, and not for what the client claims
/// itself.
#[tokio::test(start_paused = true)]
async fn behind_trusted_proxies_the_client_has_the_share() {
    let security = Security::new().trusted_proxies(["10.0.0.0/8"]);
    let app = App::with(|service| service.sessions(Sessions::new().max_sessions_per_peer(1)).security(security));
    let through = |client: &str| from("10.0.0.1", opening().header("x-forwarded-for", client));
    let far = open_from(&app, through(FAR)).await;
    let near = open_from(&app, through("198.51.100.1, 192.0.2.7")).await;
    assert_eq!(far.post(ping(1)).await.status, 200, "what the client made up does not count");
    let peers = app.handle.sessions().await.unwrap();
    let mut peers: Vec<_> = peers.iter().map(|session| session.info.peer.unwrap().to_string()).collect();
    peers.sort();
    assert_eq!(peers, [NEAR, FAR]);
    // A peer that is not a trusted proxy counts as itself, whatever its headers claim.
    let direct = open_from(&app, from("203.0.113.9", opening().header("x-forwarded-for", FAR))).await;
    assert_eq!(far.post(ping(1)).await.status, 200);
    open_from(&app, from("203.0.113.9", opening().header("forwarded", "for=192.0.2.7"))).await;
    assert_eq!((direct.post(ping(1)).await.status.as_u16(), near.post(ping(1)).await.status.as_u16()), (404, 200));
    // For IPv6 the limit counts per network, since one subscriber has a whole network.
    let first = open_from(&app, from("[2001:db8:1:2::1]", opening())).await;
    open_from(&app, from("[2001:db8:1:2:ffff::9]", opening())).await;
    assert_eq!(first.post(ping(1)).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn each_address_has_its_share_of_calls() {
    let limits = Limits::new().max_calls_per_peer(1).max_listen_streams_per_peer(1);
    let app = App::with(|service| service.limits(limits));
    let call = || modern_call("note_and_hold", json!({"label": "a"}));
    let listen = || modern("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}}));
    for (request, kind) in
        [(&call as &dyn Fn() -> Request<Body>, "too_many_calls_of_peer"), (&listen, "too_many_listens_of_peer")]
    {
        let held = app.send(from(NEAR, request())).await;
        assert_eq!(held.status, 200);
        let rejected = app.send(from(NEAR, request())).await;
        assert_eq!((rejected.status.as_u16(), rejected.rejection.as_ref().unwrap().kind()), (429, kind));
        for other in [from(FAR, request()), request(), from(NEAR, request().principal("ann"))] {
            assert_eq!(app.send(other).await.status, 200);
        }
        drop(held);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(app.send(from(NEAR, request())).await.status, 200, "given back");
    }
}

/// Using each session once does not protect a flood: a session of the address with the most
/// sessions is evicted.
#[tokio::test(start_paused = true)]
async fn a_flood_of_used_sessions_costs_itself() {
    let app = App::with(|service| service.sessions(Sessions::new().max_sessions(20).max_sessions_per_peer(10)));
    let honest = open_from(&app, from("203.0.113.9", opening())).await;
    let ann = app.open_principal("ann").await;
    assert_eq!(ann.post(ping(1)).await.status, 200);
    for _ in 0..40 {
        for address in [NEAR, FAR] {
            open_from(&app, from(address, opening())).await;
        }
    }
    assert_eq!(honest.post(ping(2)).await.status, 200);
    assert_eq!(ann.post(ping(2)).await.status, 200);
    assert_eq!(app.handle.statistics().await.sessions, Some(20));
}
