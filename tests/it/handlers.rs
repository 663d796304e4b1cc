//! Handlers: which arguments they can take together, what they read of their request, and how
//! errors of the application reach the client.

use std::fmt;

use mcp_http::server::{
    Completion, CompletionRequest, Form, Internal, Meta, Prompt, Resource, ResourceTemplate, Tool, ToolError,
};
use mcp_http::{Args, Context, McpServer, McpService};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{App, text_of};

#[derive(Deserialize, JsonSchema)]
struct One {
    one: String,
}

#[derive(Deserialize, JsonSchema)]
struct Two {
    two: String,
}

#[derive(Deserialize, JsonSchema)]
struct Nested {
    #[serde(rename = "inner")]
    _inner: One,
}

async fn both(Args(one): Args<One>, Args(two): Args<Two>) -> String {
    one.one + &two.two
}

async fn nested(form: Form<Nested>) -> String {
    format!("{:?}", form.elicit("?").await.map(drop))
}

/// Conflicting arguments fail at registration, not at the first call.
///
/// Acceptance 203.
#[tokio::test(start_paused = true)]
async fn invalid_handlers_fail_at_registration() {
    let server: McpServer = McpServer::new("broken", "1");
    let catalog = server.catalog();
    for (found, name) in [
        (catalog.insert_tool(Tool::new("both", "Takes two.", both)), "both"),
        (catalog.insert_prompt(Prompt::new("prompt", "Takes two.", both)), "prompt"),
        (catalog.insert_resource(Resource::new("a:b", "a", both)), "a:b"),
        (catalog.insert_resource_template(ResourceTemplate::new("a:{one}", "a", both)), "a:{one}"),
        (
            catalog.insert_prompt(
                Prompt::new("completed", "Takes two.", async |Args(one): Args<One>| one.one)
                    .complete("one", async |_: Args<One>, _: Args<Two>| Completion::default()),
            ),
            "completed",
        ),
    ] {
        let error = found.unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("takes two `Args`"), "{error}");
    }
    let error = catalog.insert_tool(Tool::new("nested", "Asks.", nested)).unwrap_err().to_string();
    assert!(error.contains("nested") && error.contains("the field `inner` of a form"), "{error}");
    let panic = std::panic::catch_unwind(|| McpServer::<()>::new("broken", "1").tool("both", "Takes two.", both));
    assert!(panic.is_err(), "at start-up, at the line that registers");
}

/// A nested form fails even for clients without elicitation, so that any first test finds the
/// fault.
///
/// Acceptance 203.
#[tokio::test(start_paused = true)]
async fn nested_forms_fail_for_any_client() {
    let server: McpServer = McpServer::new("broken", "1").tool("nested", "Asks.", async |cx: Context| {
        cx.elicit::<Nested>("?").await.map_or_else(|error| error.to_string(), |_| "asked".into())
    });
    let app = App::of(McpService::builder(server));
    for text in [
        app.open_as("2025-11-25", json!({}), None).await.text_of("nested", json!({})).await,
        text_of(app.call_tool("nested", json!({})).await).await,
    ] {
        assert!(text.contains("the field `inner` of a form"), "{text}");
    }
}

#[derive(Debug)]
enum AppError {
    NoTodo(u32),
    Database,
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secret: {self:?}")
    }
}

impl std::error::Error for AppError {}

impl From<AppError> for ToolError {
    fn from(error: AppError) -> Self {
        match error {
            AppError::NoTodo(id) => Self::new(format!("There is no todo {id}.")),
            AppError::Database => Self::internal(error),
        }
    }
}

#[derive(Debug)]
struct Foreign;

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("secret")
    }
}

impl std::error::Error for Foreign {}

fn find(id: u32) -> Result<String, AppError> {
    Err(if id == 77 { AppError::NoTodo(id) } else { AppError::Database })
}

