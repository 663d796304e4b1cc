//! Operations: what a loop repeats, and what must be true of each result.

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::{Instant, sleep};

use crate::client::{BURST, Client, Era, Tool};
use crate::cut_off::{CutOff, Tally};
use crate::wire::Connection;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// A call of `echo` with a text of this many bytes.
    Echo { era: Era, bytes: usize },
    /// A call of `burst`.
    Burst { era: Era },
    /// `initialize`, `notifications/initialized`, DELETE.
    Cycle,
    /// A call of `slow` that is cut off and resumed, either at once or after the tool has ended.
    Resume { late: bool },
}

impl Operation {
    pub(crate) fn era(self) -> Era {
        match self {
            Self::Echo { era, .. } | Self::Burst { era } => era,
            Self::Cycle | Self::Resume { .. } => Era::Legacy,
        }
    }

    /// Returns a client that can run the operation.
    pub(crate) async fn client(self, address: std::net::SocketAddr) -> Result<Client> {
        match self {
            Self::Cycle => Client::connect(address, Era::Legacy).await,
            _ => Client::ready(address, self.era()).await,
        }
    }

    /// Runs the operation once. `text` is a reusable buffer, and `n` a number that no other call
    /// has.
    ///
    /// # Errors
    ///
    /// If an answer is not the expected one.
    pub(crate) async fn perform(self, client: &mut Client, text: &mut String, n: u64) -> Result<Tally> {
        match self {
            Self::Echo { bytes, .. } => {
                text.clear();
                write!(text, "{n:016}")?;
                text.extend(std::iter::repeat_n('x', bytes.saturating_sub(16)));
                client.call(Tool::Echo(text)).await?;
            }
            Self::Burst { .. } => {
                let received = client.call(Tool::Burst).await?;
                let steps = received.steps.len();
                ensure!(
                    received.steps.iter().copied().eq(1..=BURST),
                    "{steps} of {BURST} steps came on the call's stream"
                );
            }
            Self::Cycle => {
                client.open().await?;
                ensure!(client.session.is_some(), "it gives out no session");
                client.delete().await?;
            }
            Self::Resume { late } => return resume(client, late).await,
        }
        Ok(Tally::default())
    }
}

/// The call that is cut off: its steps, the pause before each, and the number of steps before the
/// cut.
const STEPS: u32 = 12;
const MILLIS: u64 = 2;
const CUT_AFTER: usize = 3;
/// The time after its last pause by which the tool has ended.
const SURELY_OVER: Duration = Duration::from_millis(100);
/// How long a client that resumed waits for the remaining messages.
const REST_WITHIN: Duration = Duration::from_secs(1);

async fn resume(client: &mut Client, late: bool) -> Result<Tally> {
    let mut cut = CutOff::begin(client, STEPS, MILLIS, CUT_AFTER).await?;
    client.connection = Connection::open(client.address).await?;
    if late {
        sleep(Duration::from_millis(MILLIS) * STEPS + SURELY_OVER).await;
    }
    let rest = cut.come_back(client, Instant::now() + REST_WITHIN).await;
    client.connection = Connection::open(client.address).await?;
    if rest.is_err() {
        // All remaining messages count as lost, and the session as well.
        client.open().await?;
    }
    Ok(cut.tally())
}
