//! Hosts, origins and proxies: which requests are admitted at all.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{Method, Uri};
use axum::serve::ListenerExt;
use futures_util::stream;
use mcp_http::error::StoreErrorKind;
use mcp_http::{McpListener, McpServiceBuilder, Security};
use serde_json::json;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::faulty::Faulty;
use crate::support::{App, Reply, RequestExt, exchange, initialize, opening, request, service};

fn secured(security: Security) -> App {
    App::with(|service| service.security(security))
}

async fn status_for_host(app: &App, host: &str) -> u16 {
    app.send(opening().header("host", host)).await.status.as_u16()
}

async fn status_for_origin(app: &App, origin: &str) -> u16 {
    app.send(opening().header("origin", origin)).await.status.as_u16()
}

async fn rejection_text(reply: Reply) -> String {
    assert_eq!(reply.status, 403);
    reply.json().await["error"]["message"].as_str().unwrap().to_owned()
}

/// The rejection names the setting, so that operators behind a proxy find the cause.
///
/// Acceptance 85, 178.
#[tokio::test(start_paused = true)]
async fn foreign_hosts_are_rejected_on_every_method() {
    let app = App::new();
    let client = app.open().await;
    for method in [Method::POST, Method::GET, Method::DELETE, Method::OPTIONS, Method::PUT] {
        let reply = app.send(client.request(method.clone()).header("host", "evil.example")).await;
        assert!(rejection_text(reply).await.contains("`allowed_hosts`"), "{method}");
    }
    assert_eq!(client.text_of("echo", json!({"message": "alive"})).await, "alive");
}

