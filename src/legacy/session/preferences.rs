//! What a client wants to receive: its log level and its subscriptions. Both are stored in the
//! session's state, so that they move with the session, and are known here as of a revision.

use std::sync::atomic::Ordering;

use super::LiveSession;
use super::subscriptions::{Content, Part};
use crate::core::Core;
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::SessionId;
use crate::legacy::member::Member;
use crate::message::{RawJson, ResourceUri};
use crate::server::change::Change;
use crate::settings::Limits;
use crate::store::{OWN_STATE, SessionUpdate, StateValue};

/// The key of the log level; the keys of the subscriptions are in
/// [`subscriptions`](super::subscriptions). The revision of a session is the sum of the versions of
/// all keys that begin with `mcp.`, whatever their values are.
const LOG_LEVEL: &str = "mcp.log_level";

/// The value of a key.
enum Wish {
    LogLevel(u8),
    Subscriptions(Part, Content),
    /// The key belongs to a later version of this crate.
    Unknown,
}

impl Wish {
    /// Reads the value of a key. `None` means that the key no longer has a value.
    fn read(key: &str, value: Option<&RawJson>) -> Result<Self, StoreError> {
        if key == LOG_LEVEL {
            return Ok(Self::LogLevel(value.and_then(|level| level.read().ok()).unwrap_or_default()));
        }
        let Some(part) = Part::of_key(key) else { return Ok(Self::Unknown) };
        Ok(Self::Subscriptions(part, value.map(Content::read).transpose()?.unwrap_or_default()))
    }
}

impl LiveSession {
    /// Reads from the engine what an earlier node stored there, or what another node has changed
    /// since the last read.
    pub(in crate::legacy) async fn restore(&self, core: &Core) -> Result<(), StoreError> {
        let known = self.live().versions.0.clone();
        let versions: Vec<(&str, u64)> = known.iter().map(|(key, version)| (&**key, *version)).collect();
        let values = core.engine.load_states(self.info.id, OWN_STATE, &versions).await?;
        let is_there = |key: &str| values.iter().any(|value| *value.key == *key);
        let gone = known.iter().filter(|(key, version)| *version == 0 && !is_there(key));
        let mut wishes = Vec::with_capacity(values.len());
        for (key, _) in gone {
            wishes.push((key.clone(), Wish::read(key, None)?, 0));
        }
        for StateValue { key, value, version } in &values {
            wishes.push((key.clone(), Wish::read(key, Some(value))?, *version));
        }
        self.learn(wishes);
        Ok(())
    }

    /// Applies the engine's values of some keys, if they are newer than those known here.
    fn learn(&self, wishes: Vec<(Box<str>, Wish, u64)>) {
        let mut live = self.live();
        if live.ended {
            return;
        }
        let mut parts = Vec::new();
        for (key, wish, version) in wishes {
            let known = live.versions.get(&key);
            // Both are 0 if the engine was restored from an older copy that has no value for the
            // key.
            if version < known || version == known && version > 0 {
                continue;
            }
            live.versions.set(&key, version);
            match wish {
                Wish::LogLevel(level) => self.log_level.store(level, Ordering::Relaxed),
                Wish::Subscriptions(part, content) => parts.push((part, content)),
                Wish::Unknown => {}
            }
        }
        if !parts.is_empty() {
            let mut list = live.subscriptions.take().unwrap_or_default();
            list.learn(parts);
            live.subscriptions = (!list.is_empty()).then_some(list);
        }
        self.revision.store(live.versions.sum(), Ordering::Release);
    }

    /// Reads what changed at other nodes, and clears the stale mark.
    pub(in crate::legacy) async fn catch_up(&self, core: &Core) -> Result<(), StoreError> {
        let stale = self.stale.load(Ordering::Acquire);
        self.restore(core).await?;
        // If the session became stale once more meanwhile, the mark remains.
        let _ = self.stale.compare_exchange(stale, 0, Ordering::AcqRel, Ordering::Relaxed);
        Ok(())
    }

    /// Returns the revision as of which the state is known here.
    pub(in crate::legacy) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Records that the state changed at another node and is not known here yet.
    pub(in crate::legacy) fn set_stale(&self) {
        self.stale.fetch_add(1, Ordering::AcqRel);
    }

