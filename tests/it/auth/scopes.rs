//! Scopes on tools, resources and prompts, and scopes that a handler or an extractor asks for.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Method, Request};
use mcp_http::server::{CacheHint, Prompt, Resource, ResourceTemplate, ScopePolicy, Tool, ToolError};
use mcp_http::{
    AccessToken, Args, Context, InsufficientScope, McpServer, McpService, McpServiceBuilder, ResponseMode, Sessions,
};
use serde_json::{Value, json};

use super::{METADATA, bearer, people, resource_server};
use crate::support::{App, Client, Reply, RequestExt, initialize, modern, modern_call, ping, request, streams};

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Path {
    path: String,
    /// Whether progress is sent before the check.
    #[serde(default)]
    late: bool,
}

/// Writes a file; files of the system need another scope.
async fn write(cx: Context, token: AccessToken, Args(file): Args<Path>) -> Result<String, ToolError> {
    if file.late {
        cx.progress(1, None).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    if file.path.starts_with("/etc") {
        token.require(["files:admin"])?;
    }
    Ok(format!("wrote {}", file.path))
}

/// An extractor for everyone who may administer.
struct Admin;

impl<S: Sync> FromRequestParts<S> for Admin {
    type Rejection = InsufficientScope;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, InsufficientScope> {
        let token: Result<Option<AccessToken>, Infallible> = parts.extract_optional(state).await;
        token.unwrap().unwrap().require(["files:admin"]).map(|()| Self)
    }
}

trait Optional {
    async fn extract_optional<S: Sync>(&mut self, state: &S) -> Result<Option<AccessToken>, Infallible>;
}

impl Optional for Parts {
    async fn extract_optional<S: Sync>(&mut self, state: &S) -> Result<Option<AccessToken>, Infallible> {
        <AccessToken as axum::extract::OptionalFromRequestParts<S>>::from_request_parts(self, state).await
    }
}

fn server() -> McpServer {
    McpServer::new("files", "1")
        .tool("open", "Needs nothing.", async || "open")
        .tool("administer", "Needs a scope by its extractor.", async |_: Admin| "administered")
        .with_tool(Tool::new("write", "Writes.", write).scopes(["files:write"]))
        .with_tool(Tool::new("both", "Needs two.", async || "both").scopes(["files:write", "files:admin"]))
        .with_resource(Resource::new("docs://secret", "secret", async || "secret").scopes(["files:write"]))
        .with_resource_template(
            ResourceTemplate::new(
                "user://{id}",
                "user",
                async |Args(_): Args<std::collections::BTreeMap<String, String>>| "u",
            )
            .scopes(["files:write"]),
        )
        .with_prompt(Prompt::new("plan", "Plans.", async || "plan").scopes(["files:write"]))
}

fn app_with(required: &[&str], configure: impl FnOnce(McpServiceBuilder) -> McpServiceBuilder) -> App {
    let auth = resource_server(people(), |auth| {
        auth.required_scopes(required.iter().copied())
            .scope_hierarchy(|granted, required| granted == "files:write" && required == "files:append")
    });
    let service = McpService::builder(server()).streams(streams());
    App::of(configure(service)).layered(|router: Router| router.layer(auth.layer()))
}

fn app() -> App {
    app_with(&[], |service| service)
}

async fn open(app: &App, token: &str, version: &str) -> Client {
    let reply = app.send(bearer(request(Method::POST).message(initialize(version, json!({}))), token)).await;
    let session = reply.header("mcp-session-id").unwrap().to_owned();
    Client { app: app.clone(), session, version: version.to_owned(), principal: None }
}

fn challenge(scopes: &str) -> String {
    format!(
        "Bearer resource_metadata=\"{METADATA}\", error=\"insufficient_scope\", scope=\"{scopes}\", \
         error_description=\"The operation needs more scopes\""
    )
}

/// Checks that a reply is a 403 that names these scopes, in its header and in its error.
async fn is_challenged(reply: Reply, scopes: &str, what: &str) {
    assert_eq!((reply.status.as_u16(), reply.header("www-authenticate")), (403, Some(&*challenge(scopes))), "{what}");
    assert!(reply.rejection.is_some(), "{what}");
    let body = reply.json().await;
    assert_eq!(body["error"]["code"], -32007, "{what}: {body}");
    assert_eq!(body["error"]["data"]["requiredScopes"], json!(scopes.split(' ').collect::<Vec<_>>()), "{what}");
    assert_eq!(body["id"], 1, "{what}: {body}");
}

/// Returns the same request for each era, with id 1.
async fn in_both_eras(app: &App, token: &str, method: &str, params: Value) -> Vec<(String, Request<Body>)> {
    let client = open(app, token, "2025-11-25").await;
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params.clone()});
    let legacy = client.request(Method::POST).message(message);
    let requests = [("legacy", legacy), ("modern", modern(method, params.clone()))];
    requests.map(|(era, request)| (format!("{era} {method} {params}"), bearer(request, token))).into()
}

