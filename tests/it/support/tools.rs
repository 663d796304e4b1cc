//! The server under test: a tool for each kind of call, and a probe that records what happens to
//! each call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcp_http::server::{Elicited, LogLevel, ResourceContents, SamplingRequest};
use mcp_http::{Args, Context, McpServer};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::Notify;

/// The state of the tools' calls, by label.
#[derive(Clone, Default)]
pub(crate) struct Probe {
    states: Arc<Mutex<BTreeMap<String, &'static str>>>,
    gates: Arc<Mutex<BTreeMap<String, Arc<Notify>>>>,
}

impl Probe {
    /// Returns `running`, `finished` or `cancelled`, or `None` before the call has arrived.
    pub(crate) fn state(&self, label: &str) -> Option<&'static str> {
        self.states.lock().unwrap().get(label).copied()
    }

    fn set(&self, label: &str, state: &'static str) {
        self.states.lock().unwrap().insert(label.to_owned(), state);
    }

    fn gate(&self, label: &str) -> Arc<Notify> {
        Arc::clone(self.gates.lock().unwrap().entry(label.to_owned()).or_default())
    }

    /// Releases the call `hold {label}`, now or once it arrives.
    pub(crate) fn release(&self, label: &str) {
        self.gate(label).notify_one();
    }
}

/// Records how a call ends.
struct Running(Probe, String);

impl Running {
    fn new(probe: &Probe, label: &str) -> Self {
        probe.set(label, "running");
        Self(probe.clone(), label.to_owned())
    }

    fn finish(self) {
        self.0.set(&self.1, "finished");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.state(&self.1) == Some("running") {
            self.0.set(&self.1, "cancelled");
        }
    }
}

#[derive(Deserialize, JsonSchema)]
struct Message {
    message: String,
}

#[derive(Deserialize, JsonSchema)]
struct Steps {
    steps: u32,
    #[serde(default)]
    delay_ms: u64,
}

#[derive(Deserialize, JsonSchema)]
struct Slow {
    ms: u64,
    label: String,
}

#[derive(Deserialize, JsonSchema)]
struct Label {
    label: String,
}

#[derive(Deserialize, JsonSchema)]
struct Noted {
    label: String,
    /// How often the tool reports progress. The default is once.
    steps: Option<u32>,
    /// The delay before each progress report, in milliseconds.
    #[serde(default)]
    delay_ms: u64,
}

#[derive(Deserialize, JsonSchema)]
struct Close {
    /// The delay before the stream is closed, in milliseconds.
    #[serde(default)]
    before_ms: u64,
    /// The delay between the close and the result, in milliseconds.
    after_ms: u64,
    retry_ms: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
struct Name {
    name: String,
}

/// Returns a server with:
///
/// - `echo {message}`: the text, at once
/// - `progress {steps, delay_ms}`: progress 1 to `steps`, then "done"
/// - `slow {ms, label}`: silent for a while, then "slept"
/// - `hold {label}`: silent until the probe releases it, then "released"
/// - `note_and_hold {label, steps, delay_ms}`: progress 1 to `steps` (or 1), then as `hold`
/// - `log`: a log message at each level, then "logged"
/// - `ask`: elicits `{name}`, then "accept NAME", "decline", "cancel" or the error's text
/// - `sample`: samples, then the model's text or the error's text
/// - `roots`: the number of roots, or the error's text
/// - `close {before_ms, after_ms, retry_ms}`: closes its stream, then "closed true|false"
/// - `count`: counts its calls in the session's state
/// - `boom`: panics with "secret"
/// - `leak`: fails with an error whose text is internal
/// - `whoami`: the principal, the client's name and the revision
/// - `detached {label}`: moves a context to a task, and answers at once
/// - resources `test://fixed`, template `test://item/{id}`; prompt `greet {name}`
pub(crate) fn server(probe: &Probe) -> McpServer {
    let server = McpServer::new("test-server", "1.0.0")
        .tool("echo", "Says it again.", |Args(args): Args<Message>| async move { args.message })
        .tool("progress", "Counts.", progress)
        .tool("log", "Logs.", log)
        .tool("ask", "Asks for a name.", ask)
        .tool("sample", "Asks the model.", sample)
        .tool("roots", "Asks for roots.", roots)
        .tool("close", "Closes its stream.", close)
        .tool("count", "Counts calls.", count)
        .tool("boom", "Panics.", boom)
        .tool("leak", "Fails inside.", leak)
        .tool("whoami", "Says who asks.", whoami);
    let server = with_probe(server, probe);
    server
        .resource("test://fixed", "fixed", async || "fixed text")
        .resource_template("test://item/{id}", "item", |Args(id): Args<BTreeMap<String, String>>| async move {
            ResourceContents::text(format!("item {}", id["id"]))
        })
        .prompt("greet", "Greets.", |Args(args): Args<Name>| async move { format!("Hello, {}!", args.name) })
}

fn with_probe(server: McpServer, probe: &Probe) -> McpServer {
    let (slow, hold, note, detached) = (probe.clone(), probe.clone(), probe.clone(), probe.clone());
    server
        .tool("slow", "Sleeps.", move |Args(args): Args<Slow>| {
            let running = Running::new(&slow, &args.label);
            async move {
                tokio::time::sleep(Duration::from_millis(args.ms)).await;
                running.finish();
                "slept"
            }
        })
        .tool("hold", "Waits.", move |Args(args): Args<Label>| {
            let (running, gate) = (Running::new(&hold, &args.label), hold.gate(&args.label));
            async move {
                gate.notified().await;
                running.finish();
                "released"
            }
        })
        .tool("note_and_hold", "Notes progress and waits.", move |cx: Context, Args(args): Args<Noted>| {
            let (running, gate) = (Running::new(&note, &args.label), note.gate(&args.label));
            async move {
                count_to(&cx, args.steps.unwrap_or(1), args.delay_ms, None).await;
                gate.notified().await;
                running.finish();
                "released"
            }
        })
        .tool("detached", "Goes on after its answer.", move |cx: Context, Args(args): Args<Label>| {
            let (running, gate) = (Running::new(&detached, &args.label), detached.gate(&args.label));
            async move {
                tokio::spawn(async move {
                    gate.notified().await;
                    cx.progress(99, None).await;
                    running.finish();
                });
                "answered"
            }
        })
}

async fn progress(cx: Context, Args(args): Args<Steps>) -> &'static str {
    count_to(&cx, args.steps, args.delay_ms, Some(args.steps.into())).await;
    "done"
}

