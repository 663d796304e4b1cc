//! Leniency: notations of released clients that differ from this crate's and mean the same. These
//! are integers with a fraction, `null` for absent members, and the spellings of a URI.

use std::time::Duration;

use axum::Json;
use mcp_http::server::{CompletionRequest, Elicited, Prompt, ResourceTemplate, TaskSupport, Tool, ToolError};
use mcp_http::store::MemoryEngine;
use mcp_http::{Args, Context, McpServer, McpService};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::subscriptions::{acknowledged, method};
use crate::support::{App, Client, Sse, envelope, mirrored, modern, text_of};

#[derive(Serialize, Deserialize, JsonSchema)]
struct Numbers {
    small: u8,
    list: Vec<i64>,
    #[serde(default)]
    inner: Option<Box<Self>>,
    ratio: Option<f64>,
    either: Option<Either>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Either {
    Number(i32),
    Text(String),
}

#[derive(Deserialize, JsonSchema)]
struct Age {
    age: u8,
}

async fn numbers(Args(numbers): Args<Numbers>) -> String {
    serde_json::to_string(&numbers).unwrap()
}

async fn age(cx: Context) -> Result<String, ToolError> {
    Ok(match cx.elicit::<Age>("How old?").key("age").await? {
        Elicited::Accept(Age { age }) => age.to_string(),
        _ => "not told".into(),
    })
}

#[derive(Deserialize, JsonSchema)]
struct Review {
    language: String,
    lines: Option<u32>,
}

async fn review(Args(review): Args<Review>) -> String {
    format!("{} {:?}", review.language, review.lines)
}

async fn languages(typed: CompletionRequest) -> Vec<String> {
    vec![format!("{} {}", typed.value, typed.known.len())]
}

#[derive(Deserialize, JsonSchema)]
struct Id {
    id: String,
}

async fn item(Args(Id { id }): Args<Id>) -> Json<String> {
    Json(id)
}

fn server() -> McpServer {
    let prompt = Prompt::new("review", "Reviews.", review).complete("language", languages);
    let template = ResourceTemplate::new("docs://übung/{id}/~a", "item", item).complete("id", languages);
    McpServer::new("lenient", "1.0.0")
        .tool("numbers", "Takes numbers.", numbers)
        .tool("age", "Asks for an age.", age)
        .with_tool(Tool::new("task", "Asks for an age.", age).task(TaskSupport::Optional))
        .with_prompt(prompt)
        .with_resource_template(template)
        .resource("docs://über/~uns", "about", async || "about")
        .resource("https://example.com", "site", async || "site")
}

fn app() -> App {
    App::of(McpService::builder(server()))
}

fn request(id: u32, method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

/// Acceptance 185.
#[tokio::test(start_paused = true)]
async fn integers_may_have_a_zero_fraction() {
    let app = app();
    let client = app.open().await;
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let whole = r#"{"small":7.0,"list":[5e0,-1.50e1,9007199254740993.0],"inner":{"small":2e2,"list":[]},"ratio":2.0,"either":3.0}"#;
    let expected = json!({
        "small": 7, "list": [5, -15, 9_007_199_254_740_993_i64], "ratio": 2.0, "either": 3,
        "inner": {"small": 200, "list": [], "inner": null, "ratio": null, "either": null},
    });
    // The arguments are sent as text, so that the notation of the numbers is preserved.
    let legacy = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"numbers","arguments":{whole}}}}}"#
    );
    let answer = app.send(client.raw(legacy)).await.message().await;
    let text = |answer: &Value| {
        answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    };
    assert_eq!(read(&text(&answer)), expected);
    let mut sent = modern("tools/call", json!({"name": "numbers", "arguments": {}}));
    let body = envelope("tools/call", json!({"name": "numbers", "arguments": "HERE"}));
    *sent.body_mut() = body.to_string().replace("\"HERE\"", whole).into();
    assert_eq!(read(&text(&app.send(sent).await.message().await)), expected);

    for (arguments, why) in [
        (
            json!({"small": 5.5, "list": []}),
            "`small`: invalid type: floating point `5.5`, expected an integer from 0 to 255",
        ),
        (
            json!({"small": 256.0, "list": []}),
            "`small`: invalid value: integer `256`, expected an integer from 0 to 255",
        ),
        (
            json!({"small": 1.0, "list": [1.0, 1e300]}),
            "`list[1]`: invalid type: floating point `1e+300`, expected an integer",
        ),
        (
            json!({"small": 1.0, "list": [], "inner": {"small": -1.0, "list": []}}),
            "`inner.small`: invalid value: integer `-1`",
        ),
    ] {
        for answer in [
            client.text_of("numbers", arguments.clone()).await,
            text_of(app.call_tool("numbers", arguments).await).await,
        ] {
            assert!(answer.starts_with(&format!("Invalid arguments: {why}")), "{answer}");
        }
    }
}

