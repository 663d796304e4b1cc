//! Decides which connection carries steps, and when it is replaced: when it broke; when it is silent,
//! because one that leads nowhere looks just like a slow server; and when the other end is a replica,
//! because the master is elsewhere then, and who asks anew is led there.

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

/// Why nobody answered.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: RedisError,
    /// Whether what was sent may have been done all the same.
    pub(super) unknown: bool,
}

/// A connection that comes back.
pub(super) struct Line {
    server: Server,
    /// How many there were, and the present one; whoever needs it first makes it for all.
    current: Mutex<(u64, Connecting)>,
}

impl Line {
    pub(super) fn new(server: Server) -> Self {
        let current = Mutex::new((0, connecting(&server)));
        Self { server, current }
    }

    /// Whether what is published at the server may be lost on its way to who listens elsewhere.
    pub(super) fn is_lossy(&self) -> bool {
        self.server.is_cluster()
    }

    /// Sends something over the present connection, and waits no longer than `within` for all of it: the
    /// connection and the answer each have a time-out of their own, and one may follow the other.
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
            // The connection had less than its own time: it may be a good one.
            Either::Right(_) => return Err(Failure { error: too_late(), unknown: true }),
        };
        sent.map_err(|error| {
            if error.is_unrecoverable_error() || error.is_timeout() || is_of_a_replica(&error) {
                self.replace(number);
            }
            // What the server refused it has not done.
            let unknown = error.code().is_none();
            Failure { error, unknown }
        })
    }

    /// Lets go of a connection, if it is still the present one. What others sent over it may come
    /// to its end.
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

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}
