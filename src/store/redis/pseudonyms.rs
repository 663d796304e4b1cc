//! Pseudonyms: the names under which Redis knows sessions, tasks and principals. A reader of the
//! server's data cannot use them.
//!
//! 1. An id is encrypted as one block of AES-256, under separate keys for sessions and tasks. Each
//!    id has one name.
//! 2. Without the secret a name looks random. With the secret the id can be read back, so the text
//!    of a signal identifies its session.
//! 3. The names of principals and peers are keyed hashes.
//! 4. The facts about a session are encrypted, bound to its name.

use std::fmt;

use aes::Aes256;
use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, Generate, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use super::encryption::{Encryption, keyed};
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::{Account, Principal, SessionId, SessionInfo, TaskId};

const NONCE: usize = 24;

/// The length of a name.
pub(super) const NAME: usize = 22;

pub(super) struct Pseudonyms {
    sessions: Aes256,
    tasks: Aes256,
    principals: [u8; 32],
    peers: [u8; 32],
    facts: XChaCha20Poly1305,
    check: [u8; 32],
    /// The secret, if no operator chose it. It is in the server for every node to use.
    pub(super) made_up: Option<String>,
    /// Identifies the data of the server. If it differs, the server lost its data.
    pub(super) born: String,
    pub(super) said: Encryption,
}

impl Pseudonyms {
    pub(super) fn new(secret: &[u8], seals: bool) -> Self {
        Self {
            sessions: Aes256::new(&Array(keyed(secret, b"sessions"))),
            tasks: Aes256::new(&Array(keyed(secret, b"tasks"))),
            principals: keyed(secret, b"principals"),
            peers: keyed(secret, b"peers"),
            facts: XChaCha20Poly1305::new(&keyed(secret, b"facts").into()),
            check: keyed(secret, b"check"),
            made_up: None,
            born: String::new(),
            said: Encryption::new(secret, seals),
        }
    }

    /// Returns a check value, which is equal on nodes with the same secret.
    pub(super) fn check(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.check)
    }

    pub(super) fn session(&self, session: SessionId) -> String {
        name(&self.sessions, *session.as_bytes())
    }

    pub(super) fn session_of(&self, name: &[u8]) -> Option<SessionId> {
        id(&self.sessions, name).map(SessionId::from_bytes)
    }

    pub(super) fn task(&self, task: TaskId) -> String {
        name(&self.tasks, *task.as_bytes())
    }

    pub(super) fn task_of(&self, name: &[u8]) -> Option<TaskId> {
        id(&self.tasks, name).map(TaskId::from_bytes)
    }

    /// Returns the name of a principal; empty for `None`.
    pub(super) fn principal(&self, principal: Option<&Principal>) -> String {
        principal.map_or_else(String::new, |principal| hidden(&self.principals, principal.as_str()))
    }

    /// Returns the name of the account to whose share something counts; empty for `None`.
    pub(super) fn account(&self, account: Option<&Account>) -> String {
        match account {
            None => String::new(),
            Some(Account::Principal(principal)) => self.principal(Some(principal)),
            Some(Account::Peer(peer)) => hidden(&self.peers, &peer.to_string()),
        }
    }

    pub(super) fn seal(&self, info: &SessionInfo) -> Result<Vec<u8>, StoreError> {
        let plain = serde_json::to_vec(info).map_err(StoreError::corrupt)?;
        let aad = self.session(info.id);
        let nonce = XNonce::try_generate()
            .map_err(|error| StoreError::because(StoreErrorKind::Unavailable, error.to_string()))?;
        let sealed = self.facts.encrypt(&nonce, Payload { msg: &plain, aad: aad.as_bytes() });
        let sealed = sealed.map_err(|_| StoreError::new(StoreErrorKind::Corrupt))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Decrypts the facts about a session. `name` is the name under which they were found; they
    /// open under no other.
    pub(super) fn open(&self, sealed: &[u8], name: &str) -> Result<SessionInfo, StoreError> {
        let corrupt = || StoreError::new(StoreErrorKind::Corrupt);
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or_else(corrupt)?;
        let payload = Payload { msg: sealed, aad: name.as_bytes() };
        let plain = self.facts.decrypt(&XNonce::from(*nonce), payload).map_err(|_| corrupt())?;
        serde_json::from_slice(&plain).map_err(StoreError::corrupt)
    }
}

