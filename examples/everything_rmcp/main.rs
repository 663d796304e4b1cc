//! Everything again, written with rmcp's macros and types only and served by this crate: run it to learn what a
//! server of rmcp gains here, or under the protocol's conformance suite.
//!
//! It has the tools, resources, prompts and switches of the example `everything`, less those for what rmcp does here
//! by itself: it signs what clients carry between the rounds of a call, and keeps tasks in its memory, without a limit.
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
mod owners;
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
use std::process::ExitCode;
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches};
use mcp_http::{McpService, RmcpServer};

use crate::cli::Cli;
use crate::handler::{Everything, Shared};

/// Switches for what rmcp does by itself.
const NOT_HERE: [&str; 8] = [
    "sealing_key",
    "input_rounds",
    "input_bytes",
    "max_tasks",
    "max_tasks_per_principal",
    "task_bytes",
    "task_bytes_per_principal",
    "max_tasks_per_peer",
];

/// What the command line says; a switch that would do nothing is refused.
fn read_cli() -> Result<Cli, clap::Error> {
    let mut command = Cli::command().mut_arg("store", |arg| {
        let kept = "Where sessions are kept: `memory`; `file:FOLDER`, which outlives the process; or `redis://HOST:PORT/` \
                    (`rediss://..`), which other nodes use, too. Tasks are kept in memory";
        arg.help(kept).long_help(kept)
    });
    for switch in NOT_HERE {
        command = command.mut_arg(switch, |arg| arg.hide(true));
    }
    let matches = command.get_matches_mut();
    let given = NOT_HERE.into_iter().find(|switch| matches.value_source(switch) == Some(ValueSource::CommandLine));
    if let Some(switch) = given {
        let text = format!("--{} has no effect here: rmcp does this by itself\n", switch.replace('_', "-"));
        return Err(command.error(ErrorKind::UnknownArgument, text));
    }
    Cli::from_arg_matches(&matches)
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("everything_rmcp: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let cli = read_cli().unwrap_or_else(|error| error.exit());
    let shared = Arc::new(Shared::new(&cli)?);
    let server = RmcpServer::new(move || Everything::new(&shared));
    serve::serve(&cli, McpService::builder(server)).await
}
