//! Decides what a conversation is that may outlive a child: who speaks now, and what happens when nobody
//! does any more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mcp_http::message::{ErrorObject, RawJson};
use serde::Deserialize;

use crate::backoff::Backoff;
use crate::owner::Owner;
use crate::peer::{Peer, UNAVAILABLE};
use crate::pool::Pool;

/// A child that lived this long did not die of being started.
const STABLE_AFTER: Duration = Duration::from_secs(10);

pub(crate) const INITIALIZED: &str = "notifications/initialized";

/// What a client, or all of them, have with one child after the other. Dropped, it ends the child.
#[derive(Debug)]
pub(crate) struct Conversation {
    pool: Arc<Pool>,
    owner: Owner,
    /// The parameters of `initialize`, for a child that comes after this one.
    opening: RawJson,
    /// The revision that was agreed on.
    version: String,
    /// The client has said so.
    initialized: AtomicBool,
    now: Mutex<Now>,
    /// When a client was last seen.
    attended: Mutex<Instant>,
    /// Held while a child is started, which several calls may want at once.
    starting: tokio::sync::Mutex<Backoff>,
}

#[derive(Debug)]
struct Now {
    peer: Arc<Peer>,
    since: Instant,
}

impl Now {
    fn with(peer: Arc<Peer>) -> Mutex<Self> {
        Mutex::new(Self { peer, since: Instant::now() })
    }
}

impl Conversation {
    /// Opens a conversation; what the child said to `initialize`, as it wrote it.
    ///
    /// # Cancel safety
    ///
    /// The child is ended.
    pub(crate) async fn open(pool: &Arc<Pool>, owner: Owner, opening: RawJson) -> Result<(Self, RawJson), ErrorObject> {
        let (peer, result) = pool.open(owner.clone(), opening.clone()).await?;
        let conversation = Self {
            pool: Arc::clone(pool),
            owner,
            opening,
            version: agreed(&result)?,
            initialized: AtomicBool::new(false),
            now: Now::with(peer),
            attended: Mutex::new(Instant::now()),
            starting: tokio::sync::Mutex::default(),
        };
        Ok((conversation, result))
    }

    /// The revision the child agreed to.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alive(&self) -> Option<Arc<Peer>> {
        Some(Arc::clone(&self.now().peer)).filter(|peer| peer.ended().is_none())
    }

    /// Whether a process runs for it, which holds a place.
    pub(crate) fn has_process(&self) -> bool {
        self.alive().is_some()
    }

    fn attended(&self) -> MutexGuard<'_, Instant> {
        self.attended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client is there.
    pub(crate) fn attend(&self) {
        *self.attended() = Instant::now();
    }

    /// How long no client was seen.
    pub(crate) fn unattended(&self) -> Duration {
        self.attended().elapsed()
    }

    /// From when to when the child lived that died last.
    fn last_life(&self) -> Option<(Instant, Instant)> {
        let now = self.now();
        now.peer.ended().map(|ended| (now.since, ended))
    }

    /// Passes on a notification of the client. For a child that is not there it is lost.
    pub(crate) fn tell(&self, method: &str, params: Option<&RawJson>) {
        self.attend();
        if method == INITIALIZED {
            self.initialized.store(true, Ordering::Relaxed);
        }
        if let Some(peer) = self.alive() {
            peer.tell(method, params);
        }
    }

    /// The child that answers now; another one when the last one died, and that is wanted. `restarts`: it is.
    ///
    /// # Cancel safety
    ///
    /// A child that is being started is ended.
    pub(crate) async fn peer(&self, restarts: bool) -> Result<Arc<Peer>, ErrorObject> {
        self.attend();
        if let Some(peer) = self.alive() {
            return Ok(peer);
        }
        if !restarts {
            let text = "The server behind the bridge has ended, and with it this session: open a new one";
            return Err(ErrorObject::new(UNAVAILABLE, text));
        }
        let mut backoff = self.starting.lock().await;
        if let Some(peer) = self.alive() {
            return Ok(peer);
        }
        self.start_again(&mut backoff).await
    }

    async fn start_again(&self, backoff: &mut Backoff) -> Result<Arc<Peer>, ErrorObject> {
        if let Some((born, died)) = self.last_life() {
            if died.duration_since(born) > STABLE_AFTER {
                backoff.worked();
            }
            backoff.failed(born, died);
        }
        backoff.check(Instant::now())?;
        let (peer, result) = self.pool.open(self.owner.clone(), self.opening.clone()).await?;
        if agreed(&result)? != self.version {
            tracing::error!(session = %self.owner.name(), "a new process speaks another revision: its session ends");
            self.owner.end().await;
            return Err(ErrorObject::new(UNAVAILABLE, "The server behind the bridge is another one now"));
        }
        if self.initialized.load(Ordering::Relaxed) {
            peer.tell(INITIALIZED, None);
        }
        *self.now() = Now { peer: Arc::clone(&peer), since: Instant::now() };
        Ok(peer)
    }
}

/// The revision in a result of `initialize`.
fn agreed(result: &RawJson) -> Result<String, ErrorObject> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Agreed {
        protocol_version: String,
    }
    let agreed: Result<Agreed, _> = result.read();
    agreed.map(|agreed| agreed.protocol_version).map_err(|error| {
        tracing::error!(%error, "a process answered initialize with something else");
        ErrorObject::new(UNAVAILABLE, "The server behind the bridge did not answer initialize as the protocol has it")
    })
}
