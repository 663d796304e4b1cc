//! Client requests in 2026-07-28: a call ends with its requests, and the client calls again with
//! the answers. The state that the client carries in between is sealed.

mod forged_state;
mod handlers;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::Method;
use mcp_http::server::{Elicited, GetPromptResult, PromptMessage, SamplingRequest, ToolError};
use mcp_http::{
    Context, InputRequests, McpServer, McpService, McpServiceBuilder, Principal, ResponseMode, SealingKey, Streams,
};
use serde_json::{Value, json};

use crate::support::{App, RequestExt, request};

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Name {
    name: String,
}

#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
struct Sure {
    sure: bool,
}

/// Counts how often a step ran.
type Taken = Arc<AtomicUsize>;

async fn greet(cx: Context) -> Result<String, ToolError> {
    match cx.elicit::<Name>("What is your name?").key("user_name").await? {
        Elicited::Accept(Name { name }) => Ok(format!("Hello, {name}!")),
        other => Ok(format!("{:?}", other.accepted().map(|Name { name }| name))),
    }
}

async fn everything(cx: Context) -> Result<String, ToolError> {
    let (name, haiku, roots) = tokio::join!(
        cx.elicit::<Name>("Who?").key("user_name"),
        cx.sample(SamplingRequest::new("A haiku", 50)).key("greeting"),
        cx.roots().key("client_roots"),
    );
    let name = name?.accepted().map(|Name { name }| name).unwrap_or_default();
    Ok(format!("{name} {} {}", haiku?.text(), roots?.len()))
}

async fn book(State(taken): State<Taken>, cx: Context) -> Result<String, ToolError> {
    let seat: usize = cx.once("seat", async { Ok::<_, ToolError>(taken.fetch_add(1, Ordering::Relaxed)) }).await?;
    let name = cx.elicit::<Name>("Who?").await?.accepted().map(|Name { name }| name).unwrap_or_default();
    let sure = cx.elicit::<Sure>(format!("Seat {seat}?")).await?.accepted().is_some_and(|Sure { sure }| sure);
    Ok(format!("{name} {seat} {sure}"))
}

async fn elsewhere(cx: Context) -> String {
    let asking = tokio::spawn(async move {
        cx.roots().await.map_or_else(|error| error.to_string(), |roots| roots.len().to_string())
    });
    asking.await.unwrap_or_default()
}

async fn streaming(cx: Context) -> Result<String, ToolError> {
    cx.progress(1, None).await;
    Ok(cx.roots().await?.len().to_string())
}

async fn endless(cx: Context) -> Result<String, ToolError> {
    for round in 0.. {
        cx.elicit::<Sure>(format!("And {round}?")).await?;
    }
    Ok(String::new())
}

async fn prompt(cx: Context) -> Result<GetPromptResult, ToolError> {
    let name = cx.elicit::<Name>("For whom?").key("user_context").await?.accepted().map(|Name { name }| name);
    Ok(GetPromptResult::new([PromptMessage::user(name.unwrap_or_default())]))
}

async fn resource(cx: Context) -> Result<String, ToolError> {
    Ok(cx.roots().await?.len().to_string())
}

fn app(configure: impl FnOnce(McpServiceBuilder) -> McpServiceBuilder) -> App {
    named("asking", "1.0.0", configure)
}

fn named(name: &str, version: &str, configure: impl FnOnce(McpServiceBuilder) -> McpServiceBuilder) -> App {
    let server: McpServer = McpServer::<Taken>::new(name, version)
        .tool("greet", "Greets.", greet)
        .tool("everything", "Asks for everything at once.", everything)
        .tool("book", "Books a seat.", book)
        .tool("elsewhere", "Asks from a task.", elsewhere)
        .tool("streaming", "Says something, then asks.", streaming)
        .tool("endless", "Sends requests without end.", endless)
        .prompt("prompt", "Asks.", prompt)
        .resource("test://asking", "asking", resource)
        .with_state(Taken::default());
    App::of(configure(McpService::builder(server)))
}

