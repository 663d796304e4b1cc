//! Cache hints: how long a client may keep a result, and who may share it. Only clients of
//! 2026-07-28 receive them, as the first members of complete results.

use std::time::Duration;

use mcp_http::message::{ErrorObject, RawJson};
use mcp_http::server::{
    CacheHint, Cached, Call, Discover, Discovery, Initialize, Prompt, Resource, ResourceTemplate, Server, ToolError,
};
use mcp_http::{Args, McpServer, McpService};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::App;

const MINUTE: Duration = Duration::from_secs(60);
const LISTS: [&str; 4] = ["tools/list", "prompts/list", "resources/list", "resources/templates/list"];

/// Returns the `ttlMs` and the `cacheScope` of a result.
async fn hint(app: &App, method: &str, params: Value) -> (u64, String) {
    let answer = app.request(method, params).await.json().await;
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    let (ttl, scope) = (answer["result"]["ttlMs"].as_u64(), answer["result"]["cacheScope"].as_str());
    (ttl.unwrap_or_else(|| panic!("{answer}")), scope.unwrap_or_else(|| panic!("{answer}")).to_owned())
}

async fn read(app: &App, uri: &str) -> (u64, String) {
    hint(app, "resources/read", json!({"uri": uri})).await
}

fn public(millis: u64) -> (u64, String) {
    (millis, "public".to_owned())
}

fn private(millis: u64) -> (u64, String) {
    (millis, "private".to_owned())
}

#[derive(Deserialize, JsonSchema)]
struct By {
    id: u32,
}

/// Returns a part with a lifetime of `id` minutes. Part 0 does not exist, and part 9 fails.
async fn part(Args(By { id }): Args<By>) -> Result<Option<Cached<String>>, ToolError> {
    let kept = |minutes| Cached(CacheHint::public(MINUTE * minutes), format!("part {id}"));
    if id == 9 { Err(ToolError::new("broken")) } else { Ok((id > 0).then(|| kept(id))) }
}

/// A server with one of each kind of listed item, and with a state.
fn offers() -> McpServer {
    McpServer::<u8>::new("offers", "1")
        .tool("one", "One.", async || "one")
        .tool("two", "Two.", async || "two")
        .with_prompt(Prompt::new("ask", "Asks.", async || "ask"))
        .resource("test://plain", "plain", async || "plain")
        .with_resource(Resource::new("test://kept", "kept", async || "kept").cache(CacheHint::public(MINUTE)))
        .with_resource(
            Resource::new("test://own", "own", async || Cached(CacheHint::private(2 * MINUTE), "own"))
                .cache(CacheHint::public(MINUTE)),
        )
        .with_resource_template(
            ResourceTemplate::new("test://part/{id}", "part", part).cache(CacheHint::private(MINUTE)),
        )
        .with_resource_template(
            ResourceTemplate::new("test://same/{id}", "same", async |Args(By { id }): Args<By>| id.to_string())
                .cache(CacheHint::private(MINUTE)),
        )
        .with_state(0)
}

fn app(server: McpServer) -> App {
    App::of(McpService::builder(server))
}

/// Without a hint of the server, every result is private and expires at once.
#[tokio::test(start_paused = true)]
async fn without_a_hint_results_are_not_cached() {
    let app = app(offers());
    for method in LISTS.into_iter().chain(["server/discover"]) {
        assert_eq!(hint(&app, method, json!({})).await, private(0), "{method}");
    }
    assert_eq!(read(&app, "test://plain").await, private(0));
}

/// The members of the hint precede the items of a list and the description of the server.
#[tokio::test(start_paused = true)]
async fn hints_precede_items_and_discovery_fields() {
    let server: McpServer = McpServer::new("a", "1").tool("t", "T.", async || "t");
    let app = app(server.cache(CacheHint::public(MINUTE)));
    let answer = app.request("tools/list", json!({})).await.text().await;
    assert_eq!(
        answer,
        r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"a","version":"1"}},"ttlMs":60000,"cacheScope":"public","tools":[{"name":"t","description":"T.","inputSchema":{"type":"object","additionalProperties":false}}]}}"#
    );
    let answer = app.request("server/discover", json!({})).await.text().await;
    assert_eq!(
        answer,
        r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"a","version":"1"}},"ttlMs":60000,"cacheScope":"public","supportedVersions":["2025-03-26","2025-06-18","2025-11-25","2026-07-28"],"capabilities":{"logging":{},"tools":{"listChanged":true}}}}"#
    );
}

type Set = fn(McpServer, CacheHint) -> McpServer;

