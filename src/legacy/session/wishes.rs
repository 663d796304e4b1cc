//! What the client of a session wishes to be told: its log level and its subscriptions. Both are kept in the
//! session's state, so that they move with it, and known here as of a revision.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Deserialize;

use super::super::Node;
use super::LiveSession;
use crate::error::{StoreError, StoreErrorKind};
use crate::hall::LogLine;
use crate::message::{RawJson, ResourceUri};
use crate::server::channel::Change;
use crate::settings::Limits;
use crate::store::News;

/// The URIs, each with the newest announcement that was heard where it was subscribed to: what was announced
/// before is no news to it.
pub(super) type Subscriptions = HashMap<ResourceUri, u64>;

/// Where they are kept. The revision of a session is the sum of their versions, and of no others: every key
/// that begins with `mcp.` has to be read here.
const LOG_LEVEL: &str = "mcp.log_level";
const SUBSCRIPTIONS: &str = "mcp.subscriptions";

/// Subscriptions as they were kept before they had numbers, too.
#[derive(Deserialize)]
#[serde(untagged)]
enum Kept {
    Numbered(Subscriptions),
    Plain(HashSet<ResourceUri>),
}

impl LiveSession {
    /// Brings in what an earlier node left in the engine.
    pub(in crate::legacy) async fn restore(&self, node: &Node) -> Result<(), StoreError> {
        let id = self.info.id;
        if let (Some(level), version) = node.engine.load_state(id, LOG_LEVEL).await? {
            self.learn_log_level(level.read().unwrap_or_default(), version);
        }
        if let (Some(uris), version) = node.engine.load_state(id, SUBSCRIPTIONS).await? {
            self.learn_subscriptions(read(&uris)?, version);
        }
        Ok(())
    }

    /// Reads again what the engine has. Returns `false` if the session has ended.
    pub(in crate::legacy) async fn refresh(&self, node: &Node) -> bool {
        let stale = self.stale.load(Ordering::Acquire);
        let Err(error) = self.restore(node).await else {
            // Unless it became so once more.
            let _ = self.stale.compare_exchange(stale, 0, Ordering::AcqRel, Ordering::Relaxed);
            return true;
        };
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
        (live.log_level_version, live.subscriptions_version) = (0, 0);
        self.revision.store(0, Ordering::Release);
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
        let (own, since) = live.subscriptions.as_ref()?.get_key_value(uri)?;
        (number > *since).then(|| Change::Resource(own.clone()))
    }

    /// All that it wants to hear of.
    pub(in crate::legacy) fn everything(&self) -> Vec<Change> {
        let live = self.live();
        let uris = live.subscriptions.iter().flat_map(|uris| uris.keys());
        Change::LISTS.into_iter().chain(uris.map(|uri| Change::Resource(uri.clone()))).collect()
    }

    /// The same as nodes announce it.
    pub(in crate::legacy) fn topics(&self) -> Vec<String> {
        self.everything().iter().map(Change::topic).collect()
    }

    pub(super) fn subscribed(&self) -> Vec<String> {
        let live = self.live();
        let uris = live.subscriptions.iter().flat_map(|uris| uris.keys());
        let mut uris: Vec<String> = uris.map(|uri| uri.as_str().to_owned()).collect();
        uris.sort_unstable();
        uris
    }

    /// What the engine has, if that is newer than what is known here.
    fn learn_subscriptions(&self, uris: Subscriptions, version: u64) {
        let mut live = self.live();
        if version > live.subscriptions_version && !live.ended {
            live.subscriptions_version = version;
            live.subscriptions = (!uris.is_empty()).then(|| Box::new(uris));
            self.revision.store(live.log_level_version + version, Ordering::Release);
        }
    }

    fn learn_log_level(&self, level: u8, version: u64) {
        let mut live = self.live();
        if version > live.log_level_version {
            live.log_level_version = version;
            self.log_level.store(level, Ordering::Relaxed);
            self.revision.store(live.subscriptions_version + version, Ordering::Release);
        }
    }

    /// Sets the level here, and at every node before it returns.
    pub(in crate::legacy) async fn set_log_level(&self, level: u8) -> Result<(), StoreError> {
        self.log_level.store(level, Ordering::Relaxed);
        let Some(node) = self.node.upgrade() else { return Ok(()) };
        let id = self.info.id;
        // The last writer wins, which is all a level needs.
        loop {
            let (_, version) = node.engine.load_state(id, LOG_LEVEL).await?;
            let value = RawJson::from_value(&level).map_err(StoreError::corrupt)?;
            if node.engine.store_state(id, LOG_LEVEL, value, version).await? {
                self.learn_log_level(level, version + 1);
                node.spread(id, News::State).await;
                return Ok(());
            }
        }
    }

    pub(super) async fn change_subscription(&self, uri: &str, wanted: bool) -> Result<(), StoreError> {
        if wanted && uri.len() > Limits::SUBSCRIPTION_URI {
            return Err(StoreError::because(StoreErrorKind::Full, "the URI has more than 8,000 bytes"));
        }
        let Some(node) = self.node.upgrade() else { return Err(StoreError::new(StoreErrorKind::NotFound)) };
        let uri = ResourceUri::new(uri);
        loop {
            let (stored, version) = node.engine.load_state(self.info.id, SUBSCRIPTIONS).await?;
            let mut uris = stored.as_ref().map(read).transpose()?.unwrap_or_default();
            if wanted == uris.contains_key(&uri) {
                return Ok(());
            }
            if wanted {
                uris.insert(uri.clone(), node.heard.low().unwrap_or_default());
            } else {
                uris.remove(&uri);
            }
            let value = RawJson::from_value(&uris).map_err(StoreError::corrupt)?;
            if wanted && is_too_much(&uris) {
                let why = "a session has at most 1,000 subscriptions, whose URIs have 256 KiB together";
                return Err(StoreError::because(StoreErrorKind::Full, why));
            }
            if node.engine.store_state(self.info.id, SUBSCRIPTIONS, value, version).await? {
                self.learn_subscriptions(uris, version + 1);
                node.spread(self.info.id, News::State).await;
                return Ok(());
            }
        }
    }
}

/// By the JSON text of the URIs in a list.
fn is_too_much(uris: &Subscriptions) -> bool {
    let list: Vec<&str> = uris.keys().map(ResourceUri::as_str).collect();
    let bytes = RawJson::from_value(&list).map_or(usize::MAX, |list| list.as_str().len());
    list.len() > Limits::SUBSCRIPTIONS || bytes > Limits::SUBSCRIPTION_BYTES
}

fn read(kept: &RawJson) -> Result<Subscriptions, StoreError> {
    Ok(match kept.read().map_err(StoreError::corrupt)? {
        Kept::Numbered(uris) => uris,
        Kept::Plain(uris) => uris.into_iter().map(|uri| (uri, 0)).collect(),
    })
}
