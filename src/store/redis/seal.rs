//! Decides whether what clients and handlers say is kept in the clear, and opens what is not.
//!
//! XChaCha20-Poly1305 under a nonce that is a keyed hash of the text and of what it belongs to: the
//! same words of the same session are the same bytes, so that scripts can tell a repetition, and
//! nobody else can tell more than that. What is sealed says so in its first byte, with which no
//! JSON begins: nodes that seal and nodes that do not can read each other.

use std::borrow::Cow;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use super::names::keyed;
use crate::error::{StoreError, StoreErrorKind};

/// The first byte; scripts know it, and how much longer it makes a text.
const SEALED: u8 = 1;
const NONCE: usize = 24;

pub(super) struct Seal {
    cipher: XChaCha20Poly1305,
    nonces: [u8; 32],
    seals: bool,
}

impl Seal {
    pub(super) fn new(secret: &[u8], seals: bool) -> Self {
        let cipher = XChaCha20Poly1305::new(&keyed(secret, b"messages").into());
        Self { cipher, nonces: keyed(secret, b"nonces"), seals }
    }

    /// A text as it is kept; `of` is the name of what it belongs to.
    pub(super) fn close<'a>(&self, of: &str, text: &'a [u8]) -> Result<Cow<'a, [u8]>, StoreError> {
        if !self.seals {
            return Ok(Cow::Borrowed(text));
        }
        // Names have one length, so that no two pairs are one text.
        let nonce: [u8; 32] = keyed(&keyed(&self.nonces, of.as_bytes()), text);
        let nonce: [u8; NONCE] = std::array::from_fn(|at| nonce[at]);
        let payload = Payload { msg: text, aad: of.as_bytes() };
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| StoreError::new(StoreErrorKind::Corrupt))?;
        Ok(Cow::Owned([&[SEALED], &nonce[..], &sealed].concat()))
    }

    /// A text that was kept, sealed or not.
    pub(super) fn open(&self, of: &str, kept: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        let Some((&SEALED, rest)) = kept.split_first() else { return Ok(kept) };
        let opened = rest.split_first_chunk::<NONCE>().and_then(|(nonce, sealed)| {
            let payload = Payload { msg: sealed, aad: of.as_bytes() };
            self.cipher.decrypt(&XNonce::from(*nonce), payload).ok()
        });
        match opened {
            Some(text) => Ok(text),
            None if self.seals => Err(StoreError::new(StoreErrorKind::Corrupt)),
            // Nobody sealed it; it only looks so.
            None => Ok(kept),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_same_words_of_one_session_are_the_same_bytes_and_of_no_other() {
        let seal = Seal::new(b"secret", true);
        let first = seal.close("a", b"{}").unwrap();
        assert_eq!(first, seal.close("a", b"{}").unwrap());
        assert_ne!(first, seal.close("b", b"{}").unwrap());
        assert_eq!(first.len(), 2 + 41, "scripts count on it");
        assert!(seal.open("b", first.to_vec()).is_err(), "it belongs to another session");
        assert!(Seal::new(b"other", true).open("a", first.to_vec()).is_err());
        assert_eq!(Seal::new(b"secret", false).open("a", first.to_vec()).unwrap(), b"{}", "a node that does not seal");
        assert_eq!(seal.open("a", b"{}".to_vec()).unwrap(), b"{}", "what a node said that does not seal");
    }

    proptest! {
        #[test]
        fn what_was_changed_anywhere_does_not_open(
            text in proptest::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), with in any::<u8>(),
        ) {
            let seal = Seal::new(b"secret", true);
            let kept = seal.close("a", &text).unwrap().into_owned();
            prop_assert_eq!(seal.open("a", kept.clone()).unwrap(), text);
            let mut changed = kept.clone();
            // But for the first byte, which says whether there is a seal.
            let at = 1 + at.index(changed.len() - 1);
            changed[at] = with;
            if changed != kept {
                prop_assert!(seal.open("a", changed).is_err());
            }
        }
    }
}
