//! Delivery of announced changes to sessions: once, by the node that delivers first. The engine
//! records the last announcement that each session received, and stores recent announcements.
//!
//! 1. A node delivers to the sessions whose standalone stream was last opened here, as far as it
//!    knows; see [`peers`](super::peers). If it is wrong, two nodes try, and the engine accepts one
//!    delivery.
//! 2. Changes that are announced while no node has a session's stream are due when it is opened
//!    again, at any node.
//! 3. What a session wants is known here as of a revision. The engine rejects a delivery that was
//!    chosen by an older revision. Announcements that arrive while a newer revision is being read
//!    wait for it.
//! 4. A failed delivery is retried until the session ends, another node delivers, or the service
//!    stops.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use futures_util::StreamExt;
use futures_util::future::poll_immediate;
use futures_util::stream::{iter, once};

use super::Node;
use super::listeners::Due;
use super::session::LiveSession;
use crate::core::LogLine;
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::SessionId;
use crate::panics::OnAbort;
use crate::server::change::{Change, EVERYTHING};
use crate::store::{Attached, Backoff, Deliver, Event, EventKind};

/// The number of sessions a node serves concurrently, as in the re-check after lost signals.
const CONCURRENCY: usize = 32;

/// The number of attempts for one session, before it has to wait like one whose delivery failed.
const TRIES: usize = 8;

/// The changes due to a session, and the number of the last announcement they cover.
struct Wanted {
    changes: Vec<Change>,
    after: u64,
    up_to: u64,
    /// The engine's numbers are behind what was known here.
    is_doubtful: bool,
}

/// The result of a delivery.
enum Delivered {
    /// The session has received changes up to this number.
    UpTo(u64),
    /// The session has received changes only up to this number; the engine must be asked for the
    /// rest.
    Behind(u64),
    /// The session no longer exists.
    Gone,
    /// The engine failed.
    Failed(StoreError),
}

impl Node {
    /// Holds announcements for a session from now on, because its client is opening the standalone
    /// stream here.
    pub(super) fn hold_for(&self, session: SessionId) {
        self.listeners.entry(session).or_default();
    }

    /// Stops holding announcements, if the stream was not opened after all.
    pub(super) fn hold_no_longer(&self, session: SessionId) {
        self.listeners.remove_if(&session, |_, listener| listener.generation == 0);
    }

    /// Records that a reader of a standalone stream was created here. Changes that the session has
    /// missed are due.
    pub(super) fn listens_from(&self, session: &LiveSession, attached: Attached) {
        self.member.received.start(attached.newest);
        let id = session.info.id;
        // No changes were held until now, so some may have been missed since the engine created the
        // reader.
        let is_new = !self.listeners.contains_key(&id);
        let mut listener = self.listeners.entry(id).or_default();
        listener.generation = listener.generation.max(attached.generation);
        listener.delivered = listener.delivered.max(attached.delivered);
        let is_behind = attached.revision > session.revision();
        if is_behind {
            session.set_stale();
        }
        if attached.newest > listener.delivered || is_behind || is_new {
            listener.due().ask = true;
        }
        if listener.due.is_some() && !std::mem::replace(&mut listener.in_line, true) {
            drop(listener);
            self.delivery_queue.push(id);
        }
    }

    /// Delivers a change that was announced at any node to the sessions that listen here.
    pub(super) fn announce(self: &Arc<Self>, topic: &str, number: u64) {
        self.member.received.receive(number);
        self.hold_for_all(topic, number);
        self.serve_line();
    }

    /// Holds a change for each session that listens here and may want it.
    pub(super) fn hold_for_all(&self, topic: &str, number: u64) {
        let change = serde_json::from_str::<Change>(topic).ok();
        if change.is_none() && topic != EVERYTHING {
            return;
        }
        for id in self.listeners() {
            let wants = |change| self.sessions.get(&id).is_none_or(|session| session.may_want(change, number));
            match &change {
                Some(change) if wants(change) => self.owe(id, |due| due.hold(change, number)),
                Some(_) => {}
                None => self.owe(id, |due| due.everything = due.everything.max(Some(number))),
            }
        }
    }