/// Acceptance 185.
#[tokio::test(start_paused = true)]
async fn forms_accept_integers_with_a_zero_fraction() {
    let app = app();
    let client = app.open().await;
    let mut stream = client.call(1, "age", json!({})).await.sse();
    let asked = stream.message().await.unwrap().json();
    let answer =
        format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"action":"accept","content":{{"age":42.0}}}}}}"#, asked["id"]);
    assert_eq!(app.send(client.raw(answer)).await.status, 202);
    assert_eq!(stream.message().await.unwrap().json()["result"]["content"][0]["text"], "42");

    let capable = json!({"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}});
    let accept = json!({"age": {"action": "accept", "content": {"age": 42.0}}});
    let again = json!({"name": "age", "arguments": {}, "inputResponses": accept, "_meta": capable});
    assert_eq!(text_of(app.request("tools/call", again).await).await, "42");
}

/// Starts a task that asks its client for an age, and returns its id with the `_meta` of the
/// requests.
async fn asking_task(app: &App) -> (String, Value) {
    let meta = json!({"io.modelcontextprotocol/clientCapabilities":
        {"elicitation": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}}});
    let begun =
        app.request("tools/call", json!({"name": "task", "arguments": {}, "_meta": meta})).await.message().await;
    let task = begun["result"]["taskId"].as_str().unwrap_or_else(|| panic!("{begun}")).to_owned();
    tokio::time::sleep(Duration::from_secs(1)).await;
    (task, meta)
}

/// An invalid response is rejected with its reason, and the task still accepts a valid one.
///
/// Acceptance 185, 191.
#[tokio::test(start_paused = true)]
async fn tasks_wait_on_after_an_invalid_response() {
    let app = app();
    let (task, meta) = asking_task(&app).await;
    let on = async |method: &str, mut params: Value| {
        params["taskId"] = json!(task);
        params["_meta"] = meta.clone();
        app.request(method, params).await.message().await
    };
    let accept = |age: Value| json!({"inputResponses": {"age": {"action": "accept", "content": {"age": age}}}});
    for (answer, why) in [
        (accept(json!("seven")), "`age` is not an integer"),
        (accept(json!(7.5)), "`age` is not an integer"),
        (accept(json!(256)), "`age` is not in its range"),
        (accept(json!(null)), "missing field `age`"),
        (json!({"inputResponses": {"age": {"action": "perhaps"}}}), "`action` is none of"),
        (json!({"inputResponses": {"age": 7}}), "an answer is an object"),
    ] {
        let rejected = on("tasks/update", answer.clone()).await;
        assert_eq!(rejected["error"]["code"], -32602, "{answer}: {rejected}");
        assert!(rejected["error"]["message"].as_str().unwrap().contains(why), "{rejected}");
        assert_eq!(on("tasks/get", json!({})).await["result"]["status"], "input_required", "{answer}");
    }
    assert!(on("tasks/update", accept(json!(7.0))).await.get("result").is_some());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let done = on("tasks/get", json!({})).await;
    assert_eq!(done["result"]["result"]["content"][0]["text"], "7", "{done}");
}

/// Reads a resource in both eras.
async fn read_at(app: &App, uri: &str) -> [Value; 2] {
    let legacy = app.open().await.post(request(1, "resources/read", &json!({"uri": uri}))).await.message().await;
    [legacy, app.request("resources/read", json!({"uri": uri})).await.message().await]
}

