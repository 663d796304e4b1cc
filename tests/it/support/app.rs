//! An application in this process: requests go straight into its router, without a socket, so that
//! time can be paused.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt;
use mcp_http::{McpHandle, McpServer, McpService, McpServiceBuilder, Principal, ResponseMode, Streams};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::engine::{FarEngine, Pace};
use super::logs;
use super::sse::{Event, Sse};
use super::tools::{Probe, server};

/// Builds the test server with the default settings.
pub(crate) fn service() -> (McpServiceBuilder, Probe) {
    let probe = Probe::default();
    (McpService::builder(server(&probe)).streams(streams()), probe)
}

/// Returns the default settings of streams, without a write timeout: clients in this process may
/// read late and are not cut.
pub(crate) fn streams() -> Streams {
    Streams::new().write_timeout(None)
}

/// An application with the service at `/mcp`.
#[derive(Clone)]
pub(crate) struct App {
    router: Router,
    pub(crate) handle: McpHandle,
    pub(crate) probe: Probe,
}

impl App {
    /// Uses the default settings.
    pub(crate) fn new() -> Self {
        Self::with(|service| service)
    }

    /// Uses settings of the test's own.
    pub(crate) fn with(configure: impl FnOnce(McpServiceBuilder) -> McpServiceBuilder) -> Self {
        let (service, probe) = service();
        Self { probe, ..Self::of(configure(service)) }
    }

    /// Uses the test server with more tools.
    pub(crate) fn serving(
        tools: impl FnOnce(McpServer) -> McpServer,
        configure: impl FnOnce(McpServiceBuilder) -> McpServiceBuilder,
    ) -> Self {
        let probe = Probe::default();
        let service = configure(McpService::builder(tools(server(&probe))).streams(streams()));
        Self { probe, ..Self::of(service) }
    }

    /// Uses settings of streams of the test's own.
    pub(crate) fn streaming(change: impl FnOnce(Streams) -> Streams) -> Self {
        Self::with(|service| service.streams(change(streams())))
    }

    /// Uses one form of answers.
    pub(crate) fn in_mode(mode: ResponseMode) -> Self {
        Self::streaming(|streams| streams.response_mode(mode))
    }

    /// Uses an engine that is far away.
    pub(crate) fn far(pace: Pace) -> Self {
        Self::with(|service| service.engine(FarEngine::new(move |_, _| pace)))
    }

    /// Uses a service of the test's own.
    pub(crate) fn of(service: McpServiceBuilder) -> Self {
        logs::install();
        Self::serve(service.build().expect("good settings"))
    }

    /// Uses a service that was already built.
    pub(crate) fn serve(service: McpService) -> Self {
        logs::install();
        let handle = service.handle();
        Self { router: Router::new().nest("/mcp", service.into_router()), handle, probe: Probe::default() }
    }

    /// Adds layers of the test's own around the application.
    pub(crate) fn layered(mut self, layer: impl FnOnce(Router) -> Router) -> Self {
        self.router = layer(self.router);
        self
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        Reply { status: parts.status, headers: parts.headers, body, rejection: parts.extensions.get().cloned() }
    }

    /// Posts a message as a client without a session does.
    pub(crate) async fn post(&self, message: Value) -> Reply {
        self.send(request(Method::POST).message(message)).await
    }

    /// Opens a session in the newest revision.
    pub(crate) async fn open(&self) -> Client {
        self.open_as("2025-11-25", json!({"elicitation": {}, "sampling": {}, "roots": {}}), None).await
    }

    /// Opens a session in the given revision.
    pub(crate) async fn open_version(&self, version: &str) -> Client {
        self.open_as(version, json!({"elicitation": {}, "sampling": {}, "roots": {}}), None).await
    }

    /// Opens a session of a principal, as an authentication layer would have named it.
    pub(crate) async fn open_principal(&self, principal: &str) -> Client {
        self.open_as("2025-11-25", json!({}), Some(Principal::new(principal))).await
    }

