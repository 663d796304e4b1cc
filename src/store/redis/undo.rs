//! Undo: releases what this process acquired, which is calls, readers and client requests. Each
//! release is retried as long as the process lives, because what is not released stays in the
//! server.
//!
//! Only what may exist in the server is released later: an operation that never arrived, or that
//! was rejected, acquired nothing. The queue therefore never holds more than the server had
//! accepted when it was last reachable.

use std::sync::Arc;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::client::{Call, Client};
use crate::error::{StoreError, StoreErrorKind};
use crate::store::Backoff;

/// The queue of releases.
pub(super) type UndoQueue = Sender<Call>;

/// Maximum number of queued releases; about 30 MB.
const MAX_QUEUED: usize = 100_000;

pub(super) fn undo_queue() -> (UndoQueue, Receiver<Call>) {
    channel(MAX_QUEUED)
}

/// Runs queued releases, one after the other.
pub(super) async fn settle(client: Arc<Client>, mut owed: Receiver<Call>) {
    while let Some(call) = owed.recv().await {
        let mut backoff = Backoff::background();
        while client.take(&call).await.as_ref().is_err_and(is_out_of_reach) {
            backoff.pause().await;
        }
    }
}

fn is_out_of_reach(error: &StoreError) -> bool {
    error.kind() == StoreErrorKind::Unavailable
}

/// A call that releases what may have been acquired. If it is dropped before it is settled, it is
/// queued.
pub(super) struct Undo {
    queue: UndoQueue,
    call: Option<Call>,
}

impl Undo {
    pub(super) fn new(undo_queue: &UndoQueue, call: Call) -> Self {
        Self { queue: undo_queue.clone(), call: Some(call) }
    }

    /// Tries the release now. If the server is unreachable, the release is queued and this is not a
    /// failure: the caller has nothing left to do.
    pub(super) async fn run(self, client: &Client) -> Result<(), StoreError> {
        let Some(call) = &self.call else { return Ok(()) };
        let given = client.take(call).await;
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

impl Drop for Undo {
    fn drop(&mut self) {
        // The queue closes only when the engine ends.
        if let Some(call) = self.call.take()
            && let Err(TrySendError::Full(_)) = self.queue.try_send(call)
        {
            tracing::error!("what a session has in flight will be released only when this process ends");
        }
    }
}
