//! The log of one stream of a session: its writer appends events, and its reader has a cursor in
//! it.
//!
//! 1. Events are numbered from 1, with or without a reader. The writer of a call names the number,
//!    and the log accepts only the next one.
//! 2. A reader is a cursor. Live delivery, replay and takeover are the same read.
//! 3. Beyond the bounds notifications are dropped, oldest first. Responses and open requests to the
//!    client never are. Dropped events show as a gap in the numbers.
//!
//! Invariants:
//!
//! - `entries` ascend by `seq`; every `seq` is below `next`.
//! - `bytes` is the sum of the payloads in `entries`, and `droppable` the sum of those that may be
//!   dropped. `given` is the droppable part up to `delivered`, and `unread` is the sum of all above
//!   `delivered`.
//! - `delivered < next`, and it never decreases.
//! - A closed log accepts no more events, except a repetition of the append that closed it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Tick;
use crate::error::{StoreError, StoreErrorKind};
use crate::store::{Append, Appended, Event, EventKind, NodeId, Page, Stored};

/// Receives the changes of a log: events that it accepts and drops.
pub(crate) trait LogNotes {
    fn event(&mut self, seq: u64, droppable: bool, payload: &Bytes);
    fn dropped(&mut self, seq: u64);
    /// `first`: the position at which the closing append started.
    fn closed(&mut self, first: u64, at: Tick);
}

/// Ignores all changes.
impl LogNotes for () {
    fn event(&mut self, _: u64, _: bool, _: &Bytes) {}
    fn dropped(&mut self, _: u64) {}
    fn closed(&mut self, _: u64, _: Tick) {}
}

/// The delay after which a replaced reader should reconnect. Two clients that both claim the stream
/// must not replace each other in a tight loop.
pub(crate) const TAKEN_OVER_RETRY: Duration = Duration::from_secs(5);

/// The number and bytes of notifications that a log keeps before it drops the oldest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Amount {
    events: usize,
    bytes: usize,
}

/// The reader of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) node: NodeId,
    pub(crate) generation: u32,
}

/// The log of one stream.
#[derive(Debug)]
pub(crate) struct StreamLog {
    /// The only node that may append. `None`: any node may, as on the standalone stream.
    owner: Option<NodeId>,
    entries: VecDeque<Entry>,
    bytes: usize,
    droppable: Amount,
    /// Bytes that may be dropped and that a reader has received.
    given: usize,
    /// Bytes that no reader has received.
    unread: usize,
    /// The number of the next event.
    next: u64,
    /// The newest event that a reader has received.
    delivered: u64,
    /// The position at which the closing append started, and the time.
    closed: Option<(u64, Tick)>,
    holder: Option<Holder>,
    /// The number of readers so far, which is the number of the newest.
    generation: u32,
}

#[derive(Debug)]
struct Entry {
    seq: u64,
    droppable: bool,
    payload: Bytes,
}

impl StreamLog {
    pub(crate) fn new(owner: Option<NodeId>) -> Self {
        Self {
            owner,
            entries: VecDeque::new(),
            bytes: 0,
            droppable: Amount::default(),
            given: 0,
            unread: 0,
            next: 1,
            delivered: 0,
            closed: None,
            holder: None,
            generation: 0,
        }
    }

    /// Returns the newest event that a reader has received.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Appends events at `first`; see
    /// [`StreamStore::append`](crate::store::engine::StreamStore::append).
    pub(crate) fn append(
        &mut self,
        append: Append,
        bounds: Bounds,
        now: Tick,
        notes: &mut impl LogNotes,
    ) -> Result<Appended, StoreError> {
        let Append { node, first, events, close, .. } = append;
        if self.owner.is_some_and(|owner| owner != node) {
            return Err(StoreError::new(StoreErrorKind::Fenced));
        }
        let end = first.saturating_add(events.len() as u64);
        if let Some((closing, _)) = self.closed {
            let repeated = close && first == closing && end == self.next;
            return if repeated { Ok(self.appended(0)) } else { Err(StoreError::new(StoreErrorKind::Fenced)) };
        }
        if first != self.next {
            let repeated = !events.is_empty() && first > 0 && end <= self.next;
            return if repeated { Ok(self.appended(0)) } else { Err(StoreError::new(StoreErrorKind::Conflict)) };
        }
        if close {
            // A closed log receives no more events, so it needs no spare capacity while it is
            // retained.
            self.entries.reserve_exact(events.len());
        }
        for event in events {
            self.push(event, notes);
        }
        if close {
            self.closed = Some((first, now));
            notes.closed(first, now);
        }
        let dropped = self.shrink(bounds, notes);
        Ok(self.appended(dropped))
    }

