//! A service's part for the stateless revision: its subscriptions, its running tasks, and the
//! announcements that it received.

use std::fmt;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::signals::Signals;
use super::subscriptions::Subscriptions;
use super::task::TaskMap;
use crate::clock::WallClock;
use crate::core::{Core, Received, Recheck};
use crate::error::StoreError;
use crate::identity::Principal;
use crate::seal::Sealer;
use crate::store::{Announced, EngineFuture, NodeId};

/// The part of one service that serves the stateless revision.
pub(crate) struct Node {
    pub(super) core: Arc<Core>,
    /// The name under which the engine knows it.
    pub(super) id: NodeId,
    /// Subscription streams. They do not keep this alive, and end with it.
    pub(super) subscriptions: Arc<Subscriptions>,
    /// The announcements received here.
    pub(super) received: Received,
    /// Re-checks of announcements that are due.
    pub(super) rechecks: Recheck,
    /// The tasks that run here.
    pub(super) tasks: TaskMap,
    pub(super) sealer: Sealer,
    pub(super) clock: WallClock,
    /// Cancels the work that still runs when the service can wait no longer.
    pub(super) cut: CancellationToken,
}

impl Node {
    pub(crate) fn new(core: &Arc<Core>) -> Arc<Self> {
        let policy = core.settings.policy();
        let subscriptions = Subscriptions::new(&core.settings.limits);
        Arc::new_cyclic(|me| Self {
            core: Arc::clone(core),
            id: core.engine.join(Arc::new(Signals::new(&subscriptions, me.clone())), policy),
            subscriptions,
            received: Received::default(),
            rechecks: Recheck::default(),
            tasks: TaskMap::new(),
            sealer: Sealer::new(&core.settings.inputs.keys),
            clock: WallClock::new(),
            cut: CancellationToken::new(),
        })
    }

    /// Queries the announcements after a number up to which all were received.
    pub(super) fn query_announcements(&self, after: Option<u64>) -> EngineFuture<Result<Announced, StoreError>> {
        self.core.engine.announced(after.unwrap_or(u64::MAX), &[])
    }

    /// Starts to count announcements, because there is a subscription now.
    pub(super) async fn begin_receiving(&self) {
        if self.received.low().is_none()
            && let Ok(announced) = self.query_announcements(None).await
        {
            self.received.start(announced.newest);
        }
    }

    /// Returns the number of open subscription streams.
    pub(crate) fn listens(&self) -> usize {
        self.subscriptions.count()
    }

    /// Ends the subscription streams and accepts no more. Returns their number.
    pub(crate) fn end_listens(&self) -> usize {
        self.subscriptions.end()
    }

    /// Ends the subscription streams of a principal on this node and returns their number.
    pub(crate) fn end_listens_of(&self, principal: &Principal) -> usize {
        self.subscriptions.end_of(principal)
    }

    /// Ends running calls, when the service can wait no longer.
    pub(crate) fn cut_calls(&self) {
        self.cut.cancel();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.core.engine.leave(self.id);
        self.subscriptions.end();
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("core", &self.core).finish_non_exhaustive()
    }
}
