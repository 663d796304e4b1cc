//! Identities: random ids of sessions and tasks, and the principals and peers that own them.

mod access;
mod peer;
mod principal;
mod scopes;
mod time;

use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

#[cfg(feature = "auth")]
pub(crate) use self::access::Implies;
pub(crate) use self::access::check_scopes;
pub use self::access::{AccessToken, InsufficientScope};
pub(crate) use self::peer::Account;
pub use self::peer::Peer;
pub use self::principal::Principal;
#[cfg(feature = "auth")]
pub(crate) use self::scopes::RequiredScopes;
pub(crate) use self::scopes::Scopes;
use crate::message::{ClientCapabilities, Implementation, ProtocolVersion};

/// The id of a session: 122 bits from the operating system's random source, written as a UUID. That
/// is visible ASCII, as the specification requires.
///
/// If the session belongs to a [`Principal`], the id alone gives no access to it. Treat it as a
/// secret anyway, and keep it out of logs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionId(Uuid);

impl SessionId {
    /// Makes a new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Parses an id in the exact form in which this crate writes ids. Another spelling of the same
    /// number (upper case, braces) is rejected.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        as_written_here(text).map(Self)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    #[cfg(feature = "redis")]
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Returns the first eight digits: enough to follow a session in a log without revealing the
    /// id.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..", self.short())
    }
}

/// The id of a task, made and written like a [`SessionId`].
///
/// If the task belongs to a [`Principal`], the id alone gives no access to it. A task without a
/// principal belongs to every client that knows its id, so keep it out of logs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskId(Uuid);

impl TaskId {
    /// Makes a new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Parses an id in the exact form in which this crate writes ids, as [`SessionId::parse`] does.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        as_written_here(text).map(Self)
    }

    #[cfg(feature = "redis")]
    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    #[cfg(feature = "redis")]
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Returns the first eight digits: enough to follow a task in a log without revealing the id.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..", self.short())
    }
}

/// Parses a UUID in the only spelling in which ids are issued.
fn as_written_here(text: &str) -> Option<Uuid> {
    // Of the spellings that `Uuid` parses, only the hyphenated one has this length.
    let is_ours = text.len() == Hyphenated::LENGTH && !text.bytes().any(|byte| byte.is_ascii_uppercase());
    is_ours.then(|| Uuid::try_parse(text).ok())?
}

/// Hashes a [`SessionId`] or a [`TaskId`] by folding its bytes. Ids are random and issued by this
/// crate, so a client cannot choose its hash. A keyed hash would add nothing.
#[derive(Debug, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Some digits of each half are the same in all ids. Combined, every digit is random.
        let half = |chunk: Option<&[u8; 8]>| chunk.copied().map_or(0, u64::from_le_bytes);
        self.0 = self.0.rotate_left(8) ^ half(bytes.first_chunk()).rotate_left(32) ^ half(bytes.last_chunk());
    }

    fn write_usize(&mut self, _length_prefix: usize) {}
}

/// A map by session.
pub(crate) type SessionMap<T> = dashmap::DashMap<SessionId, T, BuildHasherDefault<IdHasher>>;

/// A map by task.
pub(crate) type TaskMap<T> = std::collections::HashMap<TaskId, T, BuildHasherDefault<IdHasher>>;

/// The properties of a session that never change after it has opened.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The session's id.
    pub id: SessionId,
    /// The principal that opened it. No other principal can use it.
    pub principal: Option<Principal>,
    /// The client's address, if the session has no principal. It is set only if the connection's
    /// address is known and peers have shares
    /// ([`Sessions::max_sessions_per_peer`](crate::Sessions::max_sessions_per_peer)). It selects the share in which
    /// the session counts, and grants no access.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Peer>,
    /// The protocol revision that client and server agreed on.
    pub version: ProtocolVersion,
    /// The client's name and version, as the client states them.
    pub client: Arc<Implementation>,
    /// The capabilities that the client declared.
    pub capabilities: Arc<ClientCapabilities>,
    /// When the session was opened. Human-readable formats such as JSON have it as RFC 3339
    /// (`2026-11-30T12:00:00.25Z`).
    #[serde(with = "time")]
    pub opened_at: SystemTime,
}

