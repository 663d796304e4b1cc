//! Decides what is lost and what comes twice when a call's stream is cut off and resumed.

use anyhow::{Context, Result, ensure};
use tokio::time::{Instant, timeout_at};

use crate::client::{Client, Tool};
use crate::message::{Expected, Received};
use crate::wire::{Events, Media};

/// What was lost of a call, and what came more than once: of its steps and its result.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
}

/// A call whose stream is read for a while and then left.
pub(crate) struct CutOff {
    steps: u32,
    received: Received,
    expected: Expected<'static>,
    /// What the client comes back with.
    last_event_id: String,
}

impl CutOff {
    /// Calls `slow` and reads until so many steps have come. The connection is the caller's to drop.
    pub(crate) async fn begin(client: &mut Client, steps: u32, millis: u64, after: usize) -> Result<Self> {
        let tool = Tool::Slow { steps, millis };
        let mut head = client.start(tool).await?;
        ensure!(head.status == 200, "HTTP {}", head.status);
        ensure!(head.media == Media::Events, "it does not stream what a call sends");
        let expected = client.expected(tool);
        let (mut received, mut events) = (Received::default(), Events::default());
        while received.steps.len() < after {
            let piece = client.within(&mut head).await?;
            let piece = piece
                .with_context(|| format!("{} of {steps} steps came on the call's stream", received.steps.len()))?;
            events.push(&piece, |data| received.take(data, expected))?;
        }
        let last_event_id = events.last_id().context("its events have no ids to come back with")?.to_owned();
        Ok(Self { steps, received, expected, last_event_id })
    }

    /// Asks for the rest on a connection of its own and reads it until the result, the end of the
    /// stream or that moment; when the answer began.
    ///
    /// # Errors
    /// When the server refuses: then all of the rest is lost.
    pub(crate) async fn come_back(&mut self, client: &mut Client, until: Instant) -> Result<Instant> {
        let mut head = client.listen(Some(&self.last_event_id)).await?;
        let began = Instant::now();
        let mut events = Events::default();
        while self.received.results == 0
            && let Ok(Ok(Some(piece))) = timeout_at(until, client.connection.piece(&mut head)).await
        {
            events.push(&piece, |data| self.received.take(data, self.expected))?;
        }
        Ok(began)
    }

    /// What is missing of all steps and the result, and what came more than once.
    pub(crate) fn tally(&self) -> Tally {
        let times = |step: u32| self.received.steps.iter().filter(|&&found| found == step).count() as u64;
        let all = (1..=self.steps).map(times).chain([u64::from(self.received.results)]);
        all.fold(Tally::default(), |tally, times| Tally {
            lost: tally.lost + u64::from(times == 0),
            duplicated: tally.duplicated + times.saturating_sub(1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_lost_and_what_comes_again_is_counted_again() {
        let expected = Expected { id: 1, text: None, typed: false };
        let cut = |steps: &[u32], results| {
            let received = Received { steps: steps.to_vec(), results, version: None };
            CutOff { steps: 4, received, expected, last_event_id: String::new() }.tally()
        };
        let found = |tally: Tally| (tally.lost, tally.duplicated);
        assert_eq!(found(cut(&[1, 2, 3, 4], 1)), (0, 0));
        assert_eq!(found(cut(&[1, 2, 2, 3, 4], 1)), (0, 1), "the event that the client had came again");
        assert_eq!(found(cut(&[1, 2], 0)), (3, 0), "two steps and the result");
        assert_eq!(found(cut(&[1, 1, 1, 4], 2)), (2, 3));
    }
}
