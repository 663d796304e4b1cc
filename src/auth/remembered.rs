//! Remembered tokens: verified tokens by their hash, limited in number and time.

use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::sync::{PoisonError, RwLock};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use crate::identity::AccessToken;

/// The hash of a token's text. The text itself is never kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TokenHash([u8; 32]);

impl TokenHash {
    pub(super) fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Compares without an early end. Hashes of guesses tell nothing by their first bytes; this does
    /// not even depend on them.
    pub(super) fn equals(&self, other: &Self) -> bool {
        let difference = self.0.iter().zip(other.0).fold(0, |all, (left, right)| all | (left ^ right));
        std::hint::black_box(difference) == 0
    }
}

/// Verified tokens in two generations. When the young one is full, it becomes the old one, and the
/// old one is forgotten. A token that is used moves to the young one. So each operation takes the
/// same time, and what is in use stays.
pub(super) struct Remembered {
    /// The most tokens of a generation.
    half: usize,
    generations: RwLock<Generations>,
}

#[derive(Default)]
struct Generations {
    young: HashMap<TokenHash, Entry>,
    old: HashMap<TokenHash, Entry>,
}

#[derive(Clone)]
struct Entry {
    token: AccessToken,
    until: SystemTime,
    /// That of the verifiers when the token was verified.
    generation: u64,
}

impl Remembered {
    pub(super) fn new(max: usize) -> Self {
        Self { half: max.div_ceil(2), generations: RwLock::default() }
    }

    /// Returns a token that was verified in this generation and may still be used.
    pub(super) fn get(&self, hash: &TokenHash, now: SystemTime, generation: u64) -> Option<AccessToken> {
        let old = {
            let generations = self.generations.read().unwrap_or_else(PoisonError::into_inner);
            let valid = |entry: &&Entry| now < entry.until && entry.generation == generation;
            if let Some(entry) = generations.young.get(hash).filter(valid) {
                return Some(entry.token.clone());
            }
            generations.old.get(hash).filter(valid).cloned()?
        };
        self.put(*hash, old.token.clone(), old.until, generation);
        Some(old.token)
    }

    /// Remembers a verified token.
    pub(super) fn put(&self, hash: TokenHash, token: AccessToken, until: SystemTime, generation: u64) {
        if self.half == 0 {
            return;
        }
        // Dropped outside of the lock.
        let mut forgotten = HashMap::new();
        let mut generations = self.generations.write().unwrap_or_else(PoisonError::into_inner);
        if generations.young.len() >= self.half && !generations.young.contains_key(&hash) {
            let young = mem::take(&mut generations.young);
            forgotten = mem::replace(&mut generations.old, young);
        }
        generations.young.insert(hash, Entry { token, until, generation });
        drop(generations);
        drop(forgotten);
    }

    /// Forgets tokens. Looks at all of them. Returns the number of those that were forgotten.
    pub(super) fn remove(&self, is_meant: impl Fn(&AccessToken) -> bool) -> usize {
        let mut generations = self.generations.write().unwrap_or_else(PoisonError::into_inner);
        let Generations { young, old } = &mut *generations;
        let before = young.len() + old.len();
        young.retain(|_, entry| !is_meant(&entry.token));
        old.retain(|_, entry| !is_meant(&entry.token));
        before - young.len() - old.len()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let generations = self.generations.read().unwrap();
        generations.young.len() + generations.old.len()
    }
}

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remembered").field("half", &self.half).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn hash(number: usize) -> TokenHash {
        TokenHash::of(&number.to_string())
    }

    #[test]
    fn a_token_flood_keeps_the_used_token() {
        let remembered = Remembered::new(100);
        let token = AccessToken::new("i", "s");
        let (now, until) = (SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + Duration::from_secs(60));
        remembered.put(hash(0), token.clone(), until, 0);
        for number in 1..10_000 {
            remembered.put(hash(number), token.clone(), until, 0);
            assert!(remembered.get(&hash(0), now, 0).is_some(), "{number}");
            assert!(remembered.len() <= 100);
        }
        assert!(remembered.get(&hash(1), now, 0).is_none());
    }

    #[test]
    fn a_token_is_used_until_its_time_ends() {
        let remembered = Remembered::new(2);
        let until = SystemTime::UNIX_EPOCH + Duration::from_secs(60);
        remembered.put(hash(1), AccessToken::new("i", "s"), until, 0);
        assert!(remembered.get(&hash(1), until - Duration::from_nanos(1), 0).is_some());
        assert!(remembered.get(&hash(1), until, 0).is_none());
        let none = Remembered::new(0);
        none.put(hash(1), AccessToken::new("i", "s"), until, 0);
        assert!(none.get(&hash(1), SystemTime::UNIX_EPOCH, 0).is_none());
    }

    #[test]
    fn tokens_of_an_earlier_generation_are_verified_again() {
        let remembered = Remembered::new(4);
        let (now, until) = (SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + Duration::from_secs(60));
        remembered.put(hash(1), AccessToken::new("i", "s"), until, 0);
        assert!(remembered.get(&hash(1), now, 1).is_none());
        assert!(remembered.get(&hash(1), now, 0).is_some());
        assert_eq!(remembered.remove(|token| token.subject() == "other"), 0);
        assert_eq!(remembered.remove(|token| token.subject() == "s"), 1);
        assert!(remembered.get(&hash(1), now, 0).is_none());
    }
}
