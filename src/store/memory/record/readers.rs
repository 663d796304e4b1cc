//! The readers of a session's streams: how they attach, replace each other, read and detach.

use std::time::Duration;

use super::{Record, Result, Wake, fail};
use crate::clock::Tick;
use crate::error::StoreErrorKind;
use crate::store::journal::{Change, Notes};
use crate::store::log::TAKEN_OVER_RETRY;
use crate::store::{Attach, Attached, Page, Policy, STANDALONE, Signal, StreamNo};

impl<M> Record<M> {
    pub(in crate::store::memory) fn attach(
        &mut self,
        attach: &Attach<'_>,
        newest: u64,
        policy: &Policy,
        now: Tick,
        notes: &mut impl Notes,
    ) -> Result<(Attached, Wake)> {
        self.touch(now);
        let known = self.streams.len();
        let at = match attach.stream {
            STANDALONE => self.make(STANDALONE, None, notes),
            stream => self.open(stream, notes)?,
        };
        if attach.stream == STANDALONE && self.streams.len() > known {
            // Announcements from before its first reader are not delivered.
            self.set_told(newest, notes);
        }
        let attached = self.attach_at(at, attach, newest, policy);
        if attached.is_err() && self.streams.len() > known {
            // The reader was rejected, so no stream is kept for it.
            self.streams.forget(at, |stream| notes.note(|| Change::Forgotten { stream }));
        }
        attached
    }

    fn attach_at(&mut self, at: usize, attach: &Attach<'_>, newest: u64, policy: &Policy) -> Result<(Attached, Wake)> {
        let (log, readers) = (self.streams.at(at), self.streams.readers());
        if log.holder().is_some() && !attach.takeover {
            return fail(StoreErrorKind::Conflict);
        }
        if log.holder().is_none() && readers >= policy.max_streams {
            return fail(StoreErrorKind::Full);
        }
        let (holder, after, before) = self.streams.change(at, |log| log.attach(attach.node, attach.after))?;
        let wake = before.map(|old| {
            // The replaced client may still be alive, so it must wait before it reconnects.
            (old.node, self.detached(attach.stream, old.generation, Some(TAKEN_OVER_RETRY)))
        });
        let (generation, delivered, revision) = (holder.generation, self.delivered, self.revision());
        Ok((Attached { generation, after, delivered, newest, revision }, wake))
    }

    pub(in crate::store::memory) fn read_after(
        &mut self,
        stream: StreamNo,
        generation: u32,
        after: u64,
        max: usize,
        notes: &mut impl Notes,
    ) -> Result<(Page, Wake)> {
        let Ok(at) = self.position(stream) else { return fail(StoreErrorKind::NotFound) };
        let known = self.streams.at(at).delivered();
        let page = self.streams.change(at, |log| log.read_after(generation, after, max))?;
        // Only on the standalone stream a reader may start where the previous one stopped.
        if let Some(last) = page.events.last().filter(|last| stream == STANDALONE && last.seq > known) {
            notes.note(|| Change::Delivered { stream, seq: last.seq });
        }
        let wake = if page.events.is_empty() { None } else { self.wake_owner(stream, at) };
        Ok((page, wake))
    }

    pub(in crate::store::memory) fn detach(&mut self, stream: StreamNo, generation: u32, now: Tick) -> Wake {
        let at = self.position(stream).ok()?;
        if !self.streams.change(at, |log| log.detach(generation)) {
            return None;
        }
        self.touched = now;
        self.wake_owner(stream, at)
    }

    /// Returns the signal to the writer of a stream, which may be waiting for its reader.
    fn wake_owner(&self, stream: StreamNo, at: usize) -> Wake {
        let log = self.streams.at(at);
        let owner = log.owner().filter(|_| log.closed_at().is_none())?;
        Some((owner, Signal::Drained { session: self.info.id, stream }))
    }

    pub(in crate::store::memory) fn request_detach(&self, stream: StreamNo, retry: Option<Duration>) -> Wake {
        let at = self.position(stream).ok()?;
        let holder = self.streams.at(at).holder()?;
        Some((holder.node, self.detached(stream, holder.generation, retry)))
    }

    pub(super) fn detached(&self, stream: StreamNo, generation: u32, retry: Option<Duration>) -> Signal {
        Signal::Detach { session: self.info.id, stream, generation, retry }
    }
}
