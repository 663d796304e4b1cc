//! Start-up of both `everything` examples: builds the service from the command line and serves it.

use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use mcp_http::{McpListener, McpServiceBuilder};

use crate::cli::Cli;
use crate::{auth, shutdown};

/// Serves with the settings of the command line, until a stop signal arrives.
pub(crate) async fn serve(cli: &Cli, mcp: McpServiceBuilder) -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_max_level(cli.log).with_writer(std::io::stderr).init();

    let mcp = mcp
        .versions(cli.versions())
        .sessions(cli.sessions())
        .streams(cli.streams())
        .limits(cli.limits())
        .input_requests(cli.inputs())
        .tasks(cli.tasks())
        .security(cli.security());
    let mcp = cli.open_store(mcp).await?.build()?;
    let handle = mcp.handle();
    let mut app = Router::new().merge(mcp.into_router_at("/mcp"));
    #[cfg(feature = "auth-http")]
    let resource_server = auth::resource_server(cli)?;
    #[cfg(not(feature = "auth-http"))]
    let resource_server: Option<fn(Router) -> Router> = None;
    match resource_server {
        Some(protect) => app = protect(app),
        None if !cli.token.is_empty() => {
            app = app.layer(from_fn_with_state(Arc::from(cli.token.clone()), auth::check));
        }
        None => {}
    }

    let listener = McpListener::bind((cli.bind, cli.port)).await.map_err(|error| {
        format!(
            "cannot listen on {}, port {}: {error}; choose another address with --bind and --port",
            cli.bind, cli.port
        )
    })?;
    // Programs that start this server wait for this line.
    writeln!(std::io::stdout().lock(), "listening on http://{}/mcp", listener.local_addr()?)?;
    let (linger, drain) = (cli.linger(), cli.drain());
    shutdown::Service { app, listener, handle, linger, drain }.serve().await?;
    Ok(())
}
