//! Decides what one service keeps for the stateless revision: who has how much in flight, and what
//! ends with it.

use std::fmt;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::quota::Quota;
use super::seal::Sealer;
use crate::clock::WallClock;
use crate::hall::Hall;

/// One service's share of the stateless revision.
pub(crate) struct Node {
    pub(super) hall: Arc<Hall>,
    /// Calls in flight of each principal.
    pub(super) calls: Arc<Quota>,
    pub(super) sealer: Sealer,
    pub(super) clock: WallClock,
    /// Ends what still runs when the service can wait no longer.
    pub(super) cut: CancellationToken,
}

impl Node {
    pub(crate) fn new(hall: &Arc<Hall>) -> Arc<Self> {
        let policy = hall.settings.policy();
        Arc::new(Self {
            hall: Arc::clone(hall),
            calls: Quota::new(policy.max_calls_per_principal),
            sealer: Sealer::new(&hall.settings.inputs.keys),
            clock: WallClock::new(),
            cut: CancellationToken::new(),
        })
    }

    /// The service takes nothing new: ends the subscription streams; how many there were.
    pub(crate) fn end_listens(&self) -> usize {
        0
    }

    /// The service can wait no longer.
    pub(crate) fn cut_calls(&self) {
        self.cut.cancel();
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("hall", &self.hall).finish_non_exhaustive()
    }
}
