//! Decides which call what rmcp sends belongs to.
//!
//! rmcp sends everything of a session through one door. What names its call goes there: an answer and
//! a subscription's message by the id, progress by its token, a question by the call its handler was
//! in. What names none goes to the only call there is, if there is just one.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::AbortHandle;
use rmcp::model::{ProgressToken, RequestId};
use tokio::sync::oneshot;

use crate::message::{ErrorObject, RawJson};
use crate::server::{Context, Session, WeakSession};

/// What a call is answered with.
pub(super) type Answer = Result<RawJson, ErrorObject>;

/// The calls and questions of one service of rmcp.
#[derive(Debug)]
pub(super) struct Desk {
    /// `None`: it is there for one request.
    session: Option<Mutex<WeakSession>>,
    /// Neither is ever held across an await.
    calls: Mutex<HashMap<RequestId, Waiting>>,
    questions: Mutex<HashMap<RequestId, AbortHandle>>,
}

#[derive(Debug)]
struct Waiting {
    answer: oneshot::Sender<Answer>,
    context: Context,
    progress: Option<ProgressToken>,
}

impl Desk {
    pub(super) fn new(session: Option<&Session>) -> Self {
        let session = session.map(|session| Mutex::new(session.downgrade()));
        Self { session, calls: Mutex::default(), questions: Mutex::default() }
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<RequestId, Waiting>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn questions(&self) -> MutexGuard<'_, HashMap<RequestId, AbortHandle>> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // The session.

    /// Whether this is a session's.
    pub(super) fn is_of_session(&self) -> bool {
        self.session.is_some()
    }

    /// The session, as long as it lives.
    pub(super) fn session(&self) -> Option<Session> {
        self.session.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// A session is another object once it has agreed to another revision.
    pub(super) fn meet(&self, session: &Session) {
        if let Some(known) = &self.session {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.upgrade().is_none() {
                *known = session.downgrade();
            }
        }
    }

    // Calls.

    /// Waits for the answer to a call. `None` when one of this id is under way.
    pub(super) fn wait(
        &self,
        id: RequestId,
        context: Context,
        progress: Option<ProgressToken>,
    ) -> Option<oneshot::Receiver<Answer>> {
        let mut calls = self.calls();
        if calls.contains_key(&id) {
            return None;
        }
        let (answer, receiver) = oneshot::channel();
        calls.insert(id, Waiting { answer, context, progress });
        Some(receiver)
    }

    /// The answer to a call, if anybody still waits for it.
    pub(super) fn answer(&self, id: &RequestId, answer: Answer) {
        let waiting = self.calls().remove(id);
        if let Some(waiting) = waiting {
            // Whoever waited may have left in this very moment.
            let _ = waiting.answer.send(answer);
        }
    }

    /// Nobody waits any more; whether it was still to be answered.
    pub(super) fn give_up(&self, id: &RequestId) -> bool {
        self.calls().remove(id).is_some()
    }

    pub(super) fn call(&self, id: &RequestId) -> Option<Context> {
        self.calls().get(id).map(|waiting| waiting.context.clone())
    }

    pub(super) fn call_of_progress(&self, token: &ProgressToken) -> Option<Context> {
        let calls = self.calls();
        let call = calls.values().find(|waiting| waiting.progress.as_ref() == Some(token))?;
        Some(call.context.clone())
    }

    /// The call, if there is just one.
    pub(super) fn only_call(&self) -> Option<Context> {
        let calls = self.calls();
        let mut contexts = calls.values().map(|waiting| &waiting.context);
        contexts.next().filter(|_| calls.len() == 1).cloned()
    }

    // Questions.

    pub(super) fn asks(&self, id: RequestId, abort: AbortHandle) {
        self.questions().insert(id, abort);
    }

    pub(super) fn asked(&self, id: &RequestId) {
        self.questions().remove(id);
    }

    /// The handler does not want to know any more.
    pub(super) fn withdraw(&self, id: &RequestId) {
        let question = self.questions().remove(id);
        if let Some(question) = question {
            question.abort();
        }
    }
}
