//! The streams of one session and their sums. The sums are needed at each write, so they are kept
//! up to date instead of counted.

use std::collections::VecDeque;

use crate::clock::Tick;
use crate::store::StreamNo;
use crate::store::log::StreamLog;

/// The streams of one session.
///
/// Invariant: the sums are those of the logs. Every change of a log goes through
/// [`Streams::change`], which updates them.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// Ascending by number. Streams are appended at one end and removed, nearly always, near the
    /// other.
    logs: VecDeque<(StreamNo, StreamLog)>,
    /// Boxed, because most sessions have no streams.
    sums: Option<Box<Sums>>,
}

#[derive(Debug, Default)]
struct Sums {
    bytes: usize,
    owed: usize,
    given: usize,
    readers: usize,
    /// The closed streams, in the order in which they were closed.
    finished: VecDeque<StreamNo>,
}

impl Streams {
    /// Returns the position of a stream, or the position at which to insert it.
    pub(super) fn position(&self, stream: StreamNo) -> Result<usize, usize> {
        // Nearly always it is the newest stream, or the next one.
        match self.logs.back() {
            Some((newest, _)) if *newest == stream => Ok(self.logs.len() - 1),
            Some((newest, _)) if *newest > stream => self.logs.binary_search_by_key(&stream, |(number, _)| *number),
            _ => Err(self.logs.len()),
        }
    }

    /// Returns the log at a position. A position is valid until the next insertion or removal.
    pub(super) fn at(&self, at: usize) -> &StreamLog {
        &self.logs[at].1
    }

    pub(super) fn len(&self) -> usize {
        self.logs.len()
    }

    #[cfg(any(test, feature = "file"))]
    pub(super) fn iter(&self) -> impl Iterator<Item = (StreamNo, &StreamLog)> {
        self.logs.iter().map(|(stream, log)| (*stream, log))
    }

    /// Returns the bytes kept in all streams.
    pub(super) fn bytes(&self) -> usize {
        self.sums.as_ref().map_or(0, |sums| sums.bytes)
    }

    /// Returns the bytes in all streams that no reader has received and that may not be dropped.
    pub(super) fn unread(&self) -> usize {
        self.sums.as_ref().map_or(0, |sums| sums.owed)
    }

    /// Returns the bytes in all streams that may be dropped and that a reader has received.
    pub(super) fn given(&self) -> usize {
        self.sums.as_ref().map_or(0, |sums| sums.given)
    }

    /// Returns the number of streams that have a reader.
    pub(super) fn readers(&self) -> usize {
        self.sums.as_ref().map_or(0, |sums| sums.readers)
    }

    /// Returns the number of closed streams.
    pub(super) fn finished_count(&self) -> usize {
        self.sums.as_ref().map_or(0, |sums| sums.finished.len())
    }

    /// Returns the positions of the closed streams, in the order in which they were closed.
    pub(super) fn finished(&self) -> impl Iterator<Item = usize> {
        let finished = self.sums.iter().flat_map(|sums| &sums.finished);
        finished.filter_map(|stream| self.position(*stream).ok())
    }

    /// Returns the position of the stream that has been closed longest, of those that have no
    /// reader and meet the condition.
    pub(super) fn oldest_finished(&self, holds: impl Fn(StreamNo, &StreamLog) -> bool) -> Option<usize> {
        self.finished().find(|at| {
            let (stream, log) = &self.logs[*at];
            log.holder().is_none() && holds(*stream, log)
        })
    }

    /// Returns the stream that has the most of a quantity, unless all have none, with its position.
    pub(super) fn most(&self, of: impl Fn(&StreamLog) -> usize) -> Option<(usize, StreamNo)> {
        let logs = self.logs.iter().enumerate().map(|(at, (stream, log))| (of(log), at, *stream));
        logs.filter(|(most, ..)| *most > 0).max_by_key(|(most, ..)| *most).map(|(_, at, stream)| (at, stream))
    }

    /// Changes the log at a position.
    pub(super) fn change<T>(&mut self, at: usize, change: impl FnOnce(&mut StreamLog) -> T) -> T {
        let (stream, log) = &mut self.logs[at];
        let before = Sum::of(log);
        let changed = change(log);
        let after = Sum::of(log);
        self.sums.get_or_insert_default().replace(*stream, &before, &after);
        changed
    }

    /// Inserts a log at the position that [`Streams::position`] returned.
    pub(super) fn insert(&mut self, at: usize, stream: StreamNo, log: StreamLog) {
        self.sums.get_or_insert_default().replace(stream, &Sum::default(), &Sum::of(&log));
        if self.logs.is_empty() {
            // Most sessions never have a second stream: they have only the standalone stream.
            self.logs.reserve_exact(1);
        }
        self.logs.insert(at, (stream, log));
    }

