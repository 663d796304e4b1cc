//! The journal's writer: a thread that brings queued operations to the disk and reclaims the space
//! of old ones. It has a thread of its own so that no operation of another session waits for a
//! file.
//!
//! 1. Everything that is queued is written at once, and then all operations that wait for it are
//!    woken. The more is queued, the larger the batches.
//! 2. What cannot be written is tried again, in a new segment, for as long as the engine lives.
//!    Nothing that was acknowledged is given up, and nothing is written after a batch that was
//!    given up.
//! 3. When the segments hold much more than the current state, the state is written once more, in
//!    small parts between the batches. This is called a renewal. The old segments are then deleted.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::frame::{self, Frame};
use super::queue::{Queue, Taken};
use super::segment::Segments;
use crate::clock::{Clock, Tick};
use crate::identity::{SessionId, TaskId};
use crate::store::journal;
use crate::store::memory::Shared;

/// Segments may hold this much plus twice the size of the current state before a renewal begins.
const SPARE: u64 = 16 << 20;

/// The number of small segments above which a renewal begins, whatever their size. Each start of
/// the engine leaves one.
const MANY: usize = 32;

/// How often the writer checks how much of the segments still counts.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// The pause after a write that failed.
const RETRY: Duration = Duration::from_millis(500);

/// The maximum number of bytes written at once, unless a single operation is larger.
const PORTION: usize = 4 << 20;

/// How many bytes of a renewal are written at once.
const SLICE: usize = 1 << 20;

pub(super) struct Writer {
    pub(super) queue: Arc<Queue>,
    pub(super) shared: Weak<Shared<Arc<Queue>>>,
    pub(super) segments: Segments,
    /// A batch must have reached the disk before its operations are acknowledged.
    pub(super) sync: bool,
    /// The oldest operation that counts once the current renewal is complete.
    pub(super) first: u64,
    /// Everything must be written again now: a part of the segments cannot be read, or has an
    /// earlier format.
    pub(super) renew: bool,
    pub(super) renewal: Option<Renewal>,
    /// By how much the last renewal exceeded the estimated size of the state. An estimate that is
    /// too low must not cause one renewal after another.
    pub(super) short: u64,
    pub(super) clock: Clock,
    /// The segment that was being written at the last check, and when that was.
    pub(super) checked: (u64, Tick),
    pub(super) buffer: Vec<u8>,
}

/// A renewal in progress.
pub(super) struct Renewal {
    /// Segments before this one no longer count once the renewal is complete.
    first: u64,
    sessions: Vec<SessionId>,
    tasks: Vec<TaskId>,
    /// Roughly how much it has written so far.
    written: u64,
    /// All of it is queued before this number.
    end: Option<u64>,
}

impl Writer {
    pub(super) fn run(mut self) {
        while self.step(if self.renewal.is_some() { Duration::ZERO } else { CHECK_INTERVAL }) {}
    }

