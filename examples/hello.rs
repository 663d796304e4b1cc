//! The smallest useful server: one tool at http://127.0.0.1:3000/mcp.

use std::process::ExitCode;

use axum::{Json, Router};
use mcp_http::{Args, McpListener, McpServer, mcp_router};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    Json(Sum { total: add.x.saturating_add(add.y) })
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hello: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> std::io::Result<()> {
    let server = McpServer::new("calculator", "1.0.0").tool("add", "Adds two numbers.", add);
    let app = Router::new().nest("/mcp", mcp_router(server));
    let listener = McpListener::bind(address()).await?;
    println!("listening on http://{}/mcp", listener.local_addr()?);
    axum::serve(listener, app).await
}

/// Returns the address to listen on: the first argument, or the default.
fn address() -> String {
    std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned())
}
