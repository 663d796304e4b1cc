//! The reader of a process: takes each line of its stdout and delivers it as an answer, a
//! notification or a client request. Lines that are no messages are logged.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mcp_http::message::{ErrorObject, RawJson};
use tokio::process::ChildStdout;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::calls::Calls;
use crate::connection::UNAVAILABLE;
use crate::lines::{Line, Lines};
use crate::message::{self, Message, ProgressToken};
use crate::owner::Owner;
use crate::queue::{Outgoing, QueueSender};

/// Maximum open client requests of one process: as many as the default number of calls.
const MAX_CLIENT_REQUESTS: usize = 64;

/// How long a rejection waits for a process that does not read.
const STALL_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes of an invalid line that the log shows.
const MAX_LOGGED_BYTES: usize = 200;

/// Why a process no longer answers.
#[derive(Debug)]
pub(crate) enum StopReason {
    Exited(ExitStatus),
    StdoutClosed,
    LineTooLong,
    PipeFailed(io::Error),
}

impl StopReason {
    /// Returns the error text for callers. Details are for the operator, in the log.
    pub(crate) fn client_text(&self) -> &'static str {
        match self {
            Self::Exited(_) | Self::StdoutClosed | Self::PipeFailed(_) => "The server behind the bridge has ended",
            Self::LineTooLong => {
                "The server behind the bridge was ended: it wrote a message longer than the bridge allows"
            }
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "it exited ({status})"),
            Self::StdoutClosed => f.write_str("it closed its stdout"),
            // The process must end, because its caller cannot be found without reading the whole
            // line.
            Self::LineTooLong => f.write_str("it wrote a line longer than --longest-line"),
            Self::PipeFailed(error) => write!(f, "a pipe failed ({error})"),
        }
    }
}

/// Reads the stdout of one process.
pub(crate) struct Reader<'a> {
    owner: &'a Owner,
    calls: &'a Arc<Calls>,
    queue: &'a QueueSender,
    client_request_timeout: Duration,
    /// Open client requests, by the ids of the process. Dropping a task withdraws its request.
    client_requests: HashMap<String, AbortOnDropHandle<()>>,
    invalid_lines: u64,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(
        owner: &'a Owner,
        calls: &'a Arc<Calls>,
        queue: &'a QueueSender,
        client_request_timeout: Duration,
    ) -> Self {
        Self { owner, calls, queue, client_request_timeout, client_requests: HashMap::new(), invalid_lines: 0 }
    }

    /// Reads until the output ends or a line is too long.
    pub(crate) async fn run(mut self, lines: &mut Lines<ChildStdout>) -> StopReason {
        loop {
            match lines.next().await {
                Ok(Some(Line::Whole(line))) => self.handle_line(&line).await,
                Ok(Some(Line::TooLong(_))) => return StopReason::LineTooLong,
                Ok(None) => return StopReason::StdoutClosed,
                Err(error) => return StopReason::PipeFailed(error),
            }
        }
    }

    async fn handle_line(&mut self, line: &Bytes) {
        let Some(messages) = message::read(line) else { return self.log_invalid_line(line) };
        for message in messages {
            match message {
                Message::Response { id, outcome } => {
                    let delivered = id.as_str().parse().is_ok_and(|id| self.calls.complete(id, outcome));
                    if !delivered {
                        tracing::debug!(session = %self.owner.name(), id = id.as_str(), "no call waits for this answer");
                    }
                }
                Message::Notification { method, params } => {
                    self.handle_notification(&method, params.unwrap_or_else(RawJson::empty_object)).await;
                }
                Message::Request { id, method, params } => self.handle_request(id, method, params).await,
            }
        }
    }

    /// Logs the first invalid line as a warning and further ones at debug level: many servers print
    /// to stdout, and most of it does no harm.
    fn log_invalid_line(&mut self, line: &Bytes) {
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        self.invalid_lines += 1;
        let start = String::from_utf8_lossy(&line[..line.len().min(MAX_LOGGED_BYTES)]);
        let session = self.owner.name();
        if self.invalid_lines == 1 {
            tracing::warn!(%session, line = ?start, "ignored a line that is no message; further ones are logged as debug");
        } else {
            tracing::debug!(%session, line = ?start, count = self.invalid_lines, "ignored a line that is no message");
        }
    }

    async fn handle_notification(&mut self, method: &str, params: RawJson) {
        match method {
            "notifications/progress" => {
                let Some(token) = ProgressToken::in_progress(&params) else { return };
                let call = token.text(&params).parse().ok().and_then(|id| self.calls.progress_target(id));
                let Some((sender, client_token)) = call else { return };
                if let Ok(params) = RawJson::parse(token.replace(&params, client_token.as_str())) {
                    sender.send(method, params).await;
                }
            }
            "notifications/cancelled" => {
                let request = message::cancelled_request_id(&params);
                let request = request.and_then(|id| self.client_requests.remove(id.as_str()));
                if let Some(request) = request {
                    request.abort();
                    // The client must receive the cancellation before the call that it belongs to
                    // can end.
                    let _ = request.await;
                }
            }
            _ => self.owner.forward_notification(self.calls, method, params).await,
        }
    }

    async fn handle_request(&mut self, id: RawJson, method: String, params: Option<RawJson>) {
        self.client_requests.retain(|_, request| !request.is_finished());
        if self.client_requests.len() >= MAX_CLIENT_REQUESTS {
            return self.reject_request(&id, &method).await;
        }
        let (owner, calls) = (self.owner.clone(), Arc::clone(self.calls));
        let (queue, timeout) = (self.queue.clone(), self.client_request_timeout);
        let key = id.as_str().to_owned();
        let request = tokio::spawn(async move {
            let answer = owner.request_client(&calls, &method, params, timeout).await;
            // Without a slot the process has ended, and needs no answer.
            if let Some(slot) = queue.slot().await {
                slot.put(Outgoing::Other(message::response_line(&id, &answer)));
            }
        });
        self.client_requests.insert(key, AbortOnDropHandle::new(request));
    }

    async fn reject_request(&self, id: &RawJson, method: &str) {
        let error = ErrorObject::new(UNAVAILABLE, "Too many requests wait for the client");
        let rejection = message::response_line(id, &Err(error));
        match timeout(STALL_TIMEOUT, self.queue.slot()).await {
            Ok(Some(slot)) => slot.put(Outgoing::Other(rejection)),
            Ok(None) => {}
            // A process that sends so many requests and reads nothing would not read this either.
            Err(_) => {
                tracing::warn!(session = %self.owner.name(), method, "dropped a client request: the process does not read");
            }
        }
    }
}
