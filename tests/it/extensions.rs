//! Extensions of the protocol, and methods and notifications of a server's own, in both eras.

use std::sync::{Arc, Mutex};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use mcp_http::message::ErrorObject;
use mcp_http::server::{ProtocolExtension, ToolError};
use mcp_http::{Args, Context, McpServer, McpService};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{App, CAPABILITIES_KEY, Client};

const WEATHER: &str = "com.example/weather";
const FORECAST: &str = "com.example/weather/forecast";

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Place {
    city: String,
}

#[derive(Clone, Default)]
struct Places(Arc<Mutex<Vec<String>>>);

/// Mixes axum's extractors, arguments and the settings of the client.
async fn forecast(
    cx: Context,
    headers: HeaderMap,
    State(places): State<Places>,
    Args(place): Args<Place>,
) -> Json<Value> {
    let settings = cx.client_extension(WEATHER).map(|settings| settings.read::<Value>().unwrap());
    let accepts = headers.contains_key("accept");
    Json(json!({"city": place.city, "settings": settings, "accepts": accepts, "name": cx.name(),
        "seen": places.0.lock().unwrap().len()}))
}

async fn moved(State(places): State<Places>, Args(place): Args<Place>) {
    places.0.lock().unwrap().push(place.city);
}

async fn fail(Args(place): Args<Place>) -> Result<(), ToolError> {
    match &*place.city {
        "own" => Err(ErrorObject::new(7, "of its own").into()),
        "internal" => Err(ToolError::internal("secret")),
        _ => Err(ToolError::new("for the client")),
    }
}

fn app(places: &Places) -> App {
    let weather = ProtocolExtension::new(WEATHER)
        .settings(json!({"units": ["celsius"]}))
        .method(FORECAST, forecast)
        .on_notification("notifications/com.example/moved", moved);
    let server: McpServer<Places> = McpServer::new("weather", "1.0.0")
        .with_extension(weather)
        .extension("com.example/plain", json!({}))
        .method("com.example/fail", fail)
        .method("com.example/nothing", async || ())
        .method("com.example/list", async || Json([1]))
        .on_notification("com.example/left", moved);
    App::of(McpService::builder(server.with_state::<()>(places.clone())))
}

#[expect(clippy::needless_pass_by_value, reason = "callers write json!(..) in place")]
fn declaring(settings: Value) -> Value {
    json!({"extensions": {WEATHER: settings}})
}

