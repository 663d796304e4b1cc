//! Shared code of the benchmarks: a client in this process, the service it calls, and the floors.

// Each benchmark is a separate program and uses only a part of this.
#![allow(dead_code)]

pub(crate) mod floor;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use axum::routing::RouterIntoService;
use http_body_util::BodyExt;
use mcp_http::{Args, Context, McpServer, McpService, ResponseMode, Streams};
use schemars::JsonSchema;
use serde::Deserialize;
use tower::Service;

#[derive(Deserialize, JsonSchema)]
struct Message {
    message: String,
}

#[derive(Deserialize, JsonSchema)]
struct Steps {
    steps: u32,
}

async fn echo(Args(args): Args<Message>) -> String {
    args.message
}

async fn progress(cx: Context, Args(args): Args<Steps>) -> &'static str {
    for step in 1..=args.steps {
        cx.progress(step, f64::from(args.steps)).await;
    }
    "done"
}

/// Returns a router with the tools `echo {message}` and `progress {steps}` at `/mcp`.
pub(crate) fn service(mode: ResponseMode) -> Router {
    Router::new().nest("/mcp", mcp(mode).into_router())
}

/// Returns the service itself.
pub(crate) fn mcp(mode: ResponseMode) -> McpService {
    let server =
        McpServer::new("bench", "1.0.0").tool("echo", "Says it again.", echo).tool("progress", "Counts.", progress);
    let streams = Streams::new().response_mode(mode);
    McpService::builder(server).streams(streams).build().expect("good settings")
}

/// Returns the text of a call of `echo`.
pub(crate) fn echo_call(message: &str) -> Bytes {
    let arguments = serde_json::json!({ "message": message });
    format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"echo","arguments":{arguments}}}}}"#)
        .into()
}

/// Returns a call of `echo` in the form of 2026-07-28.
pub(crate) fn modern_echo(message: &str) -> Bytes {
    modern("echo", &serde_json::json!({ "message": message }))
}

/// Returns a call of `progress` in the form of 2026-07-28.
pub(crate) fn modern_progress(steps: u32) -> Bytes {
    modern("progress", &serde_json::json!({ "steps": steps }))
}

fn modern(tool: &str, arguments: &serde_json::Value) -> Bytes {
    format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{{"name":"bench","version":"1.0.0"}},"io.modelcontextprotocol/clientCapabilities":{{"elicitation":{{}},"sampling":{{}},"roots":{{}}}},"progressToken":"t"}}}}}}"#
    )
    .into()
}

/// Returns the text of a call of `progress`, which is answered with `steps` notifications and a
/// result.
pub(crate) fn progress_call(steps: u32) -> Bytes {
    format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"progress","arguments":{{"steps":{steps}}},"_meta":{{"progressToken":"t"}}}}}}"#
    )
    .into()
}

pub(crate) const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"elicitation":{},"sampling":{},"roots":{}},"clientInfo":{"name":"bench","version":"1.0.0"}}}"#;
pub(crate) const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

const SESSION_ID: &str = "mcp-session-id";

/// A client that passes its requests directly to a router.
pub(crate) struct Client {
    service: RouterIntoService<Body>,
    /// The headers of every request.
    headers: HeaderMap,
}

impl Client {
    pub(crate) fn new(router: Router) -> Self {
        let headers = [
            ("host", "127.0.0.1:3000"),
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
            ("mcp-protocol-version", "2025-11-25"),
        ];
        let header = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        // With its state, as `axum::serve` passes it to each connection.
        let service = router.with_state(()).into_service();
        Self { service, headers: headers.into_iter().map(header).collect() }
    }

    /// Uses 2026-07-28 from now on, and calls one tool.
    pub(crate) fn speak_modern(&mut self, tool: &'static str) {
        for (name, value) in [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", tool)]
        {
            self.headers.insert(name, HeaderValue::from_static(value));
        }
    }

    /// Opens a session, or another one.
    pub(crate) async fn open(&mut self) {
        self.headers.remove(SESSION_ID);
        let response = self.send(Method::POST, Bytes::from_static(INITIALIZE.as_bytes())).await;
        assert_eq!(response.status(), StatusCode::OK);
        let session = response.headers()[SESSION_ID].clone();
        self.headers.insert(SESSION_ID, session);
        let response = self.send(Method::POST, Bytes::from_static(INITIALIZED.as_bytes())).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
    }

    /// Sends this session id, for a floor that only looks it up.
    pub(crate) fn pretend(&mut self, session: &'static str) {
        self.headers.insert(SESSION_ID, HeaderValue::from_static(session));
    }

    /// Ends the session.
    pub(crate) async fn delete(&mut self) {
        let response = self.send(Method::DELETE, Bytes::new()).await;
        assert_eq!(response.status(), StatusCode::OK);
    }

    /// Posts a message and reads the response to its end. Returns the size of its body.
    pub(crate) async fn call(&mut self, message: &Bytes) -> usize {
        let response = self.send(Method::POST, message.clone()).await;
        assert_eq!(response.status(), StatusCode::OK);
        let mut body = response.into_body();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            length += frame.expect("a whole body").data_ref().map_or(0, Bytes::len);
        }
        length
    }

    /// Posts a message and returns the body of the response.
    pub(crate) async fn text(&mut self, message: &Bytes) -> String {
        let body = self.send(Method::POST, message.clone()).await.into_body();
        let bytes = body.collect().await.expect("a whole body").to_bytes();
        String::from_utf8(bytes.to_vec()).expect("text")
    }

    async fn send(&mut self, method: Method, body: Bytes) -> Response<Body> {
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from_static("/mcp");
        // As cheap as hyper, which slices all values from one buffer.
        *request.headers_mut() = self.headers.clone();
        let Ok(response) = self.service.call(request).await;
        response
    }
}
