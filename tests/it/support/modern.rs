//! Requests of 2026-07-28 as a client writes them: `_meta` of each message, and the headers that
//! mirror it.

use axum::body::Body;
use axum::http::{Method, Request};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::app::{App, Reply, RequestExt, request};

pub(crate) const MODERN: &str = "2026-07-28";
pub(crate) const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
pub(crate) const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";
pub(crate) const CLIENT_KEY: &str = "io.modelcontextprotocol/clientInfo";
pub(crate) const LOG_KEY: &str = "io.modelcontextprotocol/logLevel";

/// Returns a complete `_meta`.
pub(crate) fn meta() -> Value {
    json!({
        VERSION_KEY: MODERN,
        CLIENT_KEY: {"name": "test", "version": "1"},
        CAPABILITIES_KEY: {},
    })
}

/// Returns a complete message with id 1. Members of `_meta` in the parameters override the
/// defaults.
pub(crate) fn envelope(method: &str, mut params: Value) -> Value {
    let mut whole = meta();
    if let Some(given) = params["_meta"].as_object() {
        whole.as_object_mut().unwrap().extend(given.clone());
    }
    params["_meta"] = whole;
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

/// Returns a request with everything that a client sends.
pub(crate) fn modern(method: &str, params: Value) -> Request<Body> {
    mirrored(envelope(method, params))
}

/// Returns a `tools/call` that asks for progress under the token `t`.
#[expect(clippy::needless_pass_by_value, reason = "callers write json!(..) in place")]
pub(crate) fn modern_call(tool: &str, arguments: Value) -> Request<Body> {
    modern("tools/call", json!({"name": tool, "arguments": arguments, "_meta": {"progressToken": "t"}}))
}

/// Returns a request with a message and the headers that mirror it.
pub(crate) fn mirrored(message: Value) -> Request<Body> {
    let params = &message["params"];
    let about = match message["method"].as_str().unwrap_or_default() {
        "tools/call" | "prompts/get" => params["name"].as_str(),
        "resources/read" => params["uri"].as_str(),
        "tasks/get" | "tasks/update" | "tasks/cancel" => params["taskId"].as_str(),
        _ => None,
    };
    let mut request = request(Method::POST).header("mcp-protocol-version", MODERN);
    if let Some(method) = message["method"].as_str() {
        request = request.header("mcp-method", method);
    }
    if let Some(about) = about {
        request = request.header("mcp-name", &encoded(about));
    }
    request.message(message)
}

/// Encodes a value for a header.
pub(crate) fn encoded(value: &str) -> String {
    let plain = value.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && value.trim() == value
        && !(value.starts_with("=?base64?") && value.ends_with("?="));
    if plain { value.to_owned() } else { format!("=?base64?{}?=", STANDARD.encode(value)) }
}

/// Returns the text of a tool's answer in either form.
pub(crate) async fn text_of(reply: Reply) -> String {
    let answer = reply.message().await;
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

impl App {
    /// Sends a request as a client of 2026-07-28.
    pub(crate) async fn request(&self, method: &str, params: Value) -> Reply {
        self.send(modern(method, params)).await
    }

    /// Calls a tool as a client of 2026-07-28.
    pub(crate) async fn call_tool(&self, tool: &str, arguments: Value) -> Reply {
        self.send(modern_call(tool, arguments)).await
    }
}