/// Acceptance 186.
#[tokio::test(start_paused = true)]
async fn resources_are_read_by_equivalent_uris() {
    let app = app();
    for (uri, text) in [
        ("docs://über/~uns", "about"),
        ("docs://%C3%BCber/~uns", "about"),
        ("docs://%c3%bcber/%7Euns", "about"),
        ("DOCS://%c3%bcber/%7euns", "about"),
        ("https://example.com", "site"),
        ("https://EXAMPLE.com:443/", "site"),
        ("docs://übung/a%2Fb/~a", "\"a/b\""),
        ("docs://%C3%9Cbung/x/~a", ""),
        ("docs://%c3%bcbung/%C3%BC/%7Ea", "\"ü\""),
        ("docs://%C3%BCbung/ü/~a", "\"ü\""),
    ] {
        for answer in read_at(&app, uri).await {
            if text.is_empty() {
                assert_eq!(answer["error"]["code"], -32602, "{uri}: {answer}");
            } else {
                assert_eq!(answer["result"]["contents"][0]["text"], text, "{uri}: {answer}");
                assert_eq!(answer["result"]["contents"][0]["uri"], uri);
            }
        }
    }
    let reference = json!({"type": "ref/resource", "uri": "docs://%C3%BCbung/{id}/~a"});
    let asked = json!({"ref": reference, "argument": {"name": "id", "value": "a"}});
    let answer = app.request("completion/complete", asked).await.message().await;
    assert_eq!(answer["result"]["completion"]["values"], json!(["a 0"]), "{answer}");
    let catalog_server = server();
    let catalog = catalog_server.catalog();
    assert!(catalog.remove_resource("docs://%c3%bcber/%7Euns"));
    assert!(catalog.remove_resource_template("docs://%C3%BCbung/{id}/~a"));
}

async fn updated_uri(stream: &mut Sse) -> Value {
    let message = stream.message().await.unwrap().json();
    assert_eq!(message["method"], "notifications/resources/updated");
    message["params"]["uri"].clone()
}

async fn subscribe(client: &Client, method: &str, uri: &str) {
    let answer = client.post(request(9, method, &json!({"uri": uri}))).await.message().await;
    assert_eq!(answer["result"], json!({}), "{uri}");
}

/// Acceptance 186.
#[tokio::test(start_paused = true)]
async fn changes_reach_subscribers_by_equivalent_uris() {
    let engine = MemoryEngine::new();
    let node = || App::of(McpService::builder(server()).engine(engine.clone()));
    let (here, there) = (node(), node());
    let client = here.open().await;
    let mut stream = client.listen_primed().await;
    subscribe(&client, "resources/subscribe", "docs://%c3%bcber/%7Euns").await;
    let wanted = r#"{"resourceSubscriptions":["docs://%C3%BCber/~uns"]}"#;
    let mut listening = acknowledged(&there, wanted).await;
    for (app, spelling) in
        [(&here, "docs://über/~uns"), (&there, "docs://%C3%BCber/~uns"), (&here, "docs://über/%7euns")]
    {
        app.handle.resource_updated(spelling);
        assert_eq!(updated_uri(&mut stream).await, "docs://%c3%bcber/%7Euns", "in the client's own spelling");
        assert_eq!(method(&mut listening).await, "resources/updated docs://%C3%BCber/~uns");
    }
    subscribe(&client.at(&there), "resources/unsubscribe", "docs://über/%7Euns").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    here.handle.resource_updated("docs://über/~uns");
    assert!(stream.is_silent().await);
}

