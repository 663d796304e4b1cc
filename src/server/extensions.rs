//! Extensions: values of any type that belong to a session on one node.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::panics::drop_quietly;

/// A map of values by type, for values that belong to a session and cannot be stored.
#[derive(Default)]
pub struct Extensions {
    /// Allocated on first use: an idle session has no map. Never locked across an await.
    values: Mutex<Option<Box<Values>>>,
}

type Values = HashMap<TypeId, Arc<dyn Any + Send + Sync>>;

impl Extensions {
    pub(crate) fn is_empty(&self) -> bool {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.as_ref().is_none_or(|values| values.is_empty())
    }

    /// Moves all values into a new map.
    pub(crate) fn take(&self) -> Self {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner).take();
        Self { values: Mutex::new(values) }
    }

    /// Returns the value of a type, if there is one.
    #[must_use]
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.as_ref()?.get(&TypeId::of::<T>())?.clone().downcast().ok()
    }

    /// Inserts a value and returns the previous one of the same type.
    pub fn insert<T: Send + Sync + 'static>(&self, value: T) -> Option<Arc<T>> {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.get_or_insert_default().insert(TypeId::of::<T>(), Arc::new(value))?.downcast().ok()
    }

    /// Returns the value of a type, and creates it if there is none. Concurrent callers get the
    /// same value.
    pub fn get_or_insert_with<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let values = values.get_or_insert_default();
        let known = values.get(&TypeId::of::<T>()).cloned().and_then(|value| value.downcast().ok());
        known.unwrap_or_else(|| {
            let made = Arc::new(make());
            values.insert(TypeId::of::<T>(), Arc::clone(&made) as _);
            made
        })
    }

    /// Removes a value and returns it.
    pub fn remove<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.as_mut()?.remove(&TypeId::of::<T>())?.downcast().ok()
    }
}

/// Values are dropped with the session, by whichever task ends it.
impl Drop for Extensions {
    fn drop(&mut self) {
        let values = self.values.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        values.into_iter().flat_map(|values| values.into_values()).for_each(drop_quietly);
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extensions").finish_non_exhaustive()
    }
}
