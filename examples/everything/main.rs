//! A server that offers everything, with a switch for most settings: run it to try a client, to
//! learn what a setting does, or under the protocol's conformance suite.
//!
//! `cargo run --example everything -- --help` explains the switches.

mod auth;
mod cli;
mod ending;
mod fixtures;
mod serve;
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
    // With --token there may be lists that not everybody should see, so nobody shares them.
    let cache = CacheHint::private(cli.cache());
    let server = fixtures::server().page_size(cli.page_size).cache(cache);
    serve::serve(&cli, McpService::builder(server)).await
}
