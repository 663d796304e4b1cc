//! Decides which connection carries steps, and when it is replaced: when it broke; when it is silent,
//! because one that leads nowhere looks just like a slow server; and when the other end is a replica,
//! because the master is elsewhere then, and who asks anew is led there.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
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

    /// Sends something over the present connection.
    pub(super) async fn send<T>(
        &self,
        send: impl AsyncFnOnce(&mut Connection) -> Result<T, RedisError>,
    ) -> Result<T, Failure> {
        let (number, connection) = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut connection = match connection.await {
            Ok(connection) => connection,
            Err(error) => {
                self.replace(number);
                return Err(Failure { error, unknown: false });
            }
        };
        send(&mut connection).await.map_err(|error| {
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
