//! The table of subscriptions: passes each change to all that asked for it.
//!
//! Changes that a reader has not taken yet are held as a set ([`PendingChanges`]). A slow reader therefore
//! costs at most its filter, and delays no other. An announcement visits each subscription once:
//! their number is bounded, and an index of filters would have to follow every join and leave.
//!
//! Invariants:
//!
//! 1. A subscription is in the table from its admission, before it is acknowledged. Changes in
//!    between are sent after the acknowledgement.
//! 2. It leaves the table exactly once, with its [`Subscription`] or with all others at the end. After the
//!    end, none can join.
//! 3. The lock of the table may be held while that of a subscription is taken, never the other way
//!    round. Readers are woken under neither.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

use super::filter::{Filter, Supported};
use super::pending::PendingChanges;
use crate::core::{Full, Permit, Quota};
use crate::error::{Limit, Rejection};
use crate::identity::{Account, Principal};
use crate::message::RawJson;
use crate::server::change::Change;
use crate::settings::Limits;

/// All subscriptions of this service.
#[derive(Debug)]
pub(super) struct Subscriptions {
    capacity: Arc<Quota>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// In the order in which they joined.
    subscribers: BTreeMap<u64, Arc<Subscriber>>,
    next: u64,
    closed: bool,
}

/// The state that a reader shares with the senders of changes.
#[derive(Debug)]
struct Subscriber {
    state: Mutex<State>,
    reader: AtomicWaker,
    account: Option<Account>,
}

#[derive(Debug)]
struct State {
    waiting: PendingChanges,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Admitted, but not acknowledged yet.
    Admitted,
    Acknowledged,
    /// Ended by the server.
    Over,
}

/// A subscription's entry in the table. Dropping it removes the entry.
#[derive(Debug)]
pub(super) struct Subscription {
    subscriptions: Arc<Subscriptions>,
    number: u64,
    listen: Arc<Subscriber>,
    _permit: Permit,
}

/// The number of notifications that a reader takes at a time. The rest waits as a set, and not as
/// text in the buffers of its connection.
const BATCH: usize = 64;

impl Subscriptions {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        let places = Quota::new(
            limits.max_listen_streams,
            limits.max_listen_streams_per_principal,
            limits.max_listen_streams_per_peer,
        );
        Arc::new(Self { capacity: places, table: Mutex::default() })
    }

    /// Adds a subscription if capacity is available.
    pub(super) fn join(self: &Arc<Self>, filter: Filter, account: Option<Account>) -> Result<Subscription, Rejection> {
        let place = self.capacity.take(account.clone(), 1).map_err(|full| match full {
            Full::All(max) => Rejection::LimitReached { limit: Limit::ListenStreams, max },
            Full::Principal(max) => Rejection::LimitReached { limit: Limit::ListenStreamsOfPrincipal, max },
            Full::Peer(max) => Rejection::LimitReached { limit: Limit::ListenStreamsOfPeer, max },
        })?;
        let state = State { waiting: PendingChanges::new(filter), stage: Stage::Admitted };
        let listen = Arc::new(Subscriber { state: Mutex::new(state), reader: AtomicWaker::new(), account });
        let mut table = self.table();
        if table.closed {
            return Err(Rejection::Draining);
        }
        let number = table.next;
        table.next += 1;
        table.subscribers.insert(number, Arc::clone(&listen));
        Ok(Subscription { subscriptions: Arc::clone(self), number, listen, _permit: place })
    }

    /// Passes a change to all subscriptions that asked for it.
    pub(super) fn notify(&self, change: &Change) {
        self.update_all(|waiting| waiting.add(change));
    }

    /// Passes to each subscription all changes that it asked for, because some may have been missed.
    /// A needless re-check costs a client less than a missed one.
    pub(super) fn notify_all_changes(&self) {
        self.update_all(PendingChanges::add_all);
    }

    /// Ends all subscriptions and accepts no more. Returns the number of those that were
    /// acknowledged.
    pub(super) fn end(&self) -> usize {
        let listens = {
            let mut table = self.table();
            table.closed = true;
            std::mem::take(&mut table.subscribers)
        };
        let ended = listens.values().filter(|listen| {
            let before = std::mem::replace(&mut listen.state().stage, Stage::Over);
            listen.reader.wake();
            before == Stage::Acknowledged
        });
        ended.count()
    }

    /// Ends the subscriptions of a principal and returns their number.
    pub(super) fn end_of(&self, principal: &Principal) -> usize {
        let account = Some(Account::Principal(principal.clone()));
        let table = self.table();
        let theirs: Vec<_> = table.subscribers.values().filter(|listen| listen.account == account).cloned().collect();
        drop(table);
        for listen in &theirs {
            listen.state().stage = Stage::Over;
            listen.reader.wake();
        }
        theirs.len()
    }

    pub(super) fn count(&self) -> usize {
        self.table().subscribers.len()
    }

    fn update_all(&self, update: impl Fn(&mut PendingChanges) -> bool) {
        let curious: Vec<Arc<Subscriber>> = {
            let table = self.table();
            table.subscribers.values().filter(|listen| listen.state().update(&update)).cloned().collect()
        };
        curious.iter().for_each(|listen| listen.reader.wake());
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Adds a change. One that ends only sends what waits already, so that it does end.
    fn update(&mut self, update: impl Fn(&mut PendingChanges) -> bool) -> bool {
        self.stage != Stage::Over && update(&mut self.waiting)
    }
}

