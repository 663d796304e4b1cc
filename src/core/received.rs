//! Received announcements: the numbers that a node has received. After lost signals the node
//! requests exactly those it has missed.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::{Announced, TOPICS};

/// The announcements that one node has received.
#[derive(Debug, Default)]
pub(crate) struct Received(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// All numbers up to this one were received, or were announced before the node subscribed.
    /// `None`: it has not subscribed yet.
    low: Option<u64>,
    /// The numbers received beyond a gap. There are at most as many as an engine keeps topics,
    /// because earlier announcements cannot be requested.
    above: BTreeSet<u64>,
    /// The numbers learned from a re-check. Their signals may still arrive.
    requested: BTreeSet<u64>,
}

/// The announcements that a node has missed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    /// Exactly these, in ascending order of their numbers.
    Topics(Vec<(u64, Box<str>)>),
    /// Any topic may have been announced, because the engine no longer has all of them. The numbers
    /// continue from here.
    Anything { newest: u64 },
}

impl Received {
    /// Records the signal of an announcement. Returns `false` if a re-check has already delivered
    /// the announcement.
    pub(crate) fn receive(&self, number: u64) -> bool {
        let mut state = self.state();
        let is_new = !state.requested.remove(&number);
        match state.low {
            None => state.low = Some(number),
            Some(low) if number > low => {
                state.above.insert(number);
                if state.above.len() > TOPICS {
                    state.above.pop_first();
                }
            }
            Some(_) => {}
        }
        state.settle();
        is_new
    }

    /// Records that the node has subscribed. Announcements up to this number do not concern its
    /// clients.
    pub(crate) fn start(&self, newest: u64) {
        let mut state = self.state();
        if state.low.is_none() {
            state.low = Some(newest);
        }
    }

    /// Returns the number after which announcements may have been missed; `None` before the node
    /// has subscribed.
    pub(crate) fn low(&self) -> Option<u64> {
        self.state().low
    }

    /// Returns what was missed of the announcements that the engine lists. `after` is the value of
    /// [`low`](Self::low) at the time of the request. The list may be older than signals that
    /// arrived meanwhile.
    pub(crate) fn missed(&self, after: Option<u64>, announced: Announced) -> Missed {
        let mut state = self.state();
        let Announced { mut topics, newest, complete } = announced;
        let known = after.filter(|after| complete && *after <= newest);
        // Signals that arrived meanwhile have delivered theirs, and moved the low end.
        topics.retain(|(number, _)| state.low.is_none_or(|low| *number > low) && !state.above.contains(number));
        match state.low {
            Some(low) if known.is_some() => {
                state.low = Some(low.max(newest));
                state.requested.extend(topics.iter().map(|(number, _)| *number));
                while state.requested.len() > TOPICS {
                    state.requested.pop_first();
                }
            }
            // It had not subscribed when it asked, so signals since then carry valid numbers.
            Some(low) if after.is_none() => state.low = Some(low.max(newest)),
            // The engine may have started new numbers.
            _ => *state = State { low: Some(newest), ..State::default() },
        }
        state.settle();
        if known.is_some() { Missed::Topics(topics) } else { Missed::Anything { newest } }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Advances `low` over consecutive numbers.
    fn settle(&mut self) {
        let Some(mut low) = self.low else { return };
        while let Some(next) = self.above.first().copied().filter(|next| *next <= low + 1) {
            self.above.pop_first();
            low = low.max(next);
        }
        self.low = Some(low);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(numbers: &[u64], newest: u64, complete: bool) -> Announced {
        Announced { topics: numbers.iter().map(|number| (*number, "x".into())).collect(), newest, complete }
    }

    #[test]
    fn signals_during_a_read_are_delivered_once() {
        let received = Received::default();
        received.start(5);
        assert!(received.receive(6), "its signal comes before the engine's answer");
        assert_eq!(numbers(received.missed(Some(5), announced(&[6], 6, true))), Some(vec![]));
        assert_eq!(numbers(received.missed(Some(6), announced(&[7], 7, true))), Some(vec![7]));
        assert!(!received.receive(7), "its signal comes after the engine's answer");
        assert!(received.receive(8));
        assert_eq!(numbers(received.missed(Some(7), announced(&[], 7, true))), Some(vec![]), "answered before 8");
        assert_eq!(received.low(), Some(8));
    }

    fn numbers(missed: Missed) -> Option<Vec<u64>> {
        match missed {
            Missed::Topics(topics) => Some(topics.into_iter().map(|(number, _)| number).collect()),
            Missed::Anything { .. } => None,
        }
    }

    #[test]
    fn missed_signals_are_returned_once() {
        let received = Received::default();
        for number in [5, 6, 9, 8] {
            received.receive(number);
        }
        assert_eq!(received.low(), Some(6));
        assert_eq!(numbers(received.missed(Some(6), announced(&[7, 8, 9, 10], 10, true))), Some(vec![7, 10]));
        assert_eq!(
            (received.low(), numbers(received.missed(Some(10), announced(&[], 10, true)))),
            (Some(10), Some(vec![]))
        );
        received.receive(11);
        assert_eq!(received.low(), Some(11));
    }

    #[test]
    fn unknown_gaps_are_reported() {
        let received = Received::default();
        assert_eq!(numbers(received.missed(None, announced(&[3], 3, true))), None, "it never listened");
        assert_eq!(numbers(received.missed(Some(3), announced(&[], 3, true))), Some(vec![]));
        let early = Received::default();
        assert!(early.receive(6), "a signal comes before the first answer");
        assert_eq!(numbers(early.missed(None, announced(&[], 5, true))), None, "it knew of none when it asked");
        assert_eq!(early.low(), Some(6));
        assert_eq!(numbers(received.missed(Some(3), announced(&[9], 9, false))), None, "the engine forgot some");
        assert_eq!(numbers(received.missed(Some(9), announced(&[], 2, true))), None, "the engine is an older one");
        received.receive(3);
        assert_eq!(received.low(), Some(3));
        let started = Received::default();
        started.start(4);
        started.start(9);
        assert_eq!(started.low(), Some(4));
    }
}