    pub(super) fn remove(&mut self, at: usize) -> Option<StreamLog> {
        let (stream, log) = self.logs.remove(at)?;
        self.sums.get_or_insert_default().replace(stream, &Sum::of(&log), &Sum::default());
        Some(log)
    }

    /// Removes a stream, and reports its number.
    pub(super) fn forget(&mut self, at: usize, gone: impl FnOnce(StreamNo)) {
        let stream = self.logs.get(at).map(|(stream, _)| *stream);
        self.remove(at);
        if let Some(stream) = stream {
            gone(stream);
        }
    }

    /// Removes the finished streams that have no reader and need not be kept, and reports their
    /// numbers.
    pub(super) fn forget_finished(&mut self, keep: impl Fn(Tick) -> bool, mut gone: impl FnMut(StreamNo)) {
        while let Some(oldest) = self.oldest_finished(|_, _| true) {
            if self.at(oldest).closed_at().is_none_or(&keep) {
                return;
            }
            self.forget(oldest, &mut gone);
        }
    }
}

impl Sums {
    fn replace(&mut self, stream: StreamNo, before: &Sum, after: &Sum) {
        self.bytes = self.bytes + after.bytes - before.bytes;
        self.owed = self.owed + after.owed - before.owed;
        self.given = self.given + after.given - before.given;
        self.readers = self.readers + usize::from(after.read) - usize::from(before.read);
        match (before.closed.is_some(), after.closed.is_some()) {
            (false, true) => self.finished.push_back(stream),
            (true, false) => {
                if let Some(at) = self.finished.iter().position(|finished| *finished == stream) {
                    self.finished.remove(at);
                }
            }
            _ => {}
        }
    }
}

/// The contribution of one log to the sums.
#[derive(Default)]
struct Sum {
    bytes: usize,
    owed: usize,
    given: usize,
    read: bool,
    closed: Option<Tick>,
}

impl Sum {
    fn of(log: &StreamLog) -> Self {
        Self {
            bytes: log.bytes(),
            owed: log.owed(),
            given: log.spare_given(),
            read: log.holder().is_some(),
            closed: log.closed_at(),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::store::log::Bounds;
    use crate::store::{Append, Event, EventKind, NodeId};

    const NODE: NodeId = NodeId(1);

    fn check(streams: &Streams) {
        let logs = || streams.iter().map(|(_, log)| log);
        assert_eq!(streams.bytes(), logs().map(StreamLog::bytes).sum::<usize>());
        assert_eq!(streams.unread(), logs().map(StreamLog::owed).sum::<usize>());
        assert_eq!(streams.given(), logs().map(StreamLog::spare_given).sum::<usize>());
        assert_eq!(streams.readers(), logs().filter(|log| log.holder().is_some()).count());
        let mut closed: Vec<_> =
            streams.iter().filter(|(_, log)| log.closed_at().is_some()).map(|(no, _)| no).collect();
        let mut finished: Vec<_> = streams.finished().map(|at| streams.logs[at].0).collect();
        assert_eq!(finished.len(), streams.finished_count());
        closed.sort_unstable();
        finished.sort_unstable();
        assert_eq!(closed, finished);
    }

    proptest! {
        #[test]
        fn the_sums_are_those_of_the_logs_after_any_change(
            steps in proptest::collection::vec((0u8..6, 0u32..5, 0usize..50), 0..60),
        ) {
            let mut streams = Streams::default();
            let bounds = Bounds { events: 8, bytes: 100 };
            for (step, stream, size) in steps {
                let at = match streams.position(stream) {
                    Ok(at) => at,
                    Err(at) => {
                        streams.insert(at, stream, StreamLog::new(Some(NODE)));
                        at
                    }
                };
                match step {
                    0 | 1 => drop(streams.change(at, |log| {
                        let event = Event { kind: EventKind::Notification, payload: Bytes::from(vec![b'x'; size]) };
                        let (session, first, close) = (crate::identity::SessionId::random(), log.next(), step == 1);
                        let append = Append { session, stream, node: NODE, first, events: vec![event], close };
                        log.append(append, bounds, Tick::default(), &mut ())
                    })),
                    2 => drop(streams.change(at, |log| log.attach(NODE, None))),
                    3 => drop(streams.change(at, |log| log.holder().is_some_and(|held| log.detach(held.generation)))),
                    4 => drop(streams.remove(at)),
                    _ => streams.forget_finished(|_| false, |_| ()),
                }
                check(&streams);
            }
        }
    }
}