    pub(in crate::legacy) fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Acquire) > 0
    }

    /// Resets the known versions, so that every revision of the engine counts as newer.
    pub(in crate::legacy) fn forget_versions(&self) {
        let mut live = self.live();
        live.versions.0.iter_mut().for_each(|(_, version)| *version = 0);
        self.revision.store(0, Ordering::Release);
        drop(live);
        self.set_stale();
    }

    /// Returns `true` if the client may want a change. The result is exact once the state is known.
    pub(in crate::legacy) fn may_want(&self, change: &Change, number: u64) -> bool {
        self.is_stale() || self.wants(change, number).is_some()
    }

    /// Returns the change that was announced under this number in the client's own spelling, or
    /// `None` if the client does not want it.
    pub(in crate::legacy) fn wants(&self, change: &Change, number: u64) -> Option<Change> {
        let Change::Resource(uri) = change else { return Some(change.clone()) };
        let live = self.live();
        let (own, since) = live.subscriptions.as_ref()?.get(uri)?;
        (number > since).then(|| Change::Resource(own.clone()))
    }

    /// Returns all changes that the client wants.
    pub(in crate::legacy) fn everything(&self) -> Vec<Change> {
        let live = self.live();
        let uris = live.subscriptions.iter().flat_map(|list| list.uris());
        Change::LISTS.into_iter().chain(uris.map(|uri| Change::Resource(uri.clone()))).collect()
    }

    /// Returns the same changes as announced topics.
    pub(in crate::legacy) fn topics(&self) -> Vec<String> {
        self.everything().iter().map(Change::topic).collect()
    }

    pub(super) fn subscribed(&self) -> Vec<String> {
        let live = self.live();
        let uris = live.subscriptions.iter().flat_map(|list| list.uris());
        let mut uris: Vec<String> = uris.map(|uri| uri.as_str().to_owned()).collect();
        uris.sort_unstable();
        uris
    }

    /// Sets the level. All nodes know of the change when this returns.
    pub(in crate::legacy) async fn set_log_level(&self, level: u8) -> Result<(), StoreError> {
        self.log_level.store(level, Ordering::Relaxed);
        let Some(member) = self.member.upgrade() else { return Ok(()) };
        let id = self.info.id;
        // The last writer wins, which is sufficient for a level.
        loop {
            let (_, version) = member.core.engine.load_state(id, LOG_LEVEL).await?;
            self.check_version(LOG_LEVEL, version);
            let value = RawJson::from_value(&level).map_err(StoreError::corrupt)?;
            if member.core.engine.store_state(id, LOG_LEVEL, value, version).await? {
                self.learn(vec![(LOG_LEVEL.into(), Wish::LogLevel(level), version + 1)]);
                member.spread(id, SessionUpdate::State).await;
                return Ok(());
            }
        }
    }

    /// Compares the engine's version of a key with the version known here. Returns `false` if the
    /// engine's is older. The engine was then restored from an older copy of the session, so
    /// nothing that is known here counts.
    fn check_version(&self, key: &str, version: u64) -> bool {
        let is_older = version < self.live().versions.get(key);
        if is_older {
            self.forget_versions();
        }
        !is_older
    }

    /// Subscribes or unsubscribes. All nodes know of the change when this returns. Only one part of
    /// the list is written. The limits are checked against the other parts as this node knows them.
    /// Concurrent subscriptions may therefore exceed the limits together, by as many as the session
    /// may have calls in flight.
    pub(super) async fn change_subscription(&self, uri: &str, wanted: bool) -> Result<(), StoreError> {
        if wanted && uri.len() > Limits::MAX_SUBSCRIPTION_URI_BYTES {
            return Err(StoreError::because(StoreErrorKind::Full, "the URI has more than 8,000 bytes"));
        }
        let Some(member) = self.member.upgrade() else { return Err(StoreError::new(StoreErrorKind::NotFound)) };
        let uri = ResourceUri::new(uri);
        loop {
            if self.is_stale() {
                self.catch_up(&member.core).await?;
            }
            let part = self.part_of(&uri);
            let key = part.key();
            let (stored, version) = member.core.engine.load_state(self.info.id, &key).await?;
            let Wish::Subscriptions(_, content) = Wish::read(&key, stored.as_ref())? else { return Ok(()) };
            if !self.check_version(&key, version) || !self.is_place_of(&uri, part, &content, version) {
                continue;
            }
            if wanted == content.uris.contains_key(&uri) {
                return Ok(());
            }
            let splits = wanted && part == Part::First && content.is_full_for(&uri);
            let changed = self.changed(content, &uri, wanted, splits, &member)?;
            if member.core.engine.store_state(self.info.id, &key, changed.write()?, version).await? {
                self.learn(vec![((*key).into(), Wish::Subscriptions(part, changed), version + 1)]);
                if !splits {
                    member.spread(self.info.id, SessionUpdate::State).await;
                    return Ok(());
                }
            }
        }
    }

    fn part_of(&self, uri: &ResourceUri) -> Part {
        self.live().subscriptions.as_ref().map_or(Part::First, |list| list.part_of(uri))
    }

    /// Applies a part as the engine has it. Returns `true` if the URI still belongs to that part.
    fn is_place_of(&self, uri: &ResourceUri, part: Part, content: &Content, version: u64) -> bool {
        let is_new = version > self.live().versions.get(&part.key());
        if is_new {
            self.learn(vec![((*part.key()).into(), Wish::Subscriptions(part, content.clone()), version)]);
        }
        !is_new || self.part_of(uri) == part
    }

    /// Returns a part with a change applied. A part that is to be split accepts nothing new.
    fn changed(
        &self,
        mut content: Content,
        uri: &ResourceUri,
        wanted: bool,
        splits: bool,
        member: &Member,
    ) -> Result<Content, StoreError> {
        if !wanted {
            content.uris.remove(uri);
            return Ok(content);
        }
        if !self.live().subscriptions.as_ref().is_none_or(|list| list.has_room_for(uri)) {
            let why = "a session has at most 1,000 subscriptions, whose URIs have 256 KiB together";
            return Err(StoreError::because(StoreErrorKind::Full, why));
        }
        if splits {
            content.salt = Some(new_salt());
        } else {
            content.uris.insert(uri.clone(), member.received.low().unwrap_or_default());
        }
        Ok(content)
    }
}

/// Returns a number that no client can know.
fn new_salt() -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *SessionId::random().as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
