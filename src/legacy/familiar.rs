//! Decides that what many sessions have in common is kept once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// How many values are looked through. More programs than these rarely open sessions at a time.
const MOST: usize = 16;

/// The values met last, as long as somebody has them.
#[derive(Debug, Default)]
pub(super) struct Familiar<T>(Mutex<VecDeque<Weak<T>>>);

impl<T: Clone + PartialEq> Familiar<T> {
    /// Returns the value, shared with the sessions that were given an equal one a short while ago. Values
    /// may have some KiB, so they are compared outside the lock; two that arrive at once are both kept.
    pub(super) fn share(&self, value: &T) -> Arc<T> {
        let met: Vec<Arc<T>> = self.met().iter().filter_map(Weak::upgrade).collect();
        if let Some(known) = met.into_iter().find(|known| **known == *value) {
            return known;
        }
        let new = Arc::new(value.clone());
        let mut met = self.met();
        met.retain(|known| known.strong_count() > 0);
        met.truncate(MOST - 1);
        met.push_front(Arc::downgrade(&new));
        new
    }

    fn met(&self) -> MutexGuard<'_, VecDeque<Weak<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_kept_once_and_only_while_somebody_has_them() {
        let familiar = Familiar::default();
        let first = familiar.share(&"a".to_owned());
        assert!(Arc::ptr_eq(&first, &familiar.share(&"a".to_owned())));
        assert!(!Arc::ptr_eq(&first, &familiar.share(&"b".to_owned())));
        let gone = Arc::downgrade(&familiar.share(&"c".to_owned()));
        assert_eq!(gone.strong_count(), 0);
        // However many there are, few are looked through.
        let names: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let many: Vec<_> = (0..100).map(|number| familiar.share(&names[number])).collect();
        assert_eq!(familiar.0.lock().unwrap().len(), MOST);
        assert!(Arc::ptr_eq(&many[99], &familiar.share(&"99".to_owned())));
        assert!(!Arc::ptr_eq(&first, &familiar.share(&"a".to_owned())));
    }
}
