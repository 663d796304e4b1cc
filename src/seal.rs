//! Sealed text: encrypted state that a client carries and can neither read nor change.
//!
//! XChaCha20-Poly1305: its nonces are long enough to be random, so that nodes need not coordinate
//! them. The purpose names the principal, service and call that the text belongs to. It is
//! authenticated but not part of the text, so the text opens only with the same purpose.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, Generate, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use crate::settings::SealingKey;

/// The version of the format, as the first byte. A later format uses another byte.
const FORMAT: u8 = 1;

const NONCE: usize = 24;

/// The keys: the first seals, every one opens.
pub(crate) struct Sealer(Vec<XChaCha20Poly1305>);

impl Sealer {
    pub(crate) fn new(keys: &[SealingKey]) -> Self {
        Self(keys.iter().map(|key| XChaCha20Poly1305::new(key.key())).collect())
    }

    /// Seals with the first key. Returns `None` only if there is no key or no randomness.
    pub(crate) fn seal(&self, plain: &[u8], purpose: &[u8]) -> Option<String> {
        let nonce = XNonce::try_generate().ok()?;
        let sealed = self.0.first()?.encrypt(&nonce, Payload { msg: plain, aad: purpose }).ok()?;
        let mut out = Vec::with_capacity(1 + NONCE + sealed.len());
        out.push(FORMAT);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Some(URL_SAFE_NO_PAD.encode(out))
    }

    /// Opens with any of the keys. Returns `None` if no key fits or the text was changed.
    pub(crate) fn open(&self, text: &str, purpose: &[u8]) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (&[FORMAT], rest) = bytes.split_first_chunk()? else { return None };
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>()?;
        let payload = || Payload { msg: sealed, aad: purpose };
        self.0.iter().find_map(|key| key.decrypt(&XNonce::from(*nonce), payload()).ok())
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("keys", &self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealer(keys: &[u8]) -> Sealer {
        Sealer::new(&keys.iter().map(|key| SealingKey::from_bytes([*key; 32])).collect::<Vec<_>>())
    }

    #[test]
    fn a_rotated_key_opens_until_it_is_removed() {
        let sealed = sealer(&[1]).seal(b"plain", b"for").unwrap();
        assert_eq!(sealer(&[2, 1]).open(&sealed, b"for").as_deref(), Some(&b"plain"[..]));
        assert_eq!(sealer(&[2]).open(&sealed, b"for"), None);
        assert_eq!(sealer(&[1]).open(&sealed, b"against"), None);
        assert_ne!(sealed, sealer(&[1]).seal(b"plain", b"for").unwrap(), "each seal has its own nonce");
    }

    proptest! {
        #[test]
        fn changed_text_does_not_open(
            plain in proptest::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), with in any::<u8>(),
        ) {
            let sealed = sealer(&[1]).seal(&plain, b"for").unwrap();
            prop_assert_eq!(sealer(&[1]).open(&sealed, b"for"), Some(plain));
            let mut changed = sealed.clone().into_bytes();
            let at = at.index(changed.len());
            changed[at] = with;
            let changed = String::from_utf8_lossy(&changed).into_owned();
            if changed != sealed {
                prop_assert_eq!(sealer(&[1]).open(&changed, b"for"), None);
            }
        }

        #[test]
        fn arbitrary_text_is_rejected(text in ".*") {
            prop_assert_eq!(sealer(&[1]).open(&text, b"for"), None);
        }
    }
}