/// Clients see only the texts that the application chose. All other errors become a neutral text,
/// and their cause goes to the log.
///
/// Acceptance 204.
#[tokio::test(start_paused = true)]
async fn clients_see_only_chosen_error_texts() {
    let server: McpServer = McpServer::new("failing", "1")
        .tool("own", "Fails.", async || find(77))
        .tool("mixed", "Fails.", async |cx: Context| {
            let _ = cx.once("nothing", async { Ok::<_, ToolError>(1) }).await?;
            Ok::<_, ToolError>(find(77)?)
        })
        .tool("database", "Fails.", async || Ok::<_, ToolError>(find(1)?))
        .tool("foreign", "Fails.", async || Err::<String, _>(Foreign).internal())
        .tool("common", "Fails.", async || Ok::<_, ToolError>("x".parse::<u8>()?.to_string()))
        .tool("boxed", "Fails.", async || {
            Err::<(), _>(Box::<dyn std::error::Error + Send + Sync>::from("secret"))?;
            Ok::<_, ToolError>(())
        })
        .tool("asks", "Asks.", async |cx: Context| Ok::<_, ToolError>(cx.roots().await?.len().to_string()))
        .resource("a:b", "a", async || Ok::<_, ToolError>(find(77)?));
    let app = App::of(McpService::builder(server));
    let client = app.open_as("2025-11-25", json!({}), None).await;
    let neutral = "The tool failed. The reason is in the server's log.";
    for (tool, text) in [
        ("own", "There is no todo 77."),
        ("mixed", "There is no todo 77."),
        ("database", neutral),
        ("foreign", neutral),
        ("common", neutral),
        ("boxed", neutral),
    ] {
        assert_eq!(client.text_of(tool, json!({})).await, text, "{tool}");
        let answer = app.call_tool(tool, json!({})).await.message().await;
        assert_eq!(
            (&answer["result"]["content"][0]["text"], &answer["result"]["isError"]),
            (&json!(text), &json!(true))
        );
    }
    assert_eq!(client.text_of("asks", json!({})).await, "the client does not support roots");
    assert_eq!(app.call_tool("asks", json!({})).await.message().await["error"]["code"], -32021);
    let read = app.request("resources/read", json!({"uri": "a:b"})).await.message().await;
    assert_eq!(read["error"]["message"], "There is no todo 77.");
}

#[derive(Deserialize)]
struct Trace {
    traceparent: Option<String>,
    #[serde(rename = "com.example/level")]
    level: Option<u8>,
}

fn described(cx: &Context) -> String {
    let trace: Value = cx.meta().unwrap();
    let id = cx.request_id().map(|id| id.as_json().to_owned());
    format!("{} {} {}", cx.name().unwrap_or("-"), id.unwrap_or_default(), trace["traceparent"])
}

async fn about(cx: Context) -> String {
    described(&cx)
}

async fn traced(Meta(trace): Meta<Trace>) -> String {
    format!("{:?} {:?}", trace.traceparent, trace.level)
}

async fn completing(cx: Context, _typed: CompletionRequest) -> Vec<String> {
    vec![described(&cx)]
}

/// Handlers of every kind read the name, the id and the `_meta` of their request, in both eras.
///
/// Acceptance 205.
#[tokio::test(start_paused = true)]
async fn handlers_read_name_id_and_meta() {
    let prompt =
        Prompt::new("prompt", "Says.", async |cx: Context, _: Args<One>| described(&cx)).complete("one", completing);
    let server: McpServer = McpServer::new("reading", "1")
        .tool("about", "Says.", about)
        .tool("traced", "Says.", traced)
        .with_prompt(prompt)
        .resource("a:b", "fixed", about)
        .resource_template("a:b/{one}", "many", about);
    let app = App::of(McpService::builder(server));
    let client = app.open().await;
    let complete = json!({"ref": {"type": "ref/prompt", "name": "prompt"}, "argument": {"name": "one", "value": ""}});
    for (method, params, at, name) in [
        ("tools/call", json!({"name": "about"}), "/result/content/0/text", "about"),
        (
            "prompts/get",
            json!({"name": "prompt", "arguments": {"one": "1"}}),
            "/result/messages/0/content/text",
            "prompt",
        ),
        ("resources/read", json!({"uri": "a:b"}), "/result/contents/0/text", "fixed"),
        ("resources/read", json!({"uri": "a:b/c"}), "/result/contents/0/text", "many"),
        ("completion/complete", complete, "/result/completion/values/0", "prompt"),
    ] {
        let mut params = params;
        params["_meta"] = json!({"traceparent": "00-1"});
        let message = json!({"jsonrpc": "2.0", "id": "seven", "method": method, "params": params});
        let legacy = client.post(message).await.message().await;
        assert_eq!(legacy.pointer(at), Some(&json!(format!("{name} \"seven\" \"00-1\""))), "{legacy}");
        let modern = app.request(method, params).await.message().await;
        assert_eq!(modern.pointer(at), Some(&json!(format!("{name} 1 \"00-1\""))), "{modern}");
    }
    for (meta, text) in [
        (json!({"traceparent": "00-1", "com.example/level": 3.0}), "Some(\"00-1\") Some(3)"),
        (json!({}), "None None"),
        (
            json!({"com.example/level": "x"}),
            "Invalid `_meta`: invalid type: string \"x\", expected an integer from 0 to 255",
        ),
    ] {
        let params = json!({"name": "traced", "_meta": meta});
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let legacy = client.post(message).await.message().await;
        assert_eq!(legacy["result"]["content"][0]["text"], text);
        assert_eq!(text_of(app.request("tools/call", params).await).await, text);
    }
    assert_eq!(client.text_of("traced", json!({})).await, "None None", "the protocol's own keys are ignored");
}
