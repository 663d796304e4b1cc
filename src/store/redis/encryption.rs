//! Encryption of messages: encrypts what clients and handlers send each other, if the options say
//! so, and decrypts what was stored.
//!
//! The cipher is XChaCha20-Poly1305. Its nonce is a keyed hash of the text and of the name that it
//! belongs to, so equal texts of one session have equal bytes. Scripts can therefore recognise a
//! repetition; other readers learn nothing more than that.
//!
//! An encrypted text begins with a byte that no JSON begins with. Nodes with and without encryption
//! can therefore read each other's texts.

use std::borrow::Cow;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::error::{StoreError, StoreErrorKind};

/// The first byte of an encrypted text. Scripts know it, and by how much encryption lengthens a
/// text.
const SEALED: u8 = 1;
const NONCE: usize = 24;

pub(super) struct Encryption {
    cipher: XChaCha20Poly1305,
    nonces: [u8; 32],
    seals: bool,
}

impl Encryption {
    pub(super) fn new(secret: &[u8], seals: bool) -> Self {
        let cipher = XChaCha20Poly1305::new(&keyed(secret, b"messages").into());
        Self { cipher, nonces: keyed(secret, b"nonces"), seals }
    }

    /// Returns a text as it is stored; `of` is the name that it belongs to.
    pub(super) fn close<'a>(&self, of: &str, text: &'a [u8]) -> Result<Cow<'a, [u8]>, StoreError> {
        if !self.seals {
            return Ok(Cow::Borrowed(text));
        }
        // All names have the same length, so different pairs never form the same text.
        let nonce: [u8; 32] = keyed(&keyed(&self.nonces, of.as_bytes()), text);
        let nonce: [u8; NONCE] = std::array::from_fn(|at| nonce[at]);
        let payload = Payload { msg: text, aad: of.as_bytes() };
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| StoreError::new(StoreErrorKind::Corrupt))?;
        Ok(Cow::Owned([&[SEALED], &nonce[..], &sealed].concat()))
    }

    /// Returns a stored text, whether it was encrypted or not.
    pub(super) fn open(&self, of: &str, kept: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        let Some((&SEALED, rest)) = kept.split_first() else { return Ok(kept) };
        let opened = rest.split_first_chunk::<NONCE>().and_then(|(nonce, sealed)| {
            let payload = Payload { msg: sealed, aad: of.as_bytes() };
            self.cipher.decrypt(&XNonce::from(*nonce), payload).ok()
        });
        match opened {
            Some(text) => Ok(text),
            None if self.seals => Err(StoreError::new(StoreErrorKind::Corrupt)),
            // The text was stored in the clear, and only begins like an encrypted one.
            None => Ok(kept),
        }
    }
}

/// Returns a keyed hash of a text.
pub(super) fn keyed(key: &[u8], text: &[u8]) -> [u8; 32] {
    // Never fails: HMAC accepts a key of any length.
    Hmac::<Sha256>::new_from_slice(key).map_or([0; 32], |hash| hash.chain_update(text).finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_texts_of_a_session_encrypt_equally() {
        let encryption = Encryption::new(b"secret", true);
        let first = encryption.close("a", b"{}").unwrap();
        assert_eq!(first, encryption.close("a", b"{}").unwrap());
        assert_ne!(first, encryption.close("b", b"{}").unwrap());
        assert_eq!(first.len(), 2 + 41, "scripts count on it");
        assert!(encryption.open("b", first.to_vec()).is_err(), "it belongs to another session");
        assert!(Encryption::new(b"other", true).open("a", first.to_vec()).is_err());
        assert_eq!(
            Encryption::new(b"secret", false).open("a", first.to_vec()).unwrap(),
            b"{}",
            "a node that does not seal"
        );
        assert_eq!(encryption.open("a", b"{}".to_vec()).unwrap(), b"{}", "what a node said that does not seal");
    }

    proptest! {
        #[test]
        fn changed_texts_do_not_open(
            text in proptest::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), with in any::<u8>(),
        ) {
            let encryption = Encryption::new(b"secret", true);
            let kept = encryption.close("a", &text).unwrap().into_owned();
            prop_assert_eq!(encryption.open("a", kept.clone()).unwrap(), text);
            let mut changed = kept.clone();
            // The first byte is left alone, because it says whether the text is encrypted.
            let at = 1 + at.index(changed.len() - 1);
            changed[at] = with;
            if changed != kept {
                prop_assert!(encryption.open("a", changed).is_err());
            }
        }
    }
}
