//! Everything again, written with rmcp's macros and types only and served by this crate: run it to learn what a
//! server of rmcp gains here, or under the protocol's conformance suite.
//!
//! It has the tools, resources, prompts and switches of the example `everything`:
//! `cargo run --features rmcp --example everything_rmcp -- --help` explains them.

#[path = "../everything/auth.rs"]
mod auth;
mod changes;
#[path = "../everything/cli.rs"]
mod cli;
#[path = "../everything/fixtures/composed.rs"]
mod composed;
mod content;
mod elicitation;
#[path = "../everything/ending.rs"]
mod ending;
mod handler;
#[path = "../everything/fixtures/media.rs"]
mod media;
mod prompts;
mod resources;
mod round;
mod rounds;
mod running;
#[path = "../everything/serve.rs"]
mod serve;
mod skills;
mod slow;
#[path = "../everything/store.rs"]
mod store;
mod tasks;

use std::error::Error;
use std::sync::Arc;

use clap::Parser;
use mcp_http::{McpService, RmcpServer};

use crate::cli::Cli;
use crate::handler::{Everything, Shared};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let cli = Cli::parse();
    let shared = Arc::new(Shared::new(cli.page_size, cli.cache())?);
    let server = RmcpServer::new(move || Everything::new(&shared));
    serve::serve(&cli, McpService::from(server)).await
}