fn plain() -> App {
    app(|service| service)
}

/// One round of a call.
struct Round<'a> {
    app: &'a App,
    method: &'static str,
    name: &'static str,
    params: Value,
    capabilities: Value,
    principal: Option<&'static str>,
}

impl<'a> Round<'a> {
    fn tool(app: &'a App, name: &'static str) -> Self {
        Self::new(app, "tools/call", name, json!({"name": name, "arguments": {}}))
    }

    fn new(app: &'a App, method: &'static str, name: &'static str, params: Value) -> Self {
        let capabilities = json!({"elicitation": {}, "sampling": {}, "roots": {}});
        Self { app, method, name, params, capabilities, principal: None }
    }

    fn with(mut self, key: &str, value: Value) -> Self {
        self.params[key] = value;
        self
    }

    /// Repeats the call as a client does, with the request state of the last answer.
    fn again(self, asked: &Value, answers: Value) -> Self {
        self.with("requestState", asked["result"]["requestState"].clone()).with("inputResponses", answers)
    }

    async fn reply(self) -> crate::support::Reply {
        self.rewritten(|text| text).await
    }

    /// Sends the round after a change of its text, which may be one that no serialiser would write.
    async fn rewritten(mut self, rewrite: impl FnOnce(String) -> String) -> crate::support::Reply {
        self.params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": self.capabilities,
            "progressToken": "p",
        });
        let mut request = request(Method::POST)
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", self.method)
            .header("mcp-name", self.name)
            .header("content-type", "application/json");
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": self.method, "params": self.params});
        request = request.raw(rewrite(message.to_string()));
        if let Some(principal) = self.principal {
            request.extensions_mut().insert(Principal::new(principal));
        }
        self.app.send(request).await
    }

    async fn answer(self) -> Value {
        let reply = self.reply().await;
        assert_eq!(reply.status, 200);
        reply.json().await
    }
}

#[expect(clippy::needless_pass_by_value, reason = "callers write json!(..) in place")]
fn accept(content: Value) -> Value {
    json!({"action": "accept", "content": content})
}

fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

#[track_caller]
fn assert_requests(answer: &Value, keys: &[&str]) {
    assert_eq!(answer["result"]["resultType"], "input_required", "{answer}");
    let requests = answer["result"]["inputRequests"].as_object().unwrap();
    assert_eq!(requests.keys().collect::<Vec<_>>(), keys);
    assert!(!answer["result"]["requestState"].as_str().unwrap().is_empty());
    assert_eq!(answer["result"].get("ttlMs"), None, "a result with requests is not cached");
}

/// The client may also send its answers with the first call, without a request state.
///
/// Acceptance 148, 149.
#[tokio::test(start_paused = true)]
async fn repeated_calls_with_answers_complete() {
    let app = plain();
    let asked = Round::tool(&app, "greet").answer().await;
    assert_requests(&asked, &["user_name"]);
    let request = &asked["result"]["inputRequests"]["user_name"];
    assert_eq!(request["method"], "elicitation/create");
    assert_eq!(request["params"]["message"], "What is your name?");
    assert_eq!(request["params"]["requestedSchema"]["properties"]["name"]["type"], "string");
    let answers = json!({"user_name": accept(json!({"name": "Ann"}))});
    let answered = Round::tool(&app, "greet").again(&asked, answers.clone()).answer().await;
    assert_eq!((text(&answered), &answered["result"]["resultType"]), ("Hello, Ann!", &json!("complete")));
    // The client sends no request state, and an answer to a request that was never sent.
    let mut direct = answers;
    direct["stray"] = json!(1);
    let answered = Round::tool(&app, "greet").with("inputResponses", direct).answer().await;
    assert_eq!(text(&answered), "Hello, Ann!");
    let declined = json!({"user_name": {"action": "decline"}});
    assert_eq!(text(&Round::tool(&app, "greet").again(&asked, declined).answer().await), "None");
}

