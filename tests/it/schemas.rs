//! The schemas in lists of tools, as released clients and model providers read them.

use std::collections::HashMap;

use axum::Json;
use mcp_http::server::{CallToolResult, Tool};
use mcp_http::{Args, McpServer, McpService};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::support::{App, text_of};

/// The keywords that hold schemas: a single one, a list of them, or a map of them by name.
const ONE: [&str; 16] = [
    "additionalItems",
    "additionalProperties",
    "allOf",
    "anyOf",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "oneOf",
    "prefixItems",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
const NAMED: [&str; 6] =
    ["$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"];

/// Collects the paths of boolean schemas, without the closing `additionalProperties: false`.
fn booleans(schema: &Value, path: &str, found: &mut Vec<String>) {
    if schema.is_boolean() {
        found.push(path.to_owned());
    }
    for (keyword, value) in schema.as_object().into_iter().flatten() {
        let path = format!("{path}/{keyword}");
        if NAMED.contains(&&**keyword) {
            value
                .as_object()
                .into_iter()
                .flatten()
                .for_each(|(name, one)| booleans(one, &format!("{path}/{name}"), found));
        } else if ONE.contains(&&**keyword) && !(keyword == "additionalProperties" && *value == false) {
            match value.as_array() {
                Some(list) => list.iter().for_each(|one| booleans(one, &path, found)),
                None => booleans(value, &path, found),
            }
        }
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Anything {
    any: Value,
    list: Vec<Value>,
    nested: HashMap<String, Inner>,
    maybe: Option<Value>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Inner {
    deep: Value,
}

#[derive(Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Shape {
    /// Round.
    Circle {
        radius: f64,
    },
    Square {
        side: f64,
    },
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum ById {
    Number { id: u64 },
    Name { name: String },
}

#[derive(Deserialize, JsonSchema)]
struct Coloured {
    colour: String,
    #[serde(flatten)]
    shape: Shape,
}

#[derive(Deserialize, JsonSchema)]
enum Command {
    Start { port: u16 },
    Stop { force: bool },
}

async fn shape(Args(shape): Args<Shape>) -> String {
    match shape {
        Shape::Circle { radius } => format!("circle {radius}"),
        Shape::Square { side } => format!("square {side}"),
    }
}

async fn by_id(Args(by): Args<ById>) -> String {
    match by {
        ById::Number { id } => format!("number {id}"),
        ById::Name { name } => format!("name {name}"),
    }
}

async fn coloured(Args(Coloured { colour, shape: inner }): Args<Coloured>) -> String {
    format!("{colour} {}", shape(Args(inner)).await)
}

async fn command(Args(command): Args<Command>) -> String {
    match command {
        Command::Start { port } => format!("start {port}"),
        Command::Stop { force } => format!("stop {force}"),
    }
}

async fn maybe(Args(inner): Args<Option<Inner>>) -> String {
    inner.map_or_else(|| "none".into(), |inner| inner.deep.to_string())
}

fn app(tools: impl FnOnce(McpServer) -> McpServer) -> App {
    App::of(McpService::builder(tools(McpServer::new("schemas", "1.0.0"))))
}

/// Returns the tools by name, as clients of each era list them.
async fn lists(app: &App) -> [HashMap<String, Value>; 2] {
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let session = app.open_version("2025-06-18").await.post(list).await.message().await;
    let modern = app.request("tools/list", json!({})).await.message().await;
    [session, modern].map(|answer| {
        let tools = answer["result"]["tools"].as_array().unwrap_or_else(|| panic!("{answer}"));
        tools.iter().map(|tool| (tool["name"].as_str().unwrap().to_owned(), tool.clone())).collect()
    })
}

/// Released clients reject boolean schemas, so lists have objects in their place.
///
/// Acceptance 179.
#[tokio::test(start_paused = true)]
async fn lists_hold_no_boolean_schemas() {
    let by_hand = json!({
        "type": "object",
        "properties": {"any": true, "none": false, "tuple": {"type": "array", "prefixItems": [true], "items": false},
            "one": {"anyOf": [true, {"not": true}], "additionalProperties": true}},
        "additionalProperties": true,
    });
    let app = app(|server| {
        let catalog = server.catalog();
        let inserted = Tool::new("inserted", "Later.", async || "a").input_schema(by_hand.clone());
        catalog.insert_tool(inserted).unwrap();
        server
            .tool("generated", "Says it again.", |Args(any): Args<Anything>| async { Json(any) })
            .tool("any", "Takes anything.", |Args(any): Args<HashMap<String, Value>>| async { Json(any) })
            .with_tool(
                Tool::new("given", "By hand.", async || CallToolResult::default())
                    .input_schema(by_hand.clone())
                    .output_schema(by_hand.clone()),
            )
    });
    for tools in lists(&app).await {
        for (name, tool) in &tools {
            let mut found = Vec::new();
            booleans(&tool["inputSchema"], "input", &mut found);
            booleans(&tool["outputSchema"], "output", &mut found);
            assert!(found.is_empty(), "{name}: {found:?}");
        }
        assert_eq!(tools["generated"]["inputSchema"]["properties"]["any"], json!({}));
        assert_eq!(tools["given"]["inputSchema"]["properties"]["none"], json!({"not": {}}));
        assert_eq!(tools["any"]["inputSchema"], json!({"type": "object"}));
    }
}

/// A large model provider rejects `oneOf`, `$ref` and similar keywords at the root, so the variants
/// are merged into one object.
///
/// Acceptance 188.
#[tokio::test(start_paused = true)]
async fn arguments_that_are_an_enum_are_one_object() {
    let app = app(|server| {
        server
            .tool("shape", "A tagged enum.", shape)
            .tool("by_id", "An untagged enum.", by_id)
            .tool("coloured", "A flattened enum.", coloured)
            .tool("command", "An enum.", command)
            .tool("maybe", "An optional struct.", maybe)
    });
    for tools in lists(&app).await {
        for (name, tool) in &tools {
            let schema = tool["inputSchema"].as_object().unwrap();
            assert_eq!(schema["type"], "object", "{name}");
            for keyword in ["oneOf", "anyOf", "allOf", "$ref"] {
                assert!(!schema.contains_key(keyword), "{name}: {schema:?}");
            }
        }
        let fields = |tool: &str| tools[tool]["inputSchema"]["properties"].as_object().unwrap().clone();
        assert_eq!(fields("shape")["kind"], json!({"type": "string", "enum": ["circle", "square"]}));
        assert!(["radius", "side", "colour"].iter().all(|field| fields("coloured").contains_key(*field)));
        assert_eq!(tools["coloured"]["inputSchema"]["required"], json!(["colour", "kind"]));
        assert_eq!(fields("command")["Start"]["properties"]["port"]["type"], "integer");
        assert!(tools["by_id"]["inputSchema"].get("required").is_none());
        let described = tools["shape"]["inputSchema"]["description"].as_str().unwrap();
        assert!(described.contains("kind: \"circle\", radius. Round."), "{described}");
    }
    for (tool, arguments, text) in [
        ("shape", json!({"kind": "square", "side": 1.5}), "square 1.5"),
        ("by_id", json!({"name": "a"}), "name a"),
        ("coloured", json!({"colour": "red", "kind": "circle", "radius": 2.5}), "red circle 2.5"),
        ("command", json!({"Stop": {"force": true}}), "stop true"),
        ("maybe", json!({"deep": 1}), "1"),
    ] {
        assert_eq!(app.open().await.text_of(tool, arguments.clone()).await, text, "{tool}");
        assert_eq!(text_of(app.call_tool(tool, arguments).await).await, text, "{tool}");
    }
    let wrong = app.open().await.text_of("shape", json!({"kind": "circle", "side": 1})).await;
    assert!(wrong.contains("radius"), "{wrong}");
}