/// Acceptance 87, 198.
#[tokio::test(start_paused = true)]
async fn with_nothing_set_only_loopback_names_are_served() {
    let app = App::new();
    for (host, status) in [
        ("localhost", 200),
        ("LocalHost:3000", 200),
        ("127.0.0.1", 200),
        ("127.8.9.1:80", 200),
        ("[::1]:3000", 200),
        // The dot of the root, and a colon without a port.
        ("localhost.", 200),
        ("localhost.:3000", 200),
        ("localhost:", 200),
        ("[::1]:", 200),
        ("evil.example.", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("0.0.0.0", 403),
        ("192.168.1.1", 403),
        ("evil.example", 403),
        // No host at all, which is a bad request by RFC 9112.
        ("", 400),
        ("localhost..", 400),
        ("localhost::", 400),
        ("localhost:99999", 400),
        ("localhost@evil.example", 400),
        ("2130706433", 400),
        ("127.1", 400),
        ("localhost/", 400),
    ] {
        assert_eq!(status_for_host(&app, host).await, status, "{host:?}");
    }
    assert_eq!(app.send(opening().without("host")).await.status, 400);
    assert_eq!(app.send(opening().and_header("host", "localhost")).await.status, 400, "two hosts");
    assert_eq!(app.send(opening().header("origin", "http://evil.example")).await.status, 403);
}

/// Only the `insecure_*` settings switch the checks off, each for itself.
///
/// Acceptance 87.
#[tokio::test(start_paused = true)]
async fn protection_is_switched_off_by_name_only() {
    let app = secured(Security::new().insecure_any_host().insecure_any_origin());
    for host in ["evil.example", "127.0.0.1.evil.example", "any:1"] {
        assert_eq!(app.send(opening().header("host", host).header("origin", "null")).await.status, 200, "{host}");
    }
    let host_only = secured(Security::new().insecure_any_host());
    assert_eq!(status_for_host(&host_only, "evil.example").await, 200);
    let same_site = opening().header("host", "evil.example").header("origin", "http://evil.example");
    assert_eq!(host_only.send(same_site).await.status, 403, "a rebound page is not its own site");
}

/// Acceptance 87.
#[tokio::test]
async fn servers_on_all_addresses_require_loopback_hosts() {
    let (mcp, _probe) = service();
    let listener = McpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = Router::new().nest("/mcp", mcp.build().unwrap().into_router());
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    for (host, status) in [("127.0.0.1", "200"), ("192.168.1.7", "403"), ("0.0.0.0", "403")] {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let body = initialize("2025-11-25", json!({})).to_string();
        let request = format!(
            "POST /mcp HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = exchange(&mut stream, request.as_bytes(), Duration::from_secs(2)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {answer}");
    }
    server.abort();
}

/// Acceptance 88.
#[tokio::test(start_paused = true)]
async fn patterns_of_hosts_mean_ports_subdomains_and_addresses() {
    let hosts = ["mcp.example", "api.example:8443", "*.wild.example:*", "[2001:db8::1]", "192.0.2.1:80"];
    let app = secured(Security::new().allowed_hosts(hosts));
    for (host, served) in [
        ("mcp.example", true),
        ("MCP.example:9", true),
        ("api.example:8443", true),
        ("api.example:8444", false),
        ("api.example", false),
        ("a.b.wild.example:1", true),
        ("wild.example", false),
        ("[2001:db8::1]:7", true),
        ("[2001:db8:0::1]", true),
        ("[2001:db8::2]", false),
        ("192.0.2.1", true),
        ("192.0.2.1:81", false),
        // The list replaces the loopback names.
        ("localhost", false),
    ] {
        assert_eq!(status_for_host(&app, host).await, if served { 200 } else { 403 }, "{host}");
    }
}

/// An absent origin is admitted, since only browsers send one. Foreign, malformed and duplicate
/// origins are rejected.
///
/// Acceptance 86.
#[tokio::test(start_paused = true)]
async fn foreign_origins_are_rejected_and_absent_ones_admitted() {
    let app = App::new();
    for (origin, status) in [
        ("http://localhost:5173", 200),
        ("https://127.0.0.1", 200),
        ("http://[::1]:1", 200),
        ("https://evil.example", 403),
        ("http://localhost.evil.example", 403),
        ("http://localhost@evil.example", 403),
        ("null", 403),
        ("", 403),
        ("localhost", 403),
        ("file://", 403),
        ("http://localhost, http://evil.example", 403),
    ] {
        assert_eq!(status_for_origin(&app, origin).await, status, "{origin:?}");
    }
    assert_eq!(app.send(opening()).await.status, 200);
    let reply = app.send(opening().header("origin", "https://evil.example")).await;
    assert!(rejection_text(reply).await.contains("`allowed_origins`"));
    let twice = opening().header("origin", "http://localhost").and_header("origin", "http://localhost");
    assert_eq!(app.send(twice).await.status, 403);
    let client = app.open().await;
    for method in [Method::GET, Method::DELETE] {
        let reply = app.send(client.request(method).header("origin", "https://evil.example")).await;
        assert_eq!(reply.status, 403);
    }
    let listed = secured(Security::new().allowed_origins(["https://app.example"]));
    for (origin, status) in [
        ("https://app.example", 200),
        ("https://app.example:444", 403),
        ("http://app.example", 403),
        ("http://localhost", 403),
    ] {
        assert_eq!(status_for_origin(&listed, origin).await, status, "{origin}");
    }
}

/// A rejected host or origin costs neither a read of the body nor an engine operation.
///
/// Acceptance 89.
#[tokio::test(start_paused = true)]
async fn rejected_hosts_cost_no_body_or_engine_work() {
    let engine = Faulty::default();
    let app = App::with(|service| service.engine(engine.clone()));
    let client = app.open().await;
    engine.break_down(StoreErrorKind::Unavailable);
    let asked = engine.operations();
    let touched = Arc::new(AtomicBool::new(false));
    for (name, value) in [("host", "evil.example"), ("origin", "https://evil.example")] {
        for version in ["2025-11-25", "2026-07-28", "none"] {
            let read = Arc::clone(&touched);
            let body = Body::from_stream(stream::poll_fn(move |_| {
                read.store(true, Ordering::Relaxed);
                std::task::Poll::Ready(None::<Result<Bytes, std::io::Error>>)
            }));
            let request = client.request(Method::POST).raw(body).header("content-type", "application/json");
            let reply = app.send(request.header("mcp-protocol-version", version).header(name, value)).await;
            assert_eq!(reply.status, 403, "{name} {version}");
            assert!(!touched.swap(false, Ordering::Relaxed), "the body was read before the answer");
            drop(reply);
            // The rest of the body is discarded after the response.
            touched.store(false, Ordering::Relaxed);
        }
    }
    assert_eq!(engine.operations(), asked, "the engine was asked");
}

/// Returns the layer of the feature `cors`, or one made of the same names.
fn cors() -> CorsLayer {
    #[cfg(feature = "cors")]
    return mcp_http::cors_layer();
    #[cfg(not(feature = "cors"))]
    CorsLayer::new()
        .allow_methods(mcp_http::header::METHODS)
        .allow_headers(mcp_http::header::ALLOWED)
        .expose_headers(mcp_http::header::EXPOSED)
        .max_age(std::time::Duration::from_secs(3600))
}

/// Acceptance 90, 196.
#[tokio::test(start_paused = true)]
async fn cors_preflights_pass_for_configured_origins_only() {
    let site = "https://app.example";
    let cors = cors().allow_origin(AllowOrigin::list([site.parse().unwrap()]));
    let app = secured(Security::new().allowed_origins([site]).allow_loopback(false));
    // By default the allowed hosts are the loopback names, which `allow_loopback(false)` closes
    // too.
    assert_eq!(app.send(opening()).await.status, 403);
    let app = secured(Security::new().allowed_origins([site])).layered(|router| router.layer(cors));
    let preflight = |origin: &str| {
        request(Method::OPTIONS).header("origin", origin).header("access-control-request-method", "POST").header(
            "access-control-request-headers",
            "content-type, mcp-session-id, mcp-protocol-version, mcp-method, mcp-name",
        )
    };
    let reply = app.send(preflight(site)).await;
    assert_eq!((reply.status.as_u16(), reply.header("access-control-allow-origin")), (200, Some(site)));
    assert_eq!(reply.header("access-control-allow-methods"), Some("GET,POST,DELETE"));
    let allowed = "authorization,content-type,mcp-session-id,mcp-protocol-version,last-event-id,mcp-method,mcp-name";
    assert_eq!(reply.header("access-control-allow-headers"), Some(allowed));
    assert_eq!(reply.header("access-control-max-age"), Some("3600"));
    let reply = app.send(preflight("https://evil.example")).await;
    assert_eq!(reply.header("access-control-allow-origin"), None);
    let reply = app.send(opening().header("origin", site)).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("access-control-allow-origin"), Some(site));
    assert_eq!(reply.header("access-control-expose-headers"), Some("mcp-session-id,www-authenticate,retry-after"));
    let reply = app.send(opening().header("origin", "https://evil.example")).await;
    assert_eq!((reply.status.as_u16(), reply.header("access-control-allow-origin")), (403, None));
    assert_eq!(app.handle.statistics().await.sessions, Some(1), "a preflight opens nothing");
}

