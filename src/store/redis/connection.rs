//! The connection that carries operations, and its replacement.
//!
//! A connection is replaced when it breaks. It is also replaced when it is silent, because a dead
//! connection looks just like a slow server. And it is replaced when the other end is a replica:
//! the master is then elsewhere, and a new connection leads to it.

use std::fmt;
use std::io;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, Shared, select};
use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::server::{Connection, Server};

type Connecting = Shared<BoxFuture<'static, Result<Connection, RedisError>>>;

/// The reason why there is no answer.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: RedisError,
    /// Whether the command may have run anyway.
    pub(super) unknown: bool,
}

/// A connection that is replaced when it fails.
pub(super) struct SharedConnection {
    server: Server,
    /// How often the connection was replaced, and the current one. The first caller that needs it
    /// connects for all.
    current: Mutex<(u64, Connecting)>,
}

impl SharedConnection {
    pub(super) fn new(server: Server) -> Self {
        let current = Mutex::new((0, connecting(&server)));
        Self { server, current }
    }

    /// Returns `true` if published signals may be lost on their way to subscribers at other nodes
    /// of the server.
    pub(super) fn is_lossy(&self) -> bool {
        self.server.is_cluster()
    }

    /// Sends something over the current connection, and waits at most `within` in total. Connecting
    /// and answering each have a timeout of their own, and one may follow the other.
    pub(super) async fn send<T>(
        &self,
        within: Duration,
        send: impl AsyncFnOnce(&mut Connection) -> Result<T, RedisError>,
    ) -> Result<T, Failure> {
        let (number, connection) = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut deadline = pin!(tokio::time::sleep(within));
        let mut connection = match select(connection, deadline.as_mut()).await {
            Either::Left((Ok(connection), _)) => connection,
            Either::Left((Err(error), _)) => {
                self.replace(number);
                return Err(Failure { error, unknown: false });
            }
            Either::Right(_) => return Err(Failure { error: too_late(), unknown: false }),
        };
        let sent = match select(pin!(send(&mut connection)), deadline).await {
            Either::Left((sent, _)) => sent,
            // The connection had less than its own timeout, so it may still be good.
            Either::Right(_) => return Err(Failure { error: too_late(), unknown: true }),
        };
        sent.map_err(|error| {
            if error.is_unrecoverable_error() || error.is_timeout() || is_of_a_replica(&error) {
                self.replace(number);
            }
            // The server did not run what it rejected.
            let unknown = error.code().is_none();
            Failure { error, unknown }
        })
    }

    /// Discards a connection if it is still the current one. Commands that other callers sent over
    /// it may still complete.
    fn replace(&self, number: u64) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0 == number {
            *current = (number + 1, connecting(&self.server));
        }
    }
}

fn too_late() -> RedisError {
    io::Error::from(io::ErrorKind::TimedOut).into()
}

fn is_of_a_replica(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown))
}

fn connecting(server: &Server) -> Connecting {
    let server = server.clone();
    async move { server.connect().await }.boxed().shared()
}

impl fmt::Debug for SharedConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}
