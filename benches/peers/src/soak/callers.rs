//! Callers: connections that call without a pause through all phases and check every answer. They
//! show what other clients notice of a phase.

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

/// The connections that call through all phases.
pub(super) struct Callers {
    tasks: JoinSet<Result<()>>,
    shared: Rc<Shared>,
}

struct Shared {
    going: Cell<bool>,
    seen: RefCell<Seen>,
}

/// What the callers measured since the last report.
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

/// What the callers measured during a phase.
pub(super) struct Noticed {
    pub(super) rate: f64,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) slowest: Duration,
    pub(super) account: Account,
}

impl Callers {
    /// Starts `count` callers on the current local set.
    pub(super) async fn start(address: SocketAddr, count: usize) -> Result<Self> {
        let shared = Rc::new(Shared { going: Cell::new(true), seen: RefCell::new(Seen::new()) });
        let mut tasks = JoinSet::new();
        for number in 0..count {
            let client = CALL.client(address).await?;
            // Each call has its own text.
            let texts = (number as u64..).step_by(count);
            tasks.spawn_local(keep_calling(client, texts, Rc::clone(&shared)));
        }
        Ok(Self { tasks, shared })
    }

    /// Returns what they measured since the last report.
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

    /// Stops the callers after their current calls.
    ///
    /// # Errors
    ///
    /// If a caller ended before, because what it would have measured is then unknown.
    pub(super) async fn stop(&mut self) -> Result<()> {
        self.shared.going.set(false);
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(())
    }
}

/// Calls until it is stopped. A call is counted when it ends, so that it belongs to the phase in
/// which it ended. The last call is waited for.
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
            // After an error the state of the connection is unknown.
            client = CALL.client(client.address).await?;
        }
    }
    Ok(())
}