    #[track_caller]
    pub(crate) fn open_as(
        &self,
        version: &str,
        capabilities: Value,
        principal: Option<Principal>,
    ) -> impl Future<Output = Client> {
        let mut opening = request(Method::POST).message(initialize(version, capabilities));
        if let Some(principal) = &principal {
            opening.extensions_mut().insert(principal.clone());
        }
        let (app, version) = (self.clone(), version.to_owned());
        async move {
            let reply = app.send(opening).await;
            assert_eq!(reply.status, StatusCode::OK, "{:?}", reply.rejection);
            let session = reply.headers["mcp-session-id"].to_str().unwrap().to_owned();
            let client = Client { app, session, version, principal };
            let reply = client.post(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
            assert_eq!(reply.status, StatusCode::ACCEPTED);
            client
        }
    }
}

/// Waits until a condition holds, for much longer than it takes on the clock of the machine.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let held = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), held).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Returns an `initialize` message with id 0.
#[expect(clippy::needless_pass_by_value, reason = "callers write json!(..) in place")]
pub(crate) fn initialize(version: &str, capabilities: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": version,
        "capabilities": capabilities,
        "clientInfo": {"name": "test", "version": "1"},
    }})
}

/// Returns a request that opens a session in the newest revision.
pub(crate) fn opening() -> Request<Body> {
    request(Method::POST).message(initialize("2025-11-25", json!({})))
}

/// Returns a `ping`.
pub(crate) fn ping(id: impl Into<Value>) -> Value {
    json!({"jsonrpc": "2.0", "id": id.into(), "method": "ping"})
}

/// A client in a session.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) app: App,
    pub(crate) session: String,
    pub(crate) version: String,
    pub(crate) principal: Option<Principal>,
}

impl Client {
    /// Returns a request of this session, with its headers.
    pub(crate) fn request(&self, method: Method) -> Request<Body> {
        let mut request = request(method).header("mcp-session-id", &self.session);
        request = request.header("mcp-protocol-version", &self.version);
        if let Some(principal) = &self.principal {
            request.extensions_mut().insert(principal.clone());
        }
        request
    }

    pub(crate) async fn post(&self, message: Value) -> Reply {
        self.app.send(self.request(Method::POST).message(message)).await
    }

    /// Calls a tool.
    pub(crate) async fn call(&self, id: impl Into<Value>, tool: &str, arguments: Value) -> Reply {
        self.post(call(id, tool, arguments)).await
    }

    /// Calls a tool and reads its text from a JSON answer.
    pub(crate) async fn text_of(&self, tool: &str, arguments: Value) -> String {
        let answer = self.call(1, tool, arguments).await.message().await;
        answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// Opens the standalone stream.
    pub(crate) async fn listen(&self) -> Sse {
        let reply = self.app.send(self.request(Method::GET)).await;
        assert_eq!(reply.status, StatusCode::OK, "{:?}", reply.rejection);
        reply.sse()
    }

    /// Opens the standalone stream and reads the event that primes it.
    pub(crate) async fn listen_primed(&self) -> Sse {
        let mut stream = self.listen().await;
        assert!(stream.next_any().await.unwrap().primes());
        stream
    }

    /// Returns the same client at another node.
    pub(crate) fn at(&self, app: &App) -> Self {
        Self { app: app.clone(), ..self.clone() }
    }

    /// Returns a POST of this session with a body of the test's own.
    pub(crate) fn raw(&self, body: impl Into<Body>) -> Request<Body> {
        self.request(Method::POST).header("content-type", "application/json").raw(body)
    }

    /// Resumes a stream after the event with this id.
    pub(crate) async fn resume(&self, last_event: &str) -> Reply {
        self.app.send(self.request(Method::GET).header("last-event-id", last_event)).await
    }

    /// Makes a call of `progress`, drops its stream after its first event and `cut` messages, and
    /// resumes it from another client. Returns all messages but the first event.
    pub(crate) async fn call_cut_after(
        &self,
        cut: usize,
        arguments: Value,
        resumes: &Self,
        away: Duration,
    ) -> Vec<Event> {
        let mut stream = self.call(1, "progress", arguments).await.sse();
        let mut last = stream.next().await.unwrap().id().to_owned();
        let mut seen = Vec::new();
        for _ in 0..cut {
            let event = stream.message().await.unwrap();
            event.id().clone_into(&mut last);
            seen.push(event);
        }
        drop(stream);
        tokio::time::sleep(away).await;
        seen.extend(resumes.resume(&last).await.sse().rest().await);
        seen
    }

    pub(crate) async fn delete(&self) -> Reply {
        self.app.send(self.request(Method::DELETE)).await
    }

    pub(crate) async fn cancel(&self, id: impl Into<Value>) -> Reply {
        let id: Value = id.into();
        self.post(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}})).await
    }
}

