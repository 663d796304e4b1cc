//! The state of one session: the values of the application and the service's own, with their
//! versions.

use std::collections::HashMap;

use crate::message::RawJson;
use crate::store::{OWN_STATE, StateValue};

#[derive(Debug, Default)]
pub(super) struct State {
    values: HashMap<Box<str>, (RawJson, u64)>,
    /// The sum of the versions of the service's own values.
    revision: u64,
}

impl State {
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn load(&self, key: &str) -> (Option<RawJson>, u64) {
        self.values.get(key).map_or((None, 0), |(value, version)| (Some(value.clone()), *version))
    }

    /// Returns the values whose keys start with a prefix, except those that still have their known
    /// version.
    pub(super) fn load_all(&self, prefix: &str, known: &[(&str, u64)]) -> Vec<StateValue> {
        let is_known = |key: &str, version: u64| known.contains(&(key, version));
        let values =
            self.values.iter().filter(|(key, (_, version))| key.starts_with(prefix) && !is_known(key, *version));
        values
            .map(|(key, (value, version))| StateValue { key: key.clone(), value: value.clone(), version: *version })
            .collect()
    }

    /// Writes a value if its version is still the given one. Returns `true` if it was.
    pub(super) fn store(&mut self, key: &str, value: &RawJson, version: u64) -> bool {
        let is_newest = self.values.get(key).map_or(0, |(_, version)| *version) == version;
        if is_newest {
            self.values.insert(key.into(), (value.clone(), version + 1));
            self.revision += u64::from(key.starts_with(OWN_STATE));
        }
        is_newest
    }
}

/// The restoration from a journal.
#[cfg(feature = "file")]
impl State {
    pub(super) fn restored(values: HashMap<Box<str>, (RawJson, u64)>) -> Self {
        let own = values.iter().filter(|(key, _)| key.starts_with(OWN_STATE));
        Self { revision: own.map(|(_, (_, version))| version).sum(), values }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &RawJson, u64)> {
        self.values.iter().map(|(key, (value, version))| (&**key, value, *version))
    }
}