    /// Appends one event at the end. An event equal to the newest unread one is merged with it: ten
    /// notifications that the list changed are one.
    pub(crate) fn publish(&mut self, event: Event, bounds: Bounds, notes: &mut impl LogNotes) -> Appended {
        let is_repeated = |last: &Entry| last.droppable && last.seq > self.delivered && last.payload == event.payload;
        if event.kind != EventKind::Notification || !self.entries.back().is_some_and(is_repeated) {
            self.push(event, notes);
        }
        let dropped = self.shrink(bounds, notes);
        self.appended(dropped)
    }

    fn push(&mut self, event: Event, notes: &mut impl LogNotes) {
        let droppable = event.kind == EventKind::Notification;
        notes.event(self.next, droppable, &event.payload);
        let size = event.payload.len();
        self.bytes += size;
        self.unread += size;
        if droppable {
            self.droppable.events += 1;
            self.droppable.bytes += size;
        }
        self.entries.push_back(Entry { seq: self.next, droppable, payload: event.payload });
        self.next += 1;
    }

    /// Drops the oldest notifications until the rest fit into the bounds. The ones that a reader
    /// has received are the oldest, so they go first.
    fn shrink(&mut self, bounds: Bounds, notes: &mut impl LogNotes) -> usize {
        self.drop_while(u64::MAX, notes, |log| {
            log.droppable.events > bounds.events || log.droppable.bytes > bounds.bytes
        })
    }

    /// Drops the oldest notifications up to a position, while the condition holds. Returns how many
    /// of them no reader had received. The newest event is kept, because it shows a later process
    /// where the log ends.
    fn drop_while(&mut self, up_to: u64, notes: &mut impl LogNotes, wanted: impl Fn(&Self) -> bool) -> usize {
        let mut dropped = 0;
        let mut at = 0;
        while at + 1 < self.entries.len() && self.entries[at].seq <= up_to && wanted(self) {
            if !self.entries[at].droppable {
                at += 1;
                continue;
            }
            let Some(entry) = self.entries.remove(at) else { break };
            notes.dropped(entry.seq);
            let size = entry.payload.len();
            self.bytes -= size;
            self.droppable.events -= 1;
            self.droppable.bytes -= size;
            if entry.seq > self.delivered {
                self.unread -= size;
                dropped += 1;
            } else {
                self.given -= size;
            }
        }
        dropped
    }

    /// Returns the bytes that could be dropped.
    pub(crate) fn spare(&self) -> usize {
        let newest = self.entries.back().filter(|entry| entry.droppable).map_or(0, |entry| entry.payload.len());
        self.droppable.bytes - newest
    }

    /// Returns the bytes that could be dropped and that a reader has received.
    pub(crate) fn spare_given(&self) -> usize {
        let newest = self.entries.back().filter(|entry| entry.droppable && entry.seq <= self.delivered);
        self.given - newest.map_or(0, |entry| entry.payload.len())
    }

    /// Returns the bytes that no reader has received and that may not be dropped: responses and
    /// open requests to the client.
    pub(crate) fn owed(&self) -> usize {
        self.unread + self.given - self.droppable.bytes
    }

    /// Returns `true` if the log is closed and a reader has received all of it.
    pub(crate) fn is_read(&self) -> bool {
        self.closed.is_some() && self.delivered + 1 == self.next
    }

    /// Drops the oldest notifications until so many bytes are free, as far as there are some.
    /// Returns how many of them no reader had received.
    pub(crate) fn free(&mut self, bytes: usize, notes: &mut impl LogNotes) -> usize {
        self.shrink(Bounds { events: usize::MAX, bytes: self.droppable.bytes.saturating_sub(bytes) }, notes)
    }

    /// Drops the oldest notifications that a reader has received, until so many bytes are free, as
    /// far as there are some.
    pub(crate) fn free_given(&mut self, bytes: usize, notes: &mut impl LogNotes) {
        let rest = self.given.saturating_sub(bytes);
        self.drop_while(self.delivered, notes, |log| log.given > rest);
    }

    /// Makes a request to the client droppable like a notification, because no caller waits for its
    /// answer any more.
    pub(crate) fn settle(&mut self, seq: u64) {
        let at = self.entries.partition_point(|entry| entry.seq < seq);
        if let Some(entry) = self.entries.get_mut(at).filter(|entry| entry.seq == seq && !entry.droppable) {
            entry.droppable = true;
            self.droppable.events += 1;
            self.droppable.bytes += entry.payload.len();
            self.given += if seq > self.delivered { 0 } else { entry.payload.len() };
        }
    }

