//! The soak: puts a server under several kinds of load for a bounded time. It measures the calls of
//! other clients and the memory, and checks whether every answer is accounted for.

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

/// The size of a soak.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// The connections that call throughout.
    callers: usize,
    /// The number of concurrent streams, and of clients in the storm.
    streams: usize,
    /// The number of bodies that are sent slowly at the same time.
    bodies: usize,
    /// The number of sessions that stream more than they keep.
    chatty: usize,
    /// The number of clients with large answers.
    large: usize,
    /// The duration of each phase. The phases with streams take twice as long.
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

/// A phase in the report.
struct Phase {
    title: &'static str,
    noticed: Noticed,
    account: Account,
    /// The maximum of the anonymous memory, in bytes.
    memory: u64,
    /// The promised maximum, if there is one.
    ceiling: Option<u64>,
    /// Further remarks.
    remark: String,
}

impl Phase {
    /// Returns `true` if every message arrived once and was right, and the memory stayed within its
    /// bound.
    fn is_settled(&self) -> bool {
        let fits = self.ceiling.is_none_or(|ceiling| self.memory <= ceiling);
        self.account.is_settled() && self.noticed.account.is_settled() && fits
    }
}

/// Returns the bytes that the streams of `sessions` sessions keep by default. Each session keeps
/// `Streams::replay_bytes_per_session` and one answer that was not fetched, all together at most
/// `Streams::max_replay_bytes`.
fn kept(sessions: usize, answer: usize) -> u64 {
    const PER_SESSION: usize = 4 << 20;
    const IN_ALL: usize = 256 << 20;
    (sessions * (PER_SESSION + answer)).min(IN_ALL) as u64
}

/// The soak of one server.
struct Soak<'a> {
    process: &'a Process,
    callers: Callers,
    phases: Vec<Phase>,
}

/// Runs all phases against one server after another. Returns a report, and `true` if every answer
/// is accounted for.
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
        // The overhead of an event of a kilobyte is less than a quarter of it.
        soak.phase("chatty sessions", Some(kept(scale.chatty, 0) / 4 * 5), chatty).await?;
    }
    let large = async { Ok((phases::large_answers(address, scale.large, server.chats()).await?, String::new())) };
    // In addition each call holds a request and its parsed value, or an answer, and the part of it
    // that is being sent.
    let in_flight = (scale.large * phases::LARGE * 3) as u64;
    let most = server.chats().then(|| kept(scale.large, phases::LARGE) + in_flight);
    soak.phase("large answers", most, large).await?;
    // These streams reuse the memory of the first ones, unless something of those was left behind.
    soak.phase("the same streams again", None, streams()).await?;
    soak.phase("calls alone, afterwards", None, quiet(scale.phase)).await?;
    soak.callers.stop().await?;
    let under_way = soak.callers.noticed().account;
    soak.phases.last_mut().context("no phase")?.noticed.account.add(under_way);
    Ok(soak.phases)
}

/// Returns a histogram of nanoseconds up to a minute. Longer times count as a minute.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("good bounds")
}

fn back(times: &Histogram<u64>) -> String {
    let at = |quantile| times.value_at_quantile(quantile) as f64 / 1e6;
    format!("back in {:.0} ms (p50), {:.0} ms (p99), {:.0} ms (last)", at(0.5), at(0.99), at(1.0))
}

impl Soak<'_> {
    /// Runs a phase while the callers call, and watches the memory, which may grow by `growth`
    /// bytes.
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
                return Err(failed.err().unwrap_or_else(|| anyhow!("the watcher has ended")));
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
