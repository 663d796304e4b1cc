//! Decides what one service keeps for the stateless revision: who has how much in flight, who
//! listens, and what ends with it.

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

/// One service's share of the stateless revision.
pub(crate) struct Node {
    pub(super) hall: Arc<Hall>,
    /// By this name the engine knows it.
    pub(super) id: NodeId,
    /// Subscription streams. They do not keep the node: they end with it.
    pub(super) listening: Arc<Listening>,
    /// Which announcements were heard here.
    pub(super) heard: Heard,
    /// Re-checks of what was announced.
    pub(super) looks_owed: Owed,
    /// Tasks that run here.
    pub(super) tasks: TaskMap,
    pub(super) sealer: Sealer,
    pub(super) clock: WallClock,
    /// Ends what still runs when the service can wait no longer.
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

    /// What was announced after a number up to which all was heard.
    pub(super) fn ask(&self, after: Option<u64>) -> Step<Result<Announced, StoreError>> {
        self.hall.engine.announced(after.unwrap_or(u64::MAX), &[])
    }

    /// Somebody listens here: from now on what is announced counts.
    pub(super) async fn begin_to_hear(&self) {
        if self.heard.low().is_none()
            && let Ok(announced) = self.ask(None).await
        {
            self.heard.start(announced.newest);
        }
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
        self.hall.engine.leave(self.id);
        self.listening.end();
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("hall", &self.hall).finish_non_exhaustive()
    }
}
