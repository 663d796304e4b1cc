//! The client: sends operations to the server, retries them and classifies failures.
//!
//! Every operation can be repeated: scripts recognise a repetition by its place in a stream, or by
//! a token. An operation that fails for a temporary reason is therefore sent again. It is retried
//! briefly if a caller waits for the answer, and longer if a message would be lost.

use std::borrow::Borrow;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};
use std::time::Duration;

use redis::{Cmd, ErrorKind, RedisError, Script, ScriptInvocation, ServerErrorKind, ToRedisArgs, Value};

use super::agreement::{about, agree, prefix};
use super::connection::{Failure, SharedConnection};
use super::options::{ConnectError, RedisOptions};
use super::pseudonyms::Pseudonyms;
use super::reply::Reply;
use super::signals::Signals;
use crate::clock::Clock;
use crate::error::{StoreError, StoreErrorKind};
use crate::store::Backoff;

type Result<T> = std::result::Result<T, StoreError>;

/// The client of the server.
pub(super) struct Client {
    connection: SharedConnection,
    pub(super) signals: Arc<Signals>,
    pseudonyms: RwLock<Arc<Pseudonyms>>,
    options: RedisOptions,
    /// The prefix of all keys. Its braces keep them in one slot.
    pub(super) prefix: String,
    /// The key of what the nodes agreed on. It exists as long as any data does.
    pub(super) about: String,
    /// Whether signals are counted, so that lost ones are noticed.
    counts: bool,
    process: String,
    tokens: AtomicU64,
}

/// How long an operation is retried.
#[derive(Debug, Clone, Copy)]
pub(super) enum RetryFor {
    /// A caller waits for the answer.
    Short,
    /// The operation carries a message that would be lost.
    Long,
}

/// An operation, ready to be sent.
pub(super) struct Call {
    script: ScriptInvocation<'static>,
    retry_for: RetryFor,
    /// Whether the reply may carry signals.
    carries_signals: bool,
}

impl Call {
    pub(super) fn arg(mut self, arg: impl ToRedisArgs) -> Self {
        self.script.arg(arg);
        self
    }

    pub(super) fn retry_long(self) -> Self {
        Self { retry_for: RetryFor::Long, ..self }
    }

    /// Marks a call whose reply carries no signals: a lost reply is no reason for a re-check.
    pub(super) fn silent(self) -> Self {
        Self { carries_signals: false, ..self }
    }
}

/// The failure of an operation.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: StoreError,
    /// Whether the operation may have run anyway, or may still run.
    pub(super) unknown: bool,
}

/// Time for the nodes to agree again: several commands, each with its own timeout.
const AGREEMENT: Duration = Duration::from_secs(30);

impl Client {
    pub(super) fn new(
        line: SharedConnection,
        signals: Arc<Signals>,
        pseudonyms: Pseudonyms,
        options: &RedisOptions,
    ) -> Self {
        Self {
            counts: line.is_lossy(),
            connection: line,
            process: signals.process(),
            signals,
            pseudonyms: RwLock::new(Arc::new(pseudonyms)),
            options: options.clone(),
            prefix: prefix(options),
            about: about(options),
            tokens: AtomicU64::new(0),
        }
    }

