//! Mounting: where a service can be placed in an application, and what reaches it there.

use axum::body::Body;
use axum::extract::{OriginalUri, State};
use axum::http::{Method, Request};
use axum::routing::get;
use axum::{Extension, Router};
use mcp_http::message::{ErrorObject, ProtocolVersion, RawJson};
use mcp_http::server::{Call, Initialize, Server, Session};
use mcp_http::{Context, Limits, McpLayer, McpServer, McpService, mcp_router};
use serde_json::json;

use crate::support::{App, RequestExt, call, initialize, request, service};

fn to(path: &str) -> Request<Body> {
    let mut request = request(Method::POST).message(initialize("2025-11-25", json!({})));
    *request.uri_mut() = path.parse().unwrap();
    request
}

fn plain() -> McpServer {
    McpServer::new("plain", "1")
}

/// Returns those of the requested paths that are served.
async fn served(router: Router, paths: &[&'static str]) -> Vec<&'static str> {
    let app = App::new().layered(|_| router);
    let mut served = Vec::new();
    for path in paths {
        let reply = app.send(to(path)).await;
        match reply.status.as_u16() {
            200 if reply.header("mcp-session-id").is_some() => served.push(*path),
            404 => assert_eq!(reply.rejection, None, "{path}: rejected by the service and not by the router"),
            other => panic!("{path}: {other}"),
        }
    }
    served
}

/// A server of one's own, for routers of any state.
#[derive(Debug)]
struct Bare;

impl<S: Send + Sync> Server<S> for Bare {
    async fn initialize(&self, request: Initialize, _: &S) -> Result<RawJson, ErrorObject> {
        let version = request.context.protocol_version();
        let info = json!({"name": "bare", "version": "1"});
        let result = json!({"protocolVersion": version, "capabilities": {}, "serverInfo": info});
        RawJson::from_value(&result).map_err(|_| ErrorObject::internal())
    }

    async fn call(&self, call: Call, _: &S) -> Result<RawJson, ErrorObject> {
        Err(ErrorObject::method_not_found(&call.method))
    }
}

/// Acceptance 78.
#[tokio::test(start_paused = true)]
async fn routers_and_layers_take_servers_builders_and_services() {
    let nested = |router: Router| Router::new().nest("/mcp", router);
    let builder = || McpService::builder(plain()).versions([ProtocolVersion::V2025_11_25]);
    let mounts: [(&str, Router); 7] = [
        ("McpServer", nested(mcp_router(plain()))),
        ("a server of one's own", nested(mcp_router(Bare))),
        ("a builder", nested(mcp_router(builder()))),
        ("a service", nested(mcp_router(builder().build().unwrap()))),
        ("a layer with a server", Router::new().fallback(|| async { "" }).layer(McpLayer::new(Bare))),
        ("a layer with a builder", Router::new().fallback(|| async { "" }).layer(McpLayer::new(builder()))),
        ("a layer with a service", Router::new().fallback(|| async { "" }).layer(McpLayer::new(McpService::new(Bare)))),
    ];
    for (name, router) in mounts {
        assert_eq!(served(router, &["/mcp"]).await, ["/mcp"], "{name}");
    }
}

#[test]
#[should_panic(expected = "Limits::max_body_bytes")]
fn a_router_names_the_wrong_setting_of_a_builder() {
    let _: Router = mcp_router(McpService::builder(plain()).limits(Limits::new().max_body_bytes(0)));
}

/// Acceptance 78.
#[tokio::test(start_paused = true)]
async fn mounts_serve_their_path_and_nothing_below() {
    let paths = ["/mcp", "/mcp/", "/mcp/x", "/mcp/mcp", "/mcpx", "/", "/x"];
    let both = ["/mcp", "/mcp/"];
    let nested = Router::new().nest("/mcp", mcp_router(plain()));
    assert_eq!(served(nested, &paths).await, ["/mcp"]);
    let router = mcp_router(plain());
    let twice = Router::new().nest("/mcp", router.clone()).nest("/mcp/", router);
    assert_eq!(served(twice, &paths).await, both);
    for path in ["/mcp", "/mcp/", "mcp"] {
        let merged = Router::new().merge(McpService::new(plain()).into_router_at(path));
        assert_eq!(served(merged, &paths).await, both);
    }
    let nested = Router::new().nest_service("/mcp", McpService::new(plain()));
    assert_eq!(served(nested, &paths).await, both);
    let routed = Router::new().route_service("/mcp", McpService::new(plain()));
    assert_eq!(served(routed, &paths).await, ["/mcp"]);
    let layered = Router::new().route("/home", get(|| async { "home" })).layer(McpLayer::new(plain()));
    // The layer wraps the whole router, so that paths unknown to the router pass the layer too.
    let layered = Router::new().fallback_service(layered);
    assert_eq!(served(layered, &paths).await, both);
    for path in ["/", ""] {
        let root = Router::new().merge(McpService::new(plain()).into_router_at(path));
        assert_eq!(served(root, &["/", "/x"]).await, ["/"]);
        let over = Router::new().route("/home", get(|| async { "home" })).layer(McpLayer::new(plain()).at(path));
        assert_eq!(served(Router::new().fallback_service(over), &["/", "/x", "/mcp"]).await, ["/"]);
    }
}

/// Handlers see the URI as the client sent it, under each way of mounting that can serve both
/// paths.
///
/// Acceptance 78, 189.
#[tokio::test(start_paused = true)]
async fn trailing_slashes_change_nothing_else() {
    async fn address(OriginalUri(uri): OriginalUri) -> String {
        uri.to_string()
    }
    let server = || McpServer::new("plain", "1").tool("address", "Says where it was called.", address);
    let router = mcp_router(server());
    let ways = [
        Router::new().nest("/mcp", router.clone()).nest("/mcp/", router),
        Router::new().merge(McpService::new(server()).into_router_at("/mcp")),
        Router::new().nest_service("/mcp", McpService::new(server())),
        Router::new()
            .fallback_service(Router::new().route("/home", get(|| async { "home" })).layer(McpLayer::new(server()))),
    ];
    for (way, router) in ways.into_iter().enumerate() {
        let app = App::new().layered(|_| router);
        for path in ["/mcp", "/mcp/", "/mcp?a=b", "/mcp/?a=b&c"] {
            let opened = app.send(to(path)).await;
            assert_eq!(opened.status, 200, "{way} {path}");
            let session = opened.header("mcp-session-id").unwrap().to_owned();
            let mut asked =
                request(Method::POST).header("mcp-session-id", &session).message(call(1, "address", json!({})));
            *asked.uri_mut() = path.parse().unwrap();
            let answer = app.send(asked).await.json().await;
            assert_eq!(answer["result"]["content"][0]["text"], path, "{way} {path}");
        }
    }
}

/// Each way of mounting also works in a nested router.
///
/// Acceptance 78.
#[tokio::test(start_paused = true)]
async fn a_service_can_be_nested() {
    let paths = ["/api/mcp", "/api/mcp/", "/api/mcp/x", "/api", "/mcp"];
    let nested = Router::new().nest("/mcp", mcp_router(plain()));
    assert_eq!(served(Router::new().nest("/api", nested), &paths).await, ["/api/mcp"]);
    let merged = McpService::new(plain()).into_router_at("/mcp");
    assert_eq!(served(Router::new().nest("/api", merged), &paths).await, ["/api/mcp", "/api/mcp/"]);
    let inner = Router::new().nest_service("/mcp", McpService::new(plain()));
    assert_eq!(served(Router::new().nest("/api", inner), &paths).await, ["/api/mcp", "/api/mcp/"]);
    let routed = Router::new().route_service("/mcp", McpService::new(plain()));
    assert_eq!(served(Router::new().nest("/api", routed), &paths).await, ["/api/mcp"]);
}

/// Acceptance 172.
#[tokio::test(start_paused = true)]
async fn router_state_and_layers_reach_tools() {
    #[derive(Clone)]
    struct Greeting(&'static str);
    #[derive(Clone)]
    struct User(&'static str);
    let tool = async |State(greeting): State<Greeting>, Extension(user): Extension<User>| {
        format!("{}, {}!", greeting.0, user.0)
    };
    let nested = |state| {
        let server = McpServer::new("greeter", "1").tool("greet", "Greets.", tool);
        Router::new().nest("/mcp", mcp_router(server)).with_state(Greeting(state))
    };
    let merged = |state| {
        let server = McpServer::new("greeter", "1").tool("greet", "Greets.", tool);
        Router::new().merge(McpService::new(server).into_router_at("/mcp")).with_state(Greeting(state))
    };
    let own = |state| {
        let server = McpServer::new("greeter", "1").tool("greet", "Greets.", tool);
        Router::new().nest_service("/mcp", McpService::new(server.with_state(Greeting(state))))
    };
    for (router, said) in [(nested("Hello"), "Hello, Ann!"), (merged("Hi"), "Hi, Ann!"), (own("Ho"), "Ho, Ann!")] {
        let app = App::new().layered(|_| router.layer(Extension(User("Ann"))));
        assert_eq!(app.open().await.text_of("greet", json!({})).await, said);
    }
}

/// A rejection of an extractor fails the call, and does not affect other tools.
///
/// Acceptance 172.
#[tokio::test(start_paused = true)]
async fn a_rejecting_extractor_fails_only_its_call() {
    #[derive(Clone)]
    struct Absent;
    let server: McpServer = plain().tool("needy", "Needs.", async |Extension(_): Extension<Absent>| "had it").tool(
        "fine",
        "Needs nothing.",
        async || "fine",
    );
    let client = App::of(McpService::builder(server)).open().await;
    let answer = client.call(1, "needy", json!({})).await;
    assert_eq!(answer.status, 200);
    let answer = answer.json().await;
    assert!(answer["error"].is_object() || answer["result"]["isError"] == true, "{answer}");
    assert_eq!(client.text_of("fine", json!({})).await, "fine");
}

async fn who(session: Session) -> String {
    let visits = session.update("visits", |visits: &mut u32| *visits += 1).await.unwrap();
    format!("{} {visits}", session.info().client.name)
}

/// Requests a route outside of the service that extracts the session.
async fn visit(app: &App, session: Option<&str>, principal: Option<&str>) -> (u16, String) {
    let mut request = request(Method::GET);
    *request.uri_mut() = "/who".parse().unwrap();
    if let Some(session) = session {
        request = request.header("mcp-session-id", session);
    }
    if let Some(principal) = principal {
        request = request.principal(principal);
    }
    let reply = app.send(request).await;
    (reply.status.as_u16(), reply.text().await)
}

/// A route of the application can extract the session, under the same checks of the owner as the
/// service.
///
/// Acceptance 58, 172.
#[tokio::test(start_paused = true)]
async fn custom_routes_can_extract_the_session() {
    let (mcp, _) = service();
    let layer = McpLayer::new(mcp.build().unwrap());
    let mut layered = App::new().layered(|_| Router::new().route("/who", get(who)).layer(layer.clone()));
    layered.handle = layer.handle();
    let mcp = service().0.build().unwrap();
    let handle = mcp.handle();
    let route = get(who).layer(Extension(handle.clone()));
    let mut extended = App::new().layered(|_| Router::new().route("/who", route).nest("/mcp", mcp.into_router()));
    extended.handle = handle;
    for app in [layered, extended] {
        let client = app.open_principal("ann").await;
        let (session, ann) = (Some(&*client.session), Some("ann"));
        assert_eq!(visit(&app, session, ann).await, (200, "test 1".to_owned()));
        assert_eq!(visit(&app, session, ann).await, (200, "test 2".to_owned()));
        assert_eq!(visit(&app, None, ann).await.0, 400);
        for (session, principal) in [(session, Some("bob")), (session, None), (Some("abc"), ann)] {
            let (status, body) = visit(&app, session, principal).await;
            assert_eq!(status, 404);
            assert_eq!(body, "Session not found");
        }
        assert_eq!(client.delete().await.status, 200);
        assert_eq!(visit(&app, session, ann).await.0, 404);
    }
    let alone = App::new().layered(|_| Router::new().route("/who", get(who)));
    assert_eq!(visit(&alone, Some("abc"), None).await.0, 500, "a route that was not given the service");
}

/// Acceptance 27, 172.
#[tokio::test(start_paused = true)]
async fn tool_and_context_share_the_session() {
    let server: McpServer = plain().tool("same", "Compares.", async |session: Session, cx: Context| {
        let mine = cx.session().unwrap();
        mine.update("n", |n: &mut u32| *n += 1).await.unwrap();
        format!("{} {:?}", mine.info().id == session.info().id, session.get::<u32>("n").await.unwrap())
    });
    let client = App::of(McpService::builder(server)).open().await;
    assert_eq!(client.text_of("same", json!({})).await, "true Some(1)");
}

/// The layer serves its path only, and passes all other requests to the inner router unchanged.
///
/// Acceptance 78.
#[tokio::test(start_paused = true)]
async fn layers_pass_other_requests_on() {
    let inner = Router::new().route("/", get(|| async { "home" })).fallback(|| async { "other" });
    let app = App::new().layered(|_| inner.layer(McpLayer::new(plain()).at("/api/mcp/")));
    for (path, body) in
        [("/", "home"), ("/mcp", "other"), ("/api/mcp/x", "other"), ("/api/mcpx", "other"), ("/api", "other")]
    {
        let mut request = request(Method::GET).without("host");
        *request.uri_mut() = path.parse().unwrap();
        let reply = app.send(request).await;
        assert_eq!((reply.status.as_u16(), reply.text().await), (200, body.to_owned()), "{path}");
    }
    for path in ["/api/mcp", "/api/mcp/"] {
        let reply = app.send(to(path)).await;
        assert!(reply.header("mcp-session-id").is_some(), "{path}");
    }
}

/// Acceptance 29.
#[tokio::test(start_paused = true)]
async fn services_do_not_share_sessions() {
    let two = |service: McpService| Router::new().nest("/mcp", service.into_router()).nest("/two", mcp_router(plain()));
    let app = App::new().layered(|_| two(service().0.build().unwrap()));
    let client = app.open().await;
    let mut request = client.request(Method::POST).message(call(1, "echo", json!({"message": "hi"})));
    *request.uri_mut() = "/two".parse().unwrap();
    assert_eq!(app.send(request).await.status, 404);
    assert_eq!(client.text_of("echo", json!({"message": "hi"})).await, "hi");
}
