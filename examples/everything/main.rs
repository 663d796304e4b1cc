//! A server that offers everything, with a switch for most settings: run it to try a client, to
//! learn what a setting does, or under the protocol's conformance suite.
//!
//! `cargo run --example everything -- --help` explains the switches.

mod auth;
mod cli;
mod ending;
mod fixtures;
mod store;

use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use clap::Parser;
use mcp_http::{McpListener, McpService};

use crate::cli::Cli;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let cli = Cli::parse();
    tracing_subscriber::fmt().with_max_level(cli.log).with_writer(std::io::stderr).init();

    let server = fixtures::server().page_size(cli.page_size).cache(cli.cache());
    let mcp = McpService::new(server)
        .versions(cli.versions())?
        .sessions(cli.sessions())?
        .streams(cli.streams())?
        .limits(cli.limits())?
        .inputs(cli.inputs())?
        .tasks(cli.tasks())?
        .security(cli.security()?)?;
    let mcp = cli.open_store(mcp).await?;
    let handle = mcp.handle();
    let mut app = Router::new().merge(mcp.into_router_at("/mcp"));
    if !cli.token.is_empty() {
        app = app.layer(from_fn_with_state(Arc::from(cli.token.clone()), auth::check));
    }

    let listener = McpListener::bind((cli.bind, cli.port)).await?;
    // Whoever starts this server waits for the line.
    writeln!(std::io::stdout().lock(), "listening on http://{}/mcp", listener.local_addr()?)?;
    let (leave, drain) = (cli.leave(), cli.drain());
    ending::Service { app, listener, handle, leave, drain }.serve().await?;
    Ok(())
}
