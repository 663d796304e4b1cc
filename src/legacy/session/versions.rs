//! Versions: which version of each key of a session's state is known here.

/// The versions of the engine's state that are known here. A value with an older version is
/// ignored. Version 0 means that the key must be read again.
#[derive(Debug, Default)]
pub(super) struct Versions(pub(super) Vec<(Box<str>, u64)>);

impl Versions {
    pub(super) fn get(&self, key: &str) -> u64 {
        self.0.iter().find(|(known, _)| **known == *key).map_or(0, |(_, version)| *version)
    }

    pub(super) fn set(&mut self, key: &str, version: u64) {
        match self.0.iter_mut().find(|(known, _)| **known == *key) {
            Some((_, known)) => *known = version,
            None => self.0.push((key.into(), version)),
        }
    }

    pub(super) fn sum(&self) -> u64 {
        self.0.iter().map(|(_, version)| version).sum()
    }
}
