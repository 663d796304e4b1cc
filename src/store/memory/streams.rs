//! Decides how the streams of one session are found, and what they add up to: asked at each write,
//! so it is kept and not counted.

use crate::clock::Tick;
use crate::store::StreamNo;
use crate::store::log::StreamLog;

/// The streams of one session. Most sessions have none, and hold room for none.
#[derive(Debug, Default)]
pub(super) struct Streams(Option<Box<Shelf>>);

/// Invariant: the sums are those of the logs. Every change of a log goes through
/// [`Streams::change`], which keeps them.
#[derive(Debug, Default)]
struct Shelf {
    /// Ascending by number.
    logs: Vec<(StreamNo, StreamLog)>,
    /// Those that are closed, in the order they became so.
    finished: Vec<StreamNo>,
    bytes: usize,
    readers: usize,
}

impl Streams {
    fn logs(&self) -> &[(StreamNo, StreamLog)] {
        self.0.as_ref().map_or(&[], |shelf| &shelf.logs)
    }

    /// Where a stream stands, or where it would.
    pub(super) fn position(&self, stream: StreamNo) -> Result<usize, usize> {
        self.logs().binary_search_by_key(&stream, |(number, _)| *number)
    }

    /// The log at a position. A position is good until the next insertion or removal.
    pub(super) fn at(&self, at: usize) -> &StreamLog {
        &self.logs()[at].1
    }

    pub(super) fn len(&self) -> usize {
        self.logs().len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (StreamNo, &StreamLog)> {
        self.logs().iter().map(|(stream, log)| (*stream, log))
    }

    /// Bytes kept in all of them.
    pub(super) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |shelf| shelf.bytes)
    }

    /// How many have a reader.
    pub(super) fn readers(&self) -> usize {
        self.0.as_ref().map_or(0, |shelf| shelf.readers)
    }

    /// Those that are closed, in the order they became so.
    pub(super) fn finished(&self) -> &[StreamNo] {
        self.0.as_ref().map_or(&[], |shelf| &shelf.finished)
    }

    /// Changes the log at a position.
    pub(super) fn change<T>(&mut self, at: usize, change: impl FnOnce(&mut StreamLog) -> T) -> T {
        let shelf = self.0.get_or_insert_default();
        let (stream, log) = &mut shelf.logs[at];
        let before = Sum::of(log);
        let changed = change(log);
        let (after, stream) = (Sum::of(log), *stream);
        shelf.bytes = shelf.bytes + after.bytes - before.bytes;
        shelf.readers = shelf.readers + usize::from(after.read) - usize::from(before.read);
        if after.closed.is_some() && before.closed.is_none() {
            shelf.finished.push(stream);
        }
        changed
    }

    /// Puts a log where [`Streams::position`] says it would stand.
    pub(super) fn insert(&mut self, at: usize, stream: StreamNo, log: StreamLog) {
        self.0.get_or_insert_default().logs.insert(at, (stream, log));
        // Whatever it brings with it.
        let sum = Sum::of(self.at(at));
        if let Some(shelf) = &mut self.0 {
            shelf.bytes += sum.bytes;
            shelf.readers += usize::from(sum.read);
        }
    }

    pub(super) fn remove(&mut self, at: usize) -> StreamLog {
        let shelf = self.0.get_or_insert_default();
        let (stream, log) = shelf.logs.remove(at);
        let sum = Sum::of(&log);
        shelf.bytes -= sum.bytes;
        shelf.readers -= usize::from(sum.read);
        if sum.closed.is_some() {
            shelf.finished.retain(|finished| *finished != stream);
        }
        log
    }

    /// Removes the finished streams that nobody reads and that are not worth keeping.
    pub(super) fn forget_finished(&mut self, keep: impl Fn(Tick) -> bool) {
        for stream in self.finished().to_vec() {
            if let Ok(at) = self.position(stream) {
                let log = self.at(at);
                if log.holder().is_none() && log.closed_at().is_some_and(|closed| !keep(closed)) {
                    self.remove(at);
                }
            }
        }
    }
}

/// What one log adds to the sums.
struct Sum {
    bytes: usize,
    read: bool,
    closed: Option<Tick>,
}

impl Sum {
    fn of(log: &StreamLog) -> Self {
        Self { bytes: log.bytes(), read: log.holder().is_some(), closed: log.closed_at() }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::store::log::Bounds;
    use crate::store::{Event, EventKind, NodeId};

    const NODE: NodeId = NodeId(1);

    fn check(streams: &Streams) {
        let logs = || streams.iter().map(|(_, log)| log);
        assert_eq!(streams.bytes(), logs().map(StreamLog::bytes).sum::<usize>());
        assert_eq!(streams.readers(), logs().filter(|log| log.holder().is_some()).count());
        let mut closed: Vec<_> =
            streams.iter().filter(|(_, log)| log.closed_at().is_some()).map(|(no, _)| no).collect();
        let mut finished = streams.finished().to_vec();
        (closed.sort_unstable(), finished.sort_unstable());
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
                        log.append(NODE, log.next(), vec![event], step == 1, bounds, Tick::default())
                    })),
                    2 => drop(streams.change(at, |log| log.attach(NODE, None))),
                    3 => drop(streams.change(at, |log| log.holder().is_some_and(|held| log.detach(held.generation)))),
                    4 => drop(streams.remove(at)),
                    _ => streams.forget_finished(|_| false),
                }
                check(&streams);
            }
        }
    }
}
