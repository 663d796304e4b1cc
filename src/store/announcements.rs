//! Announcements: the table of topics that the engines in memory keep.
//!
//! Each topic is in the table once, under the number of its newest announcement. The table serves
//! nodes that received no signal, and sessions whose stream no node held.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Announced;
use super::journal::Change;

/// The maximum number of topics that an engine keeps. The same number limits how many changes are
/// queued for an unreachable engine, and how many numbers a node remembers above one that it
/// missed. It is a thousand, because one session subscribes to as many.
pub(crate) const TOPICS: usize = 1_024;

/// The maximum bytes of all topics together. One megabyte is a kilobyte for each.
pub(crate) const TOPIC_BYTES: usize = 1 << 20;

/// The table of recently announced topics.
#[derive(Debug, Default)]
pub(in crate::store) struct Topics {
    newest: u64,
    /// The number of the newest announcement that was forgotten.
    forgotten: u64,
    bytes: usize,
    by_topic: HashMap<Arc<str>, (u64, u64)>,
    by_number: BTreeMap<u64, Arc<str>>,
}

impl Topics {
    /// Records an announcement. Returns its number, and `false` if the topic already has the same
    /// id.
    pub(super) fn announce(&mut self, topic: &str, id: u64) -> (u64, bool) {
        if let Some((number, _)) = self.by_topic.get(topic).filter(|(_, before)| *before == id) {
            return (*number, false);
        }
        let number = self.newest + 1;
        self.keep(topic, number, id);
        (number, true)
    }

    /// Moves a topic to the newest number of all.
    fn keep(&mut self, topic: &str, number: u64, id: u64) {
        self.newest = number;
        if let Some((number, _)) = self.by_topic.remove(topic) {
            self.by_number.remove(&number);
            self.bytes -= topic.len();
        }
        let text: Arc<str> = topic.into();
        self.bytes += topic.len();
        self.by_topic.insert(Arc::clone(&text), (self.newest, id));
        self.by_number.insert(self.newest, text);
        while self.by_number.len() > TOPICS || self.bytes > TOPIC_BYTES {
            let Some((number, oldest)) = self.by_number.pop_first() else { break };
            self.by_topic.remove(&oldest);
            self.bytes -= oldest.len();
            self.forgotten = self.forgotten.max(number);
        }
    }

    /// Returns the change that a journal keeps of an announced topic.
    pub(super) fn change(&self, topic: &str, number: u64) -> Change {
        Change::Announced { topic: topic.into(), number, forgotten: self.forgotten }
    }

    /// Returns the number of the newest announcement.
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// Returns the announcements after a number, of the given topics or of all topics if none is
    /// given.
    pub(super) fn after(&self, after: u64, among: &[&str]) -> Announced {
        let mut topics: Vec<(u64, Box<str>)> = if among.is_empty() {
            let later = self.by_number.range(after.saturating_add(1)..);
            later.map(|(number, topic)| (*number, Box::from(&**topic))).collect()
        } else {
            let known = among.iter().filter_map(|topic| Some((self.by_topic.get(*topic)?.0, Box::from(*topic))));
            known.filter(|(number, _)| *number > after).collect()
        };
        topics.sort_unstable();
        Announced { topics, newest: self.newest, complete: after >= self.forgotten }
    }
}

/// The restoration from a journal, and the changes that write a table to one.
#[cfg(feature = "file")]
impl Topics {
    /// Returns the changes that restore the whole table, for a journal.
    pub(super) fn changes(&self) -> Vec<Change> {
        self.by_number.iter().map(|(number, topic)| self.change(topic, *number)).collect()
    }

    /// Returns the bytes of all topics.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Restores a topic from a journal. A number older than the known one is ignored.
    pub(super) fn restore(&mut self, topic: &str, number: u64, forgotten: u64) {
        let known = self.by_topic.get(topic).map_or(0, |(known, _)| *known);
        self.forgotten = self.forgotten.max(forgotten);
        if number > known {
            let newest = self.newest.max(number);
            self.keep(topic, number, 0);
            self.newest = newest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(announced: &Announced) -> Vec<(u64, &str)> {
        announced.topics.iter().map(|(number, topic)| (*number, &**topic)).collect()
    }

    #[test]
    fn a_topic_stands_once_under_its_newest_number() {
        let mut topics = Topics::default();
        assert_eq!(
            ["a", "b", "a"].map(|topic| topics.announce(topic, topics.newest())),
            [(1, true), (2, true), (3, true)]
        );
        assert_eq!(topics.announce("a", 2), (3, false), "repeated");
        assert_eq!(numbers(&topics.after(0, &[])), [(2, "b"), (3, "a")]);
        assert_eq!(numbers(&topics.after(2, &[])), [(3, "a")]);
        assert_eq!(numbers(&topics.after(0, &["a", "c"])), [(3, "a")]);
        assert_eq!(topics.after(3, &["a"]), Announced { topics: vec![], newest: 3, complete: true });
    }

    #[test]
    fn what_does_not_fit_is_missed_by_late_listeners() {
        let mut topics = Topics::default();
        for number in 0..TOPICS as u64 + 10 {
            topics.announce(&number.to_string(), number);
        }
        let all = topics.after(0, &[]);
        assert_eq!((all.topics.len(), all.newest, all.complete), (TOPICS, TOPICS as u64 + 10, false));
        assert!(topics.after(10, &[]).complete && !topics.after(9, &["x"]).complete);
        topics.announce(&"x".repeat(TOPIC_BYTES - 10), 0);
        topics.announce(&"y".repeat(100), 0);
        assert_eq!((topics.by_number.len(), topics.bytes), (1, 100));
        assert_eq!(topics.by_topic.len(), 1);
    }
}
