//! What the client of a session wishes to be told: its log level and its subscriptions. Both are kept in the
//! session's state, so that they move with it, and known here as of a revision.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::Node;
use super::LiveSession;
use super::subscriptions::{Content, Part};
use crate::error::{StoreError, StoreErrorKind};
use crate::hall::LogLine;
use crate::identity::SessionId;
use crate::message::{RawJson, ResourceUri};
use crate::server::channel::Change;
use crate::settings::Limits;
use crate::store::{News, OWN_STATE, StateValue};

/// Where the log level is kept; the keys of the subscriptions are in [`subscriptions`](super::subscriptions). The
/// revision of a session is the sum of the versions of all keys that begin with `mcp.`, whatever is kept there.
const LOG_LEVEL: &str = "mcp.log_level";

/// What is kept under a key.
enum Wish {
    LogLevel(u8),
    Subscriptions(Part, Content),
    /// Of a later version of this crate.
    Unknown,
}

impl Wish {
    /// `None`: nothing is kept there any more.
    fn read(key: &str, value: Option<&RawJson>) -> Result<Self, StoreError> {
        if key == LOG_LEVEL {
            return Ok(Self::LogLevel(value.and_then(|level| level.read().ok()).unwrap_or_default()));
        }
        let Some(part) = Part::of_key(key) else { return Ok(Self::Unknown) };
        Ok(Self::Subscriptions(part, value.map(Content::read).transpose()?.unwrap_or_default()))
    }
}

/// Which versions of the engine's state are known here: an older one says nothing new. 0: it is to be read anew.
#[derive(Debug, Default)]
pub(super) struct Versions(Vec<(Box<str>, u64)>);

impl Versions {
    fn get(&self, key: &str) -> u64 {
        self.0.iter().find(|(known, _)| **known == *key).map_or(0, |(_, version)| *version)
    }

    fn set(&mut self, key: &str, version: u64) {
        match self.0.iter_mut().find(|(known, _)| **known == *key) {
            Some((_, known)) => *known = version,
            None => self.0.push((key.into(), version)),
        }
    }

    fn sum(&self) -> u64 {
        self.0.iter().map(|(_, version)| version).sum()
    }
}

impl LiveSession {
    /// Brings in what an earlier node left in the engine, or another one changed since it was read here.
    pub(in crate::legacy) async fn restore(&self, node: &Node) -> Result<(), StoreError> {
        let known = self.live().versions.0.clone();
        let versions: Vec<(&str, u64)> = known.iter().map(|(key, version)| (&**key, *version)).collect();
        let values = node.engine.load_states(self.info.id, OWN_STATE, &versions).await?;
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

    /// What the engine has of some keys, where that is newer than what is known here.
    fn learn(&self, wishes: Vec<(Box<str>, Wish, u64)>) {
        let mut live = self.live();
        if live.ended {
            return;
        }
        let mut parts = Vec::new();
        for (key, wish, version) in wishes {
            let known = live.versions.get(&key);
            // Both are 0 where the engine has come back with an older copy, in which there is nothing under the key.
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

    /// The same for what changed at another node, and is not known here yet.
    async fn catch_up(&self, node: &Node) -> Result<(), StoreError> {
        let stale = self.stale.load(Ordering::Acquire);
        self.restore(node).await?;
        // Unless it became so once more.
        let _ = self.stale.compare_exchange(stale, 0, Ordering::AcqRel, Ordering::Relaxed);
        Ok(())
    }

    /// Reads again what the engine has. Returns `false` if the session has ended.
    pub(in crate::legacy) async fn refresh(&self, node: &Node) -> bool {
        let Err(error) = self.catch_up(node).await else { return true };
        if error.kind() == StoreErrorKind::NotFound {
            // It ended without a signal to this node.
            node.forget(self.info.id);
            return false;
        }
        if let Some(left_out) = node.log_line(LogLine::Background) {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, left_out, "a session could not be looked at again");
        }
        true
    }

    /// The engine says how often its wishes changed: reads them again where that is not known here.
    pub(in crate::legacy) async fn keep_up(&self, node: &Arc<Node>, revision: u64) {
        if revision > self.revision() {
            self.refresh(node).await;
            // What was announced since, it may have been wanted.
            node.owe_look(self.info.id);
            node.serve_line();
        }
    }

    /// As of which revision its wishes are known here.
    pub(in crate::legacy) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Its wishes changed at another node, and are not known here yet.
    pub(in crate::legacy) fn set_stale(&self) {
        self.stale.fetch_add(1, Ordering::AcqRel);
    }

    pub(in crate::legacy) fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Acquire) > 0
    }

    /// What is known here is of no revision that the engine has: any is news.
    pub(in crate::legacy) fn forget_versions(&self) {
        let mut live = self.live();
        live.versions.0.iter_mut().for_each(|(_, version)| *version = 0);
        self.revision.store(0, Ordering::Release);
        drop(live);
        self.set_stale();
    }

