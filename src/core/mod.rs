//! The service core: the state that both eras of one service share. It holds the settings, the
//! engine, background tasks, counters and the shutdown state. It does not depend on the eras.

mod announcements;
mod answers;
mod ending;
mod expiry;
mod lifecycle;
mod log_lines;
mod publish;
mod quota;
mod reaper;
mod received;
mod recheck;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio_util::task::TaskTracker;

use self::announcements::Announcing;
pub(crate) use self::answers::Answer;
use self::lifecycle::Lifecycle;
pub(crate) use self::log_lines::{LogLine, LogLines};
pub(crate) use self::quota::{Full, Permit, Quota};
use self::reaper::Reaper;
pub(crate) use self::received::{Missed, Received};
pub(crate) use self::recheck::Recheck;

use crate::counters::Counters;
use crate::error::{Limit, Rejection, StoreError, StoreErrorKind};
use crate::handle::McpHandle;
use crate::identity::Account;
use crate::message::ProtocolVersion;
use crate::panics::{Contained, Panicked};
use crate::settings::Settings;
use crate::store::{Ended, EngineFuture, SessionEngine};

/// The core of a service, shared by its eras.
pub(crate) struct Core {
    pub(crate) engine: Arc<dyn SessionEngine>,
    pub(crate) settings: Settings,
    /// The revisions that are served, of both eras, in ascending order.
    pub(crate) versions: Vec<ProtocolVersion>,
    pub(crate) counters: Counters,
    /// The background tasks of this service.
    pub(crate) tasks: TaskTracker,
    /// The calls in flight on this node, in tasks or in requests. A drain waits for them.
    pub(crate) running: TaskTracker,
    /// The calls in flight on this node without a session. The engine counts those with a session.
    sessionless: Arc<Quota>,
    /// Long answers that their clients have not read yet.
    unread: Arc<Quota>,
    pub(crate) lifecycle: Lifecycle,
    announcing: Announcing,
    /// The application's handle. It refers to the service weakly.
    pub(crate) handle: McpHandle,
    /// The engine may hold sessions and tasks from before this service started, or from other
    /// nodes.
    durable: bool,
    reaper: Reaper,
    log_lines: Arc<LogLines>,
}

impl Core {
    pub(crate) fn new(
        engine: Arc<dyn SessionEngine>,
        settings: Settings,
        versions: Vec<ProtocolVersion>,
        handle: McpHandle,
    ) -> Arc<Self> {
        let limits = &settings.limits;
        let loose =
            Quota::new(limits.max_calls_without_session, limits.max_calls_per_principal, limits.max_calls_per_peer);
        let unread = Quota::new(usize::MAX, limits.max_calls_per_principal, limits.max_calls_per_peer);
        Arc::new(Self {
            durable: engine.durable(),
            engine,
            settings,
            versions,
            counters: Counters::default(),
            tasks: TaskTracker::new(),
            running: TaskTracker::new(),
            sessionless: loose,
            unread,
            lifecycle: Lifecycle::default(),
            announcing: Announcing::default(),
            handle,
            reaper: Reaper::default(),
            log_lines: Arc::default(),
        })
    }

    /// Calls [`LogLines::line`] of this service.
    pub(crate) fn log_line(&self, kind: LogLine) -> Option<u64> {
        self.log_lines.line(kind)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.lifecycle.is_draining()
    }

    /// Admits calls without a session, unless the service is draining or a limit is reached.
    pub(crate) fn acquire(&self, account: Option<Account>, calls: usize) -> Result<Permit, Rejection> {
        if self.is_draining() {
            return Err(Rejection::Draining);
        }
        self.check_answers(account.as_ref())?;
        self.sessionless.take(account, calls).map_err(rejection)
    }

    /// Rejects a call if the account has as many unread answers as it may have calls.
    pub(crate) fn check_answers(&self, account: Option<&Account>) -> Result<(), Rejection> {
        account.and_then(|account| self.unread.is_full_for(account)).map_or(Ok(()), |full| Err(rejection(full)))
    }

    /// Counts a long answer until it has been written. It counts only against its account, so that
    /// it takes no capacity of others.
    pub(crate) fn still_answers(&self, account: Option<Account>) -> Permit {
        self.unread.add(account)
    }

    /// Waits until no call is in flight. Returns `false` if the timeout passed before.
    pub(crate) async fn finished_within(&self, within: Duration) -> bool {
        self.running.close();
        tokio::time::timeout(within, self.running.wait()).await.is_ok()
    }

    /// Counts and logs sessions that the engine returned as ended, and calls the application's hook
    /// once for each.
    pub(crate) fn closed(&self, ended: impl IntoIterator<Item = Ended>) {
        for ended in ended {
            self.counters.ended(ended.reason);
            tracing::debug!(session = ?ended.info.id, reason = ended.reason.as_str(), "session ended");
            if let Some(hook) = &self.settings.sessions.closed {
                self.in_background(hook(ended));
            }
        }
    }

    /// Runs a future in the background. Most such futures complete at the first poll and need no
    /// task. A panic is caught and logged.
    pub(crate) fn in_background(&self, future: BoxFuture<'static, ()>) {
        let lines = Arc::clone(&self.log_lines);
        let mut future = Box::pin(Contained::new(future).map(move |result| {
            if result == Err(Panicked)
                && let Some(left_out) = lines.line(LogLine::Panicked)
            {
                tracing::error!(left_out, "a handler panicked");
            }
        }));
        // The task polls the future again, so no wake-up is lost here. Without a runtime, as when
        // values are dropped last, the future cannot continue.
        if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
            && tokio::runtime::Handle::try_current().is_ok()
        {
            self.tasks.spawn(future);
        }
    }

    /// Runs an engine operation in the background.
    pub(crate) fn step_in_background<T: Unpin + Send + 'static>(&self, step: EngineFuture<Result<T, StoreError>>) {
        if let Err(step) = step.now()
            && tokio::runtime::Handle::try_current().is_ok()
        {
            let lines = Arc::clone(&self.log_lines);
            self.tasks.spawn(async move {
                if let Err(error) = step.await
                    && error.kind() != StoreErrorKind::NotFound
                    && let Some(left_out) = lines.line(LogLine::Background)
                {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, left_out, "an operation of the session engine failed");
                }
            });
        }
    }
}

fn rejection(full: Full) -> Rejection {
    match full {
        Full::All(max) => Rejection::LimitReached { limit: Limit::CallsWithoutSession, max },
        Full::Principal(max) => Rejection::LimitReached { limit: Limit::CallsOfPrincipal, max },
        Full::Peer(max) => Rejection::LimitReached { limit: Limit::CallsOfPeer, max },
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("engine", &self.engine).field("versions", &self.versions).finish_non_exhaustive()
    }
}