/// A hint for one list overrides the hint for all lists, in either order of the calls.
#[tokio::test(start_paused = true)]
async fn a_list_hint_overrides_the_general_hint() {
    let (all, own) = (CacheHint::private(MINUTE), CacheHint::public(2 * MINUTE));
    let set: [(&str, Set); 5] = [
        ("tools/list", McpServer::cache_tool_list),
        ("prompts/list", McpServer::cache_prompt_list),
        ("resources/list", McpServer::cache_resource_list),
        ("resources/templates/list", McpServer::cache_template_list),
        ("server/discover", McpServer::cache_discovery),
    ];
    for (apart, set) in set {
        for app in [app(set(offers().cache(all), own)), app(set(offers(), own).cache(all))] {
            for method in LISTS.into_iter().chain(["server/discover"]) {
                let wanted = if method == apart { public(120_000) } else { private(60_000) };
                assert_eq!(hint(&app, method, json!({})).await, wanted, "{method}, {apart} set apart");
            }
            assert_eq!(read(&app, "test://plain").await, private(0), "lists only");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn all_pages_of_a_list_share_a_scope() {
    let app = app(offers().page_size(1).cache_tool_list(CacheHint::public(MINUTE)));
    let first = app.request("tools/list", json!({})).await.json().await;
    let cursor = first["result"]["nextCursor"].as_str().unwrap();
    assert_eq!(first["result"]["tools"][0]["name"], "one");
    assert_eq!(hint(&app, "tools/list", json!({})).await, public(60_000));
    assert_eq!(hint(&app, "tools/list", json!({"cursor": cursor})).await, public(60_000));
}

/// A hint that a handler returns overrides the hint of the registered resource.
#[tokio::test(start_paused = true)]
async fn handler_hints_override_registered_hints() {
    let app = app(offers());
    assert_eq!(read(&app, "test://kept").await, public(60_000));
    assert_eq!(read(&app, "test://own").await, private(120_000));
    assert_eq!(read(&app, "test://same/1").await, private(60_000));
    assert_eq!(read(&app, "test://part/1").await, public(60_000));
    assert_eq!(read(&app, "test://part/3").await, public(180_000));
    for (uri, code) in [("test://part/0", -32602), ("test://part/9", -32603)] {
        let answer = app.request("resources/read", json!({"uri": uri})).await.json().await;
        assert_eq!(answer["error"]["code"], code, "{answer}");
    }
}

/// A result that depends on `inputResponses` is private and not cached: 2026-07-28, Caching, "Cache
/// Key".
#[tokio::test(start_paused = true)]
async fn results_with_input_responses_are_not_cached() {
    let app = app(offers());
    for uri in ["test://kept", "test://own", "test://part/3"] {
        assert_eq!(hint(&app, "resources/read", json!({"uri": uri, "inputResponses": {}})).await, private(0), "{uri}");
    }
}

/// The session revisions have no cache hints, so their results contain none of the members.
#[tokio::test(start_paused = true)]
async fn session_revisions_have_no_cache_hints() {
    let app = app(offers().cache(CacheHint::public(MINUTE)));
    for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        let client = app.open_version(version).await;
        for (method, params) in LISTS
            .map(|method| (method, json!({})))
            .into_iter()
            .chain(["test://kept", "test://own", "test://part/1"].map(|uri| ("resources/read", json!({"uri": uri}))))
        {
            let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
            let answer = client.post(message).await.text().await;
            assert!(answer.contains(r#""result":{"#), "{answer}");
            for member in ["ttlMs", "cacheScope", "resultType"] {
                assert!(!answer.contains(member), "{version} {method}: {answer}");
            }
        }
    }
}

/// A server that writes the JSON of its results itself.
#[derive(Debug)]
struct ByHand;

impl<S: Send + Sync> Server<S> for ByHand {
    async fn initialize(&self, _: Initialize, _: &S) -> Result<RawJson, ErrorObject> {
        Err(ErrorObject::internal())
    }

    async fn discover(&self, _: Discover, _: &S) -> Result<Discovery, ErrorObject> {
        Ok(Discovery::new(RawJson::empty_object()).cache(CacheHint::public(MINUTE)))
    }

    async fn call(&self, call: Call, _: &S) -> Result<RawJson, ErrorObject> {
        let text = match &*call.method {
            "tools/list" => r#"{"tools":[],"cacheScope":"public","ttlMs":5}"#,
            "prompts/list" => r#"{"prompts":[],"cacheScope":"public"}"#,
            "resources/read" => r#"{"resultType":"input_required","requestState":"x"}"#,
            _ => r#"{"ttlMs":7,"cacheScope":"public","resources":[]}"#,
        };
        RawJson::parse(text).map_err(|_| ErrorObject::internal())
    }
}

/// Hints that a hand-written server puts into its JSON are preserved. Missing members are added to
/// complete results only.
#[tokio::test(start_paused = true)]
async fn hints_of_custom_servers_are_preserved() {
    let app = App::of(McpService::builder(ByHand));
    assert_eq!(hint(&app, "tools/list", json!({})).await, public(5));
    assert_eq!(hint(&app, "prompts/list", json!({})).await, public(0));
    assert_eq!(hint(&app, "resources/list", json!({})).await, public(7));
    assert_eq!(hint(&app, "server/discover", json!({})).await, public(60_000));
    let answer = app.request("resources/read", json!({"uri": "a:b"})).await.text().await;
    assert_eq!(answer, r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","requestState":"x"}}"#);
}
