//! The bounds of a session: what it drops when it keeps more than its limits allow, in this order.
//!
//! 1. Notifications that a reader has received.
//! 2. Finished streams that were read to their end, the first that ended first.
//! 3. Unread notifications, of the stream that has the most of them.
//! 4. Finished streams with an unread response, the first that ended first.
//!
//! A stream with a reader is never forgotten, nor is the stream that the current operation writes.
//! Unread responses and open requests to the client may exceed the bytes of a session by
//! [`Policy::answer_bytes`]. So a large response that waits for its client takes no capacity from
//! other calls.

use super::Record;
use crate::store::journal::{Change, Notes, OnStream};
use crate::store::{Appended, Policy, STANDALONE, StreamNo};

/// The classes of data that a session releases for others, in this order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::store::memory) enum Class {
    /// Everything that a reader has received.
    #[default]
    Given,
    /// Unread notifications.
    Unread,
    /// Finished streams with an unread response.
    Answers,
}

impl Class {
    pub(in crate::store::memory) fn next(self) -> Option<Self> {
        match self {
            Self::Given => Some(Self::Unread),
            Self::Unread => Some(Self::Answers),
            Self::Answers => None,
        }
    }
}

impl<M> Record<M> {
    /// Returns the bytes that its streams keep.
    pub(in crate::store::memory) fn bytes(&self) -> usize {
        self.streams.bytes()
    }

    /// Releases so many bytes for another session, as far as it has them. Of [`Class::Given`] it
    /// releases all. Returns the number of responses that were lost.
    pub(in crate::store::memory) fn give_up(&mut self, class: Class, wanted: usize, notes: &mut impl Notes) -> usize {
        let rest = self.bytes().saturating_sub(wanted);
        let mut sums = Appended { read: false, unread: 0, dropped: 0, lost: 0, cancelled: false };
        // The standalone stream never finishes, so no finished stream is spared.
        let none = STANDALONE;
        loop {
            let excess = self.bytes().saturating_sub(rest);
            let gave = match class {
                // It may have been read since the list of sessions was made.
                _ if self.free_given(usize::MAX, notes) || self.forget_read(none, notes) => true,
                Class::Given => false,
                Class::Unread => excess > 0 && self.free_unread(excess, none, &mut sums, notes),
                Class::Answers => excess > 0 && self.forget_unread(none, &mut sums, notes),
            };
            if !gave {
                return sums.lost;
            }
        }
    }

    /// Drops data until the session fits its bounds. `appended` reports to the writer what the
    /// stream that it writes loses, and the number of responses that were lost.
    pub(super) fn shrink(
        &mut self,
        policy: &Policy,
        written: StreamNo,
        appended: &mut Appended,
        notes: &mut impl Notes,
    ) {
        loop {
            let excess = self.excess(policy);
            let too_many = self.streams.finished_count() > policy.finished_streams;
            if !too_many && excess == 0 {
                return;
            }
            let gave = (excess > 0 && self.free_given(excess, notes))
                || self.forget_read(written, notes)
                || (excess > 0 && self.free_unread(excess, written, appended, notes))
                || self.forget_unread(written, appended, notes);
            if !gave {
                return;
            }
        }
    }

    /// Returns the bytes that the session keeps beyond its limit.
    fn excess(&self, policy: &Policy) -> usize {
        let owed = self.streams.unread().min(policy.answer_bytes);
        self.streams.bytes().saturating_sub(policy.session_bytes.saturating_add(owed))
    }

    /// Each of these returns `true` if there was something to release.
    fn free_given(&mut self, excess: usize, notes: &mut impl Notes) -> bool {
        if self.streams.given() == 0 {
            return false;
        }
        let most = self.streams.most(|log| log.spare_given());
        if let Some((at, stream)) = most {
            self.streams.change(at, |log| log.free_given(excess, &mut OnStream(stream, notes)));
        }
        most.is_some()
    }

    fn forget_read(&mut self, written: StreamNo, notes: &mut impl Notes) -> bool {
        let oldest = self.streams.oldest_finished(|stream, log| stream != written && log.is_read());
        self.forget(oldest, notes)
    }

    fn free_unread(
        &mut self,
        excess: usize,
        written: StreamNo,
        appended: &mut Appended,
        notes: &mut impl Notes,
    ) -> bool {
        let most = self.streams.most(|log| log.spare());
        let Some((at, stream)) = most else { return false };
        let dropped = self.streams.change(at, |log| log.free(excess, &mut OnStream(stream, notes)));
        if stream == written {
            appended.dropped += dropped;
            appended.unread = self.streams.at(at).unread();
        }
        true
    }

    fn forget_unread(&mut self, written: StreamNo, appended: &mut Appended, notes: &mut impl Notes) -> bool {
        let oldest = self.streams.oldest_finished(|stream, _| stream != written);
        let gave = self.forget(oldest, notes);
        appended.lost += usize::from(gave);
        gave
    }

    fn forget(&mut self, at: Option<usize>, notes: &mut impl Notes) -> bool {
        if let Some(at) = at {
            self.streams.forget(at, |stream| notes.note(|| Change::Forgotten { stream }));
        }
        at.is_some()
    }
}
