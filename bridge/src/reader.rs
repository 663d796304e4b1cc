//! Decides what becomes of what a child says: answers, progress, news, questions of its own, and lines that
//! are nothing of that.

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
use crate::lines::{Line, Lines};
use crate::message::{self, Message, Token};
use crate::owner::Owner;
use crate::peer::UNAVAILABLE;
use crate::queue::{Outgoing, Queue};

/// Questions of one child that may be open at a time: as many as there may be calls that ask.
const MAX_OPEN_REQUESTS: usize = 64;

/// How long a refused question waits for a child that does not read.
const STALL_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a child is of no use any more.
#[derive(Debug)]
pub(crate) enum Stopped {
    Exited(ExitStatus),
    EndOfOutput,
    TooLong,
    Unreadable(io::Error),
}

impl Stopped {
    /// What its callers are told; how it ended is the operator's to know.
    pub(crate) fn to_client(&self) -> &'static str {
        match self {
            Self::Exited(_) | Self::EndOfOutput | Self::Unreadable(_) => "The server behind the bridge has ended",
            Self::TooLong => "The server behind the bridge was ended: it wrote a message longer than the bridge allows",
        }
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "it ended ({status})"),
            Self::EndOfOutput => f.write_str("it closed its stdout"),
            // Nobody could say which call waits for such an answer.
            Self::TooLong => f.write_str("it wrote a line that is too long (--longest-line)"),
            Self::Unreadable(error) => write!(f, "its pipes failed ({error})"),
        }
    }
}

/// What is needed to pass on what a child says.
pub(crate) struct Reader<'a> {
    owner: &'a Owner,
    calls: &'a Arc<Calls>,
    queue: &'a Queue,
    answer_within: Duration,
    /// What the child asks, by its own ids. Dropped, it is asked no more.
    questions: HashMap<String, AbortOnDropHandle<()>>,
    garbage: u64,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(owner: &'a Owner, calls: &'a Arc<Calls>, queue: &'a Queue, answer_within: Duration) -> Self {
        Self { owner, calls, queue, answer_within, questions: HashMap::new(), garbage: 0 }
    }

    /// Reads until there is nothing more to read.
    pub(crate) async fn run(mut self, lines: &mut Lines<ChildStdout>) -> Stopped {
        loop {
            match lines.next().await {
                Ok(Some(Line::Whole(line))) => self.take(&line).await,
                Ok(Some(Line::TooLong(_))) => return Stopped::TooLong,
                Ok(None) => return Stopped::EndOfOutput,
                Err(error) => return Stopped::Unreadable(error),
            }
        }
    }

    async fn take(&mut self, line: &Bytes) {
        let Some(messages) = message::read(line) else { return self.complain(line) };
        for message in messages {
            match message {
                Message::Answer { id, outcome } => {
                    let known = id.as_str().parse().is_ok_and(|id| self.calls.answered(id, outcome));
                    if !known {
                        tracing::debug!(session = %self.owner.name(), id = id.as_str(), "an answer nobody waits for");
                    }
                }
                Message::Notification { method, params } => {
                    self.hear(&method, params.unwrap_or_else(RawJson::empty_object)).await;
                }
                Message::Request { id, method, params } => self.ask(id, method, params).await,
            }
        }
    }

    /// Servers that print to stdout are common, and most of what they print hurts nobody.
    fn complain(&mut self, line: &Bytes) {
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        self.garbage += 1;
        let beginning = String::from_utf8_lossy(&line[..line.len().min(200)]);
        if self.garbage == 1 {
            tracing::warn!(session = %self.owner.name(), line = ?beginning, "not a message; more of it is logged as debug");
        } else {
            tracing::debug!(session = %self.owner.name(), line = ?beginning, count = self.garbage, "not a message");
        }
    }

    async fn hear(&mut self, method: &str, params: RawJson) {
        match method {
            "notifications/progress" => {
                let Some(token) = Token::of_progress(&params) else { return };
                let call = token.text(&params).parse().ok().and_then(|id| self.calls.progress(id));
                let Some((notifications, theirs)) = call else { return };
                if let Ok(params) = RawJson::parse(token.replaced(&params, theirs.as_str())) {
                    notifications.put(method, params).await;
                }
            }
            "notifications/cancelled" => {
                let question = message::cancelled(&params).and_then(|id| self.questions.remove(id.as_str()));
                if let Some(question) = question {
                    question.abort();
                    // It is taken back from the client before the call it was asked in can end.
                    let _ = question.await;
                }
            }
            _ => self.owner.tell(self.calls, method, params).await,
        }
    }

    async fn ask(&mut self, id: RawJson, method: String, params: Option<RawJson>) {
        self.questions.retain(|_, question| !question.is_finished());
        if self.questions.len() >= MAX_OPEN_REQUESTS {
            let error = ErrorObject::new(UNAVAILABLE, "Too many requests wait for the client");
            let refusal = message::answer(&id, &Err(error));
            match timeout(STALL_TIMEOUT, self.queue.slot()).await {
                Ok(Some(slot)) => slot.put(Outgoing::Other(refusal)),
                Ok(None) => {}
                // A child that asks so much and reads nothing does not read this either.
                Err(_) => {
                    tracing::warn!(session = %self.owner.name(), method, "a question was dropped: the process does not read")
                }
            }
            return;
        }
        let (owner, calls) = (self.owner.clone(), Arc::clone(self.calls));
        let (queue, within) = (self.queue.clone(), self.answer_within);
        let key = id.as_str().to_owned();
        let question = tokio::spawn(async move {
            let answer = owner.ask(&calls, &method, params, within).await;
            // When the child has ended, so has its question.
            if let Some(slot) = queue.slot().await {
                slot.put(Outgoing::Other(message::answer(&id, &answer)));
            }
        });
        self.questions.insert(key, AbortOnDropHandle::new(question));
    }
}
