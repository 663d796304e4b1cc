//! The command line of the benchmark. `README.md` explains the results.

mod client;
mod cut_off;
mod message;
mod modes;
mod operation;
mod process;
mod report;
mod results;
mod servers;
mod soak;
mod wire;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

use modes::{MODES, Mode, Scale};
use report::Machine;
use results::Results;
use servers::{Places, SERVERS, Server};

/// Runs servers of the Model Context Protocol side by side and measures them.
#[derive(Debug, Parser)]
struct Arguments {
    /// A short run, which shows that everything works.
    #[arg(long)]
    quick: bool,
    /// Measures only these servers, and the floors. `--list` prints their names.
    #[arg(long = "server", value_name = "NAME")]
    servers: Vec<String>,
    /// Measures only these modes. `--list` prints their names. A name that ends with `*` selects
    /// all modes that begin with it.
    #[arg(long = "mode", value_name = "NAME")]
    modes: Vec<String>,
    /// How often each mode is timed.
    #[arg(long)]
    repetitions: Option<usize>,
    /// Keeps the results in the folder, and measures those that are missing.
    #[arg(long)]
    resume: bool,
    /// Measures the selected servers and modes even if the folder has their results. Keeps the
    /// other results.
    #[arg(long)]
    again: bool,
    /// Runs the soak instead, of this crate or of the selected servers.
    #[arg(long)]
    soak: bool,
    /// Prints the servers and the modes.
    #[arg(long)]
    list: bool,
    /// The folder with the servers' binaries.
    #[arg(long, default_value = "target/servers")]
    binaries: PathBuf,
    /// The folder that `tests/install` installed into.
    #[arg(long, default_value = "../../tests/.env")]
    installed: PathBuf,
    /// The folder with the servers in other languages.
    #[arg(long, default_value = "foreign")]
    foreign: PathBuf,
    /// The folder for the results. The default is `results` for a complete run, and
    /// `target/partial` otherwise.
    #[arg(long)]
    results: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.list {
        println!("servers: {}", SERVERS.iter().map(|server| server.name).collect::<Vec<_>>().join(" "));
        println!("modes: {}", MODES.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(" "));
        return Ok(());
    }
    let whole = !arguments.quick && arguments.servers.is_empty() && arguments.modes.is_empty();
    let folder = arguments.results.unwrap_or_else(|| if whole { "results" } else { "target/partial" }.into());
    let mut scale = if arguments.quick { Scale::quick() } else { Scale::full() };
    scale.repetitions = arguments.repetitions.unwrap_or(scale.repetitions).max(1);
    let places = Places { binaries: arguments.binaries, installed: arguments.installed, foreign: arguments.foreign };
    let machine = Machine::look();
    prepare()?;
    if arguments.soak {
        let scale = if arguments.quick { soak::Scale::quick() } else { soak::Scale::full() };
        return run_soak(&arguments.servers, &places, scale, &machine, &folder).await;
    }
    let modes = chosen_modes(&arguments.modes)?;
    let servers = chosen_servers(&arguments.servers)?;
    let mut results = Results::default();
    if arguments.resume || arguments.again {
        results = Results::load(&folder.join("samples.json"), machine.revision())?;
    }
    for (name, mode) in modes {
        let missing = if arguments.again { servers.clone() } else { missing(&results, name, mode, &servers) };
        results.forget(|mode, server| mode == name && missing.iter().any(|missing| missing.name == server));
        compare(&mut results, name, mode, &missing, &places, &scale).await;
        // Saved after each mode, so that an interrupted run loses nothing.
        report::write(&folder, &results, &machine, &scale)?;
    }
    println!("{}", folder.join("table.md").display());
    Ok(())
}

/// Returns the servers that a mode has still to run with. A timed server is compared with those
/// that ran in turn with it, so a timed mode runs with all servers or with none.
fn missing(results: &Results, name: &str, mode: Mode, servers: &[&'static Server]) -> Vec<&'static Server> {
    let missing = |server: &&Server| !results.has(name, server.name);
    if mode.counts() {
        return servers.iter().copied().filter(missing).collect();
    }
    if servers.iter().any(missing) { servers.to_vec() } else { Vec::new() }
}

async fn run_soak(
    names: &[String],
    places: &Places,
    scale: soak::Scale,
    machine: &Machine,
    folder: &Path,
) -> Result<()> {
    let names = if names.is_empty() { &["mcp-http".to_owned()] } else { names };
    let servers = names.iter().map(|name| Server::find(name).with_context(|| format!("no such server: {name}")));
    let (text, settled) = soak::run(&servers.collect::<Result<Vec<_>>>()?, places, scale).await?;
    report::write_soak(folder, &text, machine)?;
    print!("{text}");
    ensure!(settled, "not everything is accounted for");
    Ok(())
}

/// Pins the load generator to one processor and raises the limit of open files to the maximum.
fn prepare() -> Result<()> {
    let mut own = CpuSet::new();
    own.set(process::LOAD_CPU)?;
    sched_setaffinity(Pid::from_raw(0), &own).context("at least two processors are needed")?;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    Ok(())
}

type NamedMode = (&'static str, Mode);

fn chosen_modes(names: &[String]) -> Result<Vec<NamedMode>> {
    let all = MODES.iter().map(|(name, mode, _)| (*name, *mode));
    if names.is_empty() {
        return Ok(all.collect());
    }
    let matches = |wanted: &str, name: &str| match wanted.strip_suffix('*') {
        Some(front) => name.starts_with(front),
        None => name == wanted,
    };
    if let Some(unknown) = names.iter().find(|wanted| !MODES.iter().any(|(name, ..)| matches(wanted, name))) {
        bail!("no such mode: {unknown}");
    }
    Ok(all.filter(|(name, _)| names.iter().any(|wanted| matches(wanted, name))).collect())
}

fn chosen_servers(names: &[String]) -> Result<Vec<&'static Server>> {
    if let Some(unknown) = names.iter().find(|name| Server::find(name).is_none()) {
        bail!("no such server: {unknown}");
    }
    let chosen =
        |server: &&Server| names.is_empty() || server.is_floor() || names.iter().any(|name| name == server.name);
    Ok(SERVERS.iter().filter(chosen).collect())
}

/// Runs all repetitions of a mode with every server, each repetition beginning with another server.
async fn compare(
    results: &mut Results,
    name: &'static str,
    mode: Mode,
    servers: &[&Server],
    places: &Places,
    scale: &Scale,
) {
    for repetition in 0..scale.repetitions {
        for turn in 0..servers.len() {
            let server = servers[(turn + repetition) % servers.len()];
            if repetition >= mode.repetitions(server, scale) || results.refusal(name, server.name).is_some() {
                continue;
            }
            let outcome = mode.run(server, places, scale).await.map_err(|why| format!("{why:#}"));
            match &outcome {
                Ok(sample) => eprintln!("{name} {}: {sample:.1?}", server.name),
                Err(why) => eprintln!("{name} {}: no: {why}", server.name),
            }
            results.add(name, server.name, outcome);
        }
    }
}