/// Concurrent requests are sent in one round. Those without an answer are sent again.
///
/// Acceptance 149.
#[tokio::test(start_paused = true)]
async fn concurrent_requests_share_a_round() {
    let app = plain();
    let asked = Round::tool(&app, "everything").answer().await;
    assert_requests(&asked, &["client_roots", "greeting", "user_name"]);
    let some = json!({"user_name": accept(json!({"name": "Ann"})), "client_roots": {"roots": [{"uri": "file:///a"}]}});
    let asked = Round::tool(&app, "everything").again(&asked, some).answer().await;
    assert_requests(&asked, &["greeting"]);
    let haiku = json!({"role": "assistant", "model": "m", "content": {"type": "text", "text": "frog"}});
    let answered = Round::tool(&app, "everything").again(&asked, json!({"greeting": haiku})).answer().await;
    assert_eq!(text(&answered), "Ann frog 1");
}

/// The result of a step is carried in the request state.
///
/// Acceptance 149.
#[tokio::test(start_paused = true)]
async fn steps_run_once_over_all_rounds() {
    let app = plain();
    let first = Round::tool(&app, "book").answer().await;
    assert_requests(&first, &["elicitation-1"]);
    let second = Round::tool(&app, "book").again(&first, json!({"elicitation-1": accept(json!({"name": "Ann"}))}));
    let second = second.answer().await;
    assert_requests(&second, &["elicitation-2"]);
    assert_eq!(second["result"]["inputRequests"]["elicitation-2"]["params"]["message"], "Seat 0?");
    assert_ne!(first["result"]["requestState"], second["result"]["requestState"]);
    let third = Round::tool(&app, "book").again(&second, json!({"elicitation-2": accept(json!({"sure": true}))}));
    assert_eq!(text(&third.answer().await), "Ann 0 true");
    // Another call runs the step again, and does not get the answers of the first one.
    let other = Round::tool(&app, "book").again(&first, json!({})).answer().await;
    assert_requests(&other, &["elicitation-1"]);
}

/// Another principal, other arguments, another tool or a changed state is rejected with -32602.
///
/// Acceptance 148.
#[tokio::test(start_paused = true)]
async fn request_state_opens_for_its_own_call_only() {
    let app = plain();
    let round = |principal| Round { principal, ..Round::tool(&app, "greet") };
    let asked = round(Some("ann")).answer().await;
    let answers = json!({"user_name": accept(json!({"name": "Ann"}))});
    let sealed = asked["result"]["requestState"].as_str().unwrap();
    let mut wrong_rounds = vec![
        round(Some("bob")).again(&asked, answers.clone()),
        round(None).again(&asked, answers.clone()),
        round(Some("ann")).again(&asked, answers.clone()).with("arguments", json!({"other": 1})),
        Round { principal: Some("ann"), ..Round::tool(&app, "everything") }.again(&asked, answers.clone()),
    ];
    for wrong in [format!("{sealed}-TAMPERED"), sealed[1..].to_owned(), String::new(), "x".repeat(5_000)] {
        wrong_rounds.push(round(Some("ann")).again(&asked, answers.clone()).with("requestState", json!(wrong)));
    }
    for wrong in [json!(7), json!({"x": 1})] {
        wrong_rounds.push(round(Some("ann")).again(&asked, answers.clone()).with("requestState", wrong));
    }
    for rejected in wrong_rounds {
        let error = rejected.answer().await["error"].clone();
        assert_eq!(error, json!({"code": -32602, "message": "Invalid params: `requestState` cannot be used"}));
    }
    assert_eq!(text(&round(Some("ann")).again(&asked, answers).answer().await), "Hello, Ann!");
}

