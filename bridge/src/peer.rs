//! Decides how one child is talked to: who writes to it, who reads from it, and what its end means for
//! those who wait.
//!
//! One task holds the child. It writes what calls hand it, one line after the other, so that a child that
//! does not read holds up its callers and nothing else; it reads lines and passes them on; and it ends the
//! child when the [`Peer`] is dropped.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mcp_http::message::{ErrorObject, RawJson};
use mcp_http::server::Context;
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::calls::{Answer, Calls, Cancelled};
use crate::lines::Lines;
use crate::message::{self, Token};
use crate::owner::Owner;
use crate::pool::Pool;
use crate::process::{Pipes, Process};
use crate::queue::{Outgoing, Queue, Queued, queue};
use crate::reader::{Reader, Stopped};
use crate::stderr;

/// The code of what can be tried again: the one the official SDKs use for a connection that is closed.
pub(crate) const UNAVAILABLE: i64 = -32000;

/// How long a child that has ended may still be read, on stdout and on stderr, and how long its last answers
/// may take to leave before its session ends.
const FLUSH_GRACE: Duration = Duration::from_secs(1);

/// One child, as long as somebody needs it.
#[derive(Debug)]
pub(crate) struct Peer {
    calls: Arc<Calls>,
    room: Arc<Semaphore>,
    queue: Queue,
    call_within: Duration,
    _end: DropGuard,
}

impl Peer {
    /// Starts a child. `place`: one of the bridge's places for children, which is free again when the
    /// child has ended.
    pub(crate) fn start(pool: &Arc<Pool>, owner: Owner, place: OwnedSemaphorePermit) -> io::Result<Self> {
        let (process, pipes) = Process::start(&pool.settings.command)?;
        tracing::info!(session = %owner.name(), pid = process.id(), "a process was started");
        let (queue, queued) = queue();
        let (cancelled, cancellations) = mpsc::unbounded_channel();
        let calls = Arc::new(Calls::new(cancelled));
        let stop = pool.stop.child_token();
        let held =
            Held { pool: Arc::clone(pool), owner, calls: Arc::clone(&calls), stop: stop.clone(), queue: queue.clone() };
        pool.tasks.spawn(held.live(process, pipes, place, queued, cancellations));
        let room = Arc::new(Semaphore::new(pool.settings.calls));
        Ok(Self { calls, room, queue, call_within: pool.settings.call_within, _end: stop.drop_guard() })
    }

    /// When the child ended, or came to be of no use.
    pub(crate) fn ended(&self) -> Option<Instant> {
        self.calls.ended()
    }

    /// Opens the conversation. It takes as long as the caller waits.
    ///
    /// # Cancel safety
    ///
    /// The child is not told.
    pub(crate) async fn initialize(&self, opening: RawJson) -> Answer {
        self.ask("initialize", Some(opening), None).await
    }

    /// Calls the child and waits for its answer, at most as long as a call may take.
    ///
    /// # Cancel safety
    ///
    /// The child is told that the call is cancelled, if it was told of the call.
    pub(crate) async fn call(&self, method: &str, params: Option<RawJson>, context: Context) -> Answer {
        let answer = timeout(self.call_within, self.ask(method, params, Some(context)));
        answer.await.unwrap_or_else(|_| {
            tracing::warn!(method, within = ?self.call_within, "a call was not answered in time (--call-within)");
            Err(ErrorObject::new(UNAVAILABLE, "The server behind the bridge did not answer in time"))
        })
    }

    /// A client's call has a context, and the bridge's own has none.
    async fn ask(&self, method: &str, params: Option<RawJson>, context: Option<Context>) -> Answer {
        let permit = Arc::clone(&self.room).try_acquire_owned().map_err(|_| {
            ErrorObject::new(UNAVAILABLE, "The server has as many calls in flight as the bridge allows (--calls)")
        })?;
        let token = match &params {
            Some(params) => Token::of_request(params).map_err(|error| {
                tracing::debug!(%error, "a call with unreadable parameters");
                ErrorObject::invalid_params("Invalid params: they are an object, and so is their _meta")
            })?,
            None => None,
        };
        let theirs = match (&params, &token) {
            (Some(params), Some(token)) => RawJson::parse(token.text(params).to_owned()).ok(),
            _ => None,
        };
        let slot = self.queue.slot().await;
        let pending = self.calls.add(context, theirs, permit)?;
        let pending = if method == "initialize" { pending.not_cancelled() } else { pending };
        let ours = params.as_ref().zip(token).map(|(params, token)| token.replaced(params, &pending.id.to_string()));
        let params = ours.as_deref().or(params.as_ref().map(RawJson::as_str));
        let line = message::request(pending.id, method, params);
        // Without a slot the child has just ended, and so will the call.
        if let Some(slot) = slot {
            slot.put(Outgoing::Call(pending.id, line));
        }
        pending.answer().await
    }

