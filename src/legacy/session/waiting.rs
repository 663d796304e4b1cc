//! Decides who waits for the answer to a question in a session, and when there will be none.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::LiveSession;
use crate::error::{StoreError, StoreErrorKind};
use crate::hall::LogLine;
use crate::legacy::Node;
use crate::message::RawJson;
use crate::store::{STANDALONE, StreamNo};

/// What a client answered.
pub(in crate::legacy) type Answer = Result<RawJson, RawJson>;

/// Somebody who waits for the answer to a question.
#[derive(Debug)]
pub(super) struct Waiting {
    question: Box<str>,
    /// It stands in its stream, so that the engine must know it.
    asked: bool,
    /// How many look for its answer now. The one that finds it takes it from the others.
    looks: u32,
    /// `None` when there will be no answer.
    sender: Option<oneshot::Sender<Answer>>,
}

/// A look for an answer. Dropped before its end, it has found nothing.
#[derive(Debug)]
pub(in crate::legacy) struct Look {
    session: Arc<LiveSession>,
    question: Box<str>,
    /// The question had been asked when it began.
    asked: bool,
    /// It has been counted as over.
    over: bool,
}

impl Look {
    /// What the engine had. Where it does not know a question that stood in its stream, it has forgotten it, unless
    /// another look has just found its answer.
    pub(in crate::legacy) fn found(mut self, taken: Result<Option<Answer>, StoreError>) {
        if let Ok(Some(answer)) = taken {
            return self.session.answered(&self.question, answer);
        }
        let is_unknown = taken.is_err_and(|error| error.kind() == StoreErrorKind::NotFound);
        self.over = true;
        let (session, question, was_asked) = (&self.session, &*self.question, self.asked);
        let sender = session.change_waiting(question, |waiting| {
            waiting.looks -= 1;
            let forgotten = is_unknown && was_asked && waiting.looks == 0;
            if forgotten { waiting.sender.take() } else { None }
        });
        if sender.flatten().is_some()
            && let Some(left_out) = session.node.upgrade().and_then(|node| node.log_line(LogLine::Forgotten))
        {
            tracing::warn!(session = ?session.info.id, question, left_out, "a question was forgotten that no client had answered");
        }
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        if !self.over {
            self.session.change_waiting(&self.question, |waiting| waiting.looks -= 1);
        }
    }
}

impl LiveSession {
    /// A name for a question that no other question of the session ever has: other nodes write
    /// other streams, and on the standalone stream their number is in the name.
    pub(in crate::legacy) fn new_question(&self, stream: StreamNo, node: &Node) -> Box<str> {
        let count = self.questions.fetch_add(1, Ordering::Relaxed);
        match stream {
            STANDALONE => format!("s{stream}-{}-{count}", node.id.0).into(),
            stream => format!("s{stream}-{count}").into(),
        }
    }

    /// Waits for the answer to a question. `None` when the session has ended.
    pub(in crate::legacy) fn wait_for(&self, question: Box<str>) -> Option<oneshot::Receiver<Answer>> {
        let mut live = self.live();
        if live.ended {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        live.waiting.push(Waiting { question, asked: false, looks: 0, sender: Some(sender) });
        Some(receiver)
    }

    /// Nobody waits any more; whether somebody did.
    pub(in crate::legacy) fn stop_waiting(&self, question: &str) -> bool {
        let mut live = self.live();
        let before = live.waiting.len();
        live.waiting.retain(|waiting| *waiting.question != *question);
        live.waiting.len() < before
    }

    pub(in crate::legacy) fn answered(&self, question: &str, answer: Answer) {
        let sender = {
            let mut live = self.live();
            let at = live.waiting.iter().position(|waiting| *waiting.question == *question);
            at.and_then(|at| live.waiting.swap_remove(at).sender)
        };
        if let Some(sender) = sender {
            // Whoever asked may have left in this very moment.
            let _ = sender.send(answer);
        }
    }

    fn change_waiting<T>(&self, question: &str, change: impl FnOnce(&mut Waiting) -> T) -> Option<T> {
        self.live().waiting.iter_mut().find(|waiting| *waiting.question == *question).map(change)
    }

    /// The question stands in its stream.
    pub(in crate::legacy) fn asked(&self, question: &str) {
        self.change_waiting(question, |waiting| waiting.asked = true);
    }

    /// The question could not be written. Whoever asked is told, and takes it back.
    pub(in crate::legacy) fn not_asked(&self, question: &str) {
        let sender = self.change_waiting(question, |waiting| waiting.sender.take());
        drop(sender);
    }

    /// Somebody asks the engine for an answer; `None`: nobody waits for it.
    pub(in crate::legacy) fn begin_look(self: &Arc<Self>, question: &str) -> Option<Look> {
        let asked = self.change_waiting(question, |waiting| {
            waiting.looks += 1;
            waiting.asked
        })?;
        Some(Look { session: Arc::clone(self), question: question.into(), asked, over: false })
    }

    pub(in crate::legacy) fn open_questions(&self) -> Vec<Box<str>> {
        self.live().waiting.iter().map(|waiting| waiting.question.clone()).collect()
    }
}