    /// Makes each session that listens here ask for what it missed. No announcement has a number
    /// larger than `newest`.
    pub(super) fn recheck_all(&self, newest: Option<u64>) {
        for id in self.listeners() {
            if let (Some(newest), Some(mut listener)) = (newest, self.listeners.get_mut(&id)) {
                listener.delivered = listener.delivered.min(newest);
            }
            self.owe(id, |due| due.ask = true);
        }
    }

    pub(super) fn listeners(&self) -> Vec<SessionId> {
        self.listeners.iter().map(|entry| *entry.key()).collect()
    }

    /// Queues a session that listens here, because changes may be due to it.
    pub(super) fn recheck_later(&self, session: SessionId) {
        self.owe(session, |due| due.ask = true);
    }

    /// Makes a session that listens here read its state again before the next delivery. Returns
    /// `true` if it listens here.
    pub(super) fn refresh_later(self: &Arc<Self>, session: SessionId) -> bool {
        let listens = self.listeners.get(&session).is_some_and(|listener| listener.generation > 0);
        if listens {
            self.owe(session, |_| {});
            self.serve_line();
        }
        listens
    }

    fn owe(&self, session: SessionId, owed: impl FnOnce(&mut Due)) {
        let Some(mut listener) = self.listeners.get_mut(&session) else { return };
        owed(listener.due());
        // Without a reader, the session is queued once it has one.
        if listener.generation > 0 && !std::mem::replace(&mut listener.in_line, true) {
            drop(listener);
            self.delivery_queue.push(session);
        }
    }

    /// Serves the queued sessions. The operations that the engine completes immediately are done
    /// when this returns.
    pub(super) fn serve_line(self: &Arc<Self>) {
        if self.delivery_queue.moves.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut moving = Moving { node: Arc::clone(self), over: false };
        self.core.in_background(Box::pin(async move {
            while let Some(sessions) = moving.next() {
                serve_all(&moving.node, sessions).await;
            }
        }));
    }

