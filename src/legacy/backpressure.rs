//! Backpressure: determines whether a call waits for the reader of its stream.
//!
//! 1. A reader is *behind* while its untaken messages exceed half of what the log keeps for it, or
//!    exceed what a network carries at a time. Further writes might then evict messages that the
//!    reader has not seen.
//! 2. A reader that takes something is no longer behind. A write that had begun before reports an
//!    outdated state, which is ignored.
//! 3. Without a reader no call waits: the log keeps what its bounds allow. A reader that is still
//!    being created counts as one.
//! 4. After a reader has been cut off, no call waits for it until it takes something again, or
//!    until it leaves and another one comes.

use crate::streams::HIGH_WATER;

/// The state of one stream's reader relative to its writer.
#[derive(Debug)]
pub(super) struct Backpressure {
    /// The numbers of untaken messages and bytes above which a reader is behind.
    behind_from: (usize, usize),
    reader: Reader,
    /// The stream has or had a reader, or will never have one.
    attached: bool,
    /// The reader took something since the current write began.
    took: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    KeepsUp,
    Behind,
    CutOff,
}

/// The state of the stream as a write reported it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Written {
    pub(super) untaken_events: usize,
    pub(super) untaken_bytes: usize,
    /// Whether a reader is attached.
    pub(super) read: bool,
}

impl Backpressure {
    /// Creates the state of a stream that keeps this many messages and bytes for its reader.
    pub(super) fn new((events, bytes): (usize, usize)) -> Self {
        let behind_from = (events / 2, HIGH_WATER.min(bytes / 2));
        Self { behind_from, reader: Reader::KeepsUp, attached: false, took: false }
    }

    /// Returns `true` if the writer must wait.
    pub(super) fn is_behind(&self) -> bool {
        self.reader == Reader::Behind
    }

    /// Returns `true` if the reader has been created, or will not be.
    pub(super) fn is_attached(&self) -> bool {
        self.attached
    }

    pub(super) fn attach(&mut self) {
        self.attached = true;
    }

    pub(super) fn write_begins(&mut self) {
        self.took = false;
    }

    /// Records the result of a write to a log.
    pub(super) fn written(&mut self, written: Written) {
        let Written { untaken_events, untaken_bytes, read } = written;
        let too_much = untaken_events > self.behind_from.0 || untaken_bytes > self.behind_from.1;
        let waited_for = (read || !self.attached) && !self.took;
        self.set_behind(too_much && waited_for);
    }

    /// Records the result of a write to a queue, which measures its reader itself.
    pub(super) fn queued(&mut self, full: bool) {
        self.set_behind(full);
    }

    /// Records that the reader took something or left.
    pub(super) fn took(&mut self) {
        self.reader = Reader::KeepsUp;
        self.took = true;
    }

    /// Stops waiting for the reader. Returns `false` if it was cut off before.
    pub(super) fn cut_off(&mut self) -> bool {
        std::mem::replace(&mut self.reader, Reader::CutOff) != Reader::CutOff
    }

    fn set_behind(&mut self, behind: bool) {
        if self.reader != Reader::CutOff {
            self.reader = if behind { Reader::Behind } else { Reader::KeepsUp };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: Written = Written { untaken_events: 6, untaken_bytes: 60, read: true };

    fn read_pace() -> Backpressure {
        let mut backpressure = Backpressure::new((10, 1_000));
        backpressure.attach();
        backpressure
    }

    #[test]
    fn a_reader_is_behind_at_half_the_log() {
        for (untaken_events, untaken_bytes, behind) in [(5, 500, false), (6, 0, true), (0, 501, true), (0, 0, false)] {
            let mut backpressure = read_pace();
            backpressure.written(Written { untaken_events, untaken_bytes, read: true });
            assert_eq!(backpressure.is_behind(), behind, "{untaken_events} messages, {untaken_bytes} bytes");
        }
    }

    #[test]
    fn a_large_log_does_not_raise_the_bound() {
        let mut backpressure = Backpressure::new((10, HIGH_WATER * 8));
        backpressure.written(Written { untaken_events: 1, untaken_bytes: HIGH_WATER + 1, read: true });
        assert!(backpressure.is_behind());
    }

    #[test]
    fn older_writes_do_not_override_a_read() {
        let mut backpressure = read_pace();
        backpressure.written(FAR);
        backpressure.write_begins();
        backpressure.took();
        assert!(!backpressure.is_behind());
        backpressure.written(FAR);
        assert!(!backpressure.is_behind());
        backpressure.write_begins();
        backpressure.written(FAR);
        assert!(backpressure.is_behind());
    }

    #[test]
    fn writers_wait_for_attaching_readers_only() {
        let mut backpressure = Backpressure::new((10, 1_000));
        backpressure.written(Written { read: false, ..FAR });
        assert!(backpressure.is_behind());
        backpressure.attach();
        backpressure.written(Written { read: false, ..FAR });
        assert!(!backpressure.is_behind());
    }

    #[test]
    fn readers_are_cut_off_once_until_they_read() {
        let mut backpressure = read_pace();
        backpressure.written(FAR);
        assert!(backpressure.cut_off());
        assert!(!backpressure.cut_off());
        backpressure.written(FAR);
        backpressure.queued(true);
        assert!(!backpressure.is_behind());
        backpressure.took();
        backpressure.write_begins();
        backpressure.written(FAR);
        assert!(backpressure.is_behind());
    }
}
