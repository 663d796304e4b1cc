//! Which announcements a node has heard, by their numbers, so that after lost bells it asks for those that it
//! missed and for no others.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::{Announced, TOPICS};

/// The announcements one node has heard.
#[derive(Debug, Default)]
pub(crate) struct Heard(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Everything up to here was heard, or came before the node listened; `None`: it has not begun to.
    low: Option<u64>,
    /// What was heard beyond a hole: as many as an engine keeps topics, since what came before those cannot be
    /// asked for.
    above: BTreeSet<u64>,
    /// What was learned by asking: its signal may still come.
    asked: BTreeSet<u64>,
}

/// What a node missed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    /// Exactly these, ascending by number.
    Topics(Vec<(u64, Box<str>)>),
    /// The engine does not know any more: anything may have been announced. It numbers from here.
    Anything { newest: u64 },
}

impl Heard {
    /// The signal of an announcement came. Returns `false` if the node learned of it by asking.
    pub(crate) fn hear(&self, number: u64) -> bool {
        let mut state = self.state();
        let is_new = !state.asked.remove(&number);
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

    /// The node listens from now on; what came before this number concerns no client here.
    pub(crate) fn start(&self, newest: u64) {
        let mut state = self.state();
        if state.low.is_none() {
            state.low = Some(newest);
        }
    }

    /// The number after which announcements may have been missed, once the node listens.
    pub(crate) fn low(&self) -> Option<u64> {
        self.state().low
    }

    /// What the engine says was announced after a number, which was [`low`](Self::low) when it was asked: what of it was
    /// missed. The answer may be older than the signals that came meanwhile.
    pub(crate) fn missed(&self, after: Option<u64>, announced: Announced) -> Missed {
        let mut state = self.state();
        let Announced { mut topics, newest, complete } = announced;
        let known = after.or(state.low).filter(|after| complete && *after <= newest);
        // Signals that came while the engine was asked have told of theirs, and moved the low end.
        topics.retain(|(number, _)| state.low.is_none_or(|low| *number > low) && !state.above.contains(number));
        match state.low {
            Some(low) if known.is_some() => {
                state.low = Some(low.max(newest));
                state.asked.extend(topics.iter().map(|(number, _)| *number));
                while state.asked.len() > TOPICS {
                    state.asked.pop_first();
                }
            }
            // The engine may number anew.
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
    /// Moves the low end over what was heard.
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
    fn what_came_while_the_engine_was_asked_is_told_once() {
        let heard = Heard::default();
        heard.start(5);
        assert!(heard.hear(6), "its signal comes before the engine's answer");
        assert_eq!(numbers(heard.missed(Some(5), announced(&[6], 6, true))), Some(vec![]));
        assert_eq!(numbers(heard.missed(Some(6), announced(&[7], 7, true))), Some(vec![7]));
        assert!(!heard.hear(7), "its signal comes after the engine's answer");
        assert!(heard.hear(8));
        assert_eq!(numbers(heard.missed(Some(7), announced(&[], 7, true))), Some(vec![]), "answered before 8");
        assert_eq!(heard.low(), Some(8));
    }

    fn numbers(missed: Missed) -> Option<Vec<u64>> {
        match missed {
            Missed::Topics(topics) => Some(topics.into_iter().map(|(number, _)| number).collect()),
            Missed::Anything { .. } => None,
        }
    }

    #[test]
    fn what_was_not_heard_is_missed_once() {
        let heard = Heard::default();
        for number in [5, 6, 9, 8] {
            heard.hear(number);
        }
        assert_eq!(heard.low(), Some(6));
        assert_eq!(numbers(heard.missed(Some(6), announced(&[7, 8, 9, 10], 10, true))), Some(vec![7, 10]));
        assert_eq!((heard.low(), numbers(heard.missed(Some(10), announced(&[], 10, true)))), (Some(10), Some(vec![])));
        heard.hear(11);
        assert_eq!(heard.low(), Some(11));
    }

    #[test]
    fn a_node_that_cannot_know_what_it_missed_says_so() {
        let heard = Heard::default();
        assert_eq!(numbers(heard.missed(None, announced(&[3], 3, true))), None, "it never listened");
        assert_eq!(numbers(heard.missed(Some(3), announced(&[], 3, true))), Some(vec![]));
        assert_eq!(numbers(heard.missed(Some(3), announced(&[9], 9, false))), None, "the engine forgot some");
        assert_eq!(numbers(heard.missed(Some(9), announced(&[], 2, true))), None, "the engine is an older one");
        heard.hear(3);
        assert_eq!(heard.low(), Some(3));
        let started = Heard::default();
        started.start(4);
        started.start(9);
        assert_eq!(started.low(), Some(4));
    }
}
