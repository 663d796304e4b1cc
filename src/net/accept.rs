//! Accepting connections: retries after errors of the listening socket, and logs them with advice.

use std::io;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

/// The pause after an error. Connections that end meanwhile free the resource that was missing.
const REST: Duration = Duration::from_secs(1);

/// The minimum interval between log lines. An error lasts as long as its cause, and every new
/// connection meets it.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// The errors of one listener so far.
#[derive(Debug, Default)]
pub(super) struct Accepting {
    logged: Option<Instant>,
    /// Errors since the last connection.
    failed: u64,
}

/// How to handle an error.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The client was gone before it was accepted.
    GoOn,
    Rest,
    LogAndRest(&'static str),
}

impl Accepting {
    /// Returns the next connection.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, no connection is lost.
    pub(super) async fn next(&mut self, tcp: &TcpListener) -> (TcpStream, std::net::SocketAddr) {
        loop {
            match tcp.accept().await {
                Ok(accepted) => {
                    self.accepted();
                    return accepted;
                }
                Err(error) => match self.judge(&error, Instant::now()) {
                    Verdict::GoOn => {}
                    Verdict::Rest => sleep(REST).await,
                    Verdict::LogAndRest(advice) => {
                        tracing::error!(%error, failed = self.failed, "no connection can be accepted: {advice}");
                        sleep(REST).await;
                    }
                },
            }
        }
    }

    fn accepted(&mut self) {
        if self.failed > 0 {
            tracing::info!(failed = self.failed, "connections are accepted again");
            *self = Self::default();
        }
    }

    fn judge(&mut self, error: &io::Error, now: Instant) -> Verdict {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
        if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
            return Verdict::GoOn;
        }
        self.failed += 1;
        if self.logged.is_some_and(|logged| now < logged + LOG_EVERY) {
            return Verdict::Rest;
        }
        self.logged = Some(now);
        Verdict::LogAndRest(advice(error))
    }
}

/// Returns what an operator can do about an error.
fn advice(error: &io::Error) -> &'static str {
    /// These numbers are the same on every Unix.
    const TOO_MANY_FILES_OF_SYSTEM: i32 = 23;
    const TOO_MANY_FILES: i32 = 24;
    match error.raw_os_error() {
        Some(TOO_MANY_FILES) if cfg!(unix) => {
            "the process has as many files and connections open as it may; raise its limit (`ulimit -n`, `LimitNOFILE=`), \
             or let the proxy in front open fewer connections"
        }
        Some(TOO_MANY_FILES_OF_SYSTEM) if cfg!(unix) => {
            "the system has as many files open as it may; raise its limit (`fs.file-max`)"
        }
        _ => "it is tried again every second",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn accept_errors_are_logged_with_advice_and_throttled() {
        let mut accepting = Accepting::default();
        let full = io::Error::from_raw_os_error(24);
        let mut logged = Vec::new();
        for second in 0..25 {
            match accepting.judge(&full, Instant::now()) {
                Verdict::LogAndRest(advice) => logged.push((second, advice)),
                verdict => assert_eq!(verdict, Verdict::Rest),
            }
            tokio::time::advance(REST).await;
        }
        assert_eq!(logged.iter().map(|(second, _)| *second).collect::<Vec<_>>(), [0, 10, 20]);
        assert_eq!(accepting.failed, 25);
        #[cfg(unix)]
        assert!(logged[0].1.contains("ulimit -n"), "{logged:?}");
        accepting.accepted();
        assert!(matches!(accepting.judge(&full, Instant::now()), Verdict::LogAndRest(_)), "the next time is a new one");
    }

    #[test]
    fn disconnected_clients_are_no_socket_errors() {
        let mut accepting = Accepting::default();
        let aborted = io::Error::from(io::ErrorKind::ConnectionAborted);
        assert_eq!(accepting.judge(&aborted, Instant::now()), Verdict::GoOn);
        assert_eq!(accepting.failed, 0);
    }
}
