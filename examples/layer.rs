//! MCP as a layer over an existing application: it answers `/mcp`, and all other paths work as
//! before. Routes of the application can use the session of a request.

use std::process::ExitCode;

use axum::Router;
use axum::routing::get;
use mcp_http::server::Session;
use mcp_http::{Args, McpLayer, McpListener, McpServer};
use schemars::JsonSchema;
use serde::Deserialize;
use tower_http::trace::TraceLayer;

#[derive(Deserialize, JsonSchema)]
struct Note {
    text: String,
}

/// Stores a note in the session.
async fn remember(session: Session, Args(note): Args<Note>) -> Result<String, mcp_http::server::ToolError> {
    let notes = session.update("notes", |notes: &mut Vec<String>| notes.push(note.text.clone())).await?;
    Ok(format!("{} notes", notes.len()))
}

/// A route of the application that reads the same session: `curl -H "Mcp-Session-Id: .."
/// .../notes`.
async fn notes(session: Session) -> String {
    session.get::<Vec<String>>("notes").await.ok().flatten().unwrap_or_default().join("\n")
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("layer: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> std::io::Result<()> {
    tracing_subscriber::fmt().init();
    let server = McpServer::new("notes", "1.0.0").tool("remember", "Keeps a note for this session.", remember);
    let app = Router::new()
        .route("/", get(|| async { "The application as it was. MCP is at /mcp." }))
        .route("/notes", get(notes))
        .layer(McpLayer::new(server))
        .layer(TraceLayer::new_for_http());
    let listener = McpListener::bind(address()).await?;
    println!("listening on http://{}/mcp", listener.local_addr()?);
    axum::serve(listener, app).await
}

/// Returns the address to listen on: the first argument, or the default.
fn address() -> String {
    std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned())
}
