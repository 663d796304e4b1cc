//! The byte budget of request bodies: limits what all bodies of one service hold at a time.
//!
//! 1. A small body does not count and is never rejected. Calls, connections and tasks have limits
//!    of their own.
//! 2. A larger body takes its bytes as they arrive. A declared length takes nothing, so that no
//!    client uses up the budget with promises.
//! 3. The bytes are released when the last piece of the body has been dropped and its call has
//!    ended. The handler's arguments are parsed from the body, and are about as large again.
//! 4. Calls that became tasks may hold only a part of the budget, because they run for long.
//! 5. One account may hold half of the budget, or one body of the largest size if that is more. An
//!    account is a principal, or the address of a client without one. So no account excludes the
//!    others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use crate::error::Rejection;
use crate::identity::Account;

/// The largest body that does not count. Nearly all bodies are smaller. 10,000 calls without a
/// session, each with a body of this size, hold 160 MiB.
pub(super) const SMALL: usize = 16 << 10;

/// Tasks may hold the budget divided by this. The rest is for calls whose clients wait.
const TASKS: usize = 4;

/// The budget, and how much of it is in use.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    taken: AtomicUsize,
    by_tasks: AtomicUsize,
    limit_of_one: usize,
    /// Only accounts that hold something now.
    of: DashMap<Account, usize>,
}

/// The share of one body. Dropping it releases the bytes.
#[derive(Debug)]
pub(crate) struct BodyShare {
    budget: Arc<Budget>,
    /// The account that holds them. Set when the first bytes are taken.
    account: Option<Account>,
    bytes: usize,
    is_task: AtomicBool,
}

impl Budget {
    /// Makes a budget. `body` is the limit of one body.
    pub(crate) fn new(limit: usize, body: usize) -> Arc<Self> {
        let (taken, by_tasks) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { limit, taken, by_tasks, limit_of_one: (limit / 2).max(body), of: DashMap::new() })
    }

    /// Rejects a body whose declared length exceeds the free capacity, before any of it is read.
    pub(super) fn check(&self, declared: usize, account: Option<&Account>) -> Result<(), Rejection> {
        if declared <= SMALL {
            return Ok(());
        }
        let of_one = |account: &Account| self.of.get(account).map_or(0, |taken| *taken);
        if account.is_some_and(|account| of_one(account).saturating_add(declared) > self.limit_of_one) {
            return Err(Rejection::TooManyBodies { limit: self.limit_of_one });
        }
        let taken = self.taken.load(Ordering::Relaxed);
        if taken.saturating_add(declared) <= self.limit { Ok(()) } else { Err(self.rejection()) }
    }

    pub(super) fn share(self: &Arc<Self>) -> BodyShare {
        BodyShare { budget: Arc::clone(self), account: None, bytes: 0, is_task: AtomicBool::new(false) }
    }

    fn take_for(&self, account: &Account, more: usize) -> Result<(), Rejection> {
        let mut taken = self.of.entry(account.clone()).or_default();
        if taken.saturating_add(more) > self.limit_of_one {
            drop(taken);
            self.release(account, 0);
            return Err(Rejection::TooManyBodies { limit: self.limit_of_one });
        }
        *taken += more;
        Ok(())
    }

    fn release(&self, account: &Account, bytes: usize) {
        if let Entry::Occupied(mut entry) = self.of.entry(account.clone()) {
            *entry.get_mut() -= bytes;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }

    fn rejection(&self) -> Rejection {
        Rejection::TooManyBodies { limit: self.limit }
    }
}

impl BodyShare {
    /// Takes the missing bytes for a body of this length so far.
    pub(super) fn grow(&mut self, length: usize, account: Option<&Account>) -> Result<(), Rejection> {
        if length <= SMALL {
            return Ok(());
        }
        let more = length - self.bytes;
        if self.account.is_none() {
            self.account = account.cloned();
        }
        if let Some(account) = &self.account {
            self.budget.take_for(account, more)?;
        }
        if take(&self.budget.taken, more, self.budget.limit).is_err() {
            if let Some(account) = &self.account {
                self.budget.release(account, more);
            }
            return Err(self.budget.rejection());
        }
        self.bytes = length;
        Ok(())
    }

    /// Returns the body wrapped so that its share is held until the last piece is dropped.
    pub(super) fn hold(self, body: Bytes) -> (Bytes, Option<Arc<Self>>) {
        if self.bytes == 0 {
            return (body, None);
        }
        let share = Arc::new(self);
        (Bytes::from_owner(Held { body, _share: Arc::clone(&share) }), Some(share))
    }