    /// Whether it may want to hear of a change; for certain once its wishes are known.
    pub(in crate::legacy) fn may_want(&self, change: &Change, number: u64) -> bool {
        self.is_stale() || self.wants(change, number).is_some()
    }

    /// A change that was announced under this number, in the client's own spelling, if it wants to hear of it.
    pub(in crate::legacy) fn wants(&self, change: &Change, number: u64) -> Option<Change> {
        let Change::Resource(uri) = change else { return Some(change.clone()) };
        let live = self.live();
        let (own, since) = live.subscriptions.as_ref()?.get(uri)?;
        (number > since).then(|| Change::Resource(own.clone()))
    }

    /// All that it wants to hear of.
    pub(in crate::legacy) fn everything(&self) -> Vec<Change> {
        let live = self.live();
        let uris = live.subscriptions.iter().flat_map(|list| list.uris());
        Change::LISTS.into_iter().chain(uris.map(|uri| Change::Resource(uri.clone()))).collect()
    }

    /// The same as nodes announce it.
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

    /// Sets the level here, and at every node before it returns.
    pub(in crate::legacy) async fn set_log_level(&self, level: u8) -> Result<(), StoreError> {
        self.log_level.store(level, Ordering::Relaxed);
        let Some(node) = self.node.upgrade() else { return Ok(()) };
        let id = self.info.id;
        // The last writer wins, which is all a level needs.
        loop {
            let (_, version) = node.engine.load_state(id, LOG_LEVEL).await?;
            self.check_version(LOG_LEVEL, version);
            let value = RawJson::from_value(&level).map_err(StoreError::corrupt)?;
            if node.engine.store_state(id, LOG_LEVEL, value, version).await? {
                self.learn(vec![(LOG_LEVEL.into(), Wish::LogLevel(level), version + 1)]);
                node.spread(id, News::State).await;
                return Ok(());
            }
        }
    }

    /// Compares the version that the engine has of a key with the one that is known here. Returns `false` where it is
    /// an older one: the engine came back with an older copy of the session, so nothing that is known counts.
    fn check_version(&self, key: &str, version: u64) -> bool {
        let is_older = version < self.live().versions.get(key);
        if is_older {
            self.forget_versions();
        }
        !is_older
    }

    /// Subscribes or unsubscribes, at every node before it returns. What is written is one part of the list. Its
    /// limits are measured by what this node knows of the other parts: subscriptions that are made at the same moment
    /// may together exceed them, by as many as the session may have calls in flight.
    pub(super) async fn change_subscription(&self, uri: &str, wanted: bool) -> Result<(), StoreError> {
        if wanted && uri.len() > Limits::SUBSCRIPTION_URI {
            return Err(StoreError::because(StoreErrorKind::Full, "the URI has more than 8,000 bytes"));
        }
        let Some(node) = self.node.upgrade() else { return Err(StoreError::new(StoreErrorKind::NotFound)) };
        let uri = ResourceUri::new(uri);
        loop {
            if self.is_stale() {
                self.catch_up(&node).await?;
            }
            let part = self.part_of(&uri);
            let key = part.key();
            let (stored, version) = node.engine.load_state(self.info.id, &key).await?;
            let Wish::Subscriptions(_, content) = Wish::read(&key, stored.as_ref())? else { return Ok(()) };
            if !self.check_version(&key, version) || !self.is_place_of(&uri, part, &content, version) {
                continue;
            }
            if wanted == content.uris.contains_key(&uri) {
                return Ok(());
            }
            let splits = wanted && part == Part::First && content.is_full_for(&uri);
            let changed = self.changed(content, &uri, wanted, splits, &node)?;
            if node.engine.store_state(self.info.id, &key, changed.write()?, version).await? {
                self.learn(vec![((*key).into(), Wish::Subscriptions(part, changed), version + 1)]);
                if !splits {
                    node.spread(self.info.id, News::State).await;
                    return Ok(());
                }
            }
        }
    }

    fn part_of(&self, uri: &ResourceUri) -> Part {
        self.live().subscriptions.as_ref().map_or(Part::First, |list| list.part_of(uri))
    }

    /// Learns a part as the engine has it. Returns whether that is still where a URI belongs.
    fn is_place_of(&self, uri: &ResourceUri, part: Part, content: &Content, version: u64) -> bool {
        let is_new = version > self.live().versions.get(&part.key());
        if is_new {
            self.learn(vec![((*part.key()).into(), Wish::Subscriptions(part, content.clone()), version)]);
        }
        !is_new || self.part_of(uri) == part
    }

    /// A part with a change in it. One that is to be split takes nothing new.
    fn changed(
        &self,
        mut content: Content,
        uri: &ResourceUri,
        wanted: bool,
        splits: bool,
        node: &Node,
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
            content.uris.insert(uri.clone(), node.heard.low().unwrap_or_default());
        }
        Ok(content)
    }
}

/// A number that no client can know.
fn new_salt() -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *SessionId::random().as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