async fn count_to(cx: &Context, steps: u32, delay_ms: u64, total: Option<f64>) {
    for step in 1..=steps {
        if delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        }
        cx.progress(step, total).await;
    }
}

async fn log(cx: Context) -> &'static str {
    for level in [LogLevel::Debug, LogLevel::Info, LogLevel::Warning, LogLevel::Error] {
        cx.log_as(level, Some("tools"), format!("{level:?}")).await;
    }
    "logged"
}

#[derive(Deserialize, JsonSchema)]
struct Person {
    name: String,
}

async fn ask(cx: Context) -> String {
    match cx.elicit::<Person>("Your name?").await {
        Ok(Elicited::Accept(person)) => format!("accept {}", person.name),
        Ok(Elicited::Decline) => "decline".to_owned(),
        Ok(Elicited::Cancel) => "cancel".to_owned(),
        Err(error) => format!("error: {error}"),
    }
}

async fn sample(cx: Context) -> String {
    match cx.sample(SamplingRequest::new("Say hi.", 10)).await {
        Ok(result) => format!("{:?}", result.content),
        Err(error) => format!("error: {error}"),
    }
}

async fn roots(cx: Context) -> String {
    match cx.roots().await {
        Ok(roots) => roots.len().to_string(),
        Err(error) => format!("error: {error}"),
    }
}

async fn close(cx: Context, Args(args): Args<Close>) -> String {
    tokio::time::sleep(Duration::from_millis(args.before_ms)).await;
    let closed = cx.close_sse_stream(args.retry_ms.map(Duration::from_millis));
    tokio::time::sleep(Duration::from_millis(args.after_ms)).await;
    format!("closed {closed}")
}

async fn count(cx: Context) -> String {
    let Some(session) = cx.session() else { return "no session".to_owned() };
    session.update("count", |count: &mut u32| *count += 1).await.unwrap().to_string()
}

async fn boom() -> &'static str {
    panic!("secret")
}

async fn leak() -> Result<&'static str, mcp_http::server::ToolError> {
    Err(std::io::Error::other("secret"))?;
    Ok("unreachable")
}

async fn whoami(cx: Context) -> String {
    let principal = cx.principal().map_or("nobody", |principal| principal.as_str()).to_owned();
    let client = cx.client_info().map_or("?", |client| &*client.name).to_owned();
    format!("{principal} {client} {}", cx.protocol_version())
}
