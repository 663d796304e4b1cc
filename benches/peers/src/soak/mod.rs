//! Decides what a server must bear for a bounded time, and what is measured of it meanwhile: how
//! those who call notice it, what memory it takes, and whether every answer is accounted for.

mod account;
mod callers;
mod phases;

use std::cell::Cell;
use std::fmt::Write;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use hdrhistogram::Histogram;
use tokio::task::LocalSet;
use tokio::time::sleep;

use crate::process::{Process, Under};
use crate::servers::{Places, Server};
use account::Account;
use callers::{Callers, Noticed};

/// How much of everything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// Connections that call throughout.
    callers: usize,
    /// Streams at once, and clients of the storm.
    streams: usize,
    /// Bodies that trickle in at once.
    bodies: usize,
    /// How long each phase takes; the streams take twice as long.
    phase: Duration,
}

impl Scale {
    pub(crate) fn full() -> Self {
        Self { callers: 64, streams: 2_000, bodies: 500, phase: Duration::from_secs(10) }
    }

    pub(crate) fn quick() -> Self {
        Self { callers: 16, streams: 200, bodies: 50, phase: Duration::from_secs(2) }
    }
}

/// One phase, as it is reported.
struct Phase {
    title: &'static str,
    noticed: Noticed,
    account: Account,
    /// The most anonymous memory it had, in bytes.
    memory: u64,
    /// What else is to be said.
    remark: String,
}

/// Soaks one server.
struct Soak<'a> {
    process: &'a Process,
    callers: Callers,
    phases: Vec<Phase>,
}

/// Runs all phases against each server, one after another; a report, and whether all was accounted for.
pub(crate) async fn run(servers: &[&Server], places: &Places, scale: Scale) -> Result<(String, bool)> {
    let mut text = format!(
        "{} connections call throughout. Streams: {} at once, of which one half is not read until its tools have ended. Bodies: {} at once that \
         trickle in. Storm: {} calls are cut off in one moment and resumed in the next.\n\n",
        scale.callers, scale.streams, scale.bodies, scale.streams
    );
    let mut settled = true;
    for server in servers {
        let process = Process::start(&server.command(places), Under::Nothing)?;
        let phases = LocalSet::new().run_until(soak(&process, scale)).await?;
        process.stop()?;
        settled &= phases.iter().all(|phase| phase.account.is_settled() && phase.noticed.account.is_settled());
        write_table(&mut text, server, &phases)?;
    }
    Ok((text, settled))
}

async fn soak(process: &Process, scale: Scale) -> Result<Vec<Phase>> {
    let address = process.address;
    let callers = Callers::start(address, scale.callers).await?;
    let mut soak = Soak { process, callers, phases: Vec::new() };
    let quiet = |time| async move {
        sleep(time).await;
        Ok((Account::default(), String::new()))
    };
    soak.phase("calls alone", quiet(scale.phase)).await?;
    let streams = || async {
        let account = phases::streams(address, scale.streams, scale.phase * 2).await?;
        Ok((account, String::new()))
    };
    soak.phase("streams, half of them unread", streams()).await?;
    let bodies = async { Ok((phases::slow_bodies(address, scale.bodies, scale.phase).await?, String::new())) };
    soak.phase("slow bodies", bodies).await?;
    let storm = async {
        let storm = phases::storm(address, scale.streams, scale.phase).await?;
        Ok((storm.account, back(&storm.back)))
    };
    soak.phase("a storm of clients that come back", storm).await?;
    // What the first streams took serves these, unless something of them was left behind.
    soak.phase("the same streams again", streams()).await?;
    soak.phase("calls alone, afterwards", quiet(scale.phase)).await?;
    soak.callers.stop().await?;
    let under_way = soak.callers.noticed().account;
    soak.phases.last_mut().context("no phase")?.noticed.account.add(under_way);
    Ok(soak.phases)
}

/// Of nanoseconds, up to a minute; what takes longer counts as a minute.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("good bounds")
}

fn back(times: &Histogram<u64>) -> String {
    let at = |quantile| times.value_at_quantile(quantile) as f64 / 1e6;
    format!("back in {:.0} ms (p50), {:.0} ms (p99), {:.0} ms (last)", at(0.5), at(0.99), at(1.0))
}

impl Soak<'_> {
    /// Runs a phase while the callers call and the memory is watched.
    async fn phase(
        &mut self,
        title: &'static str,
        phase: impl Future<Output = Result<(Account, String)>>,
    ) -> Result<()> {
        let most = Rc::new(Cell::new(0));
        let watched = async {
            loop {
                most.set(most.get().max(self.process.memory()?));
                sleep(Duration::from_millis(100)).await;
            }
        };
        let (account, remark) = tokio::select! {
            done = phase => done?,
            failed = watched => {
                let failed: Result<()> = failed;
                return Err(failed.err().unwrap_or_else(|| anyhow!("nobody watches")));
            }
        };
        let noticed = self.callers.noticed();
        eprintln!("{title}: {:.0} calls/s, {account}; {}; {remark}", noticed.rate, noticed.account);
        self.phases.push(Phase { title, noticed, account, memory: most.get(), remark });
        Ok(())
    }
}

fn write_table(text: &mut String, server: &Server, phases: &[Phase]) -> std::fmt::Result {
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    writeln!(text, "## {}\n", server.title())?;
    writeln!(text, "| phase | calls/s | p50 | p99 | slowest | calls | streams, bodies, clients | most memory | |")?;
    writeln!(text, "|---|---:|---:|---:|---:|---|---|---:|---|")?;
    for Phase { title, noticed, account, memory, remark } in phases {
        writeln!(
            text,
            "| {title} | {:.0} | {:.2} ms | {:.2} ms | {:.0} ms | {} | {account} | {:.1} MiB | {remark} |",
            noticed.rate,
            millis(noticed.p50),
            millis(noticed.p99),
            millis(noticed.slowest),
            noticed.account,
            *memory as f64 / f64::from(1 << 20),
        )?;
    }
    writeln!(text)
}
