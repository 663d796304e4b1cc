//! Announcements: what the steps about them take and give, and the table that the engines in memory keep
//! of them. Each topic is in it once, under the number of its newest announcement, for nodes and sessions that missed
//! the bell: a node that heard none, a session whose stream no node held.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::journal::Change;
use super::{Event, NodeId};
use crate::identity::SessionId;

/// How many topics an engine keeps, how many changes wait for an engine that is away, and how many numbers a node
/// remembers above one that it missed. A thousand: as many as one session subscribes to.
pub(crate) const TOPICS: usize = 1_024;

/// The bytes of their texts together. One megabyte: a kilobyte for each.
pub(crate) const TOPIC_BYTES: usize = 1 << 20;

/// What [`SessionEngine::announced`](crate::store::SessionEngine::announced) gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Announced {
    /// The topics, each with the number of its newest announcement, ascending.
    pub topics: Vec<(u64, Box<str>)>,
    /// The number of the newest announcement of all; 0 before the first.
    pub newest: u64,
    /// Whether these are all. Otherwise the engine has forgotten some that came after the number asked for.
    pub complete: bool,
}

/// See [`SessionEngine::deliver`](crate::store::SessionEngine::deliver).
#[derive(Debug, Clone)]
pub struct Deliver {
    /// The session.
    pub session: SessionId,
    /// The node that delivers.
    pub node: NodeId,
    /// The announcement up to which the session was told, as far as the node knows.
    pub after: u64,
    /// The number of the last announcement that this delivers.
    pub up_to: u64,
    /// The [revision](crate::store::Loaded::revision) of the session by which the node chose the events.
    pub revision: u64,
    /// What the session wants of what was announced in between.
    pub events: Vec<Event>,
}

/// What was announced lately.
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
    /// Keeps an announcement; its number, and whether it was not kept before under the same id.
    pub(super) fn announce(&mut self, topic: &str, id: u64) -> (u64, bool) {
        if let Some((number, _)) = self.by_topic.get(topic).filter(|(_, before)| *before == id) {
            return (*number, false);
        }
        let number = self.newest + 1;
        self.keep(topic, number, id);
        (number, true)
    }

    /// Has a topic stand under the newest number of all.
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

    /// What a journal keeps of a topic that was announced.
    pub(super) fn change(&self, topic: &str, number: u64) -> Change {
        Change::Announced { topic: topic.into(), number, forgotten: self.forgotten }
    }

    /// All that it holds, for a journal.
    #[cfg(feature = "file")]
    pub(super) fn changes(&self) -> Vec<Change> {
        self.by_number.iter().map(|(number, topic)| self.change(topic, *number)).collect()
    }

    /// The bytes of the texts.
    #[cfg(feature = "file")]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Brings back what a journal kept; an older number than is known says nothing new.
    #[cfg(feature = "file")]
    pub(super) fn restore(&mut self, topic: &str, number: u64, forgotten: u64) {
        let known = self.by_topic.get(topic).map_or(0, |(known, _)| *known);
        self.forgotten = self.forgotten.max(forgotten);
        if number > known {
            let newest = self.newest.max(number);
            self.keep(topic, number, 0);
            self.newest = newest;
        }
    }

    /// The number of the newest announcement.
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// What was announced after a number: of some topics, or of all where none is named.
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
