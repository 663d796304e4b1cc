//! Publishing: announces changes to the engine. While the engine is unreachable they are queued
//! here, each change once, and published when it returns. If the service ends before that, they are
//! lost.

use std::sync::{Arc, Weak};

use super::{Core, LogLine};
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::SessionId;
use crate::panics::OnAbort;
use crate::server::change::Change;
use crate::store::Backoff;

impl Core {
    /// Announces a change to every client of both eras, on every node.
    pub(crate) fn publish(self: &Arc<Self>, change: &Change) {
        let (topic, id) = (change.topic(), new_id());
        let has_runtime = tokio::runtime::Handle::try_current().is_ok();
        {
            let mut state = self.announcing.state();
            if state.trying || !state.waiting.is_empty() {
                // The engine is unreachable, so the change is queued.
                state.keep(topic.into(), id);
                // The publishing task may have ended with its runtime.
                if has_runtime && !std::mem::replace(&mut state.trying, true) {
                    drop(state);
                    self.tasks.spawn(catch_up(Arc::downgrade(self)));
                }
                return;
            }
        }
        let core = Arc::downgrade(self);
        match self.engine.announce(&topic, id).now() {
            Ok(announced) if !self.must_repeat(&announced) => {}
            // Without a runtime, it is queued until the next announcement.
            _ if !has_runtime => self.announcing.state().keep(topic.into(), id),
            Ok(_) => insist(&core, topic.into(), id),
            Err(step) => {
                let unsaid = Unsaid { core: Weak::clone(&core), topic: Some((topic.into(), id)) };
                self.tasks.spawn(async move {
                    let announced = step.await;
                    let (Some(topic), Some(present)) = (unsaid.settled(), core.upgrade()) else { return };
                    if present.must_repeat(&announced) {
                        insist(&core, topic.0, topic.1);
                    }
                });
            }
        }
    }

    /// Returns `true` if an announcement failed because the engine was unreachable. Another failure
    /// would only recur, and is logged.
    fn must_repeat(&self, announced: &Result<u64, StoreError>) -> bool {
        let Err(error) = announced else { return false };
        if error.kind() == StoreErrorKind::Unavailable {
            return true;
        }
        if let Some(left_out) = self.log_line(LogLine::Background) {
            let error = error as &dyn std::error::Error;
            tracing::warn!(error, left_out, "a change could not be announced");
        }
        false
    }
}

/// An announcement that is being published. If it is dropped before its end, as with its runtime,
/// it is queued for the next attempt.
struct Unsaid {
    core: Weak<Core>,
    topic: Option<(Box<str>, u64)>,
}

impl Unsaid {
    /// Records that the engine has answered.
    fn settled(mut self) -> Option<(Box<str>, u64)> {
        self.topic.take()
    }
}

impl Drop for Unsaid {
    fn drop(&mut self) {
        if let (Some((topic, id)), Some(core)) = (self.topic.take(), self.core.upgrade()) {
            core.announcing.state().keep_older(topic, id);
        }
    }
}

/// Queues an announcement that could not be published, and starts the publishing task.
fn insist(core: &Weak<Core>, topic: Box<str>, id: u64) {
    let Some(present) = core.upgrade() else { return };
    let first = {
        let mut state = present.announcing.state();
        state.keep(topic, id);
        !std::mem::replace(&mut state.trying, true)
    };
    if first {
        tracing::warn!("changes cannot be announced yet: the session engine cannot be reached");
        present.tasks.spawn(catch_up(Weak::clone(core)));
    }
}

/// Publishes the queued announcements one after the other.
async fn catch_up(core: Weak<Core>) {
    let there = Weak::clone(&core);
    let aborted = OnAbort::new(move || {
        if let Some(core) = there.upgrade() {
            core.announcing.state().trying = false;
        }
    });
    loop {
        let (step, unsaid) = {
            let Some(present) = core.upgrade() else { return };
            let mut state = present.announcing.state();
            let Some((topic, id)) = state.waiting.pop_front() else {
                state.trying = false;
                return aborted.disarm();
            };
            drop(state);
            let step = present.engine.announce(&topic, id);
            (step, Unsaid { core: Weak::clone(&core), topic: Some((topic, id)) })
        };
        let announced = step.await;
        if core.upgrade().is_some_and(|core| core.must_repeat(&announced)) {
            drop(unsaid);
            Backoff::soon().pause().await;
        } else {
            unsaid.settled();
        }
    }
}

/// Returns an id that no other announcement has.
fn new_id() -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *SessionId::random().as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