/// Returns the keyed hash that replaces a text.
fn hidden(key: &[u8], text: &str) -> String {
    URL_SAFE_NO_PAD.encode(&keyed(key, text.as_bytes())[..16])
}

fn name(cipher: &Aes256, id: [u8; 16]) -> String {
    let mut block = Array(id);
    cipher.encrypt_block(&mut block);
    URL_SAFE_NO_PAD.encode(block)
}

fn id(cipher: &Aes256, name: &[u8]) -> Option<[u8; 16]> {
    let mut block = Array(<[u8; 16]>::try_from(URL_SAFE_NO_PAD.decode(name).ok()?).ok()?);
    cipher.decrypt_block(&mut block);
    Some(block.0)
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::identity::Peer;
    use crate::message::{Implementation, ProtocolVersion};

    fn info(principal: &str) -> SessionInfo {
        SessionInfo {
            id: SessionId::random(),
            principal: Some(Principal::new(principal)),
            peer: None,
            version: ProtocolVersion::V2025_11_25,
            client: Arc::new(Implementation { name: "probe".into(), version: "1".into(), title: None }),
            capabilities: Arc::default(),
            opened_at: std::time::SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_name_is_read_back_with_the_same_secret_only() {
        let (pseudonyms, others) = (Pseudonyms::new(b"secret", false), Pseudonyms::new(b"Secret", false));
        let (session, task) = (SessionId::random(), TaskId::random());
        let name = pseudonyms.session(session);
        assert_eq!((name.len(), pseudonyms.session_of(name.as_bytes())), (NAME, Some(session)));
        assert_ne!(others.session_of(name.as_bytes()), Some(session));
        assert_eq!(pseudonyms.task_of(pseudonyms.task(task).as_bytes()), Some(task));
        assert_eq!(pseudonyms.session_of(b"x"), None);
        assert_ne!(pseudonyms.check(), others.check());
    }

    #[test]
    fn what_is_known_of_a_session_opens_under_its_own_name_only() {
        let pseudonyms = Pseudonyms::new(b"secret", false);
        let info = info("alice");
        let (sealed, name) = (pseudonyms.seal(&info).unwrap(), pseudonyms.session(info.id));
        assert_eq!(pseudonyms.open(&sealed, &name).unwrap().principal, info.principal);
        let other = pseudonyms.session(SessionId::random());
        assert_eq!(pseudonyms.open(&sealed, &other).unwrap_err().kind(), StoreErrorKind::Corrupt);
        assert_eq!(pseudonyms.open(b"short", &name).unwrap_err().kind(), StoreErrorKind::Corrupt);
    }

    #[test]
    fn nothing_of_a_session_is_readable_in_what_is_kept() {
        let pseudonyms = Pseudonyms::new(b"secret", false);
        let info = info("alice");
        let peer = Peer::new("192.0.2.7".parse().unwrap());
        let kept = [
            pseudonyms.seal(&info).unwrap(),
            pseudonyms.session(info.id).into_bytes(),
            pseudonyms.principal(info.principal.as_ref()).into_bytes(),
            pseudonyms.account(info.account().as_ref()).into_bytes(),
            pseudonyms.account(Some(&Account::Peer(peer))).into_bytes(),
        ];
        for part in kept {
            for word in ["alice", "probe", "192.0.2.7", &info.id.to_string()] {
                assert!(!part.windows(word.len()).any(|window| window == word.as_bytes()), "{word}");
            }
        }
        assert_eq!(pseudonyms.principal(None), "");
        assert_ne!(pseudonyms.principal(Some(&Principal::new(""))), "");
    }
}
