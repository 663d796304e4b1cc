//! The table of subscriptions: passes each change to all that asked for it.
//!
//! Changes that a reader has not taken yet are held as a set ([`Waiting`]). A slow reader therefore
//! costs at most its filter, and delays no other. An announcement visits each subscription once:
//! their number is bounded, and an index of filters would have to follow every join and leave.
//!
//! Invariants:
//!
//! 1. A subscription is in the table from its admission, before it is acknowledged. Changes in
//!    between are sent after the acknowledgement.
//! 2. It leaves the table exactly once, with its [`Seat`] or with all others at the end. After the
//!    end, none can join.
//! 3. The lock of the table may be held while that of a subscription is taken, never the other way
//!    round. Readers are woken under neither.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

use super::filter::{Filter, Offer};
use super::waiting::Waiting;
use crate::error::Rejection;
use crate::hall::{Full, Permit, Quota};
use crate::identity::Account;
use crate::message::RawJson;
use crate::server::channel::Change;
use crate::settings::Limits;

/// All subscriptions of this service.
#[derive(Debug)]
pub(super) struct Listening {
    places: Arc<Quota>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// In the order in which they joined.
    listens: BTreeMap<u64, Arc<Listen>>,
    next: u64,
    closed: bool,
}

/// The state that a reader shares with the senders of changes.
#[derive(Debug)]
struct Listen {
    state: Mutex<State>,
    reader: AtomicWaker,
}

#[derive(Debug)]
struct State {
    waiting: Waiting,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Admitted, but not acknowledged yet.
    Asked,
    Acknowledged,
    /// Ended by the server.
    Over,
}

/// A subscription's entry in the table. Dropping it removes the entry.
#[derive(Debug)]
pub(super) struct Seat {
    listening: Arc<Listening>,
    number: u64,
    listen: Arc<Listen>,
    _place: Permit,
}

/// The number of notifications that a reader takes at a time. The rest waits as a set, and not as
/// text in the buffers of its connection.
const AT_ONCE: usize = 64;

impl Listening {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        let places = Quota::new(limits.listens, limits.listens_per_principal, limits.listens_per_peer);
        Arc::new(Self { places, table: Mutex::default() })
    }

    /// Adds a subscription if capacity is available.
    pub(super) fn join(self: &Arc<Self>, filter: Filter, account: Option<Account>) -> Result<Seat, Rejection> {
        let place = self.places.take(account, 1).map_err(|full| match full {
            Full::All(limit) => Rejection::TooManyListens { limit },
            Full::Principal(limit) => Rejection::TooManyListensOfPrincipal { limit },
            Full::Peer(limit) => Rejection::TooManyListensOfPeer { limit },
        })?;
        let state = State { waiting: Waiting::new(filter), stage: Stage::Asked };
        let listen = Arc::new(Listen { state: Mutex::new(state), reader: AtomicWaker::new() });
        let mut table = self.table();
        if table.closed {
            return Err(Rejection::Draining);
        }
        let number = table.next;
        table.next += 1;
        table.listens.insert(number, Arc::clone(&listen));
        Ok(Seat { listening: Arc::clone(self), number, listen, _place: place })
    }

    /// Passes a change to all subscriptions that asked for it.
    pub(super) fn tell(&self, change: &Change) {
        self.tell_all(|waiting| waiting.hear(change));
    }

    /// Passes to each subscription all changes that it asked for, because some may have been missed.
    /// A needless re-check costs a client less than a missed one.
    pub(super) fn tell_everything(&self) {
        self.tell_all(Waiting::hear_everything);
    }

    /// Ends all subscriptions and accepts no more. Returns the number of those that were
    /// acknowledged.
    pub(super) fn end(&self) -> usize {
        let listens = {
            let mut table = self.table();
            table.closed = true;
            std::mem::take(&mut table.listens)
        };
        let ended = listens.values().filter(|listen| {
            let before = std::mem::replace(&mut listen.state().stage, Stage::Over);
            listen.reader.wake();
            before == Stage::Acknowledged
        });
        ended.count()
    }

    pub(super) fn count(&self) -> usize {
        self.table().listens.len()
    }

    fn tell_all(&self, news: impl Fn(&mut Waiting) -> bool) {
        let curious: Vec<Arc<Listen>> = {
            let table = self.table();
            table.listens.values().filter(|listen| news(&mut listen.state().waiting)).cloned().collect()
        };
        curious.iter().for_each(|listen| listen.reader.wake());
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listen {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Acknowledges the subscription and returns its filter, reduced to the changes that the server
    /// announces. Fails if the service has ended in the meantime.
    pub(super) fn acknowledge(&self, offer: Offer) -> Result<RawJson, Rejection> {
        let mut state = self.listen.state();
        if state.stage == Stage::Over {
            return Err(Rejection::Draining);
        }
        state.stage = Stage::Acknowledged;
        Ok(state.waiting.narrow(offer).to_json())
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
        state.waiting.take(AT_ONCE, give);
        state.stage == Stage::Over && state.waiting.is_empty()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.listening.table().listens.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn listening(limits: &Limits) -> Arc<Listening> {
        Listening::new(limits)
    }

    fn join(listening: &Arc<Listening>) -> Result<Seat, Rejection> {
        let params = RawJson::trusted(r#"{"notifications":{"toolsListChanged":true,"promptsListChanged":true}}"#);
        listening.join(Filter::read(Some(&params), || false)?, None)
    }

    fn taken(seat: &Seat) -> (Vec<Change>, bool) {
        let mut taken = Vec::new();
        let over = seat.take(&mut Context::from_waker(Waker::noop()), |change| taken.push(change.clone()));
        (taken, over)
    }

    const OFFER: &str = r#"{"tools":{"listChanged":true},"prompts":{"listChanged":true}}"#;

    #[test]
    fn what_changes_before_the_acknowledgement_waits_for_it() {
        let listening = listening(&Limits::new());
        let seat = join(&listening).unwrap();
        listening.tell(&Change::Prompts);
        seat.acknowledge(Offer::read(&RawJson::trusted(OFFER))).unwrap();
        listening.tell(&Change::Tools);
        listening.tell(&Change::Prompts);
        listening.tell(&Change::Resources);
        assert_eq!(taken(&seat), (vec![Change::Prompts, Change::Tools], false));
        assert_eq!(taken(&seat), (vec![], false));
    }

    #[test]
    fn a_seat_is_given_up_once() {
        let listening = listening(&Limits::new().listens(1));
        let seat = join(&listening).unwrap();
        assert_eq!(join(&listening).unwrap_err(), Rejection::TooManyListens { limit: 1 });
        drop(seat);
        let seat = join(&listening).unwrap();
        assert_eq!((listening.count(), listening.end(), listening.count()), (1, 0, 0), "it was no stream yet");
        assert_eq!(seat.acknowledge(Offer::read(&RawJson::trusted(OFFER))), Err(Rejection::Draining));
        drop(seat);
        assert_eq!(join(&listening).unwrap_err(), Rejection::Draining);
    }

    #[test]
    fn a_listen_that_is_ended_gives_first_what_waits() {
        let listening = listening(&Limits::new());
        let seat = join(&listening).unwrap();
        seat.acknowledge(Offer::read(&RawJson::trusted(OFFER))).unwrap();
        listening.tell_everything();
        assert_eq!((listening.end(), listening.end()), (1, 0));
        assert_eq!(taken(&seat), (vec![Change::Tools, Change::Prompts], true));
    }
}
