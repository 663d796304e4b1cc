//! Principals, extractors and the guard for requests of 2026-07-28.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::{Body, Bytes};
use axum::extract::{Extension, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::{Json, Router};
use futures_util::stream;
use mcp_http::message::ProtocolVersion;
use mcp_http::{Args, Context, McpHandle, McpServer, McpService, Principal, Security, Sessions, mcp_router};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::{App, MODERN, RequestExt, modern, modern_call, text_of};

/// The principal of each request is the one that the application's layer set.
///
/// Acceptance 60.
#[tokio::test(start_paused = true)]
async fn the_principal_comes_from_the_layer() {
    let app = App::new();
    for name in ["ann", "bob", "ann"] {
        let who = modern_call("whoami", json!({})).principal(name);
        assert_eq!(text_of(app.send(who).await).await, format!("{name} test {MODERN}"));
        assert_eq!(text_of(app.call_tool("whoami", json!({})).await).await, format!("nobody test {MODERN}"));
    }
    let forged = modern_call("whoami", json!({})).header("authorization", "Bearer eve").header("x-principal", "eve");
    assert_eq!(text_of(app.send(forged).await).await, format!("nobody test {MODERN}"));
    let sessions =
        Sessions::new().principal(|parts| Some(Principal::new(parts.headers.get("x-verified")?.to_str().ok()?)));
    let app = App::with(|service| service.sessions(sessions));
    let who = modern_call("whoami", json!({})).header("x-verified", "ann").principal("eve");
    assert_eq!(text_of(app.send(who).await).await, format!("ann test {MODERN}"));
}

#[derive(Clone)]
struct Words(&'static str);

#[derive(Clone)]
struct Tenant(u32);

/// An extractor of the application.
struct Language(String);

impl<S: Sync> FromRequestParts<S> for Language {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let header = parts.headers.get("accept-language").and_then(|value| value.to_str().ok());
        header.map(|value| Self(value.to_owned())).ok_or((StatusCode::BAD_REQUEST, "Accept-Language is missing"))
    }
}

#[derive(Deserialize, JsonSchema)]
struct Whom {
    whom: String,
}

#[derive(Serialize, JsonSchema)]
struct Seen {
    words: &'static str,
    tenant: u32,
    language: String,
    method: String,
    version: ProtocolVersionText,
}

#[derive(Serialize, JsonSchema)]
struct ProtocolVersionText(String);

/// Tools, resources and prompts can use any extractor.
///
/// Acceptance 172.
#[tokio::test(start_paused = true)]
async fn any_extractor_works_in_tools_resources_and_prompts() {
    async fn tool(
        State(words): State<Words>,
        Extension(tenant): Extension<Tenant>,
        Language(language): Language,
        headers: HeaderMap,
        cx: Context,
        handle: McpHandle,
    ) -> Json<Seen> {
        assert!(handle.is_ready() && cx.session().is_none());
        let method = headers["mcp-method"].to_str().unwrap().to_owned();
        let version = ProtocolVersionText(cx.protocol_version().to_string());
        Json(Seen { words: words.0, tenant: tenant.0, language, method, version })
    }
    async fn resource(
        State(words): State<Words>,
        Extension(tenant): Extension<Tenant>,
        Language(it): Language,
    ) -> String {
        format!("{} {} ({it})", words.0, tenant.0)
    }
    async fn prompt(
        State(words): State<Words>,
        Extension(tenant): Extension<Tenant>,
        Language(it): Language,
        Args(args): Args<Whom>,
    ) -> String {
        format!("{} {} {} ({it})", words.0, tenant.0, args.whom)
    }
    let server = McpServer::<Words>::new("greeter", "1.0.0")
        .tool("see", "Sees.", tool)
        .resource("greet://all", "all", resource)
        .resource_template("greet://{whom}", "one", prompt)
        .prompt("greet", "Greets.", prompt);
    let service = McpService::builder(server).versions([ProtocolVersion::V2026_07_28]).build().unwrap();
    let router: Router =
        Router::new().nest("/mcp", mcp_router(service)).layer(Extension(Tenant(7))).with_state(Words("Hello"));
    let ask = async |method: &str, params: Value, language: bool| {
        let request = modern(method, params);
        let request = if language { request.header("accept-language", "en") } else { request };
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
        (status, serde_json::from_slice::<Value>(&body).unwrap())
    };
    let (_, seen) = ask("tools/call", json!({"name": "see"}), true).await;
    assert_eq!(
        seen["result"]["structuredContent"],
        json!({"words": "Hello", "tenant": 7, "language": "en", "method": "tools/call", "version": MODERN})
    );
    for (method, params, expected) in [
        ("resources/read", json!({"uri": "greet://all"}), "Hello 7 (en)"),
        ("resources/read", json!({"uri": "greet://Bo"}), "Hello 7 Bo (en)"),
        ("prompts/get", json!({"name": "greet", "arguments": {"whom": "Ada"}}), "Hello 7 Ada (en)"),
    ] {
        let (status, body) = ask(method, params.clone(), true).await;
        assert_eq!(status, 200, "{method}: {body}");
        assert!(body.to_string().contains(expected), "{method}: {body}");
        // An extractor that rejects ends the call, with the error form of its method.
        let (status, body) = ask(method, params, false).await;
        assert_eq!((status, body["error"]["code"].is_i64()), (200, true), "{method}: {body}");
    }
}

/// The guard rejects a request before anything else of it is read.
///
/// Acceptance 85, 86, 87, 89.
#[tokio::test(start_paused = true)]
async fn the_guard_runs_before_any_read() {
    let app = App::new();
    for (name, value, setting) in
        [("host", "evil.example", "`allowed_hosts`"), ("origin", "https://evil.example", "`allowed_origins`")]
    {
        let touched = Arc::new(AtomicBool::new(false));
        let read = Arc::clone(&touched);
        let body = Body::from_stream(stream::poll_fn(move |_| {
            read.store(true, Ordering::Relaxed);
            std::task::Poll::Ready(None::<Result<Bytes, std::io::Error>>)
        }));
        // Everything else in the request is wrong, too.
        let request = modern("no/such", json!({})).header(name, value).raw(body).header("accept", "x/y");
        let reply = app.send(request.and_header("mcp-method", "a").header("content-type", "text/plain")).await;
        assert_eq!(reply.status, 403, "{name}");
        assert!(!touched.load(Ordering::Relaxed), "{name}");
        assert!(reply.text().await.contains(setting), "{name}");
    }
    for (name, value, status) in [
        ("host", "localhost", 200),
        ("host", "[::1]:3000", 200),
        ("host", "localhost.evil.example", 403),
        ("origin", "http://localhost:5173", 200),
        ("origin", "null", 403),
    ] {
        assert_eq!(
            app.send(modern("tools/list", json!({})).header(name, value)).await.status,
            status,
            "{name}: {value}"
        );
    }
    let security = Security::new().allowed_hosts(["mcp.example:*"]);
    let app = App::with(|service| service.security(security));
    for (host, status) in [("mcp.example:8443", 200), ("localhost", 403)] {
        assert_eq!(app.send(modern("tools/list", json!({})).header("host", host)).await.status, status, "{host}");
    }
    let mut get = modern("tools/list", json!({})).header("host", "evil.example");
    *get.method_mut() = Method::GET;
    assert_eq!(app.send(get).await.status, 403);
}
