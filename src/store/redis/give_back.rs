//! Undo: releases what this process acquired, which is calls, readers and client requests. Each
//! release is retried as long as the process lives, because what is not released stays in the
//! server.
//!
//! Only what may exist in the server is released later: an operation that never arrived, or that
//! was rejected, acquired nothing. The queue therefore never holds more than the server had
//! accepted when it was last reachable.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::link::{Call, Link};
use crate::error::{StoreError, StoreErrorKind};

/// The queue of releases.
pub(super) type GiveBacks = Sender<Call>;

/// Maximum number of queued releases; about 30 MB.
const MOST: usize = 100_000;

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) fn give_backs() -> (GiveBacks, Receiver<Call>) {
    channel(MOST)
}

/// Runs queued releases, one after the other.
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

/// A call that releases what may have been acquired. If it is dropped before it is settled, it is
/// queued.
pub(super) struct Owed {
    give_backs: GiveBacks,
    call: Option<Call>,
}

impl Owed {
    pub(super) fn new(give_backs: &GiveBacks, call: Call) -> Self {
        Self { give_backs: give_backs.clone(), call: Some(call) }
    }

    /// Tries the release now. If the server is unreachable, the release is queued and this is not a
    /// failure: the caller has nothing left to do.
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
        // The queue closes only when the engine ends.
        if let Some(call) = self.call.take()
            && let Err(TrySendError::Full(_)) = self.give_backs.try_send(call)
        {
            tracing::error!("what a session has in flight will stand until this process ends");
        }
    }
}
