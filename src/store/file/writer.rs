//! Decides when steps reach the disk, and when what counts no more is given back: one thread of
//! its own, so that no step of another session waits for a file.
//!
//! 1. Whatever waits is written at once, together, and then everybody who waits for it is told:
//!    the more there is, the larger the portions.
//! 2. What cannot be written is tried again, in a new segment, for as long as the engine lives.
//!    Nothing that was acknowledged is given up, and nothing is written behind what was.
//! 3. When the segments hold much more than what is there, all of it is written once more, a little
//!    at a time between the portions, and the old segments are deleted.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::frame::{self, Frame};
use super::queue::{Queue, Taken};
use super::segment::Segments;
use crate::clock::{Clock, Tick};
use crate::identity::{SessionId, TaskId};
use crate::store::memory::Shared;

/// Segments may hold this and twice of what is there, before they are written anew.
const SPARE: u64 = 16 << 20;

/// So many segments that are not full are too many, however small; each start leaves one.
const MANY: usize = 32;

/// How often it is looked how much of the segments still counts.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long a disk that refuses is left alone.
const RETRY: Duration = Duration::from_millis(500);

/// What is written at a time, if it is more than one step.
const PORTION: usize = 4 << 20;

/// What is written anew at a time.
const SLICE: usize = 1 << 20;

pub(super) struct Writer {
    pub(super) queue: Arc<Queue>,
    pub(super) shared: Weak<Shared<Arc<Queue>>>,
    pub(super) segments: Segments,
    /// Whether a portion must have reached the disk before anybody is told.
    pub(super) sync: bool,
    /// The oldest step that counts, once a renewal that goes on has come to its end.
    pub(super) first: u64,
    /// Everything is to be written anew now: something in the segments cannot be read, or has an earlier format.
    pub(super) renew: bool,
    pub(super) renewal: Option<Renewal>,
    /// By how much the last renewal wrote more than what there is was thought to weigh: a mistake there
    /// must not make renewals follow each other without end.
    pub(super) short: u64,
    pub(super) clock: Clock,
    /// Which segment was being written when it was last looked, and when that was.
    pub(super) looked: (u64, Tick),
    pub(super) buffer: Vec<u8>,
}

/// Everything that is there is being written once more.
pub(super) struct Renewal {
    /// Segments before this one count no more in the end.
    first: u64,
    sessions: Vec<SessionId>,
    tasks: Vec<TaskId>,
    /// About how much that was so far.
    written: u64,
    /// All of it lies before this place of the queue.
    end: Option<u64>,
}

impl Writer {
    pub(super) fn run(mut self) {
        while self.step(if self.renewal.is_some() { Duration::ZERO } else { LOOK_EVERY }) {}
    }

    /// Writes what waits, or comes within a while; whether there will be more to do.
    pub(super) fn step(&mut self, patience: Duration) -> bool {
        match self.queue.take(patience) {
            Taken::Frames(mut frames) => {
                if !self.write(&mut frames) {
                    // What comes after a portion that is given up must not be there either.
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

    /// Writes what waited, in portions, so that the buffer stays small; whether all of it was.
    fn write(&mut self, mut frames: &mut [Frame]) -> bool {
        while !frames.is_empty() {
            let mut weight = 0;
            let fits = |frame: &&Frame| {
                weight += frame::weight(&frame.changes);
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

    /// Writes a portion, however often that must be tried; whether it was.
    fn write_portion(&mut self, frames: &mut [Frame]) -> bool {
        let Some(last) = frames.last().map(|last| last.number) else { return true };
        self.buffer.clear();
        let settled = self.queue.written_up_to();
        for step in frames {
            step.first = self.first;
            if self.sync {
                // Without syncs the system keeps each, whatever becomes of the next.
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
        // One large portion must not keep its room for ever.
        self.buffer.shrink_to(SLICE);
        true
    }

    fn renew(&mut self) -> io::Result<()> {
        let Some(shared) = self.shared.upgrade() else { return Ok(()) };
        if self.segments.take_unsound() {
            // All of it is in memory, so it can be written where it is safe. Not again at once when
            // that goes wrong, too: a disk that is dying would only be filled.
            self.renew = self.renewal.take().is_none();
        }
        let Some(renewal) = &mut self.renewal else {
            return self.look(&shared);
        };
        if !renewal.write(&shared, &self.queue) {
            return Ok(());
        }
        let (first, written) = (renewal.first, renewal.written);
        self.renewal = None;
        // It must be there before what it replaces is not.
        self.segments.sync()?;
        self.segments.give_up_before(first);
        self.short = written.saturating_sub(shared.bytes());
        tracing::debug!(bytes = self.segments.size(), "the journal was renewed");
        self.segments.delete()
    }

    /// Begins a renewal if one is due.
    fn look(&mut self, shared: &Shared<Arc<Queue>>) -> io::Result<()> {
        let (segment, at) = self.looked;
        if !self.renew && segment == self.segments.number() && self.clock.now().since(at) < LOOK_EVERY {
            return Ok(());
        }
        self.looked = (self.segments.number(), self.clock.now());
        let is_many = self.segments.small() > MANY;
        let is_large = || self.segments.size() > SPARE.saturating_add(2 * (shared.bytes() + self.short));
        // Looking costs a look at every session: only where there is something to win.
        if self.renew || is_many || (self.segments.size() > SPARE && is_large()) {
            let first = self.segments.roll()?;
            self.looked.0 = first;
            // Said before anything is deleted: afterwards it may be too late.
            self.first = self.queue.written_up_to() + 1;
            let (sessions, tasks) = (shared.session_ids(), shared.task_ids());
            self.renewal = Some(Renewal { first, sessions, tasks, written: 0, end: None });
            self.renew = false;
        }
        self.segments.delete()
    }
}

impl Renewal {
    /// Has a little more of it written; whether all of it was.
    fn write(&mut self, shared: &Shared<Arc<Queue>>, queue: &Queue) -> bool {
        // One of them each time, however much else waits: it must come to an end.
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
    /// Also when it panics.
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
