//! What a handler says in its task: requests to the client and status messages, which are stored in
//! the background.

use std::sync::Arc;

use super::requests::NewRequest;
use super::running::TaskRun;
use crate::core::LogLine;
use crate::error::StoreErrorKind;
use crate::message::RawJson;
use crate::panics::OnAbort;
use crate::server::ClientError;
use crate::store::Backoff;

impl TaskRun {
    /// Sends a request to the client, and waits for the answer.
    pub(in crate::modern) async fn request(
        self: &Arc<Self>,
        key: String,
        method: &'static str,
        params: RawJson,
    ) -> Result<RawJson, ClientError> {
        let answer = self.talk().add(NewRequest { key: key.clone(), method, params });
        let _withdrawal = Withdrawal { run: self, key };
        self.save();
        answer.await.map_err(|_| ClientError::Ended)
    }

    /// Sets the status message of the task.
    pub(in crate::modern) fn say(self: &Arc<Self>, message: &str) {
        self.talk().unsaved.status = Some(message.to_owned());
        self.save();
    }

    /// Stores the updates in the background, unless that runs already.
    fn save(self: &Arc<Self>) {
        if std::mem::replace(&mut self.talk().storing, true) {
            return;
        }
        let (run, there) = (Arc::clone(self), Arc::clone(self));
        let aborted = OnAbort::new(move || there.talk().storing = false);
        self.member.core.in_background(Box::pin(async move {
            let mut backoff = Backoff::limited();
            loop {
                let next = run.talk().next();
                let Some(update) = next else { return aborted.disarm() };
                let stored = run.member.change_task(&run.kept, |document| {
                    document.forget_answers(|key| run.talk().waits_for(key));
                    update.write(document);
                    !document.has_ended()
                });
                let error = match stored.await {
                    Ok(document) => {
                        run.receive(&document);
                        backoff = Backoff::limited();
                        continue;
                    }
                    Err(error) => error,
                };
                if let Some(left_out) = run.member.core.log_line(LogLine::Task) {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, task = ?run.kept.id, left_out, "the updates of a task cannot be read");
                }
                let is_away = matches!(error.kind(), StoreErrorKind::Unavailable | StoreErrorKind::Conflict);
                if is_away && run.member.wait(&mut backoff).await {
                    run.talk().unsaid(update);
                } else {
                    run.talk().restore(update);
                }
            }
        }));
    }
}

/// Withdraws a request when its handler stops waiting.
struct Withdrawal<'a> {
    run: &'a Arc<TaskRun>,
    key: String,
}

impl Drop for Withdrawal<'_> {
    fn drop(&mut self) {
        let withdrawn = self.run.talk().withdraw(&self.key);
        if withdrawn {
            self.run.save();
        }
    }
}
