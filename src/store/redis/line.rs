//! Decides which connection carries steps, and when it is replaced: when it broke, and when it is
//! silent, because one that leads nowhere looks just like a slow server.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use redis::RedisError;

use super::server::{Connection, Server};

type Connecting = Shared<BoxFuture<'static, Result<Connection, RedisError>>>;

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

    /// Sends something over the present connection.
    pub(super) async fn send<T>(
        &self,
        send: impl AsyncFnOnce(&mut Connection) -> Result<T, RedisError>,
    ) -> Result<T, RedisError> {
        let (number, connection) = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sent = match connection.await {
            Ok(mut connection) => send(&mut connection).await,
            Err(error) => {
                self.replace(number);
                return Err(error);
            }
        };
        if sent.as_ref().is_err_and(|error| error.is_unrecoverable_error() || error.is_timeout()) {
            self.replace(number);
        }
        sent
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

fn connecting(server: &Server) -> Connecting {
    let server = server.clone();
    async move { server.connect().await }.boxed().shared()
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}
