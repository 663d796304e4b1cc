//! A connection to one process: sends calls and notifications, and runs the task that writes, reads
//! and finally ends the process.
//!
//! One task holds the process. It writes queued lines one after the other, so a process that does
//! not read delays only its own callers. It reads lines and forwards them, and it ends the process
//! when the [`Connection`] is dropped.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mcp_http::Context;
use mcp_http::message::{ErrorObject, RawJson};
use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::calls::{Answer, Calls, CancelledCall};
use crate::lines::Lines;
use crate::message::{self, ProgressToken};
use crate::owner::Owner;
use crate::pool::Pool;
use crate::process::{Pipes, Process};
use crate::queue::{Outgoing, QueueReceiver, QueueSender, queue};
use crate::reader::{Reader, StopReason};
use crate::stderr;

/// Error code for failures after which a retry may succeed. The official SDKs use it for a closed
/// connection.
pub(crate) const UNAVAILABLE: i64 = -32000;

/// How long the bridge reads on after a process has exited, from stdout and from stderr, and how
/// long its last answers may take to reach their clients before the session ends.
const FLUSH_GRACE: Duration = Duration::from_secs(1);

/// A running process that answers calls. Dropping it ends the process.
#[derive(Debug)]
pub(crate) struct Connection {
    calls: Arc<Calls>,
    call_permits: Arc<Semaphore>,
    queue: QueueSender,
    call_timeout: Duration,
    _stop: DropGuard,
}

impl Connection {
    /// Starts a process. `permit` is one of the pool's and is released when the process has ended.
    ///
    /// # Errors
    ///
    /// The command cannot be started.
    pub(crate) fn start(pool: &Arc<Pool>, owner: Owner, permit: OwnedSemaphorePermit) -> io::Result<Self> {
        let (process, pipes) = Process::start(&pool.settings.command)?;
        tracing::info!(session = %owner.name(), pid = process.id(), "process started");
        let (queue, queued) = queue();
        let (cancelled, cancellations) = mpsc::unbounded_channel();
        let calls = Arc::new(Calls::new(cancelled));
        let stop = pool.stop.child_token();
        let driver = Driver {
            pool: Arc::clone(pool),
            owner,
            calls: Arc::clone(&calls),
            stop: stop.clone(),
            queue: queue.clone(),
        };
        pool.tasks.spawn(driver.run(process, pipes, permit, queued, cancellations));
        let call_permits = Arc::new(Semaphore::new(pool.settings.max_calls));
        let call_timeout = pool.settings.call_timeout;
        Ok(Self { calls, call_permits, queue, call_timeout, _stop: stop.drop_guard() })
    }

    /// Returns when the process stopped answering, or `None` while it runs.
    pub(crate) fn ended_at(&self) -> Option<Instant> {
        self.calls.ended_at()
    }

    /// Sends `initialize` and waits for the answer, without a timeout of its own.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the process receives no cancellation: `initialize` cannot be
    /// cancelled.
    pub(crate) async fn initialize(&self, params: RawJson) -> Answer {
        self.send("initialize", Some(params), None).await
    }

    /// Sends a call and waits for its answer, for at most `--call-timeout`.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped after the call was written, the process receives a cancellation.
    pub(crate) async fn call(&self, method: &str, params: Option<RawJson>, context: Context) -> Answer {
        let answer = timeout(self.call_timeout, self.send(method, params, Some(context)));
        answer.await.unwrap_or_else(|_| {
            let call_timeout = self.call_timeout;
            tracing::warn!(method, ?call_timeout, "a process did not answer a call in time; see --call-timeout");
            Err(ErrorObject::new(UNAVAILABLE, "The server behind the bridge did not answer in time"))
        })
    }

    /// Sends a request. `context` is `None` for requests of the bridge itself.
    async fn send(&self, method: &str, params: Option<RawJson>, context: Option<Context>) -> Answer {
        let permit = Arc::clone(&self.call_permits).try_acquire_owned().map_err(|_| {
            let text = "Too many calls are in flight in the server behind the bridge (--max-calls); try again later";
            ErrorObject::new(UNAVAILABLE, text)
        })?;
        let token = match &params {
            Some(params) => ProgressToken::in_request(params).map_err(|error| {
                tracing::debug!(%error, "cannot read the parameters of a call");
                message::invalid_params()
            })?,
            None => None,
        };
        let client_token = match (&params, &token) {
            (Some(params), Some(token)) => RawJson::parse(token.text(params).to_owned()).ok(),
            _ => None,
        };
        let slot = self.queue.slot().await;
        let pending = self.calls.register(context, client_token, permit)?;
        let pending = if method == "initialize" { pending.not_cancellable() } else { pending };
        let replaced = params.as_ref().zip(token).map(|(params, token)| token.replace(params, &pending.id.to_string()));
        let params = replaced.as_deref().or(params.as_ref().map(RawJson::as_str));
        let line = message::request_line(pending.id, method, params);
        // Without a slot the process has just ended, and the call is about to end with an error.
        if let Some(slot) = slot {
            slot.put(Outgoing::Call(pending.id, line));
        }
        pending.answer().await
    }