/// An operation with scopes is answered with one challenge that names them all.
#[tokio::test(start_paused = true)]
async fn an_operation_needs_the_scopes_of_its_item() {
    let app = app();
    let operations = [
        ("tools/call", json!({"name": "write", "arguments": {"path": "a"}}), "files:write", 200),
        ("tools/call", json!({"name": "both", "arguments": {}}), "files:write files:admin", 403),
        ("prompts/get", json!({"name": "plan"}), "files:write", 200),
        ("resources/read", json!({"uri": "docs://secret"}), "files:write", 200),
        ("resources/read", json!({"uri": "docs://s%65cret"}), "files:write", 200),
        ("resources/read", json!({"uri": "user://7"}), "files:write", 200),
        (
            "completion/complete",
            json!({"ref": {"type": "ref/prompt", "name": "plan"}, "argument": {"name": "a", "value": ""}}),
            "files:write",
            200,
        ),
    ];
    for (method, params, scopes, for_alice) in operations {
        for (what, request) in in_both_eras(&app, "bob", method, params.clone()).await {
            if method != "completion/complete" || !what.starts_with("modern") {
                is_challenged(app.send(request).await, scopes, &what).await;
            }
        }
        for (what, request) in in_both_eras(&app, "alice", method, params.clone()).await {
            let status = app.send(request).await.status;
            assert!(status == for_alice || (method == "completion/complete" && status == 404), "{what}: {status}");
        }
    }
    for (what, request) in in_both_eras(&app, "eve", "tools/call", json!({"name": "open"})).await {
        assert_eq!(app.send(request).await.status, 200, "{what}");
    }
    // Lists show everything: a client must know a tool to ask for its scope.
    for (what, request) in in_both_eras(&app, "eve", "tools/list", json!({})).await {
        let list = app.send(request).await.message().await;
        assert_eq!(list["result"]["tools"].as_array().unwrap().len(), 4, "{what}: {list}");
    }
    let statistics = app.handle.statistics().await;
    assert!(statistics.rejected["insufficient_scope"] > 0, "{statistics:?}");
}

/// A rejected operation leaves nothing, and a subscription is one.
#[tokio::test(start_paused = true)]
async fn a_subscription_needs_the_scopes_of_its_resources() {
    let app = app();
    let client = open(&app, "bob", "2025-11-25").await;
    let subscribe =
        json!({"jsonrpc": "2.0", "id": 1, "method": "resources/subscribe", "params": {"uri": "docs://secret"}});
    let reply = app.send(bearer(client.request(Method::POST).message(subscribe.clone()), "bob")).await;
    is_challenged(reply, "files:write", "subscribe").await;
    assert_eq!(app.send(bearer(client.request(Method::POST).message(subscribe), "alice")).await.status, 404);
    let listen =
        || modern("subscriptions/listen", json!({"notifications": {"resourceSubscriptions": ["docs://secret"]}}));
    is_challenged(app.send(bearer(listen(), "bob")).await, "files:write", "listen").await;
    assert_eq!(app.send(bearer(listen(), "alice")).await.status, 200);
}

/// What every request needs is named together with what the operation needs.
#[tokio::test(start_paused = true)]
async fn every_request_needs_the_resource_scopes() {
    let app = app_with(&["files:read"], |service| service);
    let opening = request(Method::POST).message(initialize("2025-11-25", json!({})));
    let reply = app.send(bearer(opening, "eve")).await;
    assert_eq!(reply.header("www-authenticate"), Some(&*challenge("files:read")));
    assert_eq!((reply.status.as_u16(), app.handle.sessions().await.unwrap().len()), (403, 0));
    let requests = [
        ("get", request(Method::GET).header("mcp-session-id", "0f5bd1f2-3c4e-4a6b-8c7d-9e0f1a2b3c4d")),
        ("delete", request(Method::DELETE)),
        ("discover", modern("server/discover", json!({}))),
        ("listen", modern("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}}))),
        ("unknown", modern("unknown/method", json!({}))),
    ];
    for (what, request) in requests {
        let reply = app.send(bearer(request, "eve")).await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("www-authenticate")),
            (403, Some(&*challenge("files:read"))),
            "{what}"
        );
    }
    let reply = app.send(bearer(modern_call("both", json!({})), "eve")).await;
    is_challenged(reply, "files:read files:write files:admin", "call").await;
    let missing = app.send(request(Method::DELETE)).await;
    let expected = format!("Bearer resource_metadata=\"{METADATA}\", scope=\"files:read\"");
    assert_eq!(missing.header("www-authenticate"), Some(&*expected));
    assert_eq!(app.send(bearer(modern_call("open", json!({})), "bob")).await.status, 200);
}