/// Acceptance 195.
#[tokio::test(start_paused = true)]
async fn null_for_an_optional_member_is_absent() {
    let app = app();
    for (capabilities, client) in
        [(json!(null), json!(null)), (json!({"roots": null}), json!({"name": null, "version": "1"}))]
    {
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": client});
        let reply = app.post(request(0, "initialize", &params)).await;
        assert!(reply.header("mcp-session-id").is_some(), "{}", reply.text().await);
    }
    let client = app.open().await;
    let complete = |context: Value| json!({"ref": {"type": "ref/prompt", "name": "review"}, "argument": {"name": "language", "value": "r"}, "context": context});
    for (method, params, is_modern) in [
        ("ping", json!(null), false),
        ("tools/list", json!(null), false),
        ("tools/list", json!({"cursor": null, "_meta": null}), false),
        ("tools/list", json!({"cursor": null}), true),
        (
            "tools/call",
            json!({"name": "numbers", "arguments": {"small": 1, "list": [], "inner": null}, "_meta": null}),
            false,
        ),
        (
            "tools/call",
            json!({"name": "numbers", "arguments": {"small": 1, "list": [], "inner": null}, "inputResponses": null,
            "requestState": null, "_meta": {"progressToken": null, "io.modelcontextprotocol/logLevel": null,
            "io.modelcontextprotocol/clientInfo": null}}),
            true,
        ),
        ("tools/call", json!({"name": "age", "arguments": null}), false),
        ("prompts/get", json!({"name": "review", "arguments": {"language": "rust", "lines": null}}), false),
        ("prompts/get", json!({"name": "review", "arguments": {"language": "rust", "lines": null}}), true),
        ("completion/complete", complete(json!(null)), false),
        ("completion/complete", complete(json!({"arguments": null})), true),
        ("completion/complete", complete(json!({"arguments": {"lines": null}})), true),
        ("resources/read", json!({"uri": "docs://über/~uns", "inputResponses": null, "requestState": null}), true),
    ] {
        let reply = if is_modern {
            app.request(method, params.clone()).await
        } else {
            client.post(request(1, method, &params)).await
        };
        if reply.is_sse() {
            continue;
        }
        let answer = reply.message().await;
        assert!(answer.get("result").is_some(), "{method} {params}: {answer}");
    }
}

/// Error texts describe JSON, because clients and models do not know Rust types.
///
/// Acceptance 195.
#[tokio::test(start_paused = true)]
async fn no_answer_names_a_type_of_rust() {
    let app = app();
    let client = app.open().await;
    let words = ["struct", "enum", "u8", "u32", "i64", "f64", "HashMap", "Vec", "Cow", "sequence", " map"];
    for (method, params) in [
        ("tools/call", json!({"name": 7})),
        ("tools/call", json!({"name": "numbers", "arguments": {"small": "a", "list": []}})),
        ("tools/call", json!({"name": "numbers", "arguments": {"small": 1, "list": 7}})),
        ("tools/call", json!({"name": "numbers", "arguments": {"small": 1, "list": [], "inner": 7}})),
        ("tools/call", json!({"name": "numbers", "arguments": {"small": 1, "list": [], "either": []}})),
        ("tools/call", json!({"name": "numbers", "arguments": {"small": 1, "list": [], "ratio": "x"}})),
        ("tools/list", json!({"cursor": 7})),
        ("resources/read", json!({"uri": []})),
        ("prompts/get", json!({"name": "review", "arguments": []})),
        ("prompts/get", json!({"name": "review", "arguments": {"language": "rust", "lines": "many"}})),
        ("completion/complete", json!({"ref": 7, "argument": {"name": "language", "value": "r"}})),
        ("completion/complete", json!({"ref": {"type": "ref/prompt", "name": "review"}, "argument": 7})),
        (
            "completion/complete",
            json!({"ref": {"type": "ref/prompt", "name": "review"}, "argument": {"name": "language", "value": "r"}, "context": 7}),
        ),
        ("logging/setLevel", json!({"level": 7})),
        ("initialize", json!({"protocolVersion": "2025-11-25", "capabilities": 7})),
    ] {
        let message = request(1, method, &params);
        let legacy = if method == "initialize" { app.post(message).await } else { client.post(message).await };
        let mut texts = vec![legacy.text().await];
        if !matches!(method, "logging/setLevel" | "initialize") {
            texts.push(app.send(mirrored(envelope(method, params.clone()))).await.text().await);
        }
        for text in texts {
            let found: Vec<_> = words.iter().filter(|word| text.contains(**word)).collect();
            assert!(
                found.is_empty() && (text.contains("error") || text.contains("isError")),
                "{method} {params}: {text}"
            );
        }
    }
}