    fn appended(&self, dropped: usize) -> Appended {
        Appended { read: self.holder.is_some(), unread: self.unread, dropped, lost: 0, cancelled: false }
    }

    /// Attaches a reader, and returns the one that it replaces.
    pub(crate) fn attach(
        &mut self,
        node: NodeId,
        after: Option<u64>,
    ) -> Result<(Holder, u64, Option<Holder>), StoreError> {
        let after = after.unwrap_or(self.delivered);
        if after >= self.next {
            return Err(StoreError::new(StoreErrorKind::BeyondEnd));
        }
        self.generation += 1;
        let holder = Holder { node, generation: self.generation };
        let before = self.holder.replace(holder);
        Ok((holder, after, before))
    }

    /// Detaches the reader of a generation. Returns `false` if another reader has replaced it.
    pub(crate) fn detach(&mut self, generation: u32) -> bool {
        let present = self.holder.is_some_and(|holder| holder.generation == generation);
        if present {
            self.holder = None;
        }
        present
    }

    /// Returns the events after a position.
    pub(crate) fn read_after(&mut self, generation: u32, after: u64, max_bytes: usize) -> Result<Page, StoreError> {
        if self.holder.is_none_or(|holder| holder.generation != generation) {
            return Err(StoreError::new(StoreErrorKind::Fenced));
        }
        let start = self.entries.partition_point(|entry| entry.seq <= after);
        let mut events = Vec::with_capacity((self.entries.len() - start).min(64));
        let mut bytes = 0;
        for entry in self.entries.range(start..) {
            if !events.is_empty() && bytes + entry.payload.len() > max_bytes {
                break;
            }
            bytes += entry.payload.len();
            events.push(Stored { seq: entry.seq, payload: entry.payload.clone() });
        }
        if let Some(last) = events.last() {
            self.give(last.seq);
        }
        Ok(Page { events, tail: self.next - 1, closed: self.closed.is_some() })
    }

    /// Marks everything up to a position as received by a reader, or not wanted by it.
    fn give(&mut self, up_to: u64) {
        if up_to <= self.delivered {
            return;
        }
        let start = self.entries.partition_point(|entry| entry.seq <= self.delivered);
        for entry in self.entries.range(start..).take_while(|entry| entry.seq <= up_to) {
            let size = entry.payload.len();
            self.unread -= size;
            self.given += if entry.droppable { size } else { 0 };
        }
        self.delivered = up_to;
    }

    pub(crate) fn owner(&self) -> Option<NodeId> {
        self.owner
    }

    pub(crate) fn holder(&self) -> Option<Holder> {
        self.holder
    }

    /// Returns the number of the next event.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Returns the bytes that no reader has received.
    pub(crate) fn unread(&self) -> usize {
        self.unread
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the time at which the stream ended, if it has.
    pub(crate) fn closed_at(&self) -> Option<Tick> {
        self.closed.map(|(_, at)| at)
    }
}

/// The restoration from a journal, and the changes that write a log to one.
#[cfg(feature = "file")]
impl StreamLog {
    /// Restores a log of an earlier process. Each event is its number, whether it may be dropped,
    /// and its text.
    pub(crate) fn restored(
        owner: Option<NodeId>,
        events: impl Iterator<Item = (u64, bool, Bytes)>,
        delivered: u64,
        closed: Option<(u64, Tick)>,
    ) -> Self {
        let mut log = Self { closed, ..Self::new(owner) };
        for (seq, droppable, payload) in events {
            let size = payload.len();
            log.bytes += size;
            log.unread += if seq > delivered { size } else { 0 };
            if droppable {
                log.droppable.events += 1;
                log.droppable.bytes += size;
                log.given += if seq > delivered { 0 } else { size };
            }
            log.next = seq.saturating_add(1);
            log.entries.push_back(Entry { seq, droppable, payload });
        }
        // Events that a reader received may be lost through damage. The newest event that exists is
        // then the end, or readers would wait for one that never comes.
        log.delivered = delivered.min(log.next - 1);
        log
    }

    /// Reports everything in the log.
    pub(crate) fn note_all(&self, notes: &mut impl LogNotes) {
        self.entries.iter().for_each(|entry| notes.event(entry.seq, entry.droppable, &entry.payload));
        if let Some((first, at)) = self.closed {
            notes.closed(first, at);
        }
    }