    /// Counts the share as that of a task. Returns `false` if tasks hold all they may.
    pub(crate) fn become_task(&self) -> bool {
        if self.is_task.load(Ordering::Acquire) {
            return true;
        }
        let fits = take(&self.budget.by_tasks, self.bytes, self.budget.limit / TASKS).is_ok();
        if fits && self.is_task.swap(true, Ordering::AcqRel) {
            // A concurrent operation of the same call has taken the bytes.
            self.budget.by_tasks.fetch_sub(self.bytes, Ordering::Relaxed);
        }
        fits
    }
}

impl Drop for BodyShare {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.taken.fetch_sub(self.bytes, Ordering::Relaxed);
            if let Some(account) = &self.account {
                self.budget.release(account, self.bytes);
            }
        }
        if *self.is_task.get_mut() {
            self.budget.by_tasks.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

/// A body together with its share of the budget.
struct Held {
    body: Bytes,
    _share: Arc<BodyShare>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

fn take(taken: &AtomicUsize, more: usize, limit: usize) -> Result<(), ()> {
    let fits = |taken: usize| taken.checked_add(more).filter(|taken| *taken <= limit);
    taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map(drop).map_err(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Principal;

    #[test]
    fn small_bodies_cost_nothing() {
        let budget = Budget::new(0, 0);
        let mut share = budget.share();
        assert_eq!((budget.check(SMALL, None), share.grow(SMALL, None)), (Ok(()), Ok(())));
        assert!(share.hold(Bytes::from_static(b"x")).1.is_none());
    }

    #[test]
    fn bytes_are_held_until_the_last_piece_drops() {
        let budget = Budget::new(2 * SMALL, 0);
        let mut share = budget.share();
        assert_eq!(
            (share.grow(SMALL, None), share.grow(SMALL + 1, None), share.grow(2 * SMALL, None)),
            (Ok(()), Ok(()), Ok(()))
        );
        let rejected = Rejection::TooManyBodies { limit: 2 * SMALL };
        assert_eq!(
            (budget.check(SMALL + 1, None), budget.share().grow(SMALL + 1, None)),
            (Err(rejected.clone()), Err(rejected))
        );
        let (body, share) = share.hold(Bytes::from(vec![0; 2 * SMALL]));
        let piece = body.slice(3..5);
        drop((body, share));
        assert_eq!(budget.taken.load(Ordering::Relaxed), 2 * SMALL);
        drop(piece);
        assert_eq!(budget.taken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn one_account_holds_half() {
        let budget = Budget::new(8 * SMALL, SMALL);
        let (ann, bob) = (Account::Principal(Principal::new("ann")), Account::Principal(Principal::new("bob")));
        let grown = |account: &Account| {
            let mut share = budget.share();
            share.grow(2 * SMALL, Some(account)).map(|()| share)
        };
        let held = (grown(&ann).unwrap(), grown(&ann).unwrap());
        let rejected = Rejection::TooManyBodies { limit: 4 * SMALL };
        assert_eq!(grown(&ann).unwrap_err(), rejected);
        assert_eq!(budget.check(SMALL + 1, Some(&ann)), Err(rejected));
        assert_eq!((budget.check(SMALL + 1, Some(&bob)), budget.check(SMALL + 1, None)), (Ok(()), Ok(())));
        drop(grown(&bob).unwrap());
        drop(held);
        drop(grown(&ann).unwrap());
        assert_eq!((budget.of.len(), budget.taken.load(Ordering::Relaxed)), (0, 0));
        // Even a small budget has capacity for the largest body.
        let small = Budget::new(2 * SMALL, 2 * SMALL);
        small.share().grow(2 * SMALL, Some(&ann)).unwrap();
    }

    #[test]
    fn tasks_hold_at_most_a_quarter() {
        let budget = Budget::new(8 * SMALL, 0);
        let grown = |bytes| {
            let mut share = budget.share();
            share.grow(bytes, None).unwrap();
            share
        };
        let (first, second) = (grown(2 * SMALL), grown(SMALL + 1));
        assert!(first.become_task() && first.become_task());
        assert!(!second.become_task());
        drop(first);
        assert!(second.become_task());
        drop(second);
        assert_eq!((budget.taken.load(Ordering::Relaxed), budget.by_tasks.load(Ordering::Relaxed)), (0, 0));
    }
}
