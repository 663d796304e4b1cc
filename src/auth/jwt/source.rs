//! The source of keys: fetches them when needed, one request at a time, and not too often.
//!
//! 1. A known key is used without waiting. If the keys are old, they are fetched first: a key that
//!    was withdrawn while no token arrived must not be accepted.
//! 2. An unknown key, or a signature that no known key fits, causes a request, unless the last one
//!    is more recent than the interval. Requests that wait for the same keys share one fetch.
//! 3. The fetch is a task of its own. Clients that disconnect cannot interrupt it, and so cannot
//!    cause another.
//! 4. If a fetch fails, known keys stay. An unknown one may then exist, so it is not invalid but
//!    unavailable.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::sync::watch;

use super::discovery;
use super::keys::KeySet;
use crate::auth::fetch::Fetcher;
use crate::auth::verifier::TokenError;
use crate::clock::{Clock, Tick};

/// How often keys are fetched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) min_interval: Duration,
    pub(super) max_age: Duration,
}

/// The keys of one authorization server.
pub(super) struct KeySource {
    issuer: String,
    /// The URL from the settings; otherwise it is discovered at each fetch, because it may change.
    jwks_url: Option<String>,
    fetcher: Fetcher,
    pace: Pace,
    clock: Clock,
    state: Mutex<State>,
    /// How often a fetch lacked a key that was known before.
    withdrawals: AtomicU64,
}

/// The keys that may have signed a token, and the number of the key set that they belong to.
pub(super) struct Candidates {
    pub(super) keys: Vec<DecodingKey>,
    pub(super) fetch: u64,
}

#[derive(Default)]
struct State {
    keys: Option<Arc<KeySet>>,
    /// How often the keys changed.
    changes: u64,
    /// When the keys were fetched.
    fetched: Tick,
    /// When the last fetch began.
    tried: Option<Tick>,
    /// Why the last fetch failed.
    failure: Option<String>,
    /// The fetch that runs. The channel is closed when it has ended.
    running: Option<watch::Receiver<()>>,
}

impl KeySource {
    pub(super) fn new(issuer: String, jwks_url: Option<String>, fetcher: Fetcher, pace: Pace) -> Self {
        Self {
            issuer,
            jwks_url,
            fetcher,
            pace,
            clock: Clock::new(),
            state: Mutex::default(),
            withdrawals: AtomicU64::new(0),
        }
    }

    /// Returns the keys that may have signed a token with this header.
    pub(super) async fn keys(
        self: &Arc<Self>,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Candidates, TokenError> {
        if self.is_old() {
            self.fetch_again().await;
        }
        let mut known = self.find(id, algorithm);
        if known.keys.is_empty() && self.fetch_again().await {
            known = self.find(id, algorithm);
        }
        match &self.state().failure {
            _ if !known.keys.is_empty() => Ok(known),
            Some(why) => Err(TokenError::Unavailable(why.clone().into())),
            None => Err(TokenError::Invalid("its key is unknown".into())),
        }
    }

    /// Fetches the keys again after some did not fit. Returns `true` if there are others than at an
    /// earlier fetch.
    pub(super) async fn changed_since(self: &Arc<Self>, fetch: u64) -> bool {
        self.fetch_again().await;
        self.state().changes != fetch
    }

    /// Returns how often keys were withdrawn.
    pub(super) fn withdrawals(&self) -> u64 {
        self.withdrawals.load(Ordering::Acquire)
    }

    /// Waits for a fetch. Returns `false` if the last one began within the interval.
    async fn fetch_again(self: &Arc<Self>) -> bool {
        let Some(mut running) = self.refresh(self.pace.min_interval) else { return false };
        let _ended = running.changed().await;
        true
    }

    /// Fetches the keys now. The error says why that failed.
    pub(super) async fn refresh_now(self: &Arc<Self>) -> Result<(), String> {
        if let Some(mut running) = self.refresh(Duration::ZERO) {
            let _ended = running.changed().await;
        }
        match &self.state().failure {
            Some(why) => Err(why.clone()),
            None => Ok(()),
        }
    }

    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Candidates {
        let state = self.state();
        let (keys, fetch) = (state.keys.clone(), state.changes);
        drop(state);
        Candidates { keys: keys.map_or_else(Vec::new, |keys| keys.find(id, algorithm)), fetch }
    }

    fn is_old(&self) -> bool {
        self.clock.now().since(self.state().fetched) >= self.pace.max_age
    }

    /// Begins a fetch, or joins the one that runs. Returns `None` if the last one began within the
    /// interval.
    fn refresh(self: &Arc<Self>, interval: Duration) -> Option<watch::Receiver<()>> {
        let now = self.clock.now();
        let mut state = self.state();
        // A closed channel belongs to a fetch that has ended.
        if let Some(running) = state.running.as_ref().filter(|running| running.has_changed().is_ok()) {
            return Some(running.clone());
        }
        if state.tried.is_some_and(|tried| now.since(tried) < interval) {
            return None;
        }
        let (sender, running) = watch::channel(());
        state.tried = Some(now);
        state.running = Some(running.clone());
        // Stays if the task is cut off by the end of its runtime.
        state.failure = Some("the request was interrupted".to_owned());
        drop(state);
        let source = Arc::clone(self);
        tokio::spawn(async move {
            let fetched = source.fetch().await;
            source.finish(fetched);
            drop(sender);
        });
        Some(running)
    }

    async fn fetch(&self) -> Result<KeySet, String> {
        let url = match &self.jwks_url {
            Some(url) => url.clone(),
            None => discovery::jwks_url(&self.issuer, &self.fetcher).await?,
        };
        let document = self.fetcher.get(&url).await.map_err(|error| format!("its keys cannot be fetched: {error}"))?;
        KeySet::read(&document)
    }

    fn finish(&self, fetched: Result<KeySet, String>) {
        let now = self.clock.now();
        let mut state = self.state();
        match fetched {
            Ok(keys) => {
                let known = state.keys.take();
                if known.as_ref().is_none_or(|known| *known.texts() != *keys.texts()) {
                    state.changes += 1;
                }
                if known.is_some_and(|known| !known.texts().is_subset(keys.texts())) {
                    self.withdrawals.fetch_add(1, Ordering::Release);
                }
                state.keys = Some(Arc::new(keys));
                state.fetched = now;
                state.failure = None;
            }
            Err(why) => {
                // At most one line in each interval.
                tracing::warn!(issuer = self.issuer, why, "the keys of an authorization server were not fetched");
                state.failure = Some(why);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySource").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}
