//! Pending changes of one reader: each change it subscribed to at most once, in the order in which
//! they first happened.
//!
//! A notification only says that something changed, so a second one for the same change adds
//! nothing. The pending changes of a reader that never reads are therefore bounded by its filter.

use std::collections::VecDeque;

use super::filter::{Filter, Supported};
use crate::server::change::Change;

/// The pending changes of a reader, and its filter.
#[derive(Debug)]
pub(super) struct PendingChanges {
    filter: Filter,
    /// Indexes into the filter, each once.
    order: VecDeque<usize>,
    /// Whether each index is in `order`.
    waits: Box<[bool]>,
}

impl PendingChanges {
    pub(super) fn new(filter: Filter) -> Self {
        let waits = vec![false; filter.len()].into();
        Self { filter, order: VecDeque::new(), waits }
    }

    /// Adds a change. Returns `true` if it was not pending yet.
    pub(super) fn add(&mut self, change: &Change) -> bool {
        self.filter.find(change).is_some_and(|at| self.add_at(at))
    }

    /// Adds all changes of the filter. Returns `true` if one of them was not pending yet.
    pub(super) fn add_all(&mut self) -> bool {
        (0..self.filter.len()).fold(false, |update, at| self.add_at(at) | update)
    }

    /// Leaves out the changes that the server does not announce. Returns the remaining filter.
    pub(super) fn narrow(&mut self, offer: Supported) -> &Filter {
        let received: Vec<Change> = self.order.iter().filter_map(|at| self.filter.get(*at).cloned()).collect();
        let mut filter = std::mem::take(&mut self.filter);
        filter.narrow(offer);
        *self = Self::new(filter);
        for change in &received {
            self.add(change);
        }
        &self.filter
    }

    /// Passes up to `at_most` pending changes to `give`.
    pub(super) fn take(&mut self, at_most: usize, mut give: impl FnMut(&Change)) {
        for at in self.order.drain(..at_most.min(self.order.len())) {
            if let (Some(waits), Some(change)) = (self.waits.get_mut(at), self.filter.get(at)) {
                *waits = false;
                give(change);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn add_at(&mut self, at: usize) -> bool {
        let update = self.waits.get_mut(at).is_some_and(|waits| !std::mem::replace(waits, true));
        if update {
            self.order.push_back(at);
        }
        update
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::message::RawJson;

    const URIS: [&str; 3] = ["a:1", "a:2", "a:3"];

    fn all() -> PendingChanges {
        let params = json!({"notifications": {"toolsListChanged": true, "promptsListChanged": true,
            "resourcesListChanged": true, "resourceSubscriptions": URIS}});
        PendingChanges::new(Filter::read(Some(&RawJson::from_value(&params).unwrap()), || false).unwrap())
    }

    fn change(n: usize) -> Change {
        match n {
            0 => Change::Tools,
            1 => Change::Prompts,
            2 => Change::Resources,
            n => Change::resource(format!("a:{}", n - 2)),
        }
    }

    fn take(waiting: &mut PendingChanges, at_most: usize) -> Vec<Change> {
        let mut taken = Vec::new();
        waiting.take(at_most, |change| taken.push(change.clone()));
        taken
    }

    #[test]
    fn narrowing_drops_changes_and_keeps_the_order() {
        let mut waiting = all();
        for n in [4, 0, 1, 3] {
            assert!(waiting.add(&change(n)));
        }
        let offer =
            Supported::read(&RawJson::trusted(r#"{"prompts":{"listChanged":true},"resources":{"subscribe":true}}"#));
        let left = waiting.narrow(offer).to_json();
        assert_eq!(left.as_str(), r#"{"promptsListChanged":true,"resourceSubscriptions":["a:1","a:2","a:3"]}"#);
        assert!(!waiting.add(&change(0)) && !waiting.add(&change(1)), "not told of; waits already");
        assert_eq!(take(&mut waiting, 9), [change(4), change(1), change(3)]);
    }

    #[test]
    fn everything_expands_to_each_change_once() {
        let mut waiting = all();
        waiting.add(&change(5));
        assert!(waiting.add_all());
        assert!(!waiting.add_all());
        assert_eq!(take(&mut waiting, 9), [5, 0, 1, 2, 3, 4].map(change));
        assert!(waiting.is_empty());
        assert!(!PendingChanges::new(Filter::default()).add_all());
    }

    proptest! {
        /// Numbers 0 to 7 are changes, of which the last two are outside the filter. Higher ones
        /// are reads.
        #[test]
        fn readers_get_each_change_once_and_in_order(
            steps in prop::collection::vec(0_usize..12, 0..100),
        ) {
            let mut waiting = all();
            let mut expected: Vec<Change> = Vec::new();
            for step in steps {
                if step >= 8 {
                    let some = (step - 7).min(expected.len());
                    let read: Vec<_> = expected.drain(..some).collect();
                    prop_assert_eq!(take(&mut waiting, step - 7), read);
                } else {
                    let update = step < 6 && !expected.contains(&change(step));
                    prop_assert_eq!(waiting.add(&change(step)), update);
                    expected.extend(update.then(|| change(step)));
                }
                prop_assert_eq!(waiting.is_empty(), expected.is_empty());
            }
        }
    }
}