impl Subscriber {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    /// Acknowledges the subscription and returns its filter, reduced to the changes that the server
    /// announces. Fails if the service has ended in the meantime.
    pub(super) fn acknowledge(&self, offer: Supported) -> Result<RawJson, Rejection> {
        let mut state = self.listen.state();
        if state.stage == Stage::Over {
            return Err(Rejection::Draining);
        }
        state.stage = Stage::Acknowledged;
        Ok(state.waiting.narrow(offer).to_json())
    }

    /// Ends this subscription. What is pending is sent before its result.
    pub(super) fn end(&self) {
        self.listen.state().stage = Stage::Over;
    }

    /// Waits for the end of a subscription that sends no changes from here.
    pub(super) async fn over(&self) {
        poll_fn(|cx| if self.take(cx, |_| {}) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// Passes some waiting changes to `give` and registers the waker. Returns `true` if no more
    /// will follow, because the server ended the subscription.
    pub(super) fn take(&self, cx: &mut Context<'_>, give: impl FnMut(&Change)) -> bool {
        self.listen.reader.register(cx.waker());
        let mut state = self.listen.state();
        state.waiting.take(BATCH, give);
        state.stage == Stage::Over && state.waiting.is_empty()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.subscriptions.table().subscribers.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn listening(limits: &Limits) -> Arc<Subscriptions> {
        Subscriptions::new(limits)
    }

    fn join(subscriptions: &Arc<Subscriptions>) -> Result<Subscription, Rejection> {
        let params = RawJson::trusted(r#"{"notifications":{"toolsListChanged":true,"promptsListChanged":true}}"#);
        subscriptions.join(Filter::read(Some(&params), || false)?, None)
    }

    fn taken(subscription: &Subscription) -> (Vec<Change>, bool) {
        let mut taken = Vec::new();
        let over = subscription.take(&mut Context::from_waker(Waker::noop()), |change| taken.push(change.clone()));
        (taken, over)
    }

    const OFFER: &str = r#"{"tools":{"listChanged":true},"prompts":{"listChanged":true}}"#;

    #[test]
    fn changes_wait_for_the_acknowledgement() {
        let subscriptions = listening(&Limits::new());
        let subscription = join(&subscriptions).unwrap();
        subscriptions.notify(&Change::Prompts);
        subscription.acknowledge(Supported::read(&RawJson::trusted(OFFER))).unwrap();
        subscriptions.notify(&Change::Tools);
        subscriptions.notify(&Change::Prompts);
        subscriptions.notify(&Change::Resources);
        assert_eq!(taken(&subscription), (vec![Change::Prompts, Change::Tools], false));
        assert_eq!(taken(&subscription), (vec![], false));
    }

    #[test]
    fn a_subscription_is_released_once() {
        let subscriptions = listening(&Limits::new().max_listen_streams(1));
        let subscription = join(&subscriptions).unwrap();
        assert_eq!(join(&subscriptions).unwrap_err(), Rejection::LimitReached { limit: Limit::ListenStreams, max: 1 });
        drop(subscription);
        let subscription = join(&subscriptions).unwrap();
        assert_eq!(
            (subscriptions.count(), subscriptions.end(), subscriptions.count()),
            (1, 0, 0),
            "it was no stream yet"
        );
        assert_eq!(subscription.acknowledge(Supported::read(&RawJson::trusted(OFFER))), Err(Rejection::Draining));
        drop(subscription);
        assert_eq!(join(&subscriptions).unwrap_err(), Rejection::Draining);
    }

    #[test]
    fn ended_subscriptions_first_deliver_pending_changes() {
        let subscriptions = listening(&Limits::new());
        let subscription = join(&subscriptions).unwrap();
        subscription.acknowledge(Supported::read(&RawJson::trusted(OFFER))).unwrap();
        subscriptions.notify_all_changes();
        assert_eq!((subscriptions.end(), subscriptions.end()), (1, 0));
        assert_eq!(taken(&subscription), (vec![Change::Tools, Change::Prompts], true));
    }
}
