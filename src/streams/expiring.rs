//! Expiring streams: end a response when the access token of its request expires.
//!
//! 1. A stream that its client can continue elsewhere ends at once, in its own way: a stream of a
//!    session with a `retry` hint, a subscription with its result. The client comes back with a
//!    fresh token.
//! 2. Any other stream goes on for a grace period. Then it is cut.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::frame::{Expiry, Frames, Source};

/// A source that ends with the access token of its client.
#[derive(Debug)]
pub(crate) struct Expiring {
    source: Box<dyn Source>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The token is valid for this time. The grace follows.
    Valid(Pin<Box<Sleep>>, Duration),
    /// The token has expired, and the stream cannot be continued elsewhere.
    Grace(Pin<Box<Sleep>>),
    /// The source sends the rest and ends.
    Ending,
}

impl Expiring {
    /// Ends a source after a time, or at the latest after the grace that follows.
    pub(crate) fn new(source: Box<dyn Source>, valid: Duration, grace: Duration) -> Self {
        Self { source, stage: Stage::Valid(Box::pin(sleep(valid)), grace) }
    }
}

impl Source for Expiring {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Frames> {
        loop {
            // Before the source, because one that always has frames must end, too.
            let timer = match &mut self.stage {
                Stage::Valid(timer, _) | Stage::Grace(timer) => timer,
                Stage::Ending => return self.source.poll_next(cx),
            };
            if timer.as_mut().poll(cx).is_pending() {
                return self.source.poll_next(cx);
            }
            match mem::replace(&mut self.stage, Stage::Ending) {
                Stage::Valid(_, grace) => match self.source.expire(cx) {
                    Expiry::Ends(frames) => return Poll::Ready(frames),
                    Expiry::EndsIn(delay) => self.stage = Stage::Valid(Box::pin(sleep(delay)), grace),
                    Expiry::GoesOn => self.stage = Stage::Grace(Box::pin(sleep(grace))),
                },
                Stage::Grace(_) | Stage::Ending => {
                    return Poll::Ready(Frames { frames: Vec::new(), last: true });
                }
            }
        }
    }

    fn held(&self) -> usize {
        self.source.held()
    }
}
