//! Decides how much one principal may have at a time. Requests without a principal are not
//! counted: they have nobody in common.

use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use crate::identity::Principal;

/// A limit for each principal.
#[derive(Debug)]
pub(super) struct Quota {
    limit: usize,
    /// Only principals that have something now.
    of: DashMap<Principal, usize>,
}

/// One of what a principal may have; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Permit {
    quota: Arc<Quota>,
    principal: Principal,
}

impl Quota {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, of: DashMap::new() })
    }

    /// One more for a principal, or the limit it has reached.
    pub(super) fn take(self: &Arc<Self>, principal: Option<&Principal>) -> Result<Option<Permit>, usize> {
        let Some(principal) = principal else { return Ok(None) };
        let mut count = self.of.entry(principal.clone()).or_default();
        if *count >= self.limit {
            return Err(self.limit);
        }
        *count += 1;
        Ok(Some(Permit { quota: Arc::clone(self), principal: principal.clone() }))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.quota.of.entry(self.principal.clone()) {
            *entry.get_mut() -= 1;
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
        let quota = Quota::new(2);
        let (ann, bob) = (Principal::new("ann"), Principal::new("bob"));
        let first = quota.take(Some(&ann)).unwrap();
        let _second = quota.take(Some(&ann)).unwrap();
        assert_eq!(quota.take(Some(&ann)).unwrap_err(), 2);
        assert!(quota.take(Some(&bob)).is_ok() && quota.take(None).unwrap().is_none());
        drop(first);
        assert!(quota.take(Some(&ann)).is_ok());
        drop(_second);
        assert!(quota.of.is_empty());
    }
}
