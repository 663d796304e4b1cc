//! Decides who hears of a change: everybody who listens here and asked for it.
//!
//! What a reader has not taken yet stays with it as a set ([`Waiting`]), so a reader that is slow,
//! or never reads, costs what it asked for and delays nobody.
//! An announcement looks at each listen once: listens are bounded, and an index of who asked for what
//! would have to be kept in step with all that come and go.
//!
//! Invariants:
//!
//! 1. A listen is in the table from the moment it was let in, before it is acknowledged: what
//!    changes in between is told after the acknowledgement.
//! 2. It leaves the table exactly once, with its [`Seat`], or with all others at the end; after the
//!    end nobody comes in.
//! 3. The lock of the table may be held while that of a listen is taken, never the other way
//!    round. Nobody is woken under either.

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

/// Everybody who listens at this service.
#[derive(Debug)]
pub(super) struct Listening {
    places: Arc<Quota>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// In the order they came.
    listens: BTreeMap<u64, Arc<Listen>>,
    next: u64,
    closed: bool,
}

/// What a reader shares with those who have news for it.
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
    /// Let in, not acknowledged yet.
    Asked,
    Acknowledged,
    /// Ended by the server.
    Over,
}

/// A place among those who listen; dropping it gives it up.
#[derive(Debug)]
pub(super) struct Seat {
    listening: Arc<Listening>,
    number: u64,
    listen: Arc<Listen>,
    _place: Permit,
}

/// How many notifications a reader is given at a time: what waits beyond them waits as a set, and
/// not as text in the buffers of its connection.
const AT_ONCE: usize = 64;

impl Listening {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        let places = Quota::new(limits.listens, limits.listens_per_principal, limits.listens_per_peer);
        Arc::new(Self { places, table: Mutex::default() })
    }

    /// Lets a listen in, if there is room.
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

    /// Tells everybody who asked for it of a change.
    pub(super) fn tell(&self, change: &Change) {
        self.tell_all(|waiting| waiting.hear(change));
    }

    /// Changes may have been missed. Each listen is told of all it asked for: a client that looks
    /// again for nothing loses less than one that does not look.
    pub(super) fn tell_everything(&self) {
        self.tell_all(Waiting::hear_everything);
    }

    /// Ends all listens, and lets in no other; how many were acknowledged.
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
    /// From now on it is a stream, of what the server tells of: what that is. Unless the server has
    /// ended in the meantime.
    pub(super) fn acknowledge(&self, offer: Offer) -> Result<RawJson, Rejection> {
        let mut state = self.listen.state();
        if state.stage == Stage::Over {
            return Err(Rejection::Draining);
        }
        state.stage = Stage::Acknowledged;
        Ok(state.waiting.narrow(offer).to_json())
    }

    /// Waits for the end, of a listen that is told nothing from here.
    pub(super) async fn over(&self) {
        poll_fn(|cx| if self.take(cx, |_| {}) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// Gives some of what waits, and remembers whom to wake for more; whether there will be no
    /// more, because the server ended it.
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
