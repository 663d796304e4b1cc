//! Decides what one service keeps for the stateless revision: who has how much in flight, who
//! listens, and what ends with it.

use std::fmt;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::bell::Bell;
use super::listening::Listening;
use super::quota::Quota;
use crate::edge;
use crate::hall::Hall;
use crate::message::Era;
use crate::store::NodeId;

/// One service's share of the stateless revision.
pub(crate) struct Node {
    pub(super) hall: Arc<Hall>,
    /// Calls in flight of each principal.
    pub(super) calls: Arc<Quota>,
    /// Subscription streams. They do not keep the node: they end with it.
    pub(super) listening: Arc<Listening>,
    /// By this name the engine rings here, where the revision is served at all.
    id: Option<NodeId>,
    /// Ends what still runs when the service can wait no longer.
    pub(super) cut: CancellationToken,
}

impl Node {
    pub(crate) fn new(hall: &Arc<Hall>) -> Arc<Self> {
        let policy = hall.settings.policy();
        let calls = Quota::new(policy.max_calls_per_principal);
        let listening = Listening::new(&hall.settings.limits);
        let served = edge::serves(&hall.versions, Era::Modern);
        let id = served.then(|| hall.engine.join(Arc::new(Bell::new(&listening)), policy));
        Arc::new(Self { hall: Arc::clone(hall), calls, listening, id, cut: CancellationToken::new() })
    }

    /// How many subscription streams are open.
    pub(crate) fn listens(&self) -> usize {
        self.listening.count()
    }

    /// The service takes nothing new: ends the subscription streams; how many there were.
    pub(crate) fn end_listens(&self) -> usize {
        self.listening.end()
    }

    /// The service can wait no longer.
    pub(crate) fn cut_calls(&self) {
        self.cut.cancel();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.hall.engine.leave(id);
        }
        self.listening.end();
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("hall", &self.hall).finish_non_exhaustive()
    }
}
