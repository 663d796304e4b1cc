//! Other layers: the service below the tower layers that applications commonly add.

use std::time::Duration;

use axum::Router;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use mcp_http::{Args, McpServer, McpService, mcp_router};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use tower::ServiceExt;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use tower_http::validate_request::ValidateRequestHeaderLayer;

use crate::support::{App, RequestExt, call, initialize, request};

/// Acceptance 102.
#[tokio::test(start_paused = true)]
async fn timeout_layers_bound_json_and_not_streams() {
    let timeout = TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_secs(2));
    let app = App::new().layered(|router| router.layer(timeout).layer(TraceLayer::new_for_http()));
    let client = app.open().await;
    // After half a second of silence the response becomes a stream, whose body may take any time.
    let reply = client.call(1, "slow", json!({"ms": 60_000, "label": "a"})).await;
    assert_eq!(reply.message().await["result"]["content"][0]["text"], "slept");
}

/// A timeout layer that drops the response does not cancel the call, as with a disconnect.
///
/// Acceptance 104.
#[tokio::test(start_paused = true)]
async fn calls_continue_after_a_layer_timeout() {
    let app = App::with(|service| {
        let streams = mcp_http::Streams::new().response_mode(mcp_http::ResponseMode::Json);
        service.streams(streams)
    });
    let timeout = TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_secs(2));
    let app = app.layered(|router| router.layer(timeout));
    let client = app.open().await;
    let reply = client.call(1, "slow", json!({"ms": 5_000, "label": "a"})).await;
    assert_eq!((reply.status, app.probe.state("a")), (StatusCode::GATEWAY_TIMEOUT, Some("running")));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(app.probe.state("a"), Some("finished"));
}

/// Acceptance 38, 82.
#[tokio::test(start_paused = true)]
async fn body_limits_of_layers_are_reported() {
    let app = App::new().layered(|router| router.layer(RequestBodyLimitLayer::new(200)));
    let mut message = initialize("2025-11-25", json!({}));
    message["params"]["clientInfo"]["name"] = json!("x".repeat(300));
    // Without a declared length, the layer's limit takes effect only while the body is read.
    let reply = app.send(request(Method::POST).message(message)).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(app.handle.sessions().await.unwrap().is_empty());
}

/// Acceptance 60.
#[tokio::test(start_paused = true)]
async fn auth_layers_run_first() {
    #[allow(deprecated)]
    let auth = ValidateRequestHeaderLayer::bearer("secret");
    let app = App::new().layered(|router| router.layer(auth));
    let opening = || request(Method::POST).message(initialize("2025-11-25", json!({})));
    assert_eq!(app.send(opening()).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(app.send(opening().header("authorization", "Bearer secret")).await.status, StatusCode::OK);
    assert_eq!(app.handle.sessions().await.unwrap().len(), 1);
}

#[derive(Clone)]
struct Words(&'static str);

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

/// Acceptance 172.
#[tokio::test(start_paused = true)]
async fn router_state_and_extractors_reach_handlers() {
    async fn tool(State(words): State<Words>, Language(language): Language, Args(args): Args<Whom>) -> String {
        format!("{} {} ({language})", words.0, args.whom)
    }
    async fn resource(State(words): State<Words>, Language(language): Language) -> String {
        format!("{} ({language})", words.0)
    }
    async fn prompt(State(words): State<Words>, Language(language): Language, Args(args): Args<Whom>) -> String {
        format!("{} {} ({language})", words.0, args.whom)
    }
    let server = McpServer::<Words>::new("greeter", "1.0.0")
        .tool("greet", "Greets.", tool)
        .resource("greet://all", "all", resource)
        .prompt("greet", "Greets.", prompt);
    // Without sessions, each request is independent of the others.
    let service = McpService::builder(server).sessions(mcp_http::Sessions::new().stateless(true)).build().unwrap();
    let router: Router = Router::new().nest("/mcp", mcp_router(service)).with_state(Words("Hello,"));
    let ask = async |message: serde_json::Value| {
        let request = request(Method::POST).message(message).header("accept-language", "en");
        let response = router.clone().oneshot(request).await.unwrap();
        let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    };
    assert!(ask(call(1, "greet", json!({"whom": "Ada"}))).await.contains("Hello, Ada (en)"));
    let read = json!({"jsonrpc": "2.0", "id": 2, "method": "resources/read", "params": {"uri": "greet://all"}});
    assert!(ask(read).await.contains("Hello, (en)"));
    let get = json!({"jsonrpc": "2.0", "id": 3, "method": "prompts/get", "params": {"name": "greet", "arguments": {"whom": "Ada"}}});
    assert!(ask(get).await.contains("Hello, Ada (en)"));
}