/// A handler and an extractor can ask for more, as long as nothing was sent.
#[tokio::test(start_paused = true)]
async fn handlers_can_require_more_scopes() {
    for mode in [ResponseMode::Auto, ResponseMode::Json, ResponseMode::Sse] {
        let app = app_with(&["files:read"], |service| service.streams(streams().response_mode(mode)));
        let params = json!({"name": "write", "arguments": {"path": "/etc/passwd"}});
        for (what, request) in in_both_eras(&app, "alice", "tools/call", params).await {
            let what = format!("{mode:?} {what}");
            is_challenged(app.send(request).await, "files:read files:write files:admin", &what).await;
        }
        for (what, request) in in_both_eras(&app, "bob", "tools/call", json!({"name": "administer"})).await {
            let what = format!("{mode:?} {what}");
            is_challenged(app.send(request).await, "files:read files:admin", &what).await;
        }
    }
}

/// Once the response has begun, the same is a JSON-RPC error in the stream.
#[tokio::test(start_paused = true)]
async fn a_handler_that_streams_can_only_fail() {
    let app = app();
    let arguments = json!({"path": "/etc/passwd", "late": true});
    let params = json!({"name": "write", "arguments": arguments, "_meta": {"progressToken": "t"}});
    for (what, request) in in_both_eras(&app, "alice", "tools/call", params).await {
        let reply = app.send(request).await;
        assert_eq!((reply.status.as_u16(), reply.is_sse()), (200, true), "{what}");
        let answer = reply.message().await;
        assert_eq!(answer["error"]["code"], -32007, "{what}: {answer}");
        assert_eq!(answer["error"]["data"]["requiredScopes"], json!(["files:write", "files:admin"]), "{what}");
    }
}

/// In a batch each request stands for itself.
#[tokio::test(start_paused = true)]
async fn batch_requests_are_checked_separately() {
    for stateless in [false, true] {
        let app = app_with(&[], |service| service.sessions(Sessions::new().stateless(stateless)));
        let call = |id: u32, tool: &str| json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": {"path": "/etc"}}});
        let batch = json!([call(1, "write"), ping(2), call(3, "open"), call(4, "administer")]);
        let request = if stateless {
            request(Method::POST).header("mcp-protocol-version", "2025-03-26").message(batch)
        } else {
            open(&app, "bob", "2025-03-26").await.request(Method::POST).message(batch)
        };
        let reply = app.send(bearer(request, "bob")).await;
        assert_eq!(reply.status, 200);
        let mut answers: Vec<Value> = serde_json::from_value(reply.json().await).unwrap();
        answers.sort_by_key(|answer| answer["id"].as_u64());
        let codes: Vec<_> = answers.iter().map(|answer| answer["error"]["code"].as_i64()).collect();
        assert_eq!(codes, [Some(-32007), None, None, Some(-32007)], "{answers:?}");
    }
}

/// A broader scope includes narrower ones by the function of the application.
#[tokio::test(start_paused = true)]
async fn a_scope_can_include_another() {
    let app = app();
    let append = Tool::new("append", "Appends.", async || "appended").scopes(["files:append"]);
    let catalog_server = McpServer::new("files", "1").with_tool(append);
    let auth = resource_server(people(), |auth| {
        auth.scope_hierarchy(|granted, required| granted == "files:write" && required == "files:append")
    });
    let narrow = App::of(McpService::builder(catalog_server)).layered(|router: Router| router.layer(auth.layer()));
    assert_eq!(narrow.send(bearer(modern_call("append", json!({})), "alice")).await.status, 200);
    is_challenged(narrow.send(bearer(modern_call("append", json!({})), "bob")).await, "files:append", "bob").await;
    drop(app);
}