    /// Sends a notification. Drops it if too many bytes already wait for the process to read.
    pub(crate) fn notify(&self, method: &str, params: Option<&RawJson>) {
        let line = message::notification_line(method, params.map(RawJson::as_str));
        if !self.queue.try_notify(line) {
            tracing::warn!(method, "dropped a notification: the process does not read its stdin");
        }
    }
}

/// The task of a connection.
struct Driver {
    pool: Arc<Pool>,
    owner: Owner,
    calls: Arc<Calls>,
    stop: CancellationToken,
    queue: QueueSender,
}

impl Driver {
    /// Runs the connection until the process has ended.
    async fn run(
        self,
        mut process: Process,
        pipes: Pipes,
        permit: OwnedSemaphorePermit,
        queued: QueueReceiver,
        cancellations: mpsc::UnboundedReceiver<CancelledCall>,
    ) {
        let Pipes { stdin, stdout, stderr } = pipes;
        let (pid, name) = (process.id(), self.owner.name());
        let mut lines = Lines::new(stdout, self.pool.settings.longest_line);
        let serve = async {
            let reason = {
                let writing = write(stdin, &self.calls, queued, cancellations);
                let timeout = self.pool.settings.client_request_timeout;
                let reading = Reader::new(&self.owner, &self.calls, &self.queue, timeout);
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => None,
                    reason = until_stopped(&mut process, reading, &mut lines, writing) => Some(reason),
                }
            };
            if let Some(reason) = reason {
                tracing::warn!(session = %name, pid, %reason, "the process no longer answers");
                self.fail_calls(&reason);
            } else {
                self.calls.end(&ErrorObject::new(UNAVAILABLE, "The session of this call has ended"));
            }
            // A process that is still writing must be able to finish, so its output is read and
            // dropped.
            let drained = async {
                lines.drain().await;
                std::future::pending().await
            };
            tokio::select! {
                () = process.end(self.pool.settings.grace) => {}
                () = drained => {}
            }
            tracing::info!(session = %name, pid, "process ended");
            drop(permit);
        };
        let stderr = stderr::log(stderr, &name, pid);
        tokio::pin!(serve, stderr);
        tokio::select! {
            () = &mut serve => {
                // The last lines say why the process ended. Its descendants may keep the pipe open
                // indefinitely.
                let _ = timeout(FLUSH_GRACE, stderr).await;
            }
            () = &mut stderr => serve.await,
        }
    }

    /// Ends all calls with an error after the process has stopped. Ends the session too, unless it
    /// may get another process.
    fn fail_calls(&self, reason: &StopReason) {
        self.calls.end(&ErrorObject::new(UNAVAILABLE, reason.client_text()));
        if self.pool.settings.restart {
            return;
        }
        let (owner, stop) = (self.owner.clone(), self.pool.stop.clone());
        self.pool.tasks.spawn(async move {
            // The answers must reach their clients first: ending the session closes its streams.
            let _ = timeout(FLUSH_GRACE, stop.cancelled()).await;
            owner.end_session().await;
        });
    }
}

/// Reads and writes until the process exits, closes its stdout or breaks a rule.
async fn until_stopped(
    process: &mut Process,
    reading: Reader<'_>,
    lines: &mut Lines<ChildStdout>,
    writing: impl Future<Output = io::Error>,
) -> StopReason {
    let reading = reading.run(lines);
    tokio::pin!(reading, writing);
    let stopped: Result<StopReason, io::Result<ExitStatus>> = tokio::select! {
        biased;
        reason = &mut reading => Ok(reason),
        status = process.exited() => Err(status),
        error = &mut writing => Err(Err(error)),
    };
    match stopped {
        Ok(StopReason::StdoutClosed) => match timeout(FLUSH_GRACE, process.exited()).await {
            Ok(Ok(status)) => StopReason::Exited(status),
            Ok(Err(_)) | Err(_) => StopReason::StdoutClosed,
        },
        Ok(reason) => reason,
        // Output from before the exit is still to be read. A descendant may keep the pipe open
        // indefinitely.
        Err(status) => match (timeout(FLUSH_GRACE, reading).await, status) {
            (Ok(reason @ (StopReason::LineTooLong | StopReason::PipeFailed(_))), _) => reason,
            (_, Ok(status)) => StopReason::Exited(status),
            (_, Err(error)) => StopReason::PipeFailed(error),
        },
    }
}

/// Writes queued lines until writing fails.
async fn write(
    mut stdin: ChildStdin,
    calls: &Calls,
    mut queued: QueueReceiver,
    mut cancellations: mpsc::UnboundedReceiver<CancelledCall>,
) -> io::Error {
    loop {
        let line = tokio::select! {
            Some(cancelled) = cancellations.recv() => {
                let params = format!(r#"{{"requestId":{},"reason":"The client no longer waits"}}"#, cancelled.id);
                let line = message::notification_line("notifications/cancelled", Some(&params));
                if let Err(error) = stdin.write_all(&line).await {
                    return error;
                }
                continue;
            }
            Some(line) = queued.next() => line,
        };
        let line = match line {
            Outgoing::Call(id, line) if calls.mark_written(id) => line,
            Outgoing::Call(..) => continue,
            Outgoing::Other(line) => line,
        };
        if let Err(error) = stdin.write_all(&line).await {
            return error;
        }
    }
}
