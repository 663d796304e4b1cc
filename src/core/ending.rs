//! Ending a session on request, and what follows.

use std::sync::Arc;

use super::Core;
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::SessionId;
use crate::store::EndReason;

impl Core {
    /// Ends a session and notifies the application. Both continue if the caller is dropped.
    pub(crate) async fn end_session(self: &Arc<Self>, session: SessionId, reason: EndReason) -> Result<(), StoreError> {
        let step = match self.engine.end_session(session, reason).now() {
            Ok(ended) => {
                self.closed([ended?]);
                return Ok(());
            }
            Err(step) => step,
        };
        let core = Arc::clone(self);
        let ending = self.tasks.spawn(async move {
            let ended = step.await?;
            core.closed([ended]);
            Ok(())
        });
        ending.await.unwrap_or_else(|_| Err(StoreError::new(StoreErrorKind::Unavailable)))
    }
}
