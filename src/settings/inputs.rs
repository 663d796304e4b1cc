//! Decides what can be set about questions to clients that answer by asking again.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Generate, Key};

use super::{at_least_one, positive};
use crate::error::ConfigError;

/// How clients of 2026-07-28 are asked. A call that needs an answer ends with its questions; the
/// client calls again with the answers and with what the service told it to remember
/// (`requestState`), sealed so that nobody can read or change it. Give it to
/// [`McpServiceBuilder::inputs`](crate::McpServiceBuilder::inputs).
///
/// Source: 2026-07-28, Multi Round-Trip Requests.
///
/// ```
/// use mcp_http::{Inputs, McpServer, McpService, SealingKey};
///
/// # let secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// let key: SealingKey = secret.parse()?; // from the environment, the same on each node
/// let service = McpService::builder(McpServer::<()>::new("doc", "1")).inputs(Inputs::new().keys([key])).build()?;
/// # let _ = service;
/// # Ok::<(), mcp_http::error::ConfigError>(())
/// ```
#[doc(alias = "requestState")]
#[derive(Debug, Clone)]
pub struct Inputs {
    pub(crate) keys: Vec<SealingKey>,
    pub(crate) service: Option<String>,
    pub(crate) lifetime: Duration,
    pub(crate) rounds: u32,
    pub(crate) state_bytes: usize,
}

impl Inputs {
    /// Fifteen minutes: time to look something up and to be called away, and no way to come back
    /// the next day.
    pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(15 * 60);

    /// Sixteen: more questions in a row than a person answers, and an end for a handler that asks
    /// for ever.
    pub const DEFAULT_ROUNDS: u32 = 16;

    /// 64 KiB: answers of a person and some of a model. All of it travels there and back in each
    /// round.
    pub const DEFAULT_STATE_BYTES: usize = 64 << 10;

    /// The defaults, with a key of this process alone.
    #[must_use]
    pub fn new() -> Self {
        Self {
            keys: vec![SealingKey::random()],
            service: None,
            lifetime: Self::DEFAULT_LIFETIME,
            rounds: Self::DEFAULT_ROUNDS,
            state_bytes: Self::DEFAULT_STATE_BYTES,
        }
    }

    /// The keys that seal what clients carry: the first one seals, each of them opens. Nodes that
    /// serve the same clients share them. To rotate: append the new key on every node, move it to the front, then
    /// remove the old one. Default: a random key, so that what a client carries cannot be used after a restart or
    /// on another node.
    ///
    /// Services with different names may share keys: see [`Inputs::service`].
    #[must_use]
    pub fn keys(mut self, keys: impl IntoIterator<Item = SealingKey>) -> Self {
        self.keys = keys.into_iter().collect();
        self
    }

    /// The name of the service, to which the sealed state is bound: a service opens what a service of the same
    /// name has sealed, on any node, and nothing else. Default: the name of the server, as in
    /// [`McpServer::new`](crate::McpServer::new). Set it where two services with the same keys have the same name, and
    /// where a server that changes its name must still open what its clients carry. Not empty.
    #[must_use]
    pub fn service(mut self, name: impl Into<String>) -> Self {
        self.service = Some(name.into());
        self
    }

    /// How long a client may take from a question to its answer. Longer than zero, default
    /// [`Inputs::DEFAULT_LIFETIME`].
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// How often one call may ask and be called again. At least 1, default [`Inputs::DEFAULT_ROUNDS`].
    #[must_use]
    pub fn rounds(mut self, rounds: u32) -> Self {
        self.rounds = rounds;
        self
    }

    /// The most bytes of earlier answers, and of values that
    /// [`Context::once`](crate::Context::once) keeps, that a client is made to carry. At least 1, default
    /// [`Inputs::DEFAULT_STATE_BYTES`].
    #[must_use]
    pub fn state_bytes(mut self, bytes: usize) -> Self {
        self.state_bytes = bytes;
        self
    }

    pub(super) fn check(&self, error: &mut ConfigError) {
        at_least_one(error, "Inputs::keys", self.keys.len());
        if self.service.as_ref().is_some_and(String::is_empty) {
            error.report("Inputs::service", "must not be empty");
        }
        positive(error, "Inputs::lifetime", self.lifetime);
        at_least_one(error, "Inputs::rounds", self.rounds as usize);
        at_least_one(error, "Inputs::state_bytes", self.state_bytes);
    }
}

impl Default for Inputs {
    fn default() -> Self {
        Self::new()
    }
}

/// A secret of 32 bytes. Its text is Base64 (`openssl rand -base64 32` makes one); it is never shown.
#[derive(Clone)]
pub struct SealingKey(Key<XChaCha20Poly1305>);

impl SealingKey {
    /// A key from the operating system's random source.
    #[must_use]
    pub fn random() -> Self {
        Self(Key::<XChaCha20Poly1305>::generate())
    }

    /// A key of these bytes, which nobody else may know.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes.into())
    }

    pub(crate) fn key(&self) -> &Key<XChaCha20Poly1305> {
        &self.0
    }
}

impl FromStr for SealingKey {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let bytes = STANDARD.decode(text.trim()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        bytes.map(Self::from_bytes).ok_or_else(|| ConfigError::new("keys", "a key is the Base64 of 32 bytes"))
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_base64_of_32_bytes_and_is_not_shown() {
        let key: SealingKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n".parse().unwrap();
        assert_eq!(key.key().as_slice(), (0..32).collect::<Vec<u8>>());
        assert_eq!(format!("{key:?}"), "SealingKey(..)");
        for wrong in ["", "secret", "AAECAwQFBgcICQoLDA0ODw==", "!"] {
            assert_eq!(wrong.parse::<SealingKey>().unwrap_err().setting(), "keys", "{wrong}");
        }
    }
}