#[expect(clippy::needless_pass_by_value, reason = "callers write json!(..) in place")]
fn request(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

async fn notify(client: &Client, method: &str, city: &str) {
    let message = json!({"jsonrpc": "2.0", "method": method, "params": {"city": city}});
    assert_eq!(client.post(message).await.status, StatusCode::ACCEPTED);
}

#[tokio::test(start_paused = true)]
async fn extensions_are_declared_in_both_eras() {
    let app = app(&Places::default());
    let declared = json!({WEATHER: {"units": ["celsius"]}, "com.example/plain": {}});
    let discovered = app.request("server/discover", json!({})).await.json().await;
    assert_eq!(discovered["result"]["capabilities"]["extensions"], declared);
    let opened = app.post(crate::support::initialize("2025-11-25", json!({}))).await.json().await;
    assert_eq!(opened["result"]["capabilities"]["extensions"], declared);
}

#[tokio::test(start_paused = true)]
async fn a_method_takes_extractors_and_typed_arguments() {
    let app = app(&Places::default());
    let wanted = json!({"city": "Ulm", "settings": {"a": 1}, "accepts": true, "name": FORECAST, "seen": 0});
    let meta = json!({CAPABILITIES_KEY: declaring(json!({"a": 1}))});
    let mut modern = app.request(FORECAST, json!({"city": "Ulm", "_meta": meta})).await.json().await;
    assert_eq!(modern["result"]["resultType"], "complete");
    let result = modern["result"].as_object_mut().unwrap();
    result.retain(|name, _| name != "resultType" && name != "_meta");
    assert_eq!(modern["result"], wanted);

    let client = app.open_as("2025-06-18", declaring(json!({"a": 1})), None).await;
    let params = json!({"city": "Ulm", "_meta": {"progressToken": 1}});
    assert_eq!(client.post(request(FORECAST, params)).await.message().await["result"], wanted);
    let wrong = client.post(request(FORECAST, json!({"city": 1}))).await.message().await;
    assert_eq!(wrong["error"]["code"], -32602);
    assert_eq!(wrong["error"]["message"], "Invalid arguments: `city`: invalid type: integer `1`, expected a string");
    for params in [json!([]), json!({"city": "Ulm", "else": 1})] {
        assert_eq!(client.post(request(FORECAST, params)).await.message().await["error"]["code"], -32602);
    }
}

#[tokio::test(start_paused = true)]
async fn a_method_of_an_undeclared_extension_is_rejected() {
    let app = app(&Places::default());
    let required = json!({"extensions": {WEATHER: {}}});
    for capabilities in [json!({}), json!({"extensions": {"com.example/plain": {}}}), declaring(json!(true))] {
        let meta = json!({CAPABILITIES_KEY: capabilities});
        let reply = app.request(FORECAST, json!({"city": "Ulm", "_meta": meta})).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{capabilities}");
        let error = reply.json().await["error"].clone();
        assert_eq!((&error["code"], &error["data"]["requiredCapabilities"]), (&json!(-32021), &required));

        let client = app.open_as("2025-11-25", capabilities, None).await;
        let error = client.post(request(FORECAST, json!({"city": "Ulm"}))).await.message().await["error"].clone();
        assert_eq!((&error["code"], &error["data"]["requiredCapabilities"]), (&json!(-32021), &required));
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_method_stays_unknown() {
    let app = app(&Places::default());
    let reply = app.request("com.example/weather/unknown", json!({})).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    assert_eq!(reply.error().await.0, -32601);
    let client = app.open().await;
    let reply = client.post(request("com.example/weather/unknown", json!({}))).await;
    assert_eq!(reply.message().await["error"]["code"], -32601);
}

#[tokio::test(start_paused = true)]
async fn results_and_errors_of_methods_are_plain_json() {
    let app = app(&Places::default());
    let client = app.open().await;
    let nothing = client.post(json!({"jsonrpc": "2.0", "id": 1, "method": "com.example/nothing"})).await;
    assert_eq!(nothing.message().await["result"], json!({}));
    for (method, city, code, message) in [
        ("com.example/fail", "own", 7, "of its own"),
        ("com.example/fail", "internal", -32603, "Internal error"),
        ("com.example/fail", "else", -32603, "for the client"),
        ("com.example/list", "", -32603, "Internal error"),
    ] {
        for answer in [
            client.post(request(method, json!({"city": city}))).await.message().await,
            app.request(method, json!({"city": city})).await.message().await,
        ] {
            assert_eq!((&answer["error"]["code"], &answer["error"]["message"]), (&json!(code), &json!(message)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn notifications_reach_their_handlers() {
    let places = Places::default();
    let app = app(&places);
    let knows = app.open_as("2025-11-25", declaring(json!({})), None).await;
    let plain = app.open().await;
    for client in [&knows, &plain] {
        notify(client, "notifications/com.example/moved", "extension").await;
        notify(client, "com.example/left", "own").await;
        notify(client, "com.example/unknown", "unknown").await;
    }
    let wrong = json!({"jsonrpc": "2.0", "method": "com.example/left", "params": [1]});
    assert_eq!(knows.post(wrong).await.status, StatusCode::ACCEPTED);
    crate::support::eventually("three notifications", async || places.0.lock().unwrap().len() >= 3).await;
    let mut seen = places.0.lock().unwrap().clone();
    seen.sort();
    assert_eq!(seen, ["extension", "own", "own"]);
}

/// A mistake in a name is found at the line that registers it.
#[test]
fn reserved_names_are_rejected_where_they_are_registered() {
    let registering: &[fn(McpServer) -> McpServer] = &[
        |server| server.extension("weather", json!({})),
        |server| server.extension("dev.mcp/weather", json!({})),
        |server| server.extension("io.modelcontextprotocol/tasks", json!({})),
        |server| server.extension("io.modelcontextprotocol/skills", json!({})),
        |server| server.extension(WEATHER, json!([])),
        |server| server.extension(WEATHER, json!({})).extension(WEATHER, json!({})),
        |server| server.method("forecast", async || ()),
        |server| server.method("tools/forecast", async || ()),
        |server| server.method("skills/list", async || ()),
        |server| server.method("rpc.discover/x", async || ()),
        |server| server.method("a/b", async || ()).method("a/b", async || ()),
        |server| server.method("a/b", async |_: Args<Place>, _: Args<Place>| ()),
        |server| server.on_notification("notifications/initialized", async || ()),
        |server| server.with_extension(ProtocolExtension::new(WEATHER).method("ping", async || ())),
    ];
    for (at, register) in registering.iter().enumerate() {
        let result = std::panic::catch_unwind(|| register(McpServer::new("doc", "1")));
        assert!(result.is_err(), "row {at} was accepted");
    }
    let _: McpServer = McpServer::new("doc", "1").extension("io.modelcontextprotocol/ui", json!({}));
}
