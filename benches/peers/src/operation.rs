//! Decides what is done again and again, and what must be true of it each time.

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::{Instant, sleep, timeout_at};

use crate::client::{BURST, Client, Era, Tool};
use crate::message::Received;
use crate::wire::{Connection, Events, Head, Media};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// A call of `echo` with a text of so many bytes.
    Echo { era: Era, bytes: usize },
    /// A call of `burst`.
    Burst { era: Era },
    /// `initialize`, `notifications/initialized`, DELETE.
    Cycle,
    /// A call of `slow` that is cut off and resumed: at once, or when the tool has ended.
    Resume { late: bool },
}

/// The call that is cut off: so many steps with such a pause before each, cut off after three.
const STEPS: u32 = 12;
const PAUSE: Duration = Duration::from_millis(2);
const CUT_AFTER: usize = 3;
/// How long after the cut the tool has surely ended.
const SURELY_OVER: Duration = Duration::from_millis(100);
/// How long a client that came back waits for the rest.
const REST_WITHIN: Duration = Duration::from_secs(1);

/// What was found besides that it went well.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
}

impl Operation {
    pub(crate) fn era(self) -> Era {
        match self {
            Self::Echo { era, .. } | Self::Burst { era } => era,
            Self::Cycle | Self::Resume { .. } => Era::Legacy,
        }
    }

    /// A client that can do it.
    pub(crate) async fn client(self, address: std::net::SocketAddr) -> Result<Client> {
        match self {
            Self::Cycle => Client::connect(address, Era::Legacy).await,
            _ => Client::ready(address, self.era()).await,
        }
    }

    /// Does it once. `text` is room that is used again, `n` a number that no other call has.
    ///
    /// # Errors
    /// When an answer is not the one that it must be.
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

async fn resume(client: &mut Client, late: bool) -> Result<Tally> {
    let tool = Tool::Slow { steps: STEPS, millis: u64::try_from(PAUSE.as_millis())? };
    let mut head = client.start(tool).await?;
    ensure!(head.status == 200, "HTTP {}", head.status);
    ensure!(head.media == Media::Events, "it does not stream what a call sends");
    let expected = client.expected(tool);
    let (mut received, mut events) = (Received::default(), Events::default());
    while received.steps.len() < CUT_AFTER {
        let piece = client.within(&mut head).await?;
        let piece =
            piece.with_context(|| format!("{} of {STEPS} steps came on the call's stream", received.steps.len()))?;
        events.push(&piece, |data| received.take(data, expected))?;
    }
    let last = events.last_id().context("its events have no ids to come back with")?.to_owned();
    client.connection = Connection::open(client.address).await?;
    if late {
        sleep(PAUSE * STEPS + SURELY_OVER).await;
    }

    let mut events = Events::default();
    let until = Instant::now() + REST_WITHIN;
    match client.listen(Some(&last)).await {
        Ok(mut head) => {
            while received.results == 0
                && let Some(piece) = next(client, &mut head, until).await
            {
                events.push(&piece, |data| received.take(data, expected))?;
            }
            client.connection = Connection::open(client.address).await?;
        }
        // It is as if all of the rest were lost, and the session with it.
        Err(_) => {
            client.connection = Connection::open(client.address).await?;
            client.open().await?;
        }
    }
    Ok(count(&received))
}

/// The next piece, unless the stream ends or is silent for too long.
async fn next(client: &mut Client, head: &mut Head, until: Instant) -> Option<bytes::Bytes> {
    timeout_at(until, client.connection.piece(head)).await.ok()?.ok()?
}

/// What is missing of all steps and the result, and what came more than once.
fn count(received: &Received) -> Tally {
    let times = |step: u32| received.steps.iter().filter(|&&found| found == step).count() as u64;
    let all = (1..=STEPS).map(times).chain([u64::from(received.results)]);
    all.fold(Tally::default(), |tally, times| Tally {
        lost: tally.lost + u64::from(times == 0),
        duplicated: tally.duplicated + times.saturating_sub(1),
    })
}
