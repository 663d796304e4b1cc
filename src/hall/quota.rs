//! Decides how much may be going on at a time: of all clients together, and of one principal. Requests
//! without a principal have nobody in common but all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use crate::identity::Principal;

/// A limit for all, and one for each principal.
#[derive(Debug)]
pub(crate) struct Quota {
    of_all: usize,
    of_each: usize,
    taken: AtomicUsize,
    /// Only principals that have something now.
    of: DashMap<Principal, usize>,
}

/// Some of what there is; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Permit {
    quota: Arc<Quota>,
    principal: Option<Principal>,
    count: usize,
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    OfAll(usize),
    OfPrincipal(usize),
}

impl Quota {
    pub(crate) fn new(of_all: usize, of_each: usize) -> Arc<Self> {
        Arc::new(Self { of_all, of_each, taken: AtomicUsize::new(0), of: DashMap::new() })
    }

    /// So many more, all or none. A principal that has all it may have is told so first: that passes when
    /// its own calls end.
    pub(crate) fn take(self: &Arc<Self>, principal: Option<&Principal>, count: usize) -> Result<Permit, Full> {
        match principal {
            Some(principal) => self.take_for(principal, count)?,
            None => self.take_of_all(count)?,
        }
        Ok(Permit { quota: Arc::clone(self), principal: principal.cloned(), count })
    }

    /// One more, be there room or not: what it counts has begun already.
    pub(crate) fn add(self: &Arc<Self>, principal: Option<&Principal>) -> Permit {
        self.taken.fetch_add(1, Ordering::Relaxed);
        if let Some(principal) = principal {
            *self.of.entry(principal.clone()).or_default() += 1;
        }
        Permit { quota: Arc::clone(self), principal: principal.cloned(), count: 1 }
    }

    /// Whether a principal has all it may have.
    pub(crate) fn is_full_for(&self, principal: &Principal) -> Option<Full> {
        let taken = self.of.get(principal).map_or(0, |taken| *taken);
        (taken >= self.of_each).then_some(Full::OfPrincipal(self.of_each))
    }

    fn take_for(&self, principal: &Principal, count: usize) -> Result<(), Full> {
        let mut taken = self.of.entry(principal.clone()).or_default();
        let fits = if taken.saturating_add(count) > self.of_each {
            Err(Full::OfPrincipal(self.of_each))
        } else {
            self.take_of_all(count)
        };
        if fits.is_ok() {
            *taken += count;
        }
        let nothing = *taken == 0;
        drop(taken);
        if nothing {
            self.of.remove_if(principal, |_, taken| *taken == 0);
        }
        fits
    }

    fn take_of_all(&self, count: usize) -> Result<(), Full> {
        let fits = |taken: usize| taken.checked_add(count).filter(|taken| *taken <= self.of_all);
        let taken = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        taken.map(drop).map_err(|_| Full::OfAll(self.of_all))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.quota.taken.fetch_sub(self.count, Ordering::Relaxed);
        if let Some(principal) = self.principal.take()
            && let Entry::Occupied(mut entry) = self.quota.of.entry(principal)
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

    #[test]
    fn a_principal_gets_as_many_as_the_limit_says_and_gives_them_back() {
        let quota = Quota::new(10, 2);
        let (ann, bob) = (Principal::new("ann"), Principal::new("bob"));
        let first = quota.take(Some(&ann), 1).unwrap();
        let second = quota.take(Some(&ann), 1).unwrap();
        assert_eq!(quota.take(Some(&ann), 1).unwrap_err(), Full::OfPrincipal(2));
        assert!(quota.take(Some(&bob), 2).is_ok() && quota.take(None, 8).is_ok());
        drop(first);
        assert!(quota.take(Some(&ann), 2).is_err() && quota.take(Some(&ann), 1).is_ok());
        drop(second);
        assert!(quota.of.is_empty());
        assert_eq!(quota.taken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn all_together_get_as_many_as_the_limit_says_whoever_they_are() {
        let quota = Quota::new(3, 2);
        let ann = Principal::new("ann");
        let (nobody, hers) = (quota.take(None, 2).unwrap(), quota.take(Some(&ann), 1).unwrap());
        assert_eq!(quota.take(None, 1).unwrap_err(), Full::OfAll(3));
        assert_eq!(quota.take(Some(&ann), 1).unwrap_err(), Full::OfAll(3));
        assert_eq!(quota.take(Some(&ann), 2).unwrap_err(), Full::OfPrincipal(2));
        assert_eq!(quota.take(Some(&Principal::new("bob")), 1).unwrap_err(), Full::OfAll(3));
        assert_eq!(quota.of.len(), 1, "who was refused is forgotten");
        assert_eq!(quota.take(None, usize::MAX).unwrap_err(), Full::OfAll(3));
        drop(nobody);
        assert!(quota.take(None, 2).is_ok(), "and what was refused took nothing");
        drop(hers);
        assert!(quota.take(None, 3).is_ok());
    }
}
