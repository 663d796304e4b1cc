//! Sharing of equal values between sessions, so that they are stored once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The number of values that are compared. More programs than this rarely open sessions at the same
/// time.
const MAX_VALUES: usize = 16;

/// The most recent values that are still in use.
#[derive(Debug, Default)]
pub(super) struct Interner<T>(Mutex<VecDeque<Weak<T>>>);

impl<T: Clone + PartialEq> Interner<T> {
    /// Returns the value, shared with sessions that recently received an equal one. Values may have
    /// some KiB, so they are compared outside the lock. Two equal values that arrive at the same
    /// time are both stored.
    pub(super) fn share(&self, value: &T) -> Arc<T> {
        let met: Vec<Arc<T>> = self.intern().iter().filter_map(Weak::upgrade).collect();
        if let Some(known) = met.into_iter().find(|known| **known == *value) {
            return known;
        }
        let new = Arc::new(value.clone());
        let mut met = self.intern();
        met.retain(|known| known.strong_count() > 0);
        met.truncate(MAX_VALUES - 1);
        met.push_front(Arc::downgrade(&new));
        new
    }

    fn intern(&self) -> MutexGuard<'_, VecDeque<Weak<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_one_live_entry() {
        let familiar = Interner::default();
        let first = familiar.share(&"a".to_owned());
        assert!(Arc::ptr_eq(&first, &familiar.share(&"a".to_owned())));
        assert!(!Arc::ptr_eq(&first, &familiar.share(&"b".to_owned())));
        let gone = Arc::downgrade(&familiar.share(&"c".to_owned()));
        assert_eq!(gone.strong_count(), 0);
        // However many values there are, only a few are compared.
        let names: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let many: Vec<_> = (0..100).map(|number| familiar.share(&names[number])).collect();
        assert_eq!(familiar.0.lock().unwrap().len(), MAX_VALUES);
        assert!(Arc::ptr_eq(&many[99], &familiar.share(&"99".to_owned())));
        assert!(!Arc::ptr_eq(&first, &familiar.share(&"a".to_owned())));
    }
}
