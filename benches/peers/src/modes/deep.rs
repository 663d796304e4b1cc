//! Counts that do not depend on the machine. Each is the difference of two runs, so that the start
//! and the end of the server do not count.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use tokio::task::JoinSet;

use super::{Sample, sample};
use crate::operation::Operation;
use crate::process::{Process, Under};
use crate::servers::{Kind, Places, Server};

/// The number of operations in the two runs. Servers that need seconds for each under valgrind run
/// fewer.
const FEW: u64 = 100;
const MANY: u64 = 600;
const FEW_SLOW: u64 = 20;
const MANY_SLOW: u64 = 60;
/// How many calls take as long as one burst.
const BURSTS: u64 = 4;
/// The number of connections, so that the server finds several of them ready, as under load.
const CONNECTIONS: u64 = 32;
/// The number of operations in the two runs on each connection.
const FEW_EACH: u64 = 5;
const MANY_EACH: u64 = 45;

pub(super) async fn instructions(operation: Operation, server: &Server, places: &Places) -> Result<Sample> {
    if matches!(server.kind, Kind::TypeScript(_)) {
        bail!("what a just-in-time compiler makes does not run under callgrind");
    }
    let (few, many) = if server.is_native() { (FEW, MANY) } else { (FEW_SLOW, MANY_SLOW) };
    let less = if matches!(operation, Operation::Burst { .. }) { BURSTS } else { 1 };
    let (few, many) = (few / less, many / less);
    let low = callgrind(operation, server, places, few).await?;
    let high = callgrind(operation, server, places, many).await?;
    Ok(sample([("count", (high as f64 - low as f64) / (many - few) as f64)]))
}

async fn callgrind(operation: Operation, server: &Server, places: &Places, times: u64) -> Result<u64> {
    let log = scratch("callgrind");
    let process = Process::start(&server.command(places), Under::Callgrind(&log))?;
    repeat(operation, process.address, times).await?;
    process.stop()?;
    let text = fs::read_to_string(&log).context("callgrind wrote nothing")?;
    drop(fs::remove_file(&log));
    let line = text.lines().find_map(|line| line.split_once("Collected : ")).context("callgrind collected nothing")?;
    Ok(line.1.trim().parse()?)
}

pub(super) async fn syscalls(operation: Operation, server: &Server, places: &Places) -> Result<Sample> {
    let low = strace(operation, server, places, FEW_EACH).await?;
    let high = strace(operation, server, places, MANY_EACH).await?;
    let operations = (MANY_EACH - FEW_EACH) * CONNECTIONS;
    Ok(sample([("count", (high as f64 - low as f64) / operations as f64)]))
}

async fn strace(operation: Operation, server: &Server, places: &Places, each: u64) -> Result<u64> {
    let table = scratch("strace");
    let process = Process::start(&server.command(places), Under::Strace(&table))?;
    let address = process.address;
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        connections.spawn(repeat(operation, address, each));
    }
    while let Some(done) = connections.join_next().await {
        done??;
    }
    process.stop()?;
    let text = fs::read_to_string(&table).context("strace wrote nothing")?;
    drop(fs::remove_file(&table));
    let total = text.lines().rev().find(|line| line.ends_with(" total")).context("strace counted nothing")?;
    Ok(total.split_whitespace().nth(3).context("not strace's table")?.parse()?)
}

pub(super) async fn allocations(operation: Operation, server: &Server, places: &Places) -> Result<Sample> {
    let Some(command) = server.counted(places) else {
        bail!("an interpreter manages its objects by itself");
    };
    let mut process = Process::start(&command, Under::Nothing)?;
    let times = MANY - FEW;
    let mut client = operation.client(process.address).await?;
    let mut text = String::new();
    // Let maps and buffers grow to their size first.
    for n in 0..times {
        operation.perform(&mut client, &mut text, n).await?;
    }
    let before = process.allocations()?;
    for n in 0..times {
        operation.perform(&mut client, &mut text, n).await?;
    }
    let after = process.allocations()?;
    process.stop()?;
    let each = |before: u64, after: u64| (after - before) as f64 / times as f64;
    Ok(sample([("count", each(before.0, after.0)), ("bytes", each(before.1, after.1))]))
}

/// Runs the operation `times` times on one connection.
async fn repeat(operation: Operation, address: SocketAddr, times: u64) -> Result<()> {
    let mut client = operation.client(address).await?;
    let mut text = String::new();
    for n in 0..times {
        operation.perform(&mut client, &mut text, n).await?;
    }
    Ok(())
}

/// Returns the path of a file for a tool's output.
fn scratch(tool: &str) -> PathBuf {
    std::env::temp_dir().join(format!("mcp-http-peers-{}-{tool}", std::process::id()))
}
