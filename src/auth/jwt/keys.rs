//! The keys of an authorization server: reads a JWK set and finds the keys that fit a token.

use std::collections::HashSet;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// The most keys of a set. Authorization servers publish two to ten.
const MAX_KEYS: usize = 64;

/// The most keys that are tried for a token without a `kid`: each costs a signature.
const MAX_TRIED: usize = 8;

/// The keys that can verify signatures.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    keys: Vec<Key>,
    /// The published form of each key.
    texts: HashSet<String>,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    /// The algorithms of the key: the one that it states, or all that fit its type.
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

impl KeySet {
    /// Reads a JWK set. Keys of other uses or of unknown types are left out.
    pub(super) fn read(document: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        let document: Document =
            serde_json::from_slice(document).map_err(|_| "its keys are not a JWK set".to_owned())?;
        let (mut keys, mut texts) = (Vec::new(), HashSet::new());
        for value in document.keys.into_iter().take(MAX_KEYS) {
            let text = value.to_string();
            if let Some(key) = Key::read(value) {
                keys.push(key);
                texts.insert(text);
            }
        }
        if keys.is_empty() { Err("it publishes no key for signatures".to_owned()) } else { Ok(Self { keys, texts }) }
    }

    /// Returns the published form of each key.
    pub(super) fn texts(&self) -> &HashSet<String> {
        &self.texts
    }

    /// Returns the keys that may have signed a token. Without a `kid` these are all keys of its
    /// algorithm.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<DecodingKey> {
        let fits =
            |key: &&Key| key.algorithms.contains(&algorithm) && id.is_none_or(|id| key.id.as_deref() == Some(id));
        self.keys.iter().filter(fits).take(MAX_TRIED).map(|key| key.key.clone()).collect()
    }
}

impl Key {
    fn read(value: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let common = &jwk.common;
        let signs = common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
        let verifies =
            common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        let algorithms = algorithms(&jwk)?;
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        (signs && verifies).then(|| Self { id: jwk.common.key_id, algorithms, key })
    }
}

/// Returns the algorithms of a key; `None` if none is allowed. A secret is never a key here.
fn algorithms(jwk: &Jwk) -> Option<Vec<Algorithm>> {
    let of_type: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => AlgorithmFamily::Rsa.algorithms(),
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
        _ => return None,
    };
    match &jwk.common.key_algorithm {
        None => Some(of_type.to_vec()),
        Some(stated) => of_type.iter().copied().find(|algorithm| is_same(*algorithm, stated)).map(|one| vec![one]),
    }
}

fn is_same(algorithm: Algorithm, stated: &KeyAlgorithm) -> bool {
    // Both are written by their registered name.
    format!("{algorithm:?}") == stated.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_public_keys_for_signatures_are_read() {
        let point = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let ec = |more: Value| {
            let mut key = json!({"kty": "EC", "crv": "P-256", "x": point, "y": point, "kid": "a"});
            key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            key
        };
        let found = |key: Value, id: Option<&str>, algorithm| {
            let set = KeySet::read(json!({ "keys": [key] }).to_string().as_bytes());
            set.map_or(0, |set| set.find(id, algorithm).len())
        };
        assert_eq!(found(ec(json!({})), Some("a"), Algorithm::ES256), 1);
        assert_eq!(found(ec(json!({"alg": "ES256", "use": "sig"})), None, Algorithm::ES256), 1);
        assert_eq!(found(ec(json!({})), Some("b"), Algorithm::ES256), 0);
        assert_eq!(found(ec(json!({})), Some("a"), Algorithm::ES384), 0);
        assert_eq!(found(ec(json!({})), Some("a"), Algorithm::RS256), 0);
        for wrong in
            [json!({"use": "enc"}), json!({"alg": "ES384"}), json!({"key_ops": ["sign"]}), json!({"alg": "ECDH-ES"})]
        {
            assert_eq!(found(ec(wrong.clone()), Some("a"), Algorithm::ES256), 0, "{wrong}");
        }
        let secret = json!({"kty": "oct", "k": point, "kid": "a", "alg": "HS256"});
        assert_eq!(found(secret, Some("a"), Algorithm::HS256), 0);
    }

    #[test]
    fn key_sets_need_usable_keys_and_are_bounded() {
        assert!(KeySet::read(b"{\"keys\": []}").is_err());
        assert!(KeySet::read(b"[]").is_err());
        let keys: Vec<_> = (0..1_000).map(|_| json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"})).collect();
        let set = KeySet::read(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
        assert_eq!((set.keys.len(), set.find(None, Algorithm::EdDSA).len()), (MAX_KEYS, MAX_TRIED));
    }
}
