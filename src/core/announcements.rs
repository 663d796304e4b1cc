//! Queued announcements: changes that could not be published to the engine yet, each once.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::server::change::EVERYTHING;
use crate::store::TOPICS;

/// The queued announcements.
#[derive(Debug, Default)]
pub(super) struct Announcing(Mutex<State>);

#[derive(Debug, Default)]
pub(super) struct State {
    /// The queued topics, each with the id under which it may have been announced already. There
    /// are at most as many as an engine keeps. Beyond that, a single announcement that everything
    /// may have changed replaces all of them.
    pub(super) waiting: VecDeque<(Box<str>, u64)>,
    /// A task is publishing the queue.
    pub(super) trying: bool,
}

impl Announcing {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Queues an announcement. A topic that is announced again takes the new id, because its former
    /// one may have been published.
    pub(super) fn keep(&mut self, topic: Box<str>, id: u64) {
        if let Some(known) = self.waiting.iter_mut().find(|(known, _)| *known == topic || **known == *EVERYTHING) {
            known.1 = id;
        } else if self.waiting.len() < TOPICS {
            self.waiting.push_back((topic, id));
        } else {
            tracing::warn!(
                "too many changes wait to be announced; every list and resource will be announced as changed"
            );
            self.waiting.clear();
            self.waiting.push_back((EVERYTHING.into(), id));
        }
    }
}

impl State {
    /// Queues an announcement whose publishing was interrupted. If the topic has been queued again
    /// meanwhile, the newer one counts.
    pub(super) fn keep_older(&mut self, topic: Box<str>, id: u64) {
        if !self.waiting.iter().any(|(known, _)| *known == topic) {
            self.keep(topic, id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_changes_are_bounded_and_unique() {
        let mut state = State::default();
        for id in 0..3 {
            state.keep("a".into(), id);
        }
        assert_eq!(state.waiting, [("a".into(), 2)]);
        for number in 0..TOPICS as u64 {
            state.keep(number.to_string().into(), number);
        }
        assert_eq!(state.waiting, [(EVERYTHING.into(), TOPICS as u64 - 1)]);
        state.keep("b".into(), 7);
        assert_eq!(state.waiting, [(EVERYTHING.into(), 7)], "that is part of everything");
    }
}
