//! The application under test, in this process, and its client.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use mcp_http::server::{Elicited, LogLevel, Tool};
use mcp_http::{Args, Context, McpHandle, McpServer, McpService, McpServiceBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};
use tower::ServiceExt;

#[derive(Deserialize, JsonSchema)]
struct Message {
    message: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Route {
    #[serde(default)]
    region: Option<String>,
    #[serde(default)]
    count: Option<i64>,
}

/// A command for the tool `steps`.
pub enum Step {
    Emit(u8),
    Finish,
}

pub struct App {
    router: Router,
    pub handle: McpHandle,
    /// Commands for the tool `steps`.
    pub steps: mpsc::UnboundedSender<Step>,
}

/// A response whose body has not been read.
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Body,
}

impl App {
    pub fn new(configure: impl FnOnce(McpServiceBuilder) -> McpServiceBuilder) -> Self {
        let (steps, commands) = mpsc::unbounded_channel();
        let commands = Arc::new(Mutex::new(commands));
        let server = McpServer::new("fuzz", "1")
            .tool("echo", "Says it again.", |Args(args): Args<Message>| async move { args.message })
            .with_tool(route())
            .tool("ask", "Asks.", |cx: Context| async move {
                match cx.elicit::<Message>("What?").await {
                    Ok(Elicited::Accept(message)) => message.message,
                    Ok(_) => "no".to_owned(),
                    Err(error) => error.to_string(),
                }
            })
            .tool("log", "Logs.", |cx: Context| async move {
                cx.log(LogLevel::Error, "a\nb").await;
                "logged"
            })
            .tool("progress", "Counts.", |cx: Context| async move {
                cx.progress(1, None).await;
                "done"
            })
            .tool("steps", "Follows commands.", move |cx: Context| {
                let commands = Arc::clone(&commands);
                async move {
                    let (mut commands, mut count) = (commands.lock().await, 0u32);
                    while let Some(Step::Emit(times)) = commands.recv().await {
                        for _ in 0..times {
                            count += 1;
                            cx.progress(count, None).await;
                        }
                    }
                    "done"
                }
            });
        let service = configure(McpService::builder(server));
        let service = service.build().expect("good settings");
        let handle = service.handle();
        Self { router: Router::new().nest("/mcp", service.into_router()), handle, steps }
    }

    pub async fn send(&self, request: Request<Body>) -> Reply {
        let Ok(response) = self.router.clone().oneshot(request).await;
        let (parts, body) = response.into_parts();
        Reply { status: parts.status, headers: parts.headers, body }
    }

    /// Opens a session. Returns its id.
    pub async fn open(&self, version: &str) -> String {
        let message = format!(
            r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"{version}","capabilities":{{}},"clientInfo":{{"name":"fuzz","version":"1"}}}}}}"#
        );
        let reply = self.send(request(Method::POST, None, message)).await;
        assert_eq!(reply.status, StatusCode::OK);
        reply.headers["mcp-session-id"].to_str().expect("text").to_owned()
    }

    pub async fn post(&self, session: &str, message: impl Into<Body>) -> Reply {
        self.send(request(Method::POST, Some(session), message)).await
    }

    pub async fn resume(&self, session: &str, last_event: &str) -> Reply {
        let mut request = request(Method::GET, Some(session), "");
        request.headers_mut().insert("last-event-id", last_event.parse().expect("a header"));
        self.send(request).await
    }
}

/// Returns a tool whose arguments are mirrored in headers. Its result is the arguments it received.
fn route() -> Tool {
    let schema = json!({"type": "object", "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "count": {"type": "integer", "x-mcp-header": "Count"},
    }});
    let route =
        |Args(args): Args<Route>| async move { format!("route {}", serde_json::to_string(&args).expect("JSON")) };
    Tool::new("route", "Says where to.", route).input_schema(schema)
}

impl Reply {
    pub fn is_stream(&self) -> bool {
        self.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream")
    }

    /// Returns the whole body.
    pub async fn text(self) -> String {
        let body = tokio::time::timeout(Duration::from_secs(600), self.body.collect()).await;
        let bytes = body.expect("the body ends").expect("the body is whole").to_bytes();
        String::from_utf8(bytes.to_vec()).expect("the body is text")
    }

    /// Returns the messages of the response, whether it is JSON or a stream.
    pub async fn messages(self) -> Vec<Value> {
        let streams = self.is_stream();
        let text = self.text().await;
        let texts: Vec<&str> = match streams {
            true => {
                text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| !data.is_empty()).collect()
            }
            false => vec![&text],
        };
        let messages = texts.into_iter().map(|text| serde_json::from_str(text).expect("the message is JSON"));
        messages.flat_map(|message| if let Value::Array(all) = message { all } else { vec![message] }).collect()
    }
}

/// Returns a request with the headers that every client sends.
pub fn request(method: Method, session: Option<&str>, body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::builder()
        .method(method)
        .uri("/mcp")
        .header("host", "127.0.0.1:3000")
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json");
    if let Some(session) = session {
        request = request.header("mcp-session-id", session);
    }
    request.body(body.into()).expect("a request")
}
