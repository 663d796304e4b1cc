//! Relief: rejects answers and cuts bodies, so that all response bodies together stay below their
//! [ceiling](super::ceiling).
//!
//! 1. A body counts with what it has not handed out yet, with the whole memory that contains it,
//!    and with the data its source keeps for it. Small bodies do not count.
//! 2. Above the ceiling, the account that holds most must release bytes: its body that has waited
//!    longest is cut. So a client that leaves responses unread affects itself, not a client that
//!    holds less.
//! 3. If the account of a new answer would hold most, the answer is rejected, unless one of the
//!    account's bodies has [stalled](STALLED).
//! 4. Ready data of streams cannot be rejected. It counts once the stream is woken, or at the next
//!    check, and the task of the watch cuts bodies then. Events in a replay buffer stay there.

use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::signal::Measured;
use super::watch::{Watch, Watched};
use crate::identity::Account;

/// How long a body must wait before it is cut for a new answer of the same account. It is longer
/// than the pauses of a connection that works.
const STALLED: Duration = Duration::from_secs(5);

/// What one account holds.
#[derive(Default)]
struct Holder {
    bytes: usize,
    /// The account has a new answer, whose bytes are included.
    asks: bool,
    /// Its bodies. The one that has waited longest is the last.
    bodies: Vec<(Duration, Arc<Watched>)>,
}

impl Watch {
    /// Makes capacity for a new answer of an account.
    ///
    /// # Errors
    ///
    /// Returns the ceiling if there is not enough capacity.
    pub(crate) fn make_room(&self, account: Option<&Account>, bytes: usize) -> Result<(), usize> {
        let limit = self.ceiling.limit;
        let has_room = self.ceiling.has_room(bytes) || (bytes <= limit && self.relieve(Some((account, bytes))));
        if has_room { Ok(()) } else { Err(limit) }
    }

    /// Cuts bodies until the ready data of streams is below the ceiling.
    pub(super) fn come_below(&self) {
        // A body is not notified of new data before its transport has polled it once, so it is
        // measured here.
        let bodies: Vec<_> = self.bodies.iter().filter_map(|body| body.upgrade()).collect();
        bodies.iter().for_each(|body| body.measure());
        if !self.ceiling.has_room(0) {
            self.relieve(None);
        }
    }

    fn relieve(&self, asking: Option<(Option<&Account>, usize)>) -> bool {
        let (mut holders, more) = (self.holders(asking), asking.map_or(0, |(_, bytes)| bytes));
        let mut most: BinaryHeap<_> = holders.iter().enumerate().map(|(at, holder)| (holder.bytes, at)).collect();
        let mut cut = 0;
        while !self.ceiling.has_room(more) {
            let Some((_, at)) = most.pop() else { break };
            let Some(holder) = holders.get_mut(at) else { break };
            let longest = holder.bodies.pop();
            if holder.asks && longest.as_ref().is_none_or(|(waited, _)| *waited < STALLED) {
                break;
            }
            let Some((_, body)) = longest else { continue };
            if let Some(bytes) = self.cut(&body) {
                cut += 1;
                holder.bytes = holder.bytes.saturating_sub(bytes);
            }
            most.push((holder.bytes, at));
        }
        if cut > 0
            && let Some(left_out) = self.ceiling.lines.line()
        {
            let limit = self.ceiling.limit;
            tracing::warn!(
                limit,
                cut,
                left_out,
                "responses that their clients do not read were cut (`Limits::max_unread_response_bytes`)"
            );
        }
        self.ceiling.has_room(more)
    }

    fn holders(&self, asking: Option<(Option<&Account>, usize)>) -> Vec<Holder> {
        let mut holders: HashMap<Option<Account>, Holder> = HashMap::new();
        // Collected first: dropping the last reference to a body may end a call, which must not
        // happen while the map is locked.
        let bodies: Vec<_> = self.bodies.iter().filter_map(|body| body.upgrade()).collect();
        for body in bodies {
            let (bytes, waited) = (body.bytes(), body.signal.waited().unwrap_or_default());
            if bytes > 0 {
                let holder = holders.entry(body.account.clone()).or_default();
                holder.bytes += bytes;
                holder.bodies.push((waited, body));
            }
        }
        if let Some((account, bytes)) = asking {
            let holder = holders.entry(account.cloned()).or_default();
            holder.bytes += bytes;
            holder.asks = true;
        }
        let mut holders: Vec<_> = holders.into_values().collect();
        holders.iter_mut().for_each(|holder| holder.bodies.sort_by_key(|(waited, _)| *waited));
        holders
    }
}