/// Returns a `tools/call` that asks for progress under the token `t`.
#[expect(clippy::needless_pass_by_value, reason = "callers write json!(..) in place")]
pub(crate) fn call(id: impl Into<Value>, tool: &str, arguments: Value) -> Value {
    let id: Value = id.into();
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
        "name": tool, "arguments": arguments, "_meta": {"progressToken": "t"},
    }})
}

/// Returns a request with the headers that every client sends.
pub(crate) fn request(method: Method) -> Request<Body> {
    let accept = if method == Method::GET { "text/event-stream" } else { "application/json, text/event-stream" };
    let request = Request::builder().uri("/mcp").header("host", "127.0.0.1:3000").header("accept", accept);
    request.method(method).body(Body::empty()).unwrap()
}

/// Changes to a request, made in order.
pub(crate) trait RequestExt {
    fn message(self, message: Value) -> Self;
    fn raw(self, body: impl Into<Body>) -> Self;
    /// Replaces a header.
    fn header(self, name: &str, value: &str) -> Self;
    /// Adds another value of a header.
    fn and_header(self, name: &str, value: &str) -> Self;
    fn without(self, name: &str) -> Self;
    fn principal(self, name: &str) -> Self;
}

impl RequestExt for Request<Body> {
    fn message(self, message: Value) -> Self {
        self.header("content-type", "application/json").raw(message.to_string())
    }

    fn raw(mut self, body: impl Into<Body>) -> Self {
        *self.body_mut() = body.into();
        self
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        let (name, value) = pair(name, value);
        self.headers_mut().insert(name, value);
        self
    }

    fn and_header(mut self, name: &str, value: &str) -> Self {
        let (name, value) = pair(name, value);
        self.headers_mut().append(name, value);
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers_mut().remove(name);
        self
    }

    fn principal(mut self, name: &str) -> Self {
        self.extensions_mut().insert(Principal::new(name));
        self
    }
}

fn pair(name: &str, value: &str) -> (HeaderName, HeaderValue) {
    (name.parse().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
}

/// A response whose body was not read yet. A client that leaves drops it.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) rejection: Option<mcp_http::error::Rejection>,
    body: Body,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn is_sse(&self) -> bool {
        self.header("content-type") == Some("text/event-stream")
    }

    /// Returns the size of the body's next piece, or `None` if the body was cut. Panics at its end.
    pub(crate) async fn piece(&mut self) -> Option<usize> {
        let frame = self.body.frame().await.expect("the body has ended");
        frame.ok().and_then(|frame| frame.into_data().ok()).map(|data| data.len())
    }

    /// Reads the whole body.
    pub(crate) async fn text(self) -> String {
        let bytes = tokio::time::timeout(Duration::from_secs(3600), self.body.collect()).await;
        String::from_utf8(bytes.expect("the body does not end").unwrap().to_bytes().to_vec()).unwrap()
    }

    /// Reads the whole body as JSON.
    #[track_caller]
    pub(crate) fn json(self) -> impl Future<Output = Value> {
        let kind = self.header("content-type").map(str::to_owned);
        assert_eq!(kind.as_deref(), Some("application/json"));
        async { serde_json::from_str(&self.text().await).unwrap() }
    }

    /// Returns the answer in either form: the last message of the body.
    pub(crate) async fn message(self) -> Value {
        if self.is_sse() {
            return self.sse().rest().await.pop().expect("a message").json();
        }
        self.json().await
    }

    /// Returns the body as a stream.
    #[track_caller]
    pub(crate) fn sse(self) -> Sse {
        assert!(self.is_sse(), "{} {:?}", self.status, self.headers);
        Sse::new(self.body)
    }

    /// Returns the error code of a JSON-RPC error, and the id beside it.
    pub(crate) async fn error(self) -> (i64, Option<Value>) {
        let body = self.json().await;
        (body["error"]["code"].as_i64().unwrap_or_else(|| panic!("{body}")), body.get("id").cloned())
    }
}
