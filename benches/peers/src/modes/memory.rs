//! Memory of a session and of a stream, and memory that ended sessions leave behind. Each figure is
//! the growth of the server's anonymous memory, divided by the number of sessions or streams.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{CALL, Sample, Scale, sample};
use crate::client::{Client, Era};
use crate::operation::Operation;
use crate::process::{Process, Under};
use crate::servers::{Places, Server};

/// The connections that open and end sessions.
const OPENERS: usize = 8;
/// The sessions that are opened and ended first, so that lasting structures have grown to their
/// size.
const FIRST: usize = 500;
/// The time the server has for work after its last answer.
const SETTLED: Duration = Duration::from_millis(300);
/// The divisor of the number of streams for interpreted servers. They would close connections that
/// are idle while all the others are opened.
const FEWER: usize = 8;
/// The number of streams that are opened concurrently.
const GROUP: usize = 100;

pub(super) async fn sessions(server: &Server, places: &Places, scale: &Scale) -> Result<Sample> {
    let process = Process::start(&server.command(places), Under::Nothing)?;
    come_and_go(process.address, FIRST, Instant::now() + scale.opened_within).await?;
    let before = settled(&process).await?;
    let begin = Instant::now();
    let opened = open(process.address, scale.sessions, scale.opened_within).await?;
    let took = begin.elapsed();
    let after = settled(&process).await?;
    process.stop()?;
    let each = growth(before, after, opened);
    Ok(sample([("bytes", each), ("opened", opened as f64), ("seconds", took.as_secs_f64())]))
}

pub(super) async fn streams(server: &Server, places: &Places, scale: &Scale) -> Result<Sample> {
    let process = Process::start(&server.command(places), Under::Nothing)?;
    let mut first = Client::ready(process.address, Era::Legacy).await?;
    ensure!(first.session.is_some(), "it gives out no session to listen in");
    first.listen(None).await?;
    drop(first);

    let before = settled(&process).await?;
    let wanted = if server.is_native() { scale.streams } else { scale.streams / FEWER };
    let mut clients = Vec::with_capacity(wanted);
    while clients.len() < wanted {
        let mut group = JoinSet::new();
        for _ in clients.len()..wanted.min(clients.len() + GROUP) {
            group.spawn(Client::ready(process.address, Era::Legacy));
        }
        while let Some(client) = group.join_next().await {
            clients.push(client??);
        }
    }
    let idle = settled(&process).await?;
    for client in &mut clients {
        client.listen(None).await?;
    }
    let listening = settled(&process).await?;
    let count = clients.len();
    drop(clients);
    process.stop()?;
    Ok(sample([
        ("connection", growth(before, idle, count)),
        ("bytes", growth(idle, listening, count)),
        ("opened", count as f64),
    ]))
}

/// Measures what ended sessions leave behind: the memory after a twelfth of them, and after all.
pub(super) async fn churn(server: &Server, places: &Places, scale: &Scale) -> Result<Sample> {
    let process = Process::start(&server.command(places), Under::Nothing)?;
    let within = |share| Instant::now() + scale.opened_within / share;
    let first = come_and_go(process.address, scale.churn / 12, within(6)).await?;
    let early = settled(&process).await?;
    let rest = come_and_go(process.address, scale.churn - scale.churn / 12, within(1)).await?;
    let late = settled(&process).await?;
    process.stop()?;
    Ok(sample([
        ("ended", (first + rest) as f64),
        ("early", early as f64),
        ("late", late as f64),
        ("bytes", growth(early, late, rest)),
    ]))
}

/// Opens and ends sessions on a few connections until `wanted` have ended or the time is over.
/// Returns the number of sessions.
async fn come_and_go(address: SocketAddr, wanted: usize, until: Instant) -> Result<usize> {
    let mut loops = JoinSet::new();
    for n in 0..OPENERS {
        let share = wanted / OPENERS + usize::from(n < wanted % OPENERS);
        loops.spawn(async move {
            let mut client = Client::connect(address, Era::Legacy).await?;
            let mut ended = 0;
            while ended < share && Instant::now() < until {
                Operation::Cycle.perform(&mut client, &mut String::new(), 0).await?;
                ended += 1;
            }
            anyhow::Ok(ended)
        });
    }
    let mut ended = 0;
    while let Some(done) = loops.join_next().await {
        ended += done??;
    }
    ensure!(ended > 0, "no session came and went in time");
    Ok(ended)
}

/// Opens sessions until there are `wanted` or the time is over, and closes their connections.
/// Returns the number of sessions.
///
/// # Errors
///
/// If the first session no longer exists at the end, because then fewer sessions exist than were
/// opened.
pub(super) async fn open(address: SocketAddr, wanted: usize, within: Duration) -> Result<usize> {
    let until = Instant::now() + within;
    let mut openers = JoinSet::new();
    for n in 0..OPENERS {
        let share = wanted / OPENERS + usize::from(n < wanted % OPENERS);
        openers.spawn(open_share(address, share, until));
    }
    let mut opened = 0;
    let mut firsts = Vec::new();
    while let Some(done) = openers.join_next().await {
        let (share, first) = done??;
        opened += share;
        firsts.push(first);
    }
    for first in firsts {
        let mut client = Client::in_session(address, first).await?;
        let called = CALL.perform(&mut client, &mut String::new(), 0).await;
        called.with_context(|| format!("the first of {opened} sessions is gone"))?;
    }
    Ok(opened)
}

/// Opens sessions on one connection. Returns their number, and the id of the first.
async fn open_share(address: SocketAddr, share: usize, until: Instant) -> Result<(usize, String)> {
    let mut client = Client::connect(address, Era::Legacy).await?;
    let (mut opened, mut first) = (0, None);
    while opened < share && Instant::now() < until {
        client.open().await?;
        let session = client.session.as_ref().context("it gives out no session")?;
        first.get_or_insert_with(|| session.clone());
        opened += 1;
    }
    Ok((opened, first.context("no session was opened in time")?))
}

async fn settled(process: &Process) -> Result<u64> {
    sleep(SETTLED).await;
    process.memory().context("its memory")
}

fn growth(before: u64, after: u64, count: usize) -> f64 {
    (after as f64 - before as f64) / count as f64
}
