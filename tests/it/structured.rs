//! Structured content of any JSON type and its schema, in the form that each revision specifies.

use axum::Json;
use mcp_http::message::ProtocolVersion;
use mcp_http::server::{CallToolResult, Content, Tool, ToolError};
use mcp_http::{McpServer, McpService};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::support::App;

#[derive(Serialize, JsonSchema)]
struct Todo {
    title: String,
    parent: Option<Box<Self>>,
}

fn todo(title: &str) -> Todo {
    Todo { title: title.into(), parent: None }
}

#[derive(Serialize, JsonSchema)]
struct Measured {
    celsius: f64,
    note: Option<String>,
}

fn app() -> App {
    let list = json!({"type": "array", "items": {"type": "string"}});
    let by_hand = async || CallToolResult::new([Content::text("two")]).structured(json!(["a", "b"]));
    let server: McpServer = McpServer::new("structured", "1.0.0")
        .tool("todos", "A list.", async || Json(vec![todo("milk")]))
        .tool("count", "A number.", async || Json(7_i32))
        .tool("nothing", "Perhaps one.", async || Json(None::<Todo>))
        .tool("checked", "A list, or an error.", async || Ok::<_, ToolError>(Json(["a"])))
        .tool("one", "An object.", async || Json(todo("tea")))
        .tool("any_object", "Anything.", async || Json(json!({"a": 1})))
        .tool("any_list", "Anything.", async || Json(json!([1])))
        .with_tool(Tool::new("by_hand", "A list.", by_hand).output_schema(list))
        .tool("undeclared", "A list.", by_hand)
        .tool("measure", "A number that is none.", async || Json(Measured { celsius: f64::NAN, note: None }))
        .tool("many", "A number that is none.", async || Json(vec![f64::INFINITY]));
    App::of(McpService::builder(server))
}

/// Returns a tool's answer and output schema, as a client of a revision sees them.
async fn seen(app: &App, version: ProtocolVersion, tool: &str) -> (Value, Option<Value>) {
    let (answer, list) = if version == ProtocolVersion::V2026_07_28 {
        let answer = app.call_tool(tool, json!({})).await.message().await;
        (answer, app.request("tools/list", json!({})).await.message().await)
    } else {
        let client = app.open_version(version.as_str()).await;
        let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
        (client.call(1, tool, json!({})).await.message().await, client.post(list).await.message().await)
    };
    let tools = list["result"]["tools"].as_array().unwrap();
    let listed = tools.iter().find(|listed| listed["name"] == tool).unwrap();
    (answer, listed.get("outputSchema").cloned())
}

/// Earlier revisions allow only objects, so other values are wrapped in a `result` member.
///
/// Acceptance 193.
#[tokio::test(start_paused = true)]
async fn structured_content_has_the_form_of_the_revision() {
    let app = app();
    let todo = |title: &str| json!({"title": title, "parent": null});
    for (tool, value, is_object, has_schema) in [
        ("todos", json!([todo("milk")]), false, true),
        ("count", json!(7), false, true),
        ("nothing", json!(null), false, true),
        ("checked", json!(["a"]), false, true),
        ("one", todo("tea"), true, true),
        ("any_object", json!({"a": 1}), true, false),
        ("any_list", json!([1]), false, false),
        ("by_hand", json!(["a", "b"]), false, true),
        ("undeclared", json!(["a", "b"]), false, false),
    ] {
        for version in ProtocolVersion::ALL {
            let (answer, schema) = seen(&app, version, tool).await;
            let wraps = version != ProtocolVersion::V2026_07_28 && !is_object;
            let expected = if wraps { json!({"result": value}) } else { value.clone() };
            let result = &answer["result"];
            assert_eq!(result["structuredContent"], expected, "{tool} {version}: {answer}");
            assert!(result.as_object().unwrap().contains_key("structuredContent"), "{tool} {version}");
            if !matches!(tool, "by_hand" | "undeclared") {
                assert_eq!(result["content"][0]["text"], value.to_string(), "{tool} {version}");
            }
            assert_eq!(schema.is_some(), has_schema, "{tool} {version}");
            let Some(schema) = schema else { continue };
            if wraps {
                assert_eq!((&schema["type"], &schema["required"]), (&json!("object"), &json!(["result"])), "{tool}");
                assert!(schema["properties"]["result"].is_object(), "{tool} {version}: {schema}");
            } else {
                assert_eq!(schema["type"] == "object", is_object, "{tool} {version}: {schema}");
            }
        }
    }
    // The definitions that a schema refers to are in the place that the reference names.
    let (_, schema) = seen(&app, ProtocolVersion::NEWEST_SESSION, "todos").await;
    let schema = schema.unwrap();
    assert_eq!(schema["properties"]["result"]["items"], json!({"$ref": "#/$defs/Todo"}), "{schema}");
    assert_eq!(schema["$defs"]["Todo"]["properties"]["title"]["type"], "string", "{schema}");
}

/// Results with NaN or infinity fail with an internal error, in every revision.
///
/// Acceptance 194.
#[tokio::test(start_paused = true)]
async fn numbers_outside_json_fail_the_call() {
    let app = app();
    for tool in ["measure", "many"] {
        for version in ProtocolVersion::ALL {
            let (answer, _) = seen(&app, version, tool).await;
            assert_eq!(answer["error"]["code"], -32603, "{tool} {version}: {answer}");
        }
    }
}
