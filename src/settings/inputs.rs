//! Settings for requests to clients of 2026-07-28, which answer by repeating the call.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Generate, Key};

use super::group::settings;
use super::{at_least_one, positive};
use crate::error::ConfigError;

settings! {
    /// How the service sends requests to clients of 2026-07-28. A call that needs input ends with its
    /// requests to the client. The client then repeats the call with the answers and with the state
    /// that the service gave it (`requestState`). The state is sealed: no client can read or change it.
    /// Pass this to [`McpServiceBuilder::input_requests`](crate::McpServiceBuilder::input_requests).
    ///
    /// Source: 2026-07-28, Multi Round-Trip Requests.
    ///
    /// ```
    /// use mcp_http::{InputRequests, McpServer, McpService, SealingKey};
    ///
    /// # let secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    /// let key: SealingKey = secret.parse()?; // from the environment, the same on each node
    /// let inputs = InputRequests::new().keys([key]);
    /// let service = McpService::builder(McpServer::<()>::new("doc", "1")).input_requests(inputs).build()?;
    /// # let _ = service;
    /// # Ok::<(), mcp_http::error::ConfigError>(())
    /// ```
    #[doc(alias = "requestState")]
    #[derive(Debug, Clone)]
    pub struct InputRequests {
        /// How long a client may take from a request to its answer. Longer than zero, default
        /// [`InputRequests::DEFAULT_LIFETIME`].
        lifetime: value Duration = Self::DEFAULT_LIFETIME, positive;

        /// How many rounds one call may take: each sends requests to the client, which then repeats the
        /// call. At least 1, default [`InputRequests::DEFAULT_MAX_ROUNDS`].
        max_rounds: value u32 = Self::DEFAULT_MAX_ROUNDS, at_least_one;

        /// The most bytes that a client carries for one call: earlier answers, and values that
        /// [`Context::once`](crate::Context::once) keeps. At least 1, default
        /// [`InputRequests::DEFAULT_MAX_STATE_BYTES`].
        max_state_bytes: value usize = Self::DEFAULT_MAX_STATE_BYTES, at_least_one;
    }
    other {
        keys: Vec<SealingKey> = vec![SealingKey::random()];
        service: Option<String> = None;
    }
}

impl InputRequests {
    /// Fifteen minutes: enough to look something up or to be interrupted, but not until the next
    /// day.
    pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(15 * 60);

    /// Sixteen: more requests in a row than a person answers, and a bound for a handler that never
    /// stops asking.
    pub const DEFAULT_MAX_ROUNDS: u32 = 16;

    /// 64 KiB: the answers of a person and some of a model. All of it travels both ways in each
    /// round.
    pub const DEFAULT_MAX_STATE_BYTES: usize = 64 << 10;

    /// The keys that seal the state which clients carry: the first key seals, every key opens.
    /// Nodes that serve the same clients share them. To rotate: append the new key on every node,
    /// move it to the front, then remove the old one. Default: a random key, so that the state
    /// cannot be used after a restart or on another node.
    ///
    /// Services with different names may share keys: see [`InputRequests::service`].
    #[must_use]
    pub fn keys(mut self, keys: impl IntoIterator<Item = SealingKey>) -> Self {
        self.keys = keys.into_iter().collect();
        self
    }

    /// The name of the service, to which the sealed state is bound. A service opens only state that
    /// a service of the same name has sealed, on any node. Default: the name of the server, as in
    /// [`McpServer::new`](crate::McpServer::new). Set it if two services with the same keys have
    /// the same name, or if a renamed server must still open the state that its clients carry. Must
    /// not be empty.
    #[must_use]
    pub fn service(mut self, name: impl Into<String>) -> Self {
        self.service = Some(name.into());
        self
    }

    pub(super) fn check(&self, error: &mut ConfigError) {
        self.check_each(error);
        at_least_one(error, "InputRequests::keys", self.keys.len());
        if self.service.as_ref().is_some_and(String::is_empty) {
            error.report("InputRequests::service", "must not be empty");
        }
    }
}

/// A secret key of 32 bytes. Its text form is Base64 (`openssl rand -base64 32` makes one). `Debug`
/// never shows it.
#[derive(Clone)]
pub struct SealingKey(Key<XChaCha20Poly1305>);

impl SealingKey {
    /// Returns a key from the operating system's random source.
    #[must_use]
    pub fn random() -> Self {
        Self(Key::<XChaCha20Poly1305>::generate())
    }

    /// Makes a key of these bytes, which must be secret.
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
    fn keys_parse_from_base64_and_are_redacted() {
        let key: SealingKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n".parse().unwrap();
        assert_eq!(key.key().as_slice(), (0..32).collect::<Vec<u8>>());
        assert_eq!(format!("{key:?}"), "SealingKey(..)");
        for wrong in ["", "secret", "AAECAwQFBgcICQoLDA0ODw==", "!"] {
            assert_eq!(wrong.parse::<SealingKey>().unwrap_err().setting(), "keys", "{wrong}");
        }
    }
}
