//! Member: the service as a member of its engine, and what its tasks need. A task refers to it, so
//! that it need not know the node on which it runs.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::clock::WallClock;
use crate::core::Core;
use crate::store::NodeId;

/// The core of a service, and what it is to its engine. Dropping it leaves the engine.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) core: Arc<Core>,
    /// The name under which the engine knows it.
    pub(super) id: NodeId,
    pub(super) clock: WallClock,
    /// Cancels the work that still runs when the service can wait no longer.
    pub(super) cut: CancellationToken,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.core.engine.leave(self.id);
    }
}
