//! Decides how a server of everything comes up: the one written against this crate, and the one written
//! against rmcp.

use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use mcp_http::{McpListener, McpServiceBuilder};

use crate::cli::Cli;
use crate::{auth, ending};

/// Serves what a command line says, until the process is told to stop.
pub(crate) async fn serve(cli: &Cli, mcp: McpServiceBuilder) -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_max_level(cli.log).with_writer(std::io::stderr).init();

    let mcp = mcp
        .versions(cli.versions())
        .sessions(cli.sessions())
        .streams(cli.streams())
        .limits(cli.limits())
        .inputs(cli.inputs())
        .tasks(cli.tasks())
        .security(cli.security());
    let mcp = cli.open_store(mcp).await?.build()?;
    let handle = mcp.handle();
    let mut app = Router::new().merge(mcp.into_router_at("/mcp"));
    if !cli.token.is_empty() {
        app = app.layer(from_fn_with_state(Arc::from(cli.token.clone()), auth::check));
    }

    let listener = McpListener::bind((cli.bind, cli.port)).await.map_err(|error| {
        format!("cannot listen on {}, port {}: {error}; --bind and --port choose another place", cli.bind, cli.port)
    })?;
    // Whoever starts this server waits for the line.
    writeln!(std::io::stdout().lock(), "listening on http://{}/mcp", listener.local_addr()?)?;
    let (leave, drain) = (cli.leave(), cli.drain());
    ending::Service { app, listener, handle, leave, drain }.serve().await?;
    Ok(())
}
