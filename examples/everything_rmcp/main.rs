//! The example `everything` again, written with rmcp's macros and types and served by this crate.
//! Run it to see what an rmcp server gains here, or under the protocol's conformance suite.
//!
//! It has the same tools, resources, prompts and options. Options for what rmcp does itself are
//! missing: it signs the state that clients carry between the rounds of a call, and stores tasks in
//! memory without a limit. `cargo run --features rmcp --example everything_rmcp -- --help` explains
//! the options.

#[path = "../everything/auth.rs"]
mod auth;
mod changes;
#[path = "../everything/cli.rs"]
mod cli;
#[path = "../everything/fixtures/composed.rs"]
mod composed;
mod content;
mod elicitation;
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
#[path = "../everything/shutdown.rs"]
mod shutdown;
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

/// Options without an effect here, because rmcp does these things itself.
const WITHOUT_EFFECT: [&str; 8] = [
    "sealing_key",
    "input_max_rounds",
    "input_max_state_bytes",
    "max_tasks",
    "max_tasks_per_principal",
    "max_task_bytes",
    "max_task_bytes_per_principal",
    "max_tasks_per_peer",
];

/// Reads the command line. An option without an effect is an error.
fn read_cli() -> Result<Cli, clap::Error> {
    let mut command = Cli::command().mut_arg("store", |arg| {
        let help = "Where sessions are stored: `memory`; `file:FOLDER`, which survives a restart; or `redis://HOST:PORT/` \
                    (`rediss://..`), which nodes share. Tasks are stored in memory";
        arg.help(help).long_help(help)
    });
    for option in WITHOUT_EFFECT {
        command = command.mut_arg(option, |arg| arg.hide(true));
    }
    let matches = command.get_matches_mut();
    let given =
        WITHOUT_EFFECT.into_iter().find(|option| matches.value_source(option) == Some(ValueSource::CommandLine));
    if let Some(option) = given {
        let text = format!("--{} has no effect here: rmcp does this itself\n", option.replace('_', "-"));
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
    #[cfg(feature = "auth-http")]
    let server = cli.tool_scopes().into_iter().fold(server, |server, (tool, scopes)| server.tool_scopes(tool, scopes));
    serve::serve(&cli, McpService::builder(server)).await
}
