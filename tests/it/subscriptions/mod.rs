//! Subscriptions of 2026-07-28: `subscriptions/listen` and its notifications.

mod delivery;
mod ending;
mod limits;
mod opening;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request};
use mcp_http::message::{ErrorObject, RawJson};
use mcp_http::server::{Call, Discover, Discovery, Initialize, Server};
use mcp_http::{McpService, McpServiceBuilder};
use tokio::sync::Notify;

use crate::support::{App, Reply, RequestExt, Served, Sse, request};

/// A filter with everything that a client can subscribe to.
const ALL: &str = r#"{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true,"resourceSubscriptions":["test://a","test://b"]}"#;

/// Returns a valid request of 2026-07-28. Its id and parameters are JSON texts.
fn worded(id: &str, method: &str, params: &str) -> Request<Body> {
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    let params = params.strip_prefix('{').unwrap();
    let comma = if params == "}" { "" } else { "," };
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{meta}{comma}{params}}}"#);
    request(Method::POST)
        .header("content-type", "application/json")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", method)
        .raw(body)
}

fn listening(id: &str, notifications: &str) -> Request<Body> {
    worded(id, "subscriptions/listen", &format!(r#"{{"notifications":{notifications}}}"#))
}

/// Subscribes with id 1.
async fn listen(app: &App, notifications: &str) -> Sse {
    opened(app.send(listening("1", notifications)).await)
}

#[track_caller]
fn opened(reply: Reply) -> Sse {
    assert_eq!(reply.status, 200, "{:?}", reply.rejection);
    reply.sse()
}

/// Subscribes with id 1 and reads the acknowledgement.
pub(crate) async fn acknowledged(app: &App, notifications: &str) -> Sse {
    let mut stream = listen(app, notifications).await;
    assert_eq!(method(&mut stream).await, "acknowledged");
    stream
}

/// Returns the data of the next event.
async fn bytes(stream: &mut Sse) -> String {
    let event = stream.next().await.expect("an event");
    assert!(event.id.is_none() && event.retry.is_none(), "the stream cannot be resumed: {event:?}");
    event.data.unwrap()
}

/// Returns the distinctive part of the next event's method, and the URI if it has one.
pub(crate) async fn method(stream: &mut Sse) -> String {
    let event = stream.next().await.expect("an event").json();
    let method = event["method"].as_str().unwrap_or_else(|| panic!("{event}"));
    let short = method.strip_prefix("notifications/").unwrap();
    let short = short.strip_prefix("subscriptions/").or(short.strip_suffix("/list_changed")).unwrap_or(short);
    event["params"]["uri"].as_str().map_or(short.to_owned(), |uri| format!("{short} {uri}"))
}

async fn listens(app: &App) -> usize {
    app.handle.statistics().await.listens
}

/// A server that answers `server/discover` with the given capabilities or with an error. With a
/// gate, it answers only once the test opens it.
#[derive(Debug, Clone)]
struct Foreign {
    capabilities: &'static str,
    asked: Arc<Notify>,
    gate: Option<Arc<Notify>>,
}

impl Foreign {
    fn new(capabilities: &'static str) -> Self {
        Self { capabilities, asked: Arc::default(), gate: None }
    }

    fn behind(mut self, gate: &Arc<Notify>) -> Self {
        self.gate = Some(Arc::clone(gate));
        self
    }

    fn app(&self, configure: impl FnOnce(McpServiceBuilder) -> McpServiceBuilder) -> App {
        App::of(configure(McpService::builder(self.clone()).streams(crate::support::streams())))
    }
}

impl<S: Send + Sync> Server<S> for Foreign {
    async fn initialize(&self, _: Initialize, _: &S) -> Result<RawJson, ErrorObject> {
        Err(ErrorObject::internal())
    }

    async fn call(&self, call: Call, _: &S) -> Result<RawJson, ErrorObject> {
        Err(ErrorObject::method_not_found(&call.method))
    }

    async fn discover(&self, _: Discover, _: &S) -> Result<Discovery, ErrorObject> {
        self.asked.notify_one();
        if let Some(gate) = &self.gate {
            gate.notified().await;
        }
        match self.capabilities {
            "panic" => panic!("secret"),
            "error" => Err(ErrorObject::new(-32050, "not today")),
            "none" => Err(ErrorObject::method_not_found("server/discover")),
            capabilities => Ok(Discovery::new(RawJson::parse(capabilities).unwrap())),
        }
    }

    fn serves(&self, _: &str) -> bool {
        false
    }
}

const EVERYTHING: &str = r#"{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"listChanged":true,"subscribe":true}}"#;

/// Returns the HTTP text of a subscription, as a client sends it.
fn on_the_wire(served: &Served) -> String {
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{{{meta},"notifications":{ALL}}}}}"#
    );
    let extra = "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: subscriptions/listen\r\nContent-Length";
    served.post(None, &body).replacen("Content-Length", extra, 1)
}