    /// Writes what is queued, or arrives within the timeout. Returns `false` when the writer must
    /// stop.
    pub(super) fn step(&mut self, patience: Duration) -> bool {
        match self.queue.take(patience) {
            Taken::Frames(mut frames) => {
                if !self.write(&mut frames) {
                    // Nothing may follow a batch that was given up.
                    return false;
                }
            }
            Taken::Nothing => {}
            Taken::Closed => {
                if let Err(error) = self.segments.end() {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the journal could not be synced at its end"
                    );
                }
                return false;
            }
        }
        if let Err(error) = self.renew() {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "old segments of the journal could not be renewed"
            );
        }
        true
    }

    /// Writes the queued operations in batches, so that the buffer stays small. Returns `false` if
    /// the engine closed before all of them were written.
    fn write(&mut self, mut frames: &mut [Frame]) -> bool {
        while !frames.is_empty() {
            let mut weight = 0;
            let fits = |frame: &&Frame| {
                weight += journal::weight(&frame.changes);
                weight <= PORTION
            };
            let fitting = frames.iter().take_while(fits).count().max(1);
            let (portion, rest) = frames.split_at_mut(fitting);
            if !self.write_portion(portion) {
                return false;
            }
            frames = rest;
        }
        true
    }

    /// Writes one batch, and retries until that succeeds. Returns `false` if the engine closed
    /// before it did.
    fn write_portion(&mut self, frames: &mut [Frame]) -> bool {
        let Some(last) = frames.last().map(|last| last.number) else { return true };
        self.buffer.clear();
        let settled = self.queue.written_up_to();
        for step in frames {
            step.first = self.first;
            if self.sync {
                // Without syncs, the system keeps each operation independently of the next.
                step.settled = settled;
            }
            if let Err(error) = frame::write(step, &mut self.buffer) {
                tracing::error!(error = &error as &dyn std::error::Error, "a step is too large for the journal");
            }
        }
        while let Err(error) = self.segments.append(&self.buffer, self.sync) {
            if self.queue.failed() {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the journal cannot be written; sessions are out of reach until it can"
                );
            }
            if !self.queue.pause(RETRY) {
                return false;
            }
        }
        self.queue.wrote(last);
        // One large batch must not keep its memory indefinitely.
        self.buffer.shrink_to(SLICE);
        true
    }

    fn renew(&mut self) -> io::Result<()> {
        let Some(shared) = self.shared.upgrade() else { return Ok(()) };
        if self.segments.take_unsound() {
            // The whole state is in memory, so it can be written again in a safe place. If that
            // goes wrong as well, it is not repeated at once: that would only fill a failing disk.
            self.renew = self.renewal.take().is_none();
        }
        let Some(renewal) = &mut self.renewal else {
            return self.check_folder(&shared);
        };
        if !renewal.write(&shared, &self.queue) {
            return Ok(());
        }
        let (first, written) = (renewal.first, renewal.written);
        self.renewal = None;
        // The new data must be on the disk before the old segments are deleted.
        self.segments.sync()?;
        self.segments.give_up_before(first);
        self.short = written.saturating_sub(shared.bytes());
        tracing::debug!(bytes = self.segments.size(), "the journal was renewed");
        self.segments.delete()
    }

    /// Begins a renewal if one is due.
    fn check_folder(&mut self, shared: &Shared<Arc<Queue>>) -> io::Result<()> {
        let (segment, at) = self.checked;
        if !self.renew && segment == self.segments.number() && self.clock.now().since(at) < CHECK_INTERVAL {
            return Ok(());
        }
        self.checked = (self.segments.number(), self.clock.now());
        let is_many = self.segments.small() > MANY;
        let is_large = || self.segments.size() > SPARE.saturating_add(2 * (shared.bytes() + self.short));
        // The estimate visits every session, so it is computed only where space can be reclaimed.
        if self.renew || is_many || (self.segments.size() > SPARE && is_large()) {
            let first = self.segments.roll()?;
            self.checked.0 = first;
            // This number must be recorded before anything is deleted. Afterwards may be too late.
            self.first = self.queue.written_up_to() + 1;
            let (sessions, tasks) = (shared.session_ids(), shared.task_ids());
            self.renewal = Some(Renewal { first, sessions, tasks, written: 0, end: None });
            self.renew = false;
        }
        self.segments.delete()
    }
}

impl Renewal {
    /// Queues another part of the state. Returns `true` once all of it is written.
    fn write(&mut self, shared: &Shared<Arc<Queue>>, queue: &Queue) -> bool {
        // At least one session or task each time, however full the queue is, so that the renewal
        // completes.
        loop {
            if let Some(session) = self.sessions.pop() {
                self.written += shared.write_anew(session) as u64;
            } else if let Some(task) = self.tasks.pop() {
                self.written += shared.write_task_anew(task) as u64;
            } else {
                let end = *self.end.get_or_insert_with(|| shared.write_nodes_anew());
                return queue.has_written(end);
            }
            if queue.weight() >= SLICE {
                return false;
            }
        }
    }
}

impl Drop for Writer {
    /// Runs even if the writer panics.
    fn drop(&mut self) {
        self.queue.over();
    }
}

#[cfg(test)]
mod tests {
    use super::super::open;
    use super::*;
    use crate::store::journal::{Change, Journal};

    #[test]
    fn a_renewal_comes_to_its_end_however_much_else_is_written() {
        let folder = tempfile::TempDir::new().unwrap();
        let opened = open::open(folder.path()).unwrap();
        let queue = Arc::new(Queue::new(opened.newest));
        let shared = Arc::new(Shared::restored(Arc::clone(&queue), opened.image));
        let busy = || {
            let change = Change::Task {
                id: TaskId::random(),
                principal: None,
                ends: None,
                version: 1,
                done: None,
                document: vec![b'x'; 2 * SLICE].into(),
            };
            queue.keep(None, vec![change], &mut 0);
        };
        let sessions = (0..3).map(|_| SessionId::random()).collect();
        let mut renewal = Renewal { first: 2, sessions, tasks: vec![TaskId::random()], written: 0, end: None };
        let ended = (0..10).find(|_| {
            busy();
            let ended = renewal.write(&shared, &queue);
            queue.wrote(queue.newest());
            ended
        });
        assert_eq!(ended, Some(5));
    }
}
