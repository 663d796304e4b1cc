//! Decides what all children share: their settings, their number, the time after a failed start, and their
//! common end.

use std::ffi::OsString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mcp_http::message::{ErrorObject, RawJson};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backoff::Backoff;
use crate::cli::{Cli, Restart};
use crate::eviction;
use crate::owner::Owner;
use crate::peer::{Peer, UNAVAILABLE};

/// What a child that has to be killed may take beyond its times of grace, on a machine that does much else.
const KILL_GRACE: Duration = Duration::from_secs(4);

/// How often an opening that waits for a place looks whether a session has come to rest.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// What is needed to start a child and to live with it.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) command: Vec<OsString>,
    pub(crate) evict_after: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) start_within: Duration,
    pub(crate) call_within: Duration,
    pub(crate) longest_line: usize,
    pub(crate) calls: usize,
    pub(crate) answer_within: Duration,
    pub(crate) grace: Duration,
    /// A session goes on with another child.
    pub(crate) restarts: bool,
}

/// Where children live.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) settings: Settings,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    places: Arc<Semaphore>,
    /// Children that died before they had answered `initialize`, whoever's they were.
    starts: Mutex<Backoff>,
}

impl Pool {
    pub(crate) fn new(cli: &Cli) -> Arc<Self> {
        let settings = Settings {
            command: cli.command.clone(),
            evict_after: cli.evict_after,
            idle_timeout: cli.idle_timeout,
            start_within: cli.start_within,
            call_within: cli.call_within,
            longest_line: cli.longest_line,
            calls: cli.calls,
            answer_within: cli.answer_within,
            grace: cli.grace,
            restarts: cli.restart == Restart::Fresh,
        };
        Arc::new(Self {
            settings,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            places: Arc::new(Semaphore::new(cli.children.into())),
            starts: Mutex::default(),
        })
    }

    fn starts(&self) -> MutexGuard<'_, Backoff> {
        self.starts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a child and opens the conversation with it; what it answered.
    ///
    /// # Cancel safety
    ///
    /// The child is ended.
    pub(crate) async fn open(
        self: &Arc<Self>,
        owner: Owner,
        opening: RawJson,
    ) -> Result<(Arc<Peer>, RawJson), ErrorObject> {
        self.starts().check(Instant::now())?;
        let Ok(Some(place)) = timeout(self.place_within(), self.place(&owner)).await else {
            tracing::warn!("a session was refused: there are as many processes as there may be (--children)");
            let text = "The bridge has as many processes of the server as it may (--children); try again later";
            return Err(ErrorObject::new(UNAVAILABLE, text));
        };
        let began = Instant::now();
        let opened = self.ask_to_open(owner, opening, place).await;
        match &opened {
            Ok(_) => self.starts().worked(),
            // A child that lives and refuses costs nothing to ask again.
            Err(Unopened { dead: true, .. }) => self.starts().failed(began, Instant::now()),
            Err(_) => {}
        }
        opened.map_err(|unopened| unopened.error)
    }

    /// How long an opening waits for a place: as long as a child may need that was just told to go. It has its
    /// grace before SIGTERM, again before SIGKILL, and what it leaves behind has it once more.
    fn place_within(&self) -> Duration {
        self.settings.grace.saturating_mul(3).saturating_add(KILL_GRACE)
    }

    /// A place; when there is none, the place of one session at rest, as soon as one is.
    async fn place(&self, owner: &Owner) -> Option<OwnedSemaphorePermit> {
        let places = Arc::clone(&self.places);
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            return Some(place);
        }
        let place = places.acquire_owned();
        tokio::pin!(place);
        while !eviction::evict_one(owner.handle(), self.settings.evict_after).await {
            if let Ok(place) = timeout(POLL_INTERVAL, &mut place).await {
                return place.ok();
            }
        }
        place.await.ok()
    }

    async fn ask_to_open(
        self: &Arc<Self>,
        owner: Owner,
        opening: RawJson,
        place: OwnedSemaphorePermit,
    ) -> Result<(Arc<Peer>, RawJson), Unopened> {
        let peer = Peer::start(self, owner, place).map_err(|error| {
            tracing::error!(%error, command = ?self.settings.command, "the process does not start");
            Unopened::dead("The server behind the bridge does not start")
        })?;
        let within = self.settings.start_within;
        match timeout(within, peer.initialize(opening)).await {
            Ok(Ok(result)) => Ok((Arc::new(peer), result)),
            Ok(Err(error)) => Err(Unopened { error, dead: peer.ended().is_some() }),
            Err(_) => {
                tracing::warn!(?within, "a process did not answer initialize in time (--start-within)");
                Err(Unopened::dead("The server behind the bridge did not answer initialize in time"))
            }
        }
    }

    /// Ends every child and waits for it.
    pub(crate) async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Why there is no conversation with a child.
struct Unopened {
    error: ErrorObject,
    /// There is no child either.
    dead: bool,
}

impl Unopened {
    fn dead(text: &'static str) -> Self {
        Self { error: ErrorObject::new(UNAVAILABLE, text), dead: true }
    }
}