    /// Serves one session until nothing is due to it.
    async fn serve(self: &Arc<Self>, mut turn: Turn<'_>) {
        let (id, mut tries) = (turn.id, 0);
        while let Some((told, due)) = turn.next() {
            let here = self.sessions.get(&id).map(|session| Arc::clone(&session));
            let Some(session) = here else { return self.drop_listener(id) };
            let delivered = self.deliver(&session, told, &due).await;
            turn.delivers = false;
            match delivered {
                Delivered::UpTo(place) => turn.set_delivered(place),
                Delivered::Behind(place) if tries < TRIES => {
                    tries += 1;
                    turn.set_delivered(place);
                    turn.owes(&due, true);
                }
                Delivered::Behind(place) => {
                    turn.set_delivered(place);
                    turn.owes(&due, true);
                    // The session must leave the queue first; otherwise the retry would find it
                    // there and skip it.
                    drop(turn);
                    return self.retry_later();
                }
                Delivered::Gone => return self.forget(id),
                Delivered::Failed(error) if !is_passing(&error) => {
                    // A retry would fail too. The missed changes are due when the stream is opened
                    // again.
                    if let Some(left_out) = self.core.log_line(LogLine::Background) {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, left_out, "changes could not be delivered to a session");
                    }
                    return;
                }
                Delivered::Failed(error) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "changes cannot be delivered to a session yet"
                    );
                    turn.owes(&due, true);
                    drop(turn);
                    return self.retry_later();
                }
            }
        }
    }

    fn drop_listener(&self, id: SessionId) {
        self.listeners.remove(&id);
    }

    /// Delivers the due changes to a session.
    async fn deliver(&self, session: &LiveSession, told: u64, due: &Due) -> Delivered {
        if session.is_stale() && !self.refresh(session).await {
            return Delivered::Gone;
        }
        let revision = session.revision();
        let Wanted { changes, after, up_to, is_doubtful } = match self.wanted(session, told, due).await {
            Ok(told) => told,
            Err(error) => return Delivered::Failed(error),
        };
        if up_to <= after && !is_doubtful {
            return Delivered::UpTo(after);
        }
        let events = changes.iter().map(|change| Event { kind: EventKind::Notification, payload: change.message() });
        let deliver =
            Deliver { session: session.info.id, node: self.id, after, up_to, revision, events: events.collect() };
        let delivered = self.core.engine.deliver(deliver).await;
        let lost = delivered.as_ref().map_or_else(StoreError::answers_lost, |delivered| delivered.lost);
        self.core.count_lost_answers(session.info.id, lost);
        match delivered.map(|delivered| delivered.up_to) {
            Ok(place) if place >= up_to => Delivered::UpTo(place),
            Ok(place) => Delivered::Behind(place),
            Err(error) if error.kind() == StoreErrorKind::Conflict => {
                session.set_stale();
                // The new state has been read. If the revision is still the same, the engine was
                // restored from an older copy.
                if self.refresh(session).await && session.revision() == revision {
                    session.forget_versions();
                }
                Delivered::Behind(after)
            }
            Err(error) if error.kind() == StoreErrorKind::NotFound => Delivered::Gone,
            Err(error) => Delivered::Failed(error),
        }
    }

    /// Returns the due changes that a session wants.
    async fn wanted(&self, session: &LiveSession, after: u64, due: &Due) -> Result<Wanted, StoreError> {
        let mut changes: Vec<(u64, Change)> = Vec::new();
        let mut up_to = due.everything.unwrap_or(0);
        let mut everything = due.everything.is_some_and(|number| number > after);
        let (known, mut after) = (after, after);
        if due.ask {
            let topics = session.topics();
            let topics: Vec<&str> = topics.iter().map(String::as_str).chain([EVERYTHING]).collect();
            let announced = self.core.engine.announced(after, &topics).await?;
            // An engine that was restored from an older copy continues to count from there.
            after = after.min(announced.newest);
            up_to = announced.newest;
            everything |= !announced.complete;
            for (number, topic) in announced.topics {
                everything |= *topic == *EVERYTHING;
                changes.extend(serde_json::from_str(&topic).ok().map(|change| (number, change)));
            }
        }
        for (number, change) in &due.changes {
            if *number > up_to.max(after) || !due.ask && *number > after {
                changes.push((*number, change.clone()));
            }
        }
        let wanted = changes.iter().filter_map(|(number, change)| Some((*number, session.wants(change, *number)?)));
        let wanted: Vec<(u64, Change)> = wanted.collect();
        up_to = wanted.iter().map(|(number, _)| *number).fold(up_to, u64::max);
        let changes = match everything {
            true => session.everything(),
            false => wanted.into_iter().map(|(_, change)| change).collect(),
        };
        Ok(Wanted { changes, after, up_to: up_to.max(after), is_doubtful: after < known })
    }

    /// Schedules a retry of failed deliveries.
    fn retry_later(self: &Arc<Self>) {
        if tokio::runtime::Handle::try_current().is_err() || self.delivery_queue.retries.swap(true, Ordering::AcqRel) {
            return;
        }
        let (node, there) = (Arc::downgrade(self), Arc::downgrade(self));
        let retrying = OnAbort::new(move || {
            if let Some(node) = there.upgrade() {
                node.delivery_queue.retries.store(false, Ordering::Release);
            }
        });
        self.core.tasks.spawn(async move {
            Backoff::background().pause().await;
            drop(retrying);
            let Some(node) = node.upgrade() else { return };
            for id in node.listeners() {
                let is_due = node.listeners.get(&id).is_some_and(|listener| listener.due.is_some());
                if is_due {
                    node.owe(id, |_| {});
                }
            }
            node.serve_line();
        });
    }
}