    /// Tells the child something, unless so much waits for it to read that there is no room.
    pub(crate) fn tell(&self, method: &str, params: Option<&RawJson>) {
        let line = message::notification(method, params.map(RawJson::as_str));
        if !self.queue.tell(line) {
            tracing::warn!(method, "a notification was dropped: the process does not read");
        }
    }
}

/// What the task of a child holds.
struct Held {
    pool: Arc<Pool>,
    owner: Owner,
    calls: Arc<Calls>,
    stop: CancellationToken,
    queue: Queue,
}

impl Held {
    /// Talks with the child to its end.
    async fn live(
        self,
        mut process: Process,
        pipes: Pipes,
        place: OwnedSemaphorePermit,
        queued: Queued,
        cancellations: mpsc::UnboundedReceiver<Cancelled>,
    ) {
        let Pipes { stdin, stdout, stderr } = pipes;
        let (pid, name) = (process.id(), self.owner.name());
        let mut lines = Lines::new(stdout, self.pool.settings.longest_line);
        let talk = async {
            let stopped = {
                let writing = write(stdin, &self.calls, queued, cancellations);
                let reading = Reader::new(&self.owner, &self.calls, &self.queue, self.pool.settings.answer_within);
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => None,
                    stopped = until_it_stops(&mut process, reading, &mut lines, writing) => Some(stopped),
                }
            };
            if let Some(stopped) = stopped {
                tracing::warn!(session = %name, pid, reason = %stopped, "a process is of no use any more");
                self.mourn(&stopped);
            } else {
                self.calls.end(&ErrorObject::new(UNAVAILABLE, "The session of this call has ended"));
            }
            // A child that still writes must not wait for a reader when it could end.
            let drained = async {
                lines.drain().await;
                std::future::pending().await
            };
            tokio::select! {
                () = process.end(self.pool.settings.grace) => {}
                () = drained => {}
            }
            tracing::info!(session = %name, pid, "a process ended");
            drop(place);
        };
        let stderr = stderr::log(stderr, &name, pid);
        tokio::pin!(talk, stderr);
        tokio::select! {
            () = &mut talk => {
                // Its last words say why it ended. What it left behind may hold the pipe open for ever.
                let _ = timeout(FLUSH_GRACE, stderr).await;
            }
            () = &mut stderr => talk.await,
        }
    }

    /// The child ended by itself: its callers hear of it, and where nothing can follow, its session ends.
    fn mourn(&self, stopped: &Stopped) {
        self.calls.end(&ErrorObject::new(UNAVAILABLE, stopped.to_client()));
        if self.pool.settings.restarts {
            return;
        }
        let (owner, stop) = (self.owner.clone(), self.pool.stop.clone());
        self.pool.tasks.spawn(async move {
            // The answers leave with the session's streams.
            let _ = timeout(FLUSH_GRACE, stop.cancelled()).await;
            owner.end().await;
        });
    }
}

/// Reads and writes until there is nothing more to read.
async fn until_it_stops(
    process: &mut Process,
    reading: Reader<'_>,
    lines: &mut Lines<tokio::process::ChildStdout>,
    writing: impl Future<Output = io::Error>,
) -> Stopped {
    let reading = reading.run(lines);
    tokio::pin!(reading, writing);
    let ended: Result<Stopped, io::Result<ExitStatus>> = tokio::select! {
        biased;
        stopped = &mut reading => Ok(stopped),
        status = process.exited() => Err(status),
        error = &mut writing => Err(Err(error)),
    };
    match ended {
        Ok(Stopped::EndOfOutput) => match timeout(FLUSH_GRACE, process.exited()).await {
            Ok(Ok(status)) => Stopped::Exited(status),
            Ok(Err(_)) | Err(_) => Stopped::EndOfOutput,
        },
        Ok(stopped) => stopped,
        // What it said before is still to be read; what it started may hold the pipe open for ever.
        Err(status) => match (timeout(FLUSH_GRACE, reading).await, status) {
            (Ok(stopped @ (Stopped::TooLong | Stopped::Unreadable(_))), _) => stopped,
            (_, Ok(status)) => Stopped::Exited(status),
            (_, Err(error)) => Stopped::Unreadable(error),
        },
    }
}

/// Writes lines until the child takes no more.
async fn write(
    mut stdin: ChildStdin,
    calls: &Calls,
    mut queued: Queued,
    mut cancellations: mpsc::UnboundedReceiver<Cancelled>,
) -> io::Error {
    loop {
        let line = tokio::select! {
            Some(cancelled) = cancellations.recv() => {
                let params = format!(r#"{{"requestId":{},"reason":"Nobody waits for the answer any more"}}"#, cancelled.id);
                let line = message::notification("notifications/cancelled", Some(&params));
                if let Err(error) = stdin.write_all(&line).await {
                    return error;
                }
                continue;
            }
            Some(line) = queued.next() => line,
        };
        let line = match line {
            Outgoing::Call(id, line) if calls.write(id) => line,
            Outgoing::Call(..) => continue,
            Outgoing::Other(line) => line,
        };
        if let Err(error) = stdin.write_all(&line).await {
            return error;
        }
    }
}
