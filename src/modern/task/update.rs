//! Changes to a stored task: the document is read, changed and stored. If another node stored its
//! change first, this starts again.

use bytes::Bytes;

use super::document::{Document, End};
use crate::core::LogLine;
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::{Peer, Principal, TaskId};
use crate::message::ErrorObject;
use crate::modern::member::Member;
use crate::store::{Backoff, CreateTask, StoreTask};

/// The maximum number of tries. Only the handler and its client compete, so two or three suffice.
const TRIES: usize = 64;

/// A stored task and its principal.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) id: TaskId,
    pub(super) principal: Option<Principal>,
}

impl Member {
    /// Stores a new task. From then on every node can find it.
    pub(super) async fn create_task(&self, kept: &Kept, peer: Option<Peer>) -> Result<Document, StoreError> {
        let tasks = &self.core.settings.tasks;
        let document = Document::new(self.clock.unix_millis(), tasks.ttl, tasks.poll_interval);
        let create = CreateTask {
            id: kept.id,
            principal: kept.principal.clone(),
            peer,
            node: self.id,
            ttl: tasks.ttl,
            document: written(&document)?,
        };
        self.core.engine.create_task(create).await?;
        self.core.start_reaper(self.id);
        Ok(document)
    }

    /// Ends a task. Its client waits for the end, so a failed store is retried later.
    pub(super) async fn end_task(&self, kept: &Kept, mut end: End) {
        let mut backoff = Backoff::limited();
        loop {
            let Err(error) = self.change_task(kept, |document| document.end(end.clone())).await else { return };
            match (error.kind(), &end) {
                // It expired, or was evicted.
                (StoreErrorKind::NotFound, _) => return,
                (kind, End::Completed(_)) if kind.is_full() => {
                    end = End::Failed(too_large());
                    continue;
                }
                _ => {}
            }
            if error.kind() == StoreErrorKind::Corrupt || !self.wait(&mut backoff).await {
                if let Some(left_out) = self.core.log_line(LogLine::Task) {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, task = ?kept.id, left_out, "the end of a task was lost");
                }
                return;
            }
        }
    }

    /// Waits until a retry is due. Returns `false` if no retry is left or the service stops.
    pub(super) async fn wait(&self, backoff: &mut Backoff) -> bool {
        match backoff.next_pause() {
            Some(pause) => tokio::time::timeout(pause, self.cut.cancelled()).await.is_err(),
            None => false,
        }
    }

    /// Changes a task and returns its document. `change` returns `false` if there is nothing to
    /// store.
    pub(super) async fn change_task(
        &self,
        kept: &Kept,
        mut change: impl FnMut(&mut Document) -> bool + Send,
    ) -> Result<Document, StoreError> {
        for _ in 0..TRIES {
            let loaded = self.core.engine.load_task(kept.id, kept.principal.as_ref()).await?;
            let mut document: Document = serde_json::from_slice(&loaded.document).map_err(StoreError::corrupt)?;
            // A node that is gone cannot end its tasks, so the next one to read them does.
            let lost = loaded.orphaned && document.end(End::Failed(lost()));
            if loaded.done || !(lost || change(&mut document)) {
                return Ok(document);
            }
            document.touch(self.clock.unix_millis());
            let (version, done) = (loaded.version, document.has_ended());
            let store = StoreTask { id: kept.id, version, document: written(&document)?, done };
            match self.core.engine.store_task(store).await {
                Ok(true) => return Ok(document),
                // Another change was faster.
                Ok(false) => {}
                Err(error) if error.kind() == StoreErrorKind::Fenced => {}
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::new(StoreErrorKind::Conflict))
    }
}

fn written(document: &Document) -> Result<Bytes, StoreError> {
    serde_json::to_vec(document).map(Bytes::from).map_err(StoreError::corrupt)
}

fn too_large() -> ErrorObject {
    ErrorObject::new(ErrorObject::INTERNAL_ERROR, "The result of the task is too large to be stored")
}

fn lost() -> ErrorObject {
    ErrorObject::new(ErrorObject::INTERNAL_ERROR, "The server stopped while the task ran")
}
