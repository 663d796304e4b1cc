//! Benchmark server: this crate, mounted as in its README. `auto` uses the defaults, `sse` answers
//! each request with a resumable stream.

use std::time::Duration;

use axum::Router;
use mcp_http::{mcp_router, Args, Context, McpListener, McpServer, McpService, ResponseMode, Sessions, Streams};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Deserialize, JsonSchema)]
struct Echo {
    text: String,
}

#[derive(Deserialize, JsonSchema)]
struct Slow {
    steps: u32,
    millis: u64,
}

async fn echo(Args(echo): Args<Echo>) -> String {
    echo.text
}

async fn burst(cx: Context) -> &'static str {
    for step in 1..=50 {
        cx.progress(step, 50).await;
    }
    "done"
}

async fn slow(cx: Context, Args(slow): Args<Slow>) -> &'static str {
    for step in 1..=slow.steps {
        tokio::time::sleep(Duration::from_millis(slow.millis)).await;
        cx.progress(step, slow.steps).await;
    }
    "done"
}

#[derive(Deserialize, JsonSchema)]
struct Chat {
    steps: u32,
    bytes: usize,
    answer: usize,
}

async fn chat(cx: Context, Args(chat): Args<Chat>) -> String {
    let message = numbers(chat.bytes);
    for step in 1..=chat.steps {
        cx.progress_message(step, chat.steps, Some(message.as_str())).await;
    }
    numbers(chat.answer)
}

/// Returns the same numbers as the soak, so that a missing, duplicate or moved part is noticed.
fn numbers(bytes: usize) -> String {
    let mut text: String = (0..bytes.div_ceil(8)).map(|n| format!("{n:07} ")).collect();
    text.truncate(bytes);
    text
}

fn main() {
    stand::run(async {
        let mode = match &*stand::variant() {
            "auto" => ResponseMode::Auto,
            "sse" => ResponseMode::Sse,
            other => panic!("no such variant: {other:?}"),
        };
        let server = McpServer::new("peers", "1.0.0")
            .tool("echo", "Says it again.", echo)
            .tool("burst", "Fifty steps at once.", burst)
            .tool("slow", "Steps with a pause before each.", slow)
            .tool("chat", "Steps with messages, without a pause, and a text: for the soak.", chat);
        // The benchmark opens more sessions than the default allows.
        let sessions = Sessions::new().max_sessions(1_000_000).max_sessions_per_principal(1_000_000);
        let service = McpService::builder(server)
            .streams(Streams::new().response_mode(mode))
            .sessions(sessions)
            .build()
            .expect("good settings");
        let app = Router::new().nest("/mcp", mcp_router(service));
        stand::serve_on(McpListener::new(stand::listener()?), app).await
    });
}
