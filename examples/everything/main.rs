//! A server with every feature of the protocol and an option for most settings. Run it to try a
//! client, to learn what a setting does, or under the protocol's conformance suite.
//!
//! `cargo run --example everything -- --help` explains the options.

mod auth;
mod cli;
mod fixtures;
mod serve;
mod shutdown;
mod store;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use mcp_http::McpService;
use mcp_http::server::CacheHint;

use crate::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("everything: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let cli = Cli::parse();
    // With --token, lists may differ between principals, so shared caches must not store them.
    let cache = CacheHint::private(cli.cache());
    let server = fixtures::server().page_size(cli.page_size).cache(cache);
    #[cfg(feature = "auth-http")]
    let server = cli.tool_scopes().into_iter().fold(server, |server, (tool, scopes)| server.tool_scopes(tool, scopes));
    serve::serve(&cli, McpService::builder(server)).await
}
