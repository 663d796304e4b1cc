//! The calls in flight of a session: their registration, cancellation and end.

use std::sync::atomic::Ordering;

use super::{CallRow, Record, Result, STREAMS_PER_STEP, Wake, fail, given_out};
use crate::clock::Tick;
use crate::error::StoreErrorKind;
use crate::message::RequestId;
use crate::store::journal::{Change, Notes};
use crate::store::{Begin, Policy, STANDALONE, Signal, StreamNo};

impl<M> Record<M> {
    pub(in crate::store::memory) fn begin(
        &mut self,
        begin: &Begin<'_>,
        policy: &Policy,
        now: Tick,
        notes: &mut impl Notes,
    ) -> Result<StreamNo> {
        self.touch(now);
        let wanted = begin.ids.len();
        if self.calls.len() + wanted > policy.max_calls {
            return fail(StoreErrorKind::Full);
        }
        if begin.unique && self.clashes(begin.ids) {
            return fail(StoreErrorKind::Conflict);
        }
        let stream = self.next_stream;
        // A number is never reused, least of all that of the standalone stream. A session that has
        // used up its numbers is over, and its client opens another one.
        let Some(next) = stream.checked_add(1) else { return fail(StoreErrorKind::NotFound) };
        if let Some(usage) = &self.usage {
            // A peer has a limit of sessions, and each session has a limit of calls.
            let limit = if self.info.principal.is_some() { policy.max_calls_per_principal } else { usize::MAX };
            let more = |calls: usize| (calls + wanted <= limit).then_some(calls + wanted);
            if usage.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
                return fail(StoreErrorKind::FullForPrincipal);
            }
        }
        self.next_stream = next;
        if stream == STANDALONE + 1 || stream.is_multiple_of(STREAMS_PER_STEP) {
            notes.note(|| Change::Streams { below: given_out(stream) });
        }
        // An exact reservation: a session keeps the memory of its first call, and most have one
        // call at a time.
        self.calls.reserve_exact(wanted);
        self.calls.extend(begin.ids.iter().map(|id| CallRow {
            id: id.clone(),
            stream,
            node: begin.node,
            cancelled: false,
        }));
        Ok(stream)
    }

    /// Returns `true` if one of the ids is in flight already, or occurs twice among them.
    fn clashes(&self, ids: &[RequestId]) -> bool {
        self.calls.iter().any(|row| ids.contains(&row.id))
            || ids.iter().enumerate().any(|(at, id)| ids[..at].contains(id))
    }

    pub(in crate::store::memory) fn finish(&mut self, stream: StreamNo, now: Tick, notes: &mut impl Notes) -> Wake {
        self.touched = now;
        if stream == STANDALONE {
            return None;
        }
        self.release(stream);
        let at = self.position(stream).ok()?;
        if self.streams.at(at).closed_at().is_some() {
            return None;
        }
        // Abandoned without a response, so no client may resume it.
        let log = self.streams.remove(at)?;
        notes.note(|| Change::Forgotten { stream });
        log.holder().map(|holder| (holder.node, self.detached(stream, holder.generation, None)))
    }

    /// Removes the calls of a stream, and their requests to the client.
    pub(super) fn release(&mut self, stream: StreamNo) {
        let before = self.calls.len();
        self.calls.retain(|row| row.stream != stream);
        if let Some(usage) = &self.usage {
            usage.fetch_sub(before - self.calls.len(), Ordering::Relaxed);
        }
        self.client_requests.release(stream);
    }

    pub(in crate::store::memory) fn cancel(&mut self, id: &RequestId, now: Tick) -> (bool, Wake) {
        self.touch(now);
        let mut rows = self.calls.iter_mut().filter(|row| row.id == *id);
        let (Some(row), None) = (rows.next(), rows.next()) else { return (false, None) };
        row.cancelled = true;
        let signal = Signal::Cancel { session: self.info.id, stream: row.stream, id: id.clone() };
        (true, Some((row.node, signal)))
    }

    pub(in crate::store::memory) fn cancelled(&self, stream: StreamNo) -> Result<Vec<RequestId>> {
        let rows = || self.calls.iter().filter(|row| row.stream == stream);
        if rows().next().is_none() {
            return fail(StoreErrorKind::NotFound);
        }
        Ok(rows().filter(|row| row.cancelled).map(|row| row.id.clone()).collect())
    }
}