/// Returns `true` if a failure may be temporary: the engine is unreachable or at its capacity.
fn is_passing(error: &StoreError) -> bool {
    matches!(error.kind(), StoreErrorKind::Unavailable | StoreErrorKind::Full)
}

/// Serves sessions one after the other while the engine answers immediately, and a few at a time
/// otherwise.
async fn serve_all(node: &Arc<Node>, sessions: VecDeque<SessionId>) {
    let mut rest = Queued { node, sessions };
    while let Some(turn) = rest.next() {
        let mut first = Box::pin(node.serve(turn));
        if poll_immediate(&mut first).await.is_none() {
            let others = iter(rest).map(|turn| Box::pin(node.serve(turn)));
            return once(std::future::ready(first)).chain(others).for_each_concurrent(CONCURRENCY, |one| one).await;
        }
    }
}

/// The right to serve the queue, which one task has at a time. Dropping it lets another task take
/// it.
struct Moving {
    node: Arc<Node>,
    over: bool,
}

impl Moving {
    /// Returns the queued sessions. `None` means that the queue is empty and the right to serve it
    /// is released.
    fn next(&mut self) -> Option<VecDeque<SessionId>> {
        let mut sessions = self.node.delivery_queue.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.is_empty() {
            // Released under the lock, so that the task that queues the next session serves the
            // queue.
            self.node.delivery_queue.moves.store(false, Ordering::Release);
            self.over = true;
            return None;
        }
        Some(std::mem::take(&mut *sessions))
    }
}

impl Drop for Moving {
    /// Before its end, by a panic of the engine or with its runtime, the rest is served later.
    fn drop(&mut self) {
        if !self.over {
            self.node.delivery_queue.moves.store(false, Ordering::Release);
            self.node.retry_later();
        }
    }
}

/// Sessions that were taken from the queue. Those whose turn has not begun when this is dropped
/// are queued again.
struct Queued<'a> {
    node: &'a Node,
    sessions: VecDeque<SessionId>,
}

impl<'a> Iterator for Queued<'a> {
    type Item = Turn<'a>;

    fn next(&mut self) -> Option<Turn<'a>> {
        let id = self.sessions.pop_front()?;
        Some(Turn { node: self.node, id, over: false, delivers: false })
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        let mut sessions = self.node.delivery_queue.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.extend(self.sessions.drain(..));
    }
}

/// The turn of a session. Once it is dropped, the session may be queued again.
struct Turn<'a> {
    node: &'a Node,
    id: SessionId,
    over: bool,
    /// Due changes are being delivered.
    delivers: bool,
}

impl Turn<'_> {
    /// Returns the last announcement that the session received, and the changes due to it. `None`
    /// ends the turn: nothing is due.
    fn next(&mut self) -> Option<(u64, Due)> {
        let mut listener = self.node.listeners.get_mut(&self.id)?;
        let due = listener.due.take();
        if due.is_none() {
            listener.in_line = false;
            self.over = true;
        }
        self.delivers = due.is_some();
        due.map(|due| (listener.delivered, *due))
    }

    fn set_delivered(&self, place: u64) {
        if let Some(mut listener) = self.node.listeners.get_mut(&self.id) {
            listener.delivered = place;
        }
    }

    /// Makes undelivered changes due again.
    fn owes(&self, due: &Due, ask: bool) {
        if let Some(mut listener) = self.node.listeners.get_mut(&self.id) {
            let now = listener.due();
            now.ask |= ask;
            now.everything = now.everything.max(due.everything);
            due.changes.iter().for_each(|(number, change)| now.hold(change, *number));
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(mut listener) = self.node.listeners.get_mut(&self.id).filter(|_| !self.over) {
            listener.in_line = false;
            // The turn was dropped during a delivery, together with its runtime or by a panic of
            // the engine.
            if self.delivers {
                listener.due().ask = true;
            }
        }
    }
}
