//! The stdio side of a session: the process that serves it now, and the restart after that process
//! exits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mcp_http::message::{ErrorObject, RawJson};
use serde::Deserialize;

use crate::backoff::Backoff;
use crate::connection::{Connection, UNAVAILABLE};
use crate::owner::Owner;
use crate::pool::Pool;

/// A process that ran for longer counts as started successfully.
const STABLE_AFTER: Duration = Duration::from_secs(10);

pub(crate) const INITIALIZED: &str = "notifications/initialized";

/// An MCP session over stdio, which may use several processes one after the other. Dropping it ends
/// the process.
#[derive(Debug)]
pub(crate) struct StdioSession {
    pool: Arc<Pool>,
    owner: Owner,
    /// The parameters of `initialize`, for a restart.
    initialize: RawJson,
    /// The negotiated revision.
    version: String,
    /// The client has sent `notifications/initialized`.
    initialized: AtomicBool,
    current: Mutex<Current>,
    /// When a client was last connected or sent something.
    last_seen: Mutex<Instant>,
    /// Held while a process starts, because several calls may need one at once.
    restart_backoff: tokio::sync::Mutex<Backoff>,
}

/// The newest process of a session.
#[derive(Debug)]
struct Current {
    connection: Arc<Connection>,
    started_at: Instant,
}

impl StdioSession {
    /// Starts a process and opens a session with it. Returns the process's answer to `initialize`
    /// unchanged.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the process is ended.
    pub(crate) async fn open(
        pool: &Arc<Pool>,
        owner: Owner,
        initialize: RawJson,
    ) -> Result<(Self, RawJson), ErrorObject> {
        let (connection, result) = pool.open(owner.clone(), initialize.clone()).await?;
        let session = Self {
            pool: Arc::clone(pool),
            owner,
            initialize,
            version: negotiated_version(&result)?,
            initialized: AtomicBool::new(false),
            current: Mutex::new(Current { connection, started_at: Instant::now() }),
            last_seen: Mutex::new(Instant::now()),
            restart_backoff: tokio::sync::Mutex::default(),
        };
        Ok((session, result))
    }

    /// Returns the negotiated revision.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live_connection(&self) -> Option<Arc<Connection>> {
        Some(Arc::clone(&self.current().connection)).filter(|connection| connection.ended_at().is_none())
    }

    /// Returns `true` while a process of this session runs and holds a permit.
    pub(crate) fn has_process(&self) -> bool {
        self.live_connection().is_some()
    }

    fn last_seen(&self) -> MutexGuard<'_, Instant> {
        self.last_seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a client is connected now.
    pub(crate) fn mark_seen(&self) {
        *self.last_seen() = Instant::now();
    }

    /// Returns the time since a client was last seen.
    pub(crate) fn since_seen(&self) -> Duration {
        self.last_seen().elapsed()
    }

    /// Returns when the last process started and when it ended, or `None` while it runs.
    fn last_lifetime(&self) -> Option<(Instant, Instant)> {
        let current = self.current();
        current.connection.ended_at().map(|ended_at| (current.started_at, ended_at))
    }

    /// Forwards a notification of the client. It is lost if no process runs.
    pub(crate) fn notify(&self, method: &str, params: Option<&RawJson>) {
        self.mark_seen();
        if method == INITIALIZED {
            self.initialized.store(true, Ordering::Relaxed);
        }
        if let Some(connection) = self.live_connection() {
            connection.notify(method, params);
        }
    }

    /// Returns the connection to the process. If the process has exited and `restart` is `true`,
    /// starts another one.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, a process that is starting is ended.
    pub(crate) async fn connection(&self, restart: bool) -> Result<Arc<Connection>, ErrorObject> {
        self.mark_seen();
        if let Some(connection) = self.live_connection() {
            return Ok(connection);
        }
        if !restart {
            let text = "The server behind the bridge has ended, and this session with it; open a new session";
            return Err(ErrorObject::new(UNAVAILABLE, text));
        }
        let mut backoff = self.restart_backoff.lock().await;
        // Another call may have started it meanwhile.
        if let Some(connection) = self.live_connection() {
            return Ok(connection);
        }
        self.restart(&mut backoff).await
    }

    async fn restart(&self, backoff: &mut Backoff) -> Result<Arc<Connection>, ErrorObject> {
        if let Some((started_at, ended_at)) = self.last_lifetime() {
            if ended_at.duration_since(started_at) > STABLE_AFTER {
                backoff.reset();
            }
            backoff.record_failure(started_at, ended_at);
        }
        backoff.check(Instant::now())?;
        let (connection, result) = self.pool.open(self.owner.clone(), self.initialize.clone()).await?;
        if negotiated_version(&result)? != self.version {
            tracing::error!(session = %self.owner.name(), "ended a session: its new process chose another revision");
            self.owner.end_session().await;
            return Err(ErrorObject::new(UNAVAILABLE, "The server behind the bridge has changed; open a new session"));
        }
        if self.initialized.load(Ordering::Relaxed) {
            connection.notify(INITIALIZED, None);
        }
        *self.current() = Current { connection: Arc::clone(&connection), started_at: Instant::now() };
        Ok(connection)
    }
}

/// Reads the revision from a result of `initialize`.
fn negotiated_version(result: &RawJson) -> Result<String, ErrorObject> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Negotiated {
        protocol_version: String,
    }
    let negotiated: Result<Negotiated, _> = result.read();
    negotiated.map(|negotiated| negotiated.protocol_version).map_err(|error| {
        tracing::error!(%error, "a process sent an invalid answer to initialize; is it an MCP server?");
        ErrorObject::new(UNAVAILABLE, "The server behind the bridge sent an invalid answer to initialize")
    })
}
