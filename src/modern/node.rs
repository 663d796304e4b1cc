//! A service's part for the stateless revision: its subscriptions, its running tasks, and the
//! announcements that it received.

use std::fmt;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::bell::Bell;
use super::listening::Listening;
use super::task::TaskMap;
use crate::clock::WallClock;
use crate::error::StoreError;
use crate::hall::{Hall, Heard, Owed};
use crate::seal::Sealer;
use crate::store::{Announced, NodeId, Step};

/// The part of one service that serves the stateless revision.
pub(crate) struct Node {
    pub(super) hall: Arc<Hall>,
    /// The name under which the engine knows it.
    pub(super) id: NodeId,
    /// Subscription streams. They do not keep this alive, and end with it.
    pub(super) listening: Arc<Listening>,
    /// The announcements received here.
    pub(super) heard: Heard,
    /// Re-checks of announcements that are due.
    pub(super) looks_owed: Owed,
    /// The tasks that run here.
    pub(super) tasks: TaskMap,
    pub(super) sealer: Sealer,
    pub(super) clock: WallClock,
    /// Cancels the work that still runs when the service can wait no longer.
    pub(super) cut: CancellationToken,
}

impl Node {
    pub(crate) fn new(hall: &Arc<Hall>) -> Arc<Self> {
        let policy = hall.settings.policy();
        let listening = Listening::new(&hall.settings.limits);
        Arc::new_cyclic(|me| Self {
            hall: Arc::clone(hall),
            id: hall.engine.join(Arc::new(Bell::new(&listening, me.clone())), policy),
            listening,
            heard: Heard::default(),
            looks_owed: Owed::default(),
            tasks: TaskMap::new(),
            sealer: Sealer::new(&hall.settings.inputs.keys),
            clock: WallClock::new(),
            cut: CancellationToken::new(),
        })
    }

    /// Queries the announcements after a number up to which all were received.
    pub(super) fn ask(&self, after: Option<u64>) -> Step<Result<Announced, StoreError>> {
        self.hall.engine.announced(after.unwrap_or(u64::MAX), &[])
    }

    /// Starts to count announcements, because there is a subscription now.
    pub(super) async fn begin_to_hear(&self) {
        if self.heard.low().is_none()
            && let Ok(announced) = self.ask(None).await
        {
            self.heard.start(announced.newest);
        }
    }

    /// Returns the number of open subscription streams.
    pub(crate) fn listens(&self) -> usize {
        self.listening.count()
    }

    /// Ends the subscription streams and accepts no more. Returns their number.
    pub(crate) fn end_listens(&self) -> usize {
        self.listening.end()
    }

    /// Ends running calls, when the service can wait no longer.
    pub(crate) fn cut_calls(&self) {
        self.cut.cancel();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.hall.engine.leave(self.id);
        self.listening.end();
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("hall", &self.hall).finish_non_exhaustive()
    }
}
