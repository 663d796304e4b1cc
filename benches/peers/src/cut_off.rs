//! Cut-off calls: which messages are lost and which arrive twice when a call's stream is cut and
//! resumed.

use anyhow::{Context, Result, ensure};
use tokio::time::{Instant, timeout_at};

use crate::client::{Client, Tool};
use crate::message::{Expected, Received};
use crate::wire::{Events, Head, Media};

const NO_ID: &str = "its events have no ids to come back with";

/// The number of lost and of duplicate messages of a call, among its steps and its result.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
}

/// A call whose stream is read for a while and then abandoned.
pub(crate) struct CutOff {
    steps: u32,
    received: Received,
    expected: Expected<'static>,
    head: Head,
    events: Events,
}

impl CutOff {
    /// Calls `slow` and reads until `after` steps have arrived. The caller drops the connection.
    pub(crate) async fn begin(client: &mut Client, steps: u32, millis: u64, after: usize) -> Result<Self> {
        let tool = Tool::Slow { steps, millis };
        let head = client.start(tool).await?;
        ensure!(head.status == 200, "HTTP {}", head.status);
        ensure!(head.media == Media::Events, "it does not stream what a call sends");
        let (received, expected) = (Received::default(), client.expected(tool));
        let mut call = Self { steps, received, expected, head, events: Events::default() };
        while call.received.steps.len() < after {
            let piece = client.within(&mut call.head).await?;
            let piece = piece
                .with_context(|| format!("{} of {steps} steps came on the call's stream", call.received.steps.len()))?;
            call.events.push(&piece, |data| call.received.take(data, expected))?;
        }
        ensure!(call.events.last_id().is_some(), NO_ID);
        Ok(call)
    }

    /// Reads the call's stream until its result, its end, or the given time.
    pub(crate) async fn read_on(&mut self, client: &mut Client, until: Instant) -> Result<()> {
        while self.received.results == 0
            && let Ok(Ok(Some(piece))) = timeout_at(until, client.connection.piece(&mut self.head)).await
        {
            self.events.push(&piece, |data| self.received.take(data, self.expected))?;
        }
        Ok(())
    }

    /// Resumes on a new connection and reads as [`read_on`](Self::read_on) does. Returns the time
    /// at which the response began.
    ///
    /// # Errors
    ///
    /// If the server rejects the request. All remaining messages are then lost.
    pub(crate) async fn come_back(&mut self, client: &mut Client, until: Instant) -> Result<Instant> {
        let last = self.events.last_id().context(NO_ID)?;
        self.head = client.listen(Some(last)).await?;
        let began = Instant::now();
        self.events = Events::default();
        self.read_on(client, until).await?;
        Ok(began)
    }

    /// Returns how many steps have arrived.
    pub(crate) fn steps_received(&self) -> usize {
        self.received.steps.len()
    }

    /// Returns `true` if the result has arrived.
    pub(crate) fn is_over(&self) -> bool {
        self.received.results > 0
    }

    /// Counts the steps and the result that are missing, and those that arrived more than once.
    pub(crate) fn tally(&self) -> Tally {
        tally(self.steps, &self.received)
    }
}

fn tally(steps: u32, received: &Received) -> Tally {
    let times = |step: u32| received.steps.iter().filter(|&&found| found == step).count() as u64;
    let all = (1..=steps).map(times).chain([u64::from(received.results)]);
    all.fold(Tally::default(), |tally, times| Tally {
        lost: tally.lost + u64::from(times == 0),
        duplicated: tally.duplicated + times.saturating_sub(1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_and_repeated_messages_are_counted() {
        let cut = |steps: &[u32], results| {
            let received = Received { steps: steps.to_vec(), results, version: None };
            tally(4, &received)
        };
        let found = |tally: Tally| (tally.lost, tally.duplicated);
        assert_eq!(found(cut(&[1, 2, 3, 4], 1)), (0, 0));
        assert_eq!(found(cut(&[1, 2, 2, 3, 4], 1)), (0, 1), "the event that the client had came again");
        assert_eq!(found(cut(&[1, 2], 0)), (3, 0), "two steps and the result");
        assert_eq!(found(cut(&[1, 1, 1, 4], 2)), (2, 3));
    }
}