/// A service with the old key in second place opens the state, until its lifetime has passed.
///
/// Acceptance 148.
#[tokio::test(start_paused = true)]
async fn request_state_expires_and_survives_key_rotation() {
    let key = |n: u8| SealingKey::from_bytes([n; 32]);
    let node = |keys: Vec<SealingKey>| app(|service| service.input_requests(InputRequests::new().keys(keys)));
    let asked = Round::tool(&node(vec![key(1)]), "greet").answer().await;
    let answers = json!({"user_name": accept(json!({"name": "Ann"}))});
    let (rotated, foreign) = (node(vec![key(2), key(1)]), node(vec![key(2)]));
    assert_eq!(text(&Round::tool(&rotated, "greet").again(&asked, answers.clone()).answer().await), "Hello, Ann!");
    let rejected = Round::tool(&foreign, "greet").again(&asked, answers.clone()).answer().await;
    assert_eq!(rejected["error"]["code"], -32602);
    tokio::time::advance(InputRequests::DEFAULT_LIFETIME + Duration::from_secs(1)).await;
    let rejected = Round::tool(&rotated, "greet").again(&asked, answers).answer().await;
    assert_eq!(rejected["error"]["message"], "Invalid params: `requestState` cannot be used");
}

/// The service is known by its name, or by `InputRequests::service`, and not by its version.
///
/// Acceptance 148.
#[tokio::test(start_paused = true)]
async fn a_state_opens_at_its_service_only() {
    let inputs = || InputRequests::new().keys([SealingKey::from_bytes([1; 32])]);
    let node = |name: &str, version: &str, inputs: InputRequests| {
        named(name, version, |service| service.input_requests(inputs))
    };
    let asked = Round::tool(&node("calendar", "1.0.0", inputs()), "greet").answer().await;
    let answers = json!({"user_name": accept(json!({"name": "Ann"}))});
    for (app, opens) in [
        // Another node, which may run a newer release.
        (node("calendar", "1.1.0", inputs()), true),
        (node("mail", "1.0.0", inputs()), false),
        (node("calendar", "1.0.0", inputs().service("calendar of others")), false),
        (node("diary", "2.0.0", inputs().service("calendar")), true),
    ] {
        let answer = Round::tool(&app, "greet").again(&asked, answers.clone()).answer().await;
        if opens {
            assert_eq!(text(&answer), "Hello, Ann!");
        } else {
            assert_eq!(answer["error"]["message"], "Invalid params: `requestState` cannot be used");
        }
    }
    let unnamed =
        McpService::<()>::builder(McpServer::new("calendar", "1.0.0")).input_requests(InputRequests::new().service(""));
    assert_eq!(unnamed.build().unwrap_err().setting(), "InputRequests::service");
}

/// After `InputRequests::max_rounds` rounds, the call ends with an internal error.
///
/// Acceptance 149.
#[tokio::test(start_paused = true)]
async fn the_rounds_of_a_call_are_bounded() {
    let app = app(|service| service.input_requests(InputRequests::new().max_rounds(3)));
    let mut asked = Round::tool(&app, "endless").answer().await;
    for round in 1..=3 {
        let answers = json!({format!("elicitation-{round}"): accept(json!({"sure": true}))});
        let next = Round::tool(&app, "endless").again(&asked, answers).answer().await;
        if round == 3 {
            assert_eq!(next["error"]["code"], -32603);
            assert!(next["error"]["message"].as_str().unwrap().contains("3 rounds"), "{next}");
        } else {
            assert_requests(&next, &[&format!("elicitation-{}", round + 1)]);
        }
        asked = next;
    }
}

/// An invalid answer is rejected with -32602.
///
/// Acceptance 149.
#[tokio::test(start_paused = true)]
async fn invalid_answers_fail_and_missing_are_requested_again() {
    let app = plain();
    for wrong in [json!(12345), json!({"action": "accept", "content": {"name": 7}}), json!({"action": "shout"})] {
        let answer = Round::tool(&app, "greet").with("inputResponses", json!({"user_name": wrong})).answer().await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    }
    for wrong in [json!([]), json!("x")] {
        let answer = Round::tool(&app, "greet").with("inputResponses", wrong).answer().await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    }
    let other = json!({"wrong_key": accept(json!({"name": "Ann"}))});
    assert_requests(&Round::tool(&app, "greet").with("inputResponses", other).answer().await, &["user_name"]);
}

