//! Decides how it is seen what everybody else notices: connections that call without a pause through
//! all phases, and check every answer.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use super::account::Account;
use super::histogram;
use crate::client::Client;
use crate::modes::CALL;

/// Connections that call through all phases.
#[derive(Default)]
pub(super) struct Callers {
    tasks: JoinSet<()>,
    seen: Rc<RefCell<Option<Seen>>>,
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
        let mut callers = Self::default();
        callers.seen.replace(Some(Seen::new()));
        for number in 0..count {
            let mut client = CALL.client(address).await?;
            let seen = Rc::clone(&callers.seen);
            callers.tasks.spawn_local(async move {
                // No two calls have the same text.
                let mut call = number as u64;
                while keep_calling(&mut client, call, &seen).await {
                    call += count as u64;
                }
            });
        }
        Ok(callers)
    }

    /// What they saw since they were last asked.
    pub(super) fn noticed(&self) -> Noticed {
        let seen = self.seen.replace(Some(Seen::new())).unwrap_or_else(Seen::new);
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
    pub(super) async fn stop(mut self) {
        self.seen.replace(None);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Makes one call and writes down what came of it; whether there is to be another.
async fn keep_calling(client: &mut Client, call: u64, seen: &RefCell<Option<Seen>>) -> bool {
    let begin = Instant::now();
    let done = CALL.perform(client, &mut String::new(), call).await;
    let took = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let mut seen = seen.borrow_mut();
    let Some(seen) = seen.as_mut() else { return false };
    seen.times.saturating_record(took);
    match done {
        Ok(_) => {
            seen.account.right(1);
            true
        }
        // It cannot know what comes next on its connection.
        Err(why) => {
            seen.account.wrong(&format!("a call: {why:#}"));
            false
        }
    }
}