    /// Returns the number of events in the log.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NODE: NodeId = NodeId(1);
    const WIDE: Bounds = Bounds { events: 1000, bytes: 1 << 20 };

    fn note(text: &str) -> Event {
        Event { kind: EventKind::Notification, payload: Bytes::copy_from_slice(text.as_bytes()) }
    }

    fn answer(text: &str) -> Event {
        Event { kind: EventKind::Response, ..note(text) }
    }

    fn of(node: NodeId, first: u64, events: Vec<Event>, close: bool) -> Append {
        Append { session: crate::identity::SessionId::random(), stream: 1, node, first, events, close }
    }

    fn append(log: &mut StreamLog, first: u64, events: Vec<Event>, close: bool) -> Result<Appended, StoreErrorKind> {
        log.append(of(NODE, first, events, close), WIDE, Tick::default(), &mut ()).map_err(|error| error.kind())
    }

    fn seqs(page: &Page) -> Vec<u64> {
        page.events.iter().map(|event| event.seq).collect()
    }

    #[test]
    fn the_same_append_twice_is_one_append() {
        let mut log = StreamLog::new(Some(NODE));
        append(&mut log, 1, vec![note("a"), note("b")], false).unwrap();
        append(&mut log, 1, vec![note("a"), note("b")], false).unwrap();
        append(&mut log, 3, vec![answer("c")], true).unwrap();
        append(&mut log, 3, vec![answer("c")], true).unwrap();
        let (holder, after, _) = log.attach(NODE, Some(0)).unwrap();
        let page = log.read_after(holder.generation, after, usize::MAX).unwrap();
        assert_eq!((seqs(&page), page.closed), (vec![1, 2, 3], true));
    }

    #[test]
    fn a_wrong_place_another_owner_and_a_closed_log_are_refused() {
        let mut log = StreamLog::new(Some(NODE));
        assert_eq!(append(&mut log, 2, vec![note("a")], false), Err(StoreErrorKind::Conflict));
        append(&mut log, 1, vec![note("a")], true).unwrap();
        assert_eq!(append(&mut log, 2, vec![note("b")], false), Err(StoreErrorKind::Fenced));
        let foreign = log.append(of(NodeId(2), 2, vec![note("b")], false), WIDE, Tick::default(), &mut ());
        assert_eq!(foreign.unwrap_err().kind(), StoreErrorKind::Fenced);
    }

    #[test]
    fn overflow_drops_the_oldest_notifications_and_keeps_questions_and_answers() {
        let mut log = StreamLog::new(Some(NODE));
        let small = Bounds { events: 2, bytes: 1 << 20 };
        let request = Event { kind: EventKind::Request("q".into()), ..note("requests") };
        let events = vec![note("1"), request, note("3"), note("4"), note("5"), answer("6")];
        let appended = log.append(of(NODE, 1, events, true), small, Tick::default(), &mut ()).unwrap();
        assert_eq!(appended.dropped, 2);
        let (holder, after, _) = log.attach(NODE, Some(0)).unwrap();
        let page = log.read_after(holder.generation, after, usize::MAX).unwrap();
        assert_eq!(seqs(&page), [2, 4, 5, 6]);
    }

    #[test]
    fn only_the_newest_reader_reads_and_a_stale_one_cannot_let_go_for_it() {
        let mut log = StreamLog::new(Some(NODE));
        append(&mut log, 1, vec![note("a")], false).unwrap();
        let (first, _, none) = log.attach(NODE, Some(0)).unwrap();
        let (second, after, before) = log.attach(NODE, Some(0)).unwrap();
        assert_eq!((none, before), (None, Some(first)));
        assert_eq!(log.read_after(first.generation, 0, 10).unwrap_err().kind(), StoreErrorKind::Fenced);
        assert!(!log.detach(first.generation));
        assert_eq!(seqs(&log.read_after(second.generation, after, 10).unwrap()), [1]);
        assert!(log.detach(second.generation));
    }

    #[test]
    fn a_cursor_that_was_never_given_out_is_beyond_the_end() {
        let mut log = StreamLog::new(Some(NODE));
        append(&mut log, 1, vec![note("a")], false).unwrap();
        assert!(log.attach(NODE, Some(1)).is_ok());
        assert_eq!(log.attach(NODE, Some(2)).unwrap_err().kind(), StoreErrorKind::BeyondEnd);
    }