/// With the other policy, an item does not exist for a request that lacks its scopes.
#[tokio::test(start_paused = true)]
async fn items_can_be_hidden_instead() {
    let auth = resource_server(people(), |auth| auth);
    let hidden = server().scope_policy(ScopePolicy::Hide).cache(CacheHint::public(Duration::from_secs(60)));
    let hidden = hidden.tool_scopes("open", ["files:read"]);
    let app = App::of(McpService::builder(hidden)).layered(|router: Router| router.layer(auth.layer()));
    let lists = [
        ("tools/list", "tools", 3, 2, 1),
        ("resources/list", "resources", 1, 0, 0),
        ("resources/templates/list", "resourceTemplates", 1, 0, 0),
        ("prompts/list", "prompts", 1, 0, 0),
    ];
    for (method, member, for_alice, for_bob, for_eve) in lists {
        for (token, expected) in [("alice", for_alice), ("bob", for_bob), ("eve", for_eve)] {
            for (what, request) in in_both_eras(&app, token, method, json!({})).await {
                let list = app.send(request).await.message().await;
                assert_eq!(list["result"][member].as_array().unwrap().len(), expected, "{token} {what}: {list}");
                let scope = what.starts_with("modern").then_some("private");
                assert_eq!(list["result"]["cacheScope"].as_str(), scope, "{token} {what}: {list}");
            }
        }
    }
    let calls = [
        ("tools/call", json!({"name": "write", "arguments": {"path": "a"}}), json!({"name": "no", "arguments": {}})),
        ("prompts/get", json!({"name": "plan"}), json!({"name": "no"})),
        ("resources/read", json!({"uri": "docs://secret"}), json!({"uri": "docs://no"})),
        ("resources/read", json!({"uri": "user://7"}), json!({"uri": "docs://no"})),
    ];
    for (method, params, unknown) in calls {
        let requests = in_both_eras(&app, "bob", method, params.clone()).await;
        for ((what, request), (_, unknown)) in
            requests.into_iter().zip(in_both_eras(&app, "bob", method, unknown).await)
        {
            let (reply, expected) = (app.send(request).await, app.send(unknown).await);
            assert_eq!((reply.status, reply.header("www-authenticate")), (expected.status, None), "{what}");
            let (reply, expected) = (reply.message().await, expected.message().await);
            assert_eq!(reply["error"]["code"], expected["error"]["code"], "{what}: {reply}");
        }
        for (what, request) in in_both_eras(&app, "alice", method, params).await {
            let answer = app.send(request).await.message().await;
            assert!(answer.get("error").is_none(), "{what}: {answer}");
        }
    }
    // What a handler asks for is a challenge under any policy: the tool is known by then.
    let params = json!({"name": "write", "arguments": {"path": "/etc/passwd"}});
    for (what, request) in in_both_eras(&app, "alice", "tools/call", params).await {
        is_challenged(app.send(request).await, "files:admin", &what).await;
    }
}

/// Scopes by name are added to those of the tool, registered before or later.
#[tokio::test(start_paused = true)]
async fn scopes_can_be_set_by_name() {
    let auth = resource_server(people(), |auth| auth);
    let server = server().tool_scopes("open", ["files:read"]).tool_scopes("write", ["files:admin"]);
    let app = App::of(McpService::builder(server)).layered(|router: Router| router.layer(auth.layer()));
    is_challenged(app.send(bearer(modern_call("open", json!({})), "eve")).await, "files:read", "open").await;
    let write = modern_call("write", json!({"path": "a"}));
    is_challenged(app.send(bearer(write, "alice")).await, "files:write files:admin", "write").await;
    assert_eq!(app.send(bearer(modern_call("open", json!({})), "bob")).await.status, 200);
}

/// A server written against rmcp states the scopes of its tools beside the handler.
#[cfg(feature = "rmcp")]
#[tokio::test(start_paused = true)]
async fn rmcp_handlers_take_scopes_from_a_map() {
    #[derive(Clone)]
    struct Quiet;
    impl rmcp::ServerHandler for Quiet {}
    let auth = resource_server(people(), |auth| auth);
    let server = mcp_http::RmcpServer::new(|| Quiet).tool_scopes("write", ["files:write"]);
    let app = App::of(McpService::builder(server)).layered(|router: Router| router.layer(auth.layer()));
    for (what, request) in in_both_eras(&app, "bob", "tools/call", json!({"name": "write"})).await {
        is_challenged(app.send(request).await, "files:write", &what).await;
    }
    for (what, request) in in_both_eras(&app, "bob", "tools/call", json!({"name": "read"})).await {
        assert_ne!(app.send(request).await.status, 403, "{what}");
    }
}

/// Without any authentication layer, an item with scopes is closed, and the challenge is plain.
#[tokio::test(start_paused = true)]
async fn items_with_scopes_need_a_token() {
    let app = App::of(McpService::builder(server()));
    let reply = app.call_tool("write", json!({"path": "a"})).await;
    let plain = "Bearer error=\"insufficient_scope\", scope=\"files:write\"";
    assert_eq!((reply.status.as_u16(), reply.header("www-authenticate")), (403, Some(plain)));
    assert_eq!(app.call_tool("open", json!({})).await.status, 200);
}

/// A name that no challenge can carry is a mistake of the application.
#[test]
#[should_panic(expected = "has a character that scopes cannot have")]
fn scopes_with_a_space_fail_at_registration() {
    let _server: McpServer =
        McpServer::new("files", "1").with_tool(Tool::new("t", "T.", async || "t").scopes(["files write"]));
}
