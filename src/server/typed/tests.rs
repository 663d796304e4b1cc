//! Tests of the typed server, method by method, over a [`Fake`](super::fake::Fake) transport.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::McpServer;
use super::fake::Fake;
use crate::message::{ErrorObject, ProtocolVersion};
use crate::server::handler::Args;
use crate::server::{
    Completion, CompletionRequest, Context, Elicited, Prompt, Resource, ResourceTemplate, Session, Tool, ToolError,
};

#[derive(Deserialize, JsonSchema)]
struct Add {
    x: i64,
    y: i64,
}

#[derive(Serialize, JsonSchema)]
struct Sum {
    total: i64,
}

async fn add(Args(add): Args<Add>) -> Json<Sum> {
    Json(Sum { total: add.x + add.y })
}

#[derive(Clone)]
struct Greeting(&'static str);

/// Mixes axum extractors and this crate's arguments.
async fn greet(cx: Context, State(greeting): State<Greeting>, headers: HeaderMap, session: Session) -> String {
    let _ = (cx, session.info().version);
    format!("{} {}", greeting.0, headers["x-who"].to_str().unwrap())
}

#[derive(Deserialize, JsonSchema)]
struct ById {
    id: u32,
}

async fn user(Args(by): Args<ById>) -> Option<String> {
    (by.id < 10).then(|| format!("user {}", by.id))
}

fn server() -> McpServer {
    McpServer::<Greeting>::new("test", "1")
        .tool("add", "Adds.", add)
        .tool("greet", "Greets.", greet)
        .with_resource(Resource::new("test://fixed", "fixed", async || "text").mime_type("text/plain"))
        .resource_template("test://user/{id}", "user", user)
        .with_prompt(
            Prompt::new("ask", "Asks.", async |Args(by): Args<ById>| format!("Who is {}?", by.id))
                .complete("id", async |typed: CompletionRequest| Completion::new([typed.value + "0"])),
        )
        .with_state(Greeting("Hello,"))
}

#[track_caller]
fn rejected(result: Result<Value, ErrorObject>) -> (i64, String) {
    let error = result.unwrap_err();
    (error.code, error.message.into_owned())
}

#[tokio::test]
async fn a_tool_returns_structured_content_and_text() {
    let result = Fake::new().call(&server(), "tools/call", json!({"name": "add", "arguments": {"x": 1, "y": 2}})).await;
    assert_eq!(
        result.unwrap(),
        json!({"structuredContent": {"total": 3}, "content": [{"type": "text", "text": "{\"total\":3}"}]})
    );
}

#[tokio::test]
async fn a_handler_takes_extractors_in_any_order() {
    let result = Fake::new().call(&server(), "tools/call", json!({"name": "greet"})).await.unwrap();
    assert_eq!(result["content"][0]["text"], "Hello, me");
}

#[tokio::test]
async fn a_handler_has_up_to_twelve_arguments() {
    type H = HeaderMap;
    #[allow(clippy::too_many_arguments)]
    async fn many(
        _: H,
        _: H,
        _: H,
        Args(add): Args<Add>,
        _: H,
        _: H,
        _: H,
        _: H,
        _: H,
        _: H,
        _: Context,
        _: H,
    ) -> String {
        add.x.to_string()
    }
    let server: McpServer = McpServer::new("test", "1").tool("many", "Takes many.", many);
    let params = json!({"name": "many", "arguments": {"x": 1, "y": 2}});
    let result = Fake::new().call(&server, "tools/call", params).await.unwrap();
    assert_eq!(result["content"][0]["text"], "1");
    let list = Fake::new().call(&server, "tools/list", Value::Null).await.unwrap();
    assert_eq!(list["tools"][0]["inputSchema"]["required"], json!(["x", "y"]));
}

#[tokio::test]
async fn invalid_tool_arguments_are_an_error_result() {
    let params = json!({"name": "add", "arguments": {"x": 1, "y": "2"}});
    let result = Fake::new().call(&server(), "tools/call", params).await.unwrap();
    assert_eq!(result["isError"], true);
    assert_eq!(result["content"][0]["text"], "Invalid arguments: `y`: invalid type: string \"2\", expected an integer");
    let missing = Fake::new().call(&server(), "tools/call", json!({"name": "add"})).await.unwrap();
    assert_eq!(missing["content"][0]["text"], "Invalid arguments: missing field `x`");
}

#[tokio::test]
async fn a_session_argument_fails_without_sessions() {
    let result = Fake::stateless().call(&server(), "tools/call", json!({"name": "greet"})).await.unwrap();
    assert_eq!(result["isError"], true);
}

#[tokio::test]
async fn only_client_errors_of_extractors_are_public() {
    struct Refuses<const STATUS: u16>;
    impl<S: Sync, const STATUS: u16> axum::extract::FromRequestParts<S> for Refuses<STATUS> {
        type Rejection = (StatusCode, &'static str);
        async fn from_request_parts(_: &mut http::request::Parts, _: &S) -> Result<Self, Self::Rejection> {
            Err((StatusCode::from_u16(STATUS).unwrap(), "the reason"))
        }
    }
    let server: McpServer = McpServer::new("test", "1").tool("client", "Refuses.", async |_: Refuses<403>| ()).tool(
        "server",
        "Refuses.",
        async |_: Refuses<500>| (),
    );
    let fake = Fake::new();
    let text = async |name: &str| {
        let result = fake.call(&server, "tools/call", json!({"name": name})).await.unwrap();
        assert_eq!(result["isError"], true);
        result["content"][0]["text"].as_str().unwrap().to_owned()
    };
    assert_eq!(text("client").await, "the reason");
    assert!(!text("server").await.contains("reason."), "{}", text("server").await);
    assert!(!text("server").await.contains("the reason is"));
}

#[tokio::test]
async fn unknown_names_are_rejected_with_a_bounded_text() {
    let (fake, server, long) = (Fake::new(), server(), "x".repeat(10_000));
    for (method, params) in [
        ("tools/call", json!({"name": long})),
        ("prompts/get", json!({"name": long})),
        ("resources/read", json!({"uri": format!("test://{long}")})),
        (
            "completion/complete",
            json!({"ref": {"type": "ref/prompt", "name": long}, "argument": {"name": "", "value": ""}}),
        ),
        ("tools/call", json!({"name": "add", "arguments": []})),
        ("tools/call", json!({})),
        ("tools/call", Value::Null),
        ("tools/list", json!({"cursor": "x"})),
        ("logging/setLevel", json!({"level": "loud"})),
    ] {
        let (code, message) = rejected(fake.call(&server, method, params).await);
        assert_eq!(code, ErrorObject::INVALID_PARAMS, "{method}: {message}");
        assert!(message.len() < 400, "{method}");
    }
    let (code, message) = rejected(fake.call(&server, "tools/call", json!({"name": "nope"})).await);
    assert_eq!((code, &*message), (-32602, "Unknown tool: nope"));
    let error = fake.call(&server, "resources/read", json!({"uri": "test://no"})).await.unwrap_err();
    assert_eq!(error.data.unwrap().as_str(), r#"{"uri":"test://no"}"#);
    assert_eq!(rejected(fake.call(&server, "tools/nope", Value::Null).await).0, ErrorObject::METHOD_NOT_FOUND);
}

#[tokio::test]
async fn a_resource_is_read_by_uri_or_template() {
    let (fake, server) = (Fake::new(), server());
    let read = async |uri: &str| fake.call(&server, "resources/read", json!({"uri": uri})).await;
    assert_eq!(
        read("test://fixed").await.unwrap(),
        json!({"contents": [{"uri": "test://fixed", "mimeType": "text/plain", "text": "text"}]})
    );
    assert_eq!(
        read("test://user/%37").await.unwrap(),
        json!({"contents": [{"uri": "test://user/%37", "text": "user 7"}]})
    );
    assert_eq!(rejected(read("test://user/70").await), (-32602, "Unknown resource".into()));
    let (code, message) = rejected(read("test://user/x").await);
    assert_eq!((code, &*message), (-32602, "Invalid arguments: `id`: \"x\" is not an integer from 0 to 4294967295"));
}

#[tokio::test]
async fn a_prompt_parses_its_arguments_from_strings() {
    let (fake, server) = (Fake::new(), server());
    let get = async |arguments: Value| {
        fake.call(&server, "prompts/get", json!({"name": "ask", "arguments": arguments})).await
    };
    assert_eq!(
        get(json!({"id": "3"})).await.unwrap(),
        json!({"messages": [{"role": "user", "content": {"type": "text", "text": "Who is 3?"}}]})
    );
    assert!(rejected(get(json!({})).await).1.contains("`id`"));
    assert_eq!(rejected(get(json!({"id": 3})).await), (-32602, "Invalid arguments: `id` is not a string".into()));
}

#[tokio::test]
async fn an_argument_without_completer_has_no_values() {
    let (fake, server) = (Fake::new(), server());
    let complete = async |name: &str| {
        let params = json!({"ref": {"type": "ref/prompt", "name": "ask"}, "argument": {"name": name, "value": "1"}});
        fake.call(&server, "completion/complete", params).await.unwrap()
    };
    assert_eq!(complete("id").await, json!({"completion": {"values": ["10"], "total": 1, "hasMore": false}}));
    assert_eq!(complete("other").await, json!({"completion": {"values": [], "hasMore": false}}));
}

#[tokio::test]
async fn ping_and_set_level_return_an_empty_object() {
    let (fake, server) = (Fake::new(), server());
    assert_eq!(fake.call(&server, "ping", Value::Null).await.unwrap(), json!({}));
    assert_eq!(fake.call(&server, "logging/setLevel", json!({"level": "error"})).await.unwrap(), json!({}));
    assert_eq!(fake.seen.lock().unwrap().level, 4);
}

#[tokio::test]
async fn only_existing_resources_can_be_subscribed() {
    let (fake, server) = (Fake::new(), server());
    let to = |uri: &str| json!({ "uri": uri });
    assert_eq!(fake.call(&server, "resources/subscribe", to("test://user/1")).await.unwrap(), json!({}));
    assert_eq!(fake.call(&server, "resources/unsubscribe", to("test://gone")).await.unwrap(), json!({}));
    assert!(fake.call(&server, "resources/subscribe", to("test://no")).await.is_err());
    assert!(Fake::stateless().call(&server, "resources/subscribe", to("test://fixed")).await.is_err());
    assert_eq!(
        fake.seen.lock().unwrap().notifications,
        [("subscribe true".to_owned(), json!("test://user/1")), ("subscribe false".to_owned(), json!("test://gone"))]
    );
}

#[tokio::test]
async fn capabilities_follow_from_what_is_registered() {
    let empty: McpServer = McpServer::new("empty", "1");
    assert_eq!(Fake::new().initialize(&empty).await["capabilities"], json!({"logging": {}}));
    let _catalog = empty.catalog();
    let list = json!({"listChanged": true});
    let all = json!({
        "logging": {}, "completions": {}, "prompts": list, "tools": list,
        "resources": {"listChanged": true, "subscribe": true}
    });
    assert_eq!(Fake::new().initialize(&empty).await["capabilities"], all);
    assert_eq!(Fake::new().initialize(&server()).await["capabilities"], all);
    assert_eq!(
        Fake::stateless().initialize(&server()).await["capabilities"],
        json!({"logging": {}, "completions": {}, "prompts": {}, "resources": {}, "tools": {}})
    );
    let result = Fake::new().initialize(&server().title("Test").instructions("Be kind.")).await;
    assert_eq!(result["serverInfo"], json!({"name": "test", "version": "1", "title": "Test"}));
    assert_eq!((&result["protocolVersion"], &result["instructions"]), (&json!("2025-11-25"), &json!("Be kind.")));
}

#[tokio::test]
async fn an_earlier_catalog_changes_the_server_with_state() {
    let before = McpServer::<Greeting>::new("test", "1");
    let catalog = before.catalog();
    let server: McpServer = before.with_state(Greeting("Later,"));
    catalog.insert_tool(Tool::new("greet", "Greets.", greet)).unwrap();
    let fake = Fake::new();
    let result = fake.call(&server, "tools/call", json!({"name": "greet"})).await.unwrap();
    assert_eq!(result["content"][0]["text"], "Later, me");
    assert!(catalog.remove_tool("greet") && !catalog.remove_tool("greet"));
    assert_eq!(fake.call(&server, "tools/list", Value::Null).await.unwrap(), json!({"tools": []}));
}

#[tokio::test]
async fn removing_a_template_resolves_its_conflict() {
    let server: McpServer = McpServer::new("test", "1").resource_template("a://{x}", "x", async || "x");
    let catalog = server.catalog();
    let other = || ResourceTemplate::<()>::new("a://{*y}/z", "y", async || "y");
    let same = || ResourceTemplate::<()>::new("a://{y}", "y", async || "y");
    assert!(catalog.insert_resource_template(other()).is_err(), "a catch-all must be last");
    assert_eq!(catalog.insert_resource_template(same()).unwrap_err().setting(), "resource_template");
    assert!(catalog.remove_resource_template("a://{x}"));
    catalog.insert_resource_template(same()).unwrap();
    let result = Fake::new().call(&server, "resources/read", json!({"uri": "a://1"})).await.unwrap();
    assert_eq!(result["contents"][0]["text"], "y");
}

#[test]
#[should_panic(expected = "\"add\" is registered twice")]
fn a_duplicate_name_panics_at_registration() {
    let _ = server().tool("add", "Adds again.", async || ());
}

#[tokio::test(start_paused = true)]
async fn elicitation_respects_capability_and_timeout() {
    #[derive(Deserialize, JsonSchema)]
    struct Name {
        name: String,
    }
    async fn ask(cx: Context) -> Result<String, ToolError> {
        let answer = cx.elicit::<Name>("Who?").timeout(Duration::from_secs(9)).await?;
        Ok(match answer {
            Elicited::Accept(Name { name }) => name,
            Elicited::Decline | Elicited::Cancel => "nobody".to_owned(),
        })
    }
    let server: McpServer = McpServer::new("test", "1").tool("ask", "Asks.", ask);
    let call = async |fake: &Fake| {
        let result = fake.call(&server, "tools/call", json!({"name": "ask"})).await.unwrap();
        result["content"][0]["text"].as_str().unwrap().to_owned()
    };
    assert_eq!(call(&Fake::new()).await, "the client does not support elicitation");
    let fake = Fake::with_session(ProtocolVersion::V2025_11_25, json!({"elicitation": {}}));
    let answers = [
        json!({"action": "accept", "content": {"name": "Ada"}}),
        json!({"action": "cancel"}),
        json!({"action": "accept"}),
    ];
    fake.seen.lock().unwrap().answers.extend(answers);
    assert_eq!(call(&fake).await, "Ada");
    assert_eq!(
        fake.seen.lock().unwrap().requests[0],
        (
            "elicitation/create".into(),
            json!({
                "mode": "form", "message": "Who?",
                "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
            })
        )
    );
    assert_eq!(call(&fake).await, "nobody");
    assert_eq!(call(&fake).await, "the client's answer does not match the request");
    assert_eq!(call(&fake).await, "the client did not answer within 9s");
}

#[tokio::test]
async fn elicitation_respects_the_revision() {
    let list = json!({"type": "object", "properties": {"many": {"type": "array", "items": {"enum": ["a"]}}}});
    let server: McpServer = McpServer::new("test", "1")
        .tool("form", "Asks.", async |cx: Context| format!("{:?}", cx.elicit_schema::<Value>("?", json!({})).await))
        .tool("list", "Asks.", move |cx: Context| {
            let list = list.clone();
            async move { format!("{:?}", cx.elicit_schema::<Value>("?", list).await) }
        })
        .tool("url", "Asks.", async |cx: Context| format!("{:?}", cx.elicit_url("?", "https://a", "1").await));
    for (version, asked) in [
        (ProtocolVersion::V2025_03_26, [false, false, false]),
        (ProtocolVersion::V2025_06_18, [true, false, false]),
        (ProtocolVersion::V2025_11_25, [true, true, true]),
    ] {
        for (name, asked) in ["form", "list", "url"].into_iter().zip(asked) {
            let fake = Fake::with_session(version, json!({"elicitation": {"form": {}, "url": {}}}));
            fake.seen.lock().unwrap().answers.push_back(json!({"action": "decline"}));
            let result = fake.call(&server, "tools/call", json!({"name": name})).await.unwrap();
            assert_eq!(result["content"][0]["text"] == "Ok(Decline)", asked, "{version} {name} {result}");
            assert_eq!(fake.seen.lock().unwrap().requests.len(), usize::from(asked), "{version} {name}");
        }
    }
}

#[test]
fn public_types_are_send_sync_and_clone() {
    fn shared<T: Send + Sync + Clone>() {}
    shared::<McpServer>();
    shared::<McpServer<Greeting>>();
    shared::<crate::server::Catalog<Greeting>>();
    shared::<Context>();
    shared::<Session>();
}
