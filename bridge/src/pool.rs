//! The process pool: settings, the limit on processes, the delay after failed starts, and shutdown.

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
use crate::connection::{Connection, UNAVAILABLE};
use crate::eviction;
use crate::owner::Owner;

/// Extra time a killed process may need beyond its grace periods, on a busy machine.
const KILL_GRACE: Duration = Duration::from_secs(4);

/// How often a session that waits for a permit checks for a session to evict.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// What a process needs to start and run; see the options of the same names in `Cli`.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) command: Vec<OsString>,
    pub(crate) evict_after: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) start_timeout: Duration,
    pub(crate) call_timeout: Duration,
    pub(crate) longest_line: usize,
    pub(crate) max_calls: usize,
    pub(crate) client_request_timeout: Duration,
    pub(crate) grace: Duration,
    /// A session whose process has exited gets another one.
    pub(crate) restart: bool,
}

/// Starts processes, within the limit.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) settings: Settings,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    permits: Arc<Semaphore>,
    /// Counts processes of all sessions that exited before they answered `initialize`.
    start_backoff: Mutex<Backoff>,
}

impl Pool {
    pub(crate) fn new(cli: &Cli) -> Arc<Self> {
        let settings = Settings {
            command: cli.command.clone(),
            evict_after: cli.evict_after,
            idle_timeout: cli.idle_timeout,
            start_timeout: cli.start_timeout,
            call_timeout: cli.call_timeout,
            longest_line: cli.longest_line,
            max_calls: cli.max_calls,
            client_request_timeout: cli.client_request_timeout,
            grace: cli.grace,
            restart: cli.restart == Restart::Fresh,
        };
        Arc::new(Self {
            settings,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            permits: Arc::new(Semaphore::new(cli.max_processes.into())),
            start_backoff: Mutex::default(),
        })
    }

    fn start_backoff(&self) -> MutexGuard<'_, Backoff> {
        self.start_backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a process and sends it `initialize`. Returns the connection and the process's answer.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the process is ended.
    pub(crate) async fn open(
        self: &Arc<Self>,
        owner: Owner,
        params: RawJson,
    ) -> Result<(Arc<Connection>, RawJson), ErrorObject> {
        self.start_backoff().check(Instant::now())?;
        let Ok(Some(permit)) = timeout(self.permit_timeout(), self.acquire(&owner)).await else {
            tracing::warn!(
                "rejected a session: all processes are in use; raise --max-processes or lower --evict-after"
            );
            let text = "The bridge runs as many server processes as it may (--max-processes); try again later";
            return Err(ErrorObject::new(UNAVAILABLE, text));
        };
        let started_at = Instant::now();
        let opened = self.start(owner, params, permit).await;
        match &opened {
            Ok(_) => self.start_backoff().reset(),
            Err(OpenError { process_ended: true, .. }) => {
                self.start_backoff().record_failure(started_at, Instant::now());
            }
            // The process runs and answered with an error: trying again costs little.
            Err(_) => {}
        }
        opened.map_err(|failed| failed.error)
    }

    /// Returns how long a new session waits for a permit: as long as an evicted process may need to
    /// end. It has one grace period before SIGTERM, one before SIGKILL, and one for the rest of its
    /// group.
    fn permit_timeout(&self) -> Duration {
        self.settings.grace.saturating_mul(3).saturating_add(KILL_GRACE)
    }

    /// Acquires a permit. If none is free, evicts one session as soon as one is idle.
    async fn acquire(&self, owner: &Owner) -> Option<OwnedSemaphorePermit> {
        let permits = Arc::clone(&self.permits);
        if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
            return Some(permit);
        }
        let permit = permits.acquire_owned();
        tokio::pin!(permit);
        while !eviction::evict_one(owner.handle(), self.settings.evict_after).await {
            if let Ok(permit) = timeout(POLL_INTERVAL, &mut permit).await {
                return permit.ok();
            }
        }
        permit.await.ok()
    }

    async fn start(
        self: &Arc<Self>,
        owner: Owner,
        params: RawJson,
        permit: OwnedSemaphorePermit,
    ) -> Result<(Arc<Connection>, RawJson), OpenError> {
        let connection = Connection::start(self, owner, permit).map_err(|error| {
            let command = &self.settings.command;
            tracing::error!(%error, ?command, "cannot start the server process; check the command after `--`");
            OpenError::process_ended("The server behind the bridge does not start")
        })?;
        let start_timeout = self.settings.start_timeout;
        match timeout(start_timeout, connection.initialize(params)).await {
            Ok(Ok(result)) => Ok((Arc::new(connection), result)),
            Ok(Err(error)) => Err(OpenError { error, process_ended: connection.ended_at().is_some() }),
            Err(_) => {
                tracing::warn!(?start_timeout, "a process did not answer initialize in time; see --start-timeout");
                Err(OpenError::process_ended("The server behind the bridge did not answer initialize in time"))
            }
        }
    }

    /// Ends every process and waits until all have exited.
    pub(crate) async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// A session that could not be opened.
struct OpenError {
    error: ErrorObject,
    /// The process has exited, or never started.
    process_ended: bool,
}

impl OpenError {
    fn process_ended(text: &'static str) -> Self {
        Self { error: ErrorObject::new(UNAVAILABLE, text), process_ended: true }
    }
}