/// The call is rejected with -32021, which names the missing capability.
///
/// Acceptance 25, 149.
#[tokio::test(start_paused = true)]
async fn undeclared_capabilities_fail_the_call() {
    let app = plain();
    let round = Round { capabilities: json!({"sampling": {}}), ..Round::tool(&app, "greet") };
    let reply = round.reply().await;
    assert_eq!(reply.status, 400);
    let error = reply.json().await["error"].clone();
    assert_eq!(
        (&error["code"], &error["data"]),
        (&json!(-32021), &json!({"requiredCapabilities": {"elicitation": {}}}))
    );
    let prompt = Round::new(&app, "prompts/get", "prompt", json!({"name": "prompt"}));
    assert_eq!(Round { capabilities: json!({}), ..prompt }.reply().await.status, 400);
    let read = Round::new(&app, "resources/read", "test://asking", json!({"uri": "test://asking"}));
    assert_eq!(Round { capabilities: json!({}), ..read }.reply().await.status, 400);
}

/// `prompts/get` and `resources/read` end with client requests in the same way as `tools/call`.
///
/// Acceptance 149.
#[tokio::test(start_paused = true)]
async fn prompts_and_resources_send_requests_too() {
    let app = plain();
    let prompt = || Round::new(&app, "prompts/get", "prompt", json!({"name": "prompt"}));
    let asked = prompt().answer().await;
    assert_requests(&asked, &["user_context"]);
    let answers = json!({"user_context": accept(json!({"name": "Ann"}))});
    let answered = prompt().again(&asked, answers).answer().await;
    assert_eq!(answered["result"]["messages"][0]["content"]["text"], "Ann");
    let read = || Round::new(&app, "resources/read", "test://asking", json!({"uri": "test://asking"}));
    let asked = read().answer().await;
    assert_requests(&asked, &["roots-1"]);
    let answered = read().again(&asked, json!({"roots-1": {"roots": []}})).answer().await;
    assert_eq!(answered["result"]["contents"][0]["text"], "0");
}

/// The call ends with its requests in each response mode, and also when its stream has begun.
///
/// Acceptance 149.
#[tokio::test(start_paused = true)]
async fn requests_end_the_call_in_any_mode() {
    let app = plain();
    assert_requests(&Round::tool(&app, "elsewhere").answer().await, &["roots-1"]);
    let events = Round::tool(&app, "streaming").reply().await.sse().rest().await;
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].json()["method"], "notifications/progress");
    assert_requests(&events[1].json(), &["roots-1"]);
    for mode in [ResponseMode::Json, ResponseMode::Sse] {
        let app = self::app(|service| service.streams(Streams::new().response_mode(mode)));
        let reply = Round::tool(&app, "greet").reply().await;
        let answer = if mode == ResponseMode::Json { reply.json().await } else { reply.sse().rest().await[0].json() };
        assert_requests(&answer, &["user_name"]);
    }
}

/// In a session, the requests are sent on the stream of the call, and the handler continues with
/// the answers.
///
/// Acceptance 149.
#[tokio::test(start_paused = true)]
async fn in_sessions_handlers_wait_for_answers() {
    let app = plain();
    let client = app.open().await;
    let mut stream = client.post(crate::support::call(1, "book", json!({}))).await.sse();
    for (message, content) in [("Who?", json!({"name": "Ann"})), ("Seat 0?", json!({"sure": true}))] {
        let mut event = stream.next_any().await.unwrap();
        while event.primes() {
            event = stream.next_any().await.unwrap();
        }
        let asked = event.json();
        assert_eq!(asked["params"]["message"], message);
        let answer = json!({"jsonrpc": "2.0", "id": asked["id"], "result": accept(content)});
        assert_eq!(client.post(answer).await.status, 202);
    }
    let last = stream.rest().await.pop().unwrap().json();
    assert_eq!(text(&last), "Ann 0 true");
    assert_eq!(last["result"].get("resultType"), None);
}
