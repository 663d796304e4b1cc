//! Decides how what a process took is given back: calls, readers and questions, for which it is asked as
//! long as the process lives, because whatever it does not give back stands for ever.
//!
//! Only what may stand in the server is given back later: a step that never reached it, or that it
//! refused, took nothing. So no more waits here than the server had given when it was there last.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::link::{Call, Link};
use crate::error::{StoreError, StoreErrorKind};

/// What is to be given back.
pub(super) type GiveBacks = Sender<Call>;

/// The most that waits; about 30 MB of it.
const MOST: usize = 100_000;

/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) fn give_backs() -> (GiveBacks, Receiver<Call>) {
    channel(MOST)
}

/// Gives back, one after the other, what could not be given back at once.
pub(super) async fn settle(link: Arc<Link>, mut owed: Receiver<Call>) {
    while let Some(call) = owed.recv().await {
        while link.take(&call).await.as_ref().is_err_and(is_out_of_reach) {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn is_out_of_reach(error: &StoreError) -> bool {
    error.kind() == StoreErrorKind::Unavailable
}

/// A step that gives back what may have been taken. Dropped before that is settled, it is done later.
pub(super) struct Owed {
    give_backs: GiveBacks,
    call: Option<Call>,
}

impl Owed {
    pub(super) fn new(give_backs: &GiveBacks, call: Call) -> Self {
        Self { give_backs: give_backs.clone(), call: Some(call) }
    }

    /// Tries it now. Out of reach, it stays owed and that is no failure: the caller has nothing left to do.
    pub(super) async fn give_back(self, link: &Link) -> Result<(), StoreError> {
        let Some(call) = &self.call else { return Ok(()) };
        let given = link.take(call).await;
        if given.as_ref().is_err_and(is_out_of_reach) {
            return Ok(());
        }
        self.settle();
        given.map(drop)
    }

    pub(super) fn settle(mut self) {
        self.call = None;
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        // Where nobody gives anything back any more, the engine has come to its end.
        if let Some(call) = self.call.take()
            && let Err(TrySendError::Full(_)) = self.give_backs.try_send(call)
        {
            tracing::error!("what a session has in flight will stand until this process ends");
        }
    }
}
