//! The restoration of a session of an earlier process, and the changes that write it to a journal
//! again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::super::restore::GONE;
use super::state::State;
use super::{CallRow, Record, given_out, note_state};
use crate::clock::Tick;
use crate::identity::{Principal, SessionInfo};
use crate::message::{ClientCapabilities, Implementation};
use crate::store::journal::image::{LogImage, SessionImage};
use crate::store::journal::{Change, Notes, OnStream};
use crate::store::log::StreamLog;
use crate::store::{Create, STANDALONE};

impl<M: Default> Record<M> {
    /// Restores a session. Its calls are still in flight, and no reader is connected. `away`: how
    /// long no process ran.
    pub(in crate::store::memory) fn restored(
        image: SessionImage,
        usage: Option<Arc<AtomicUsize>>,
        now: Tick,
        away: Duration,
    ) -> Self {
        let SessionImage { info, epoch, opened, below, streams, state, delivered: told } = image;
        let mut record = Self::empty(Create { info, epoch }, usage, opened, now);
        // A client that has only sent `notifications/initialized` left nothing in the journal.
        record.used = below > STANDALONE + 1 || !streams.is_empty() || !state.is_empty();
        if below > STANDALONE + 1 {
            record.next_stream = given_out(below - 1);
        }
        record.delivered = told;
        record.state = (!state.is_empty()).then(|| Box::new(State::restored(state)));
        let mut logs: Vec<_> = streams.into_iter().collect();
        // The stream that was closed first is forgotten first.
        logs.sort_by_key(|(stream, log)| (log.closed.map(|(_, at)| at), *stream));
        for (stream, LogImage { calls, entries, closed, delivered }) in logs {
            // A damaged journal can leave a stream without calls and without an end. It will never
            // have events.
            if stream != STANDALONE && calls.is_empty() && closed.is_none() {
                continue;
            }
            let owner = (stream != STANDALONE).then_some(GONE);
            // No caller waits for the answers to the requests in it.
            let may_go = |droppable| droppable || stream == STANDALONE;
            let events = entries.into_iter().map(|(seq, (droppable, payload))| (seq, may_go(droppable), payload));
            // No client could resume it in the meantime, so that time does not count.
            let closed = closed.map(|(first, at)| (first, at.after(away)));
            let log = StreamLog::restored(owner, events, delivered, closed);
            if let Err(at) = record.streams.position(stream) {
                record.streams.insert(at, stream, log);
            }
            record.calls.extend(calls.into_iter().map(|id| CallRow { id, stream, node: GONE, cancelled: false }));
        }
        if let Some(usage) = &record.usage {
            usage.fetch_add(record.calls.len(), Ordering::Relaxed);
        }
        record.kept = record.streams.iter().filter_map(|(_, log)| log.closed_at()).min();
        record
    }
}

impl<M> Record<M> {
    /// Reports everything in the session.
    pub(in crate::store::memory) fn note_all(&self, notes: &mut impl Notes) {
        notes.note(|| Change::Afresh);
        self.note_session(notes);
        if let Some(last) = self.next_stream.checked_sub(1).filter(|last| *last > STANDALONE) {
            notes.note(|| Change::Streams { below: given_out(last) });
        }
        if self.delivered > 0 {
            notes.note(|| Change::AnnouncedUpTo { number: self.delivered });
        }
        for (stream, log) in self.streams.iter() {
            let delivered = log.delivered();
            notes.note(|| self.note_opened(stream));
            log.note_all(&mut OnStream(stream, notes));
            if stream == STANDALONE && delivered > 0 {
                notes.note(|| Change::Delivered { stream, seq: delivered });
            }
        }
        for (key, value, version) in self.state.iter().flat_map(|state| state.iter()) {
            notes.note(|| note_state(key, value, version));
        }
    }

    /// Returns the approximate size of these changes. It includes everything that a client can make
    /// large.
    pub(in crate::store::memory) fn weight(&self) -> usize {
        let state = self.state.iter().flat_map(|state| state.iter());
        let state: usize = state.map(|(key, value, _)| CHANGE + key.len() + value.as_bytes().len()).sum();
        let logs: usize = self.streams.iter().map(|(_, log)| CHANGE * (3 + log.len())).sum();
        let calls: usize = self.calls.iter().map(|row| 16 + row.id.as_json().len()).sum();
        CHANGE * 8 + weight_of(&self.info) + self.streams.bytes() + logs + calls + state
    }
}

/// The approximate size of a change without its content.
const CHANGE: usize = 32;

/// Clients choose the length of their own description, so it is counted.
fn weight_of(info: &SessionInfo) -> usize {
    let SessionInfo { principal, client, capabilities, .. } = info;
    let Implementation { name, version, title } = &**client;
    let texts = [Some(name.as_str()), Some(version), title.as_deref(), principal.as_ref().map(Principal::as_str)];
    let ClientCapabilities { roots, sampling, elicitation, experimental, extensions } = &**capabilities;
    let values = [roots, sampling, elicitation, experimental, extensions].into_iter().flatten();
    texts.into_iter().flatten().map(str::len).chain(values.map(|value| value.as_bytes().len())).sum()
}
