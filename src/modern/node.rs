//! A service's part for the stateless revision: its subscriptions, its running tasks, and the
//! announcements that it received.

use std::fmt;
use std::sync::{Arc, Weak};

use tokio_util::sync::CancellationToken;

use super::member::Member;
use super::subscriptions::Subscriptions;
use super::task::TaskMap;
use crate::clock::WallClock;
use crate::core::{Core, Received, Recheck};
use crate::error::StoreError;
use crate::identity::Principal;
use crate::seal::Sealer;
use crate::store::{Announced, EngineFuture, SignalHandler};

/// The part of one service that serves the stateless revision.
pub(crate) struct Node {
    pub(super) core: Arc<Core>,
    /// What tasks know of this node.
    pub(super) member: Arc<Member>,
    /// Subscription streams. They do not keep this alive, and end with it.
    pub(super) subscriptions: Arc<Subscriptions>,
    /// The announcements received here.
    pub(super) received: Received,
    /// Re-checks of announcements that are due.
    pub(super) rechecks: Recheck,
    /// The tasks that run here.
    pub(super) tasks: Arc<TaskMap>,
    pub(super) sealer: Sealer,
}

impl Node {
    /// Creates a node, whose signals the engine gives to the handler.
    pub(super) fn new(
        core: &Arc<Core>,
        handler: impl FnOnce(&Arc<Subscriptions>, &Weak<Self>) -> Arc<dyn SignalHandler>,
    ) -> Arc<Self> {
        let subscriptions = Subscriptions::new(&core.settings.limits);
        Arc::new_cyclic(|me| {
            let id = core.engine.join(handler(&subscriptions, me), core.settings.policy());
            let (clock, cut) = (WallClock::new(), CancellationToken::new());
            Self {
                core: Arc::clone(core),
                member: Arc::new(Member { core: Arc::clone(core), id, clock, cut }),
                subscriptions,
                received: Received::default(),
                rechecks: Recheck::default(),
                tasks: Arc::default(),
                sealer: Sealer::new(&core.settings.inputs.keys),
            }
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
        self.member.cut.cancel();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.subscriptions.end();
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("core", &self.core).finish_non_exhaustive()
    }
}
