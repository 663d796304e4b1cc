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

    /// So many more, all or none.
    pub(crate) fn take(self: &Arc<Self>, principal: Option<&Principal>, count: usize) -> Result<Permit, Full> {
        let fits = |taken: usize| taken.checked_add(count).filter(|taken| *taken <= self.of_all);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map_err(|_| Full::OfAll(self.of_all))?;
        let mut permit = Permit { quota: Arc::clone(self), principal: None, count };
        if let Some(principal) = principal {
            let mut taken = self.of.entry(principal.clone()).or_default();
            if *taken + count > self.of_each {
                return Err(Full::OfPrincipal(self.of_each));
            }
            *taken += count;
            permit.principal = Some(principal.clone());
        }
        Ok(permit)
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
        assert_eq!(quota.take(None, usize::MAX).unwrap_err(), Full::OfAll(3));
        drop(nobody);
        assert_eq!(quota.take(Some(&ann), 2).unwrap_err(), Full::OfPrincipal(2), "and what was refused took nothing");
        assert!(quota.take(None, 2).is_ok());
        drop(hers);
        assert!(quota.take(None, 3).is_ok());
    }
}