    /// Returns the pseudonyms under which the server knows sessions, tasks and principals.
    pub(super) fn names(&self) -> Arc<Pseudonyms> {
        Arc::clone(&self.pseudonyms.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Agrees with the other nodes again. A server that lost its data also lost what was agreed on.
    pub(super) async fn agree_again(&self) -> std::result::Result<(), ConnectError> {
        let known = self.names();
        let agreed = self
            .connection
            .send(AGREEMENT, async |connection| Ok(agree(connection, &self.options, known.made_up.as_deref()).await));
        let pseudonyms = agreed.await.map_err(|failure| ConnectError::server(failure.error))??;
        *self.pseudonyms.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pseudonyms);
        Ok(())
    }

    /// Returns a text that no other call uses.
    pub(super) fn token(&self) -> String {
        format!("{}.{:x}", self.process, self.tokens.fetch_add(1, Ordering::Relaxed))
    }

    /// Builds a call without a token: repeating it is harmless, or the script recognises the
    /// repetition otherwise.
    pub(super) fn call(&self, script: &'static LazyLock<Script>) -> Call {
        self.call_with(script, "")
    }

    /// Builds a call that the script recognises by a token.
    pub(super) fn call_with(&self, script: &'static LazyLock<Script>, token: &str) -> Call {
        let mut script = script.prepare_invoke();
        script
            .key(&self.prefix)
            .key(&self.about)
            .arg(u8::from(self.counts))
            .arg(&self.process)
            .arg(micros(self.options.lease))
            .arg(token);
        Call { script, retry_for: RetryFor::Short, carries_signals: true }
    }

    /// Runs an operation.
    pub(super) async fn take(&self, call: impl Borrow<Call>) -> Result<Reply> {
        self.try_to_take(call.borrow()).await.map_err(|failed| failed.error)
    }

    /// Runs an operation. A failure says whether the operation may have run anyway.
    pub(super) async fn try_to_take(&self, call: &Call) -> std::result::Result<Reply, Failed> {
        let Call { script, retry_for, carries_signals } = call;
        let (answer, unknown) = self
            .persist(*retry_for, *carries_signals, |within| {
                self.connection.send(within, async |connection| script.invoke_async::<Value>(connection).await)
            })
            .await?;
        let reply = Reply::read(answer, |handler| self.signals.receive(&self.names(), handler));
        reply.map_err(|error| Failed { error, unknown })
    }

    /// Sends one command.
    pub(super) async fn command(&self, command: &Cmd) -> Result<Value> {
        let attempt =
            |within| self.connection.send(within, async |connection| command.query_async::<Value>(connection).await);
        let (value, _) = self.persist(RetryFor::Short, false, attempt).await.map_err(|failed| failed.error)?;
        Ok(value)
    }

    /// Retries until an attempt is answered. Also returns `true` if an earlier attempt got no
    /// answer and may still arrive.
    async fn persist<F: Future<Output = std::result::Result<Value, Failure>>>(
        &self,
        retry_for: RetryFor,
        carries_signals: bool,
        mut attempt: impl FnMut(Duration) -> F,
    ) -> std::result::Result<(Value, bool), Failed> {
        let clock = Clock::new();
        let start = clock.now();
        let mut backoff = Backoff::waiting();
        let mut unknown = false;
        let most = match retry_for {
            RetryFor::Short => self.options.timeout,
            RetryFor::Long => self.options.retry_timeout,
        };
        loop {
            // Slightly more than the remaining time, so that the connection's own timeout is
            // recognised as one.
            let within = most.saturating_sub(clock.now().since(start)) + self.options.timeout / 10;
            let error = match attempt(within).await {
                Ok(value) => {
                    if unknown && carries_signals {
                        self.signals.mark_reply_lost();
                    }
                    self.signals.pay();
                    return Ok((value, unknown));
                }
                Err(failure) => {
                    unknown |= failure.unknown;
                    failure.error
                }
            };
            let pause = backoff.next_pause().filter(|pause| clock.now().since(start) + *pause <= most);
            let Some(pause) = pause.filter(|_| passes(&error)) else {
                if unknown && carries_signals {
                    self.signals.mark_reply_lost();
                }
                return Err(Failed { error: failure(error), unknown });
            };
            tokio::time::sleep(pause).await;
        }
    }
}

/// Returns `true` if a retry may succeed.
fn passes(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, ReadOnly, TryAgain};
    match error.kind() {
        ErrorKind::Io | ErrorKind::ClusterConnectionNotFound => true,
        ErrorKind::Server(kind) => matches!(kind, BusyLoading | ClusterDown | MasterDown | ReadOnly | TryAgain),
        _ => matches!(error.code(), Some("OOM" | "MISCONF" | "NOREPLICAS" | "BUSY")),
    }
}

fn failure(error: RedisError) -> StoreError {
    let kind = match error.kind() {
        // A script failed on the data that it found.
        ErrorKind::Server(ServerErrorKind::ResponseError) => StoreErrorKind::Corrupt,
        _ => StoreErrorKind::Unavailable,
    };
    StoreError::because(kind, error)
}

/// Converts a duration to microseconds, the unit of scripts. A duration too long for that becomes
/// one in the far future.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).min(MOST / 2)
}

/// The largest integer that scripts can represent.
const MOST: u64 = (1 << 53) - 1;

pub(super) fn number(value: u64) -> u64 {
    value.min(MOST)
}

pub(super) fn size(value: usize) -> u64 {
    number(value as u64)
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("prefix", &self.prefix).field("process", &self.process).finish_non_exhaustive()
    }
}