impl SessionInfo {
    /// Makes the properties of a session without a principal, a peer and capabilities.
    #[must_use]
    pub fn new(id: SessionId, version: ProtocolVersion, client: Implementation, opened_at: SystemTime) -> Self {
        Self {
            id,
            principal: None,
            peer: None,
            version,
            client: Arc::new(client),
            capabilities: Arc::default(),
            opened_at,
        }
    }

    /// Returns the account in whose share the session counts.
    pub(crate) fn account(&self) -> Option<Account> {
        Account::of(self.principal.as_ref(), self.peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_parse_only_in_canonical_form() {
        let id = SessionId::random();
        let text = id.to_string();
        assert_eq!(SessionId::parse(&text), Some(id));
        assert!(text.bytes().all(|byte| (0x21..=0x7e).contains(&byte)));
        let task = TaskId::random();
        assert_eq!(TaskId::parse(&task.to_string()), Some(task));
        for other in [text.to_uppercase(), format!("{{{text}}}"), text.replace('-', ""), String::new()] {
            assert_eq!(SessionId::parse(&other), None, "{other}");
            assert_eq!(TaskId::parse(&other), None, "{other}");
        }
    }

    #[test]
    fn ids_are_short_in_logs_only() {
        let text = "0f5bd1f2-3c4e-4a6b-8c7d-9e0f1a2b3c4d";
        let (session, task) = (SessionId::parse(text).unwrap(), TaskId::parse(text).unwrap());
        assert_eq!(format!("{session:?} {task:?} {}", task.short()), "0f5bd1f2.. 0f5bd1f2.. 0f5bd1f2");
        let json = format!("\"{text}\"");
        assert_eq!(serde_json::to_string(&task).unwrap(), json);
        assert_eq!(serde_json::from_str::<TaskId>(&json).unwrap(), task);
    }

    #[test]
    fn session_times_are_serialized_as_timestamps() {
        use std::time::Duration;
        let opened_at = SystemTime::UNIX_EPOCH + Duration::new(1_796_040_000, 250_000_000);
        let info = SessionInfo {
            id: SessionId::random(),
            principal: None,
            peer: None,
            version: ProtocolVersion::V2025_11_25,
            client: Arc::new(Implementation { name: "probe".into(), version: "1".into(), title: None }),
            capabilities: Arc::default(),
            opened_at,
        };
        let mut json = serde_json::to_value(&info).unwrap();
        assert_eq!(json["opened_at"], "2026-11-30T12:00:00.250000000Z");
        assert_eq!(serde_json::from_value::<SessionInfo>(json.clone()).unwrap().opened_at, opened_at);
        // The former format, which may still be stored.
        json["opened_at"] = serde_json::to_value(opened_at).unwrap();
        assert!(json["opened_at"].is_object());
        assert_eq!(serde_json::from_value::<SessionInfo>(json).unwrap().opened_at, opened_at);
        // A session can be opened even if the clock is wrong by far.
        let broken =
            [SystemTime::UNIX_EPOCH - Duration::from_secs(1), SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40)];
        for opened_at in broken {
            assert!(serde_json::to_string(&SessionInfo { opened_at, ..info.clone() }).is_ok());
        }
    }

    #[test]
    fn principals_differ_by_issuer_client_and_subject() {
        let base = Principal::issued("i", "c", "s");
        for other in [("ic", "", "s"), ("i", "cs", ""), ("", "ic", "s"), ("i", "c", "t")] {
            assert_ne!(base, Principal::issued(other.0, other.1, other.2));
        }
    }

    #[test]
    fn ids_spread_over_the_hash_space() {
        use std::hash::BuildHasher;
        let build = BuildHasherDefault::<IdHasher>::default();
        let hashes: Vec<u64> = (0..4000).map(|_| build.hash_one(SessionId::random())).collect();
        // Every byte of the hash takes all values, because a map may use any of them.
        for shift in (0..64).step_by(8) {
            let bytes: std::collections::HashSet<u64> = hashes.iter().map(|hash| (hash >> shift) & 0xff).collect();
            assert_eq!(bytes.len(), 256, "byte at {shift}");
        }
    }
}
