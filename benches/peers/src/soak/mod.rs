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
    /// Sessions that stream more than they keep.
    chatty: usize,
    /// Clients with large answers.
    large: usize,
    /// How long each phase takes; the streams take twice as long.
    phase: Duration,
}

impl Scale {
    pub(crate) fn full() -> Self {
        Self { callers: 64, streams: 2_000, bodies: 500, chatty: 100, large: 24, phase: Duration::from_secs(10) }
    }

    pub(crate) fn quick() -> Self {
        Self { callers: 16, streams: 200, bodies: 50, chatty: 10, large: 4, phase: Duration::from_secs(2) }
    }
}

/// One phase, as it is reported.
struct Phase {
    title: &'static str,
    noticed: Noticed,
    account: Account,
    /// The most anonymous memory it had, in bytes.
    memory: u64,
    /// What it may have had, where that is promised.
    ceiling: Option<u64>,
    /// What else is to be said.
    remark: String,
}

impl Phase {
    /// Everything came, once and right, and no more memory was taken than is promised.
    fn is_settled(&self) -> bool {
        let fits = self.ceiling.is_none_or(|ceiling| self.memory <= ceiling);
        self.account.is_settled() && self.noticed.account.is_settled() && fits
    }
}

/// What the streams of so many sessions keep by default: `Streams::kept_per_session` and one answer that was not fetched,
/// for each, and at most `Streams::kept_in_all`.
fn kept(sessions: usize, answer: usize) -> u64 {
    const PER_SESSION: usize = 4 << 20;
    const IN_ALL: usize = 256 << 20;
    (sessions * (PER_SESSION + answer)).min(IN_ALL) as u64
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
         trickle in. Storm: {} calls are cut off in one moment and resumed in the next. \
         Chatty: {} sessions, in each six calls of {} messages of 1 KiB, then ten of three. Large: {} clients, with four \
         answers of {} bytes each, two of them after a notification.\n\n",
        scale.callers,
        scale.streams,
        scale.bodies,
        scale.streams,
        scale.chatty,
        phases::CHATTY.1,
        scale.large,
        phases::LARGE
    );
    let mut settled = true;
    for server in servers {
        let process = Process::start(&server.command(places), Under::Nothing)?;
        let phases = LocalSet::new().run_until(soak(&process, scale, server)).await?;
        process.stop()?;
        settled &= phases.iter().all(Phase::is_settled);
        write_table(&mut text, server, &phases)?;
    }
    Ok((text, settled))
}

async fn soak(process: &Process, scale: Scale, server: &Server) -> Result<Vec<Phase>> {
    let address = process.address;
    let callers = Callers::start(address, scale.callers).await?;
    let mut soak = Soak { process, callers, phases: Vec::new() };
    let quiet = |time| async move {
        sleep(time).await;
        Ok((Account::default(), String::new()))
    };
    soak.phase("calls alone", None, quiet(scale.phase)).await?;
    let streams = || async {
        let account = phases::streams(address, scale.streams, scale.phase * 2).await?;
        Ok((account, String::new()))
    };
    soak.phase("streams, half of them unread", None, streams()).await?;
    let bodies = async { Ok((phases::slow_bodies(address, scale.bodies, scale.phase).await?, String::new())) };
    soak.phase("slow bodies", None, bodies).await?;
    let storm = async {
        let storm = phases::storm(address, scale.streams, scale.phase).await?;
        Ok((storm.account, back(&storm.back)))
    };
    soak.phase("a storm of clients that come back", None, storm).await?;
    if server.chats() {
        let chatty = async { Ok((phases::chatty(address, scale.chatty).await?, String::new())) };
        // What is around an event of a kilobyte is less than a quarter of it.
        soak.phase("chatty sessions", Some(kept(scale.chatty, 0) / 4 * 5), chatty).await?;
    }
    let large = async { Ok((phases::large_answers(address, scale.large, server.chats()).await?, String::new())) };
    // Beside what is kept, each call has a request and a value of it, or an answer, and what is being sent of it.
    let in_flight = (scale.large * phases::LARGE * 3) as u64;
    let most = server.chats().then(|| kept(scale.large, phases::LARGE) + in_flight);
    soak.phase("large answers", most, large).await?;
    // What the first streams took serves these, unless something of them was left behind.
    soak.phase("the same streams again", None, streams()).await?;
    soak.phase("calls alone, afterwards", None, quiet(scale.phase)).await?;
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
    /// Runs a phase while the callers call and the memory is watched, which may grow by so many bytes.
    async fn phase(
        &mut self,
        title: &'static str,
        growth: Option<u64>,
        phase: impl Future<Output = Result<(Account, String)>>,
    ) -> Result<()> {
        let before = self.process.memory()?;
        let ceiling = growth.map(|growth| before + growth);
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
        self.phases.push(Phase { title, noticed, account, memory: most.get(), ceiling, remark });
        Ok(())
    }
}

fn write_table(text: &mut String, server: &Server, phases: &[Phase]) -> std::fmt::Result {
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    writeln!(text, "## {}\n", server.title())?;
    writeln!(
        text,
        "| phase | calls/s | p50 | p99 | slowest | calls | streams, bodies, clients | most memory | of at most | |"
    )?;
    writeln!(text, "|---|---:|---:|---:|---:|---|---|---:|---:|---|")?;
    let mebibytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    for Phase { title, noticed, account, memory, ceiling, remark } in phases {
        writeln!(
            text,
            "| {title} | {:.0} | {:.2} ms | {:.2} ms | {:.0} ms | {} | {account} | {} | {} | {remark} |",
            noticed.rate,
            millis(noticed.p50),
            millis(noticed.p99),
            millis(noticed.slowest),
            noticed.account,
            mebibytes(*memory),
            ceiling.map(mebibytes).unwrap_or_default(),
        )?;
    }
    writeln!(text)
}