fn proxied(service: McpServiceBuilder) -> McpServiceBuilder {
    let security = Security::new().allowed_hosts(["mcp.example"]);
    service.security(security.trusted_proxies(["10.0.0.0/8", "127.0.0.1"]))
}

/// Acceptance 178.
#[tokio::test(start_paused = true)]
async fn only_trusted_proxies_are_believed() {
    let app = App::with(proxied);
    let from = |peer: &str, host: &str, forwarded: &[(&str, &str)]| {
        let mut request = opening().header("host", host);
        for (name, value) in forwarded {
            request = request.and_header(name, value);
        }
        let peer: SocketAddr = peer.parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(peer));
        request
    };
    type Headers = &'static [(&'static str, &'static str)];
    let rows: [(&str, &str, Headers, u16); 12] = [
        ("10.1.2.3:1", "inner", &[("x-forwarded-host", "mcp.example")], 200),
        ("10.1.2.3:1", "inner", &[("forwarded", "for=192.0.2.1;host=mcp.example")], 200),
        ("10.1.2.3:1", "inner", &[("x-forwarded-host", "mcp.example"), ("forwarded", "host=mcp.example")], 200),
        ("[::ffff:10.1.2.3]:1", "inner", &[("x-forwarded-host", "mcp.example")], 200),
        ("10.1.2.3:1", "mcp.example", &[], 200),
        ("10.1.2.3:1", "mcp.example", &[("x-forwarded-host", "evil.example")], 403),
        // The service does not guess which of two hosts the client meant.
        ("10.1.2.3:1", "inner", &[("x-forwarded-host", "mcp.example, evil.example")], 400),
        ("10.1.2.3:1", "inner", &[("x-forwarded-host", "mcp.example"), ("forwarded", "host=evil.example")], 400),
        ("10.1.2.3:1", "inner", &[("forwarded", "host=\"mcp.example")], 400),
        // A peer that is no trusted proxy but claims to be one.
        ("192.0.2.9:1", "inner", &[("x-forwarded-host", "mcp.example")], 403),
        ("192.0.2.9:1", "evil.example", &[("forwarded", "host=mcp.example")], 403),
        ("192.0.2.9:1", "mcp.example", &[("x-forwarded-host", "evil.example")], 200),
    ];
    for (peer, host, forwarded, status) in rows {
        let reply = app.send(from(peer, host, forwarded)).await;
        assert_eq!(reply.status, status, "{peer} {host} {forwarded:?}");
        if status == 403 {
            assert!(rejection_text(reply).await.contains("`allowed_hosts`"), "{peer} {host} {forwarded:?}");
        }
    }
    let unknown = opening().header("host", "inner").header("x-forwarded-host", "mcp.example");
    assert_eq!(app.send(unknown).await.status, 403, "without an address no peer is a proxy");
}

/// Acceptance 178.
#[tokio::test]
async fn proxies_are_identified_by_their_address() {
    let (mcp, _probe) = service();
    let app = Router::new().nest("/mcp", proxied(mcp).build().unwrap().into_router());
    let listener = McpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let server = tokio::spawn(async move { axum::serve(listener.tap_io(|_| ()), app).await });
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let head = "GET /mcp HTTP/1.1\r\nHost: inner\r\nX-Forwarded-Host: ";
    for (host, status) in [("mcp.example", "400"), ("evil.example", "403")] {
        let answer = exchange(&mut stream, format!("{head}{host}\r\n\r\n").as_bytes(), Duration::from_secs(1)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {answer}");
    }
    server.abort();
}

/// An absolute request target must agree with the `Host` header.
///
/// Acceptance 85, 89.
#[tokio::test(start_paused = true)]
async fn absolute_targets_must_match_the_host() {
    let app = App::new();
    for (target, status) in [
        ("http://127.0.0.1:3000/mcp", 200),
        ("http://evil.example/mcp", 400),
        ("http://127.0.0.1:3000@evil.example/mcp", 400),
    ] {
        let mut request = opening();
        *request.uri_mut() = target.parse::<Uri>().unwrap();
        assert_eq!(app.send(request).await.status, status, "{target}");
    }
}
