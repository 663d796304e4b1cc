//! Decides how it is seen what everybody else notices: connections that call without a pause through
//! all phases, and check every answer.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use super::account::Account;
use super::histogram;
use crate::client::Client;
use crate::modes::CALL;

/// Connections that call through all phases.
pub(super) struct Callers {
    tasks: JoinSet<Result<()>>,
    shared: Rc<Shared>,
}

struct Shared {
    going: Cell<bool>,
    seen: RefCell<Seen>,
}

/// What callers saw since it was last asked.
struct Seen {
    since: Instant,
    times: Histogram<u64>,
    account: Account,
}

impl Seen {
    fn new() -> Self {
        Self { since: Instant::now(), times: histogram(), account: Account::default() }
    }
}

/// What callers saw during a phase.
pub(super) struct Noticed {
    pub(super) rate: f64,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) slowest: Duration,
    pub(super) account: Account,
}

impl Callers {
    /// Starts so many, on the local set that runs now.
    pub(super) async fn start(address: SocketAddr, count: usize) -> Result<Self> {
        let shared = Rc::new(Shared { going: Cell::new(true), seen: RefCell::new(Seen::new()) });
        let mut tasks = JoinSet::new();
        for number in 0..count {
            let client = CALL.client(address).await?;
            // No two calls have the same text.
            let texts = (number as u64..).step_by(count);
            tasks.spawn_local(keep_calling(client, texts, Rc::clone(&shared)));
        }
        Ok(Self { tasks, shared })
    }

    /// What they saw since they were last asked.
    pub(super) fn noticed(&self) -> Noticed {
        let seen = self.shared.seen.replace(Seen::new());
        let at = |quantile| Duration::from_nanos(seen.times.value_at_quantile(quantile));
        Noticed {
            rate: seen.times.len() as f64 / seen.since.elapsed().as_secs_f64(),
            p50: at(0.5),
            p99: at(0.99),
            slowest: at(1.0),
            account: seen.account,
        }
    }

    /// Lets each finish the call it is in.
    ///
    /// # Errors
    /// When one of them ended before: nobody knows then what it would have seen.
    pub(super) async fn stop(&mut self) -> Result<()> {
        self.shared.going.set(false);
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(())
    }
}

/// Calls until it is to stop. A call counts as asked for when its end is known, so that a phase has the
/// calls that ended in it; one that is under way at the end is waited for.
async fn keep_calling(mut client: Client, mut texts: impl Iterator<Item = u64>, shared: Rc<Shared>) -> Result<()> {
    while shared.going.get() {
        let text = texts.next().context("no more texts")?;
        let begin = Instant::now();
        let done = CALL.perform(&mut client, &mut String::new(), text).await;
        let took = u64::try_from(begin.elapsed().as_nanos())?;
        let failed = {
            let mut seen = shared.seen.borrow_mut();
            seen.times.saturating_record(took);
            seen.account.asked += 1;
            match &done {
                Ok(_) => seen.account.right += 1,
                Err(why) => seen.account.wrong(&format!("a call: {why:#}")),
            }
            done.is_err()
        };
        if failed {
            // It cannot know what comes next on its connection.
            client = CALL.client(client.address).await?;
        }
    }
    Ok(())
}
