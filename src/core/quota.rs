//! Quotas: concurrency limits for all clients together, for one principal and for one peer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use crate::identity::Account;

/// A limit for all accounts together, and one for each.
#[derive(Debug)]
pub(crate) struct Quota {
    of_all: usize,
    of_principal: usize,
    /// `None`: peers have no limit of their own.
    of_peer: Option<usize>,
    taken: AtomicUsize,
    /// Only accounts that hold something now.
    of: DashMap<Account, usize>,
}

/// A number of units taken from a quota. Dropping it releases them.
#[derive(Debug)]
pub(crate) struct Permit {
    quota: Arc<Quota>,
    account: Option<Account>,
    count: usize,
}

/// The limit that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    All(usize),
    Principal(usize),
    Peer(usize),
}

impl Quota {
    pub(crate) fn new(of_all: usize, of_principal: usize, of_peer: Option<usize>) -> Arc<Self> {
        Arc::new(Self { of_all, of_principal, of_peer, taken: AtomicUsize::new(0), of: DashMap::new() })
    }

    /// Takes `count` units, all or none. The limit of the account is checked first, because a
    /// rejection that names it ends with the account's own calls.
    pub(crate) fn take(self: &Arc<Self>, account: Option<Account>, count: usize) -> Result<Permit, Full> {
        let share = account.as_ref().and_then(|account| self.share_of(account));
        let account = account.filter(|_| share.is_some());
        match (&account, share) {
            (Some(account), Some(share)) => self.take_for(account, share, count)?,
            _ => self.take_of_all(count)?,
        }
        Ok(Permit { quota: Arc::clone(self), account, count })
    }

    /// Takes one unit even beyond the limit, because what it counts has already begun.
    pub(crate) fn add(self: &Arc<Self>, account: Option<Account>) -> Permit {
        self.taken.fetch_add(1, Ordering::Relaxed);
        if let Some(account) = &account {
            *self.of.entry(account.clone()).or_default() += 1;
        }
        Permit { quota: Arc::clone(self), account, count: 1 }
    }

    /// Returns the limit of an account that has reached it.
    pub(crate) fn is_full_for(&self, account: &Account) -> Option<Full> {
        let (share, full) = self.share_of(account)?;
        let taken = self.of.get(account).map_or(0, |taken| *taken);
        (taken >= share).then_some(full)
    }

    /// Returns the limit of one account, with the error that names it.
    fn share_of(&self, account: &Account) -> Option<(usize, Full)> {
        match account {
            Account::Principal(_) => Some((self.of_principal, Full::Principal(self.of_principal))),
            Account::Peer(_) => self.of_peer.map(|share| (share, Full::Peer(share))),
        }
    }

    fn take_for(&self, account: &Account, (share, full): (usize, Full), count: usize) -> Result<(), Full> {
        let mut taken = self.of.entry(account.clone()).or_default();
        let fits = if taken.saturating_add(count) > share { Err(full) } else { self.take_of_all(count) };
        if fits.is_ok() {
            *taken += count;
        }
        let nothing = *taken == 0;
        drop(taken);
        if nothing {
            self.of.remove_if(account, |_, taken| *taken == 0);
        }
        fits
    }

    fn take_of_all(&self, count: usize) -> Result<(), Full> {
        let fits = |taken: usize| taken.checked_add(count).filter(|taken| *taken <= self.of_all);
        let taken = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        taken.map(drop).map_err(|_| Full::All(self.of_all))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.quota.taken.fetch_sub(self.count, Ordering::Relaxed);
        if let Some(account) = self.account.take()
            && let Entry::Occupied(mut entry) = self.quota.of.entry(account)
        {
            *entry.get_mut() -= self.count;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Peer, Principal};

    fn principal(name: &str) -> Option<Account> {
        Some(Account::Principal(Principal::new(name)))
    }

    fn peer(last: u8) -> Option<Account> {
        Some(Account::Peer(Peer::new([192, 0, 2, last].into())))
    }

    #[test]
    fn an_account_gets_and_releases_its_share() {
        for (ann, bob, full) in
            [(principal("ann"), principal("bob"), Full::Principal(2)), (peer(1), peer(2), Full::Peer(2))]
        {
            let quota = Quota::new(10, 2, Some(2));
            let first = quota.take(ann.clone(), 1).unwrap();
            let second = quota.take(ann.clone(), 1).unwrap();
            assert_eq!(quota.take(ann.clone(), 1).unwrap_err(), full);
            assert!(quota.take(bob, 2).is_ok() && quota.take(None, 8).is_ok());
            drop(first);
            assert!(quota.take(ann.clone(), 2).is_err() && quota.take(ann, 1).is_ok());
            drop(second);
            assert!(quota.of.is_empty());
            assert_eq!(quota.taken.load(Ordering::Relaxed), 0);
        }
    }

    #[test]
    fn peers_without_a_share_are_not_counted() {
        let quota = Quota::new(3, 1, None);
        let all = quota.take(peer(1), 3).unwrap();
        assert!(quota.of.is_empty(), "nothing is kept of them");
        assert_eq!(quota.take(peer(2), 1).unwrap_err(), Full::All(3));
        drop(all);
        assert!(quota.take(peer(2), 3).is_ok());
    }

    #[test]
    fn the_total_is_bounded_for_all_accounts() {
        let quota = Quota::new(3, 2, Some(2));
        let (nobodys, hers) = (quota.take(None, 2).unwrap(), quota.take(principal("ann"), 1).unwrap());
        assert_eq!(quota.take(None, 1).unwrap_err(), Full::All(3));
        assert_eq!(quota.take(principal("ann"), 1).unwrap_err(), Full::All(3));
        assert_eq!(quota.take(principal("ann"), 2).unwrap_err(), Full::Principal(2));
        assert_eq!(quota.take(peer(1), 1).unwrap_err(), Full::All(3));
        assert_eq!(quota.of.len(), 1, "an account that was refused is forgotten");
        assert_eq!(quota.take(None, usize::MAX).unwrap_err(), Full::All(3));
        drop(nobodys);
        assert!(quota.take(None, 2).is_ok(), "and what was refused took nothing");
        drop(hers);
        assert!(quota.take(None, 3).is_ok());
    }
}