    #[test]
    fn a_repeated_announcement_nobody_read_is_one_event() {
        let mut log = StreamLog::new(None);
        for _ in 0..3 {
            log.publish(note("changed"), WIDE, &mut ());
        }
        let (holder, _, _) = log.attach(NODE, None).unwrap();
        assert_eq!(seqs(&log.read_after(holder.generation, 0, 99).unwrap()), [1]);
        log.publish(note("changed"), WIDE, &mut ());
        assert_eq!(seqs(&log.read_after(holder.generation, 1, 99).unwrap()), [2]);
    }

    #[test]
    fn place_zero_is_no_repetition_of_anything() {
        let mut log = StreamLog::new(Some(NODE));
        assert_eq!(append(&mut log, 0, vec![note("a")], false), Err(StoreErrorKind::Conflict));
        append(&mut log, 1, vec![note("a")], false).unwrap();
        assert_eq!(append(&mut log, 0, vec![note("b")], false), Err(StoreErrorKind::Conflict));
        assert_eq!(append(&mut log, u64::MAX, vec![note("b")], false), Err(StoreErrorKind::Conflict));
    }

    #[test]
    fn settled_requests_are_dropped_like_notifications() {
        let mut log = StreamLog::new(None);
        let narrow = Bounds { events: 2, bytes: 1 << 20 };
        for number in 1..=1000 {
            let request = Event { kind: EventKind::Request("q".into()), ..note("requests") };
            log.publish(request, narrow, &mut ());
            log.settle(number);
            log.settle(number);
        }
        assert_eq!((log.entries.len(), log.droppable.events, log.bytes), (3, 3, 24));
        log.publish(note("x"), narrow, &mut ());
        assert_eq!((log.entries.len(), log.spare()), (2, 8));
    }

    /// An operation on a log.
    #[derive(Debug, Clone)]
    enum Op {
        Append { sizes: Vec<usize>, repeat: bool },
        Attach { back: u64 },
        Read { max_bytes: usize },
        Detach,
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            (prop::collection::vec(0usize..40, 0..6), any::<bool>())
                .prop_map(|(sizes, repeat)| Op::Append { sizes, repeat }),
            (0u64..8).prop_map(|back| Op::Attach { back }),
            (1usize..100).prop_map(|max_bytes| Op::Read { max_bytes }),
            Just(Op::Detach),
        ];
        prop::collection::vec(op, 0..60)
    }

    proptest! {
        /// A cursor sees each number at most once, ascending, however readers come and go. Missing
        /// events were dropped, and only because the bounds required it.
        #[test]
        fn readers_see_each_event_once_in_order(ops in ops(), events in 1usize..20, bytes in 20usize..400) {
            let bounds = Bounds { events, bytes };
            let mut log = StreamLog::new(Some(NODE));
            let (mut written, mut cursor, mut generation) = (0u64, 0u64, None);
            let mut lost = 0u64;
            for op in ops {
                match op {
                    Op::Append { sizes, repeat } => {
                        let batch: Vec<_> = sizes.iter().map(|size| note(&"x".repeat(*size))).collect();
                        for _ in 0..=usize::from(repeat && !batch.is_empty()) {
                            let result = log.append(of(NODE, written + 1, batch.clone(), false), bounds, Tick::default(), &mut ());
                            prop_assert!(result.is_ok());
                        }
                        written += sizes.len() as u64;
                    }
                    Op::Attach { back } => {
                        cursor = cursor.saturating_sub(back);
                        generation = Some(log.attach(NODE, Some(cursor)).unwrap().0.generation);
                    }
                    Op::Read { max_bytes } => {
                        let Some(generation) = generation else { continue };
                        let page = log.read_after(generation, cursor, max_bytes).unwrap();
                        prop_assert_eq!(page.tail, written);
                        for event in &page.events {
                            prop_assert!(event.seq > cursor);
                            lost += event.seq - cursor - 1;
                            cursor = event.seq;
                        }
                    }
                    Op::Detach => {
                        if let Some(generation) = generation.take() {
                            prop_assert!(log.detach(generation));
                        }
                    }
                }
                prop_assert!(log.droppable.events <= events.max(1));
                prop_assert!(log.droppable.bytes <= bytes.max(40));
                let unread = log.entries.iter().filter(|entry| entry.seq > log.delivered);
                prop_assert_eq!(log.unread, unread.map(|entry| entry.payload.len()).sum::<usize>());
                prop_assert_eq!(log.bytes, log.entries.iter().map(|entry| entry.payload.len()).sum::<usize>());
            }
            if written as usize <= events && log.bytes <= bytes && lost > 0 {
                // With fewer events than the bound, only the byte bound can have dropped some.
                prop_assert!(bytes < 40 * written as usize);
            }
        }
    }
}
