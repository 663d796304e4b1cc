//! Decides which call what rmcp sends belongs to.
//!
//! rmcp sends everything of a session through one door. What names its call goes there: an answer and
//! a subscription's message by the id, progress by its token, a question by the call its handler was
//! in. What names none goes to the only call there is, if there is just one.

use std::collections::VecDeque;
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
    /// Short, as there are few at a time; an idle session keeps no room for any. Neither is ever held
    /// across an await.
    calls: Mutex<Calls>,
    questions: Mutex<Vec<(RequestId, AbortHandle)>>,
}

#[derive(Debug, Default)]
struct Calls {
    waiting: Vec<Waiting>,
    /// The last ids whose handlers may still run, although nobody waits for them.
    given_up: VecDeque<RequestId>,
    /// How many ids had to be told from one of those.
    again: u64,
}

/// More handlers than run on after they were cancelled.
const GIVEN_UP: usize = 64;

#[derive(Debug)]
struct Waiting {
    id: RequestId,
    answer: oneshot::Sender<Answer>,
    context: Context,
    progress: Option<ProgressToken>,
}

impl Desk {
    pub(super) fn new(session: Option<&Session>) -> Self {
        let session = session.map(|session| Mutex::new(session.downgrade()));
        Self { session, calls: Mutex::default(), questions: Mutex::default() }
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn questions(&self) -> MutexGuard<'_, Vec<(RequestId, AbortHandle)>> {
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

    /// Waits for the answer to a call, under the id that rmcp is to know it by. That is its own, unless
    /// rmcp may still be busy with another one of that id, and would answer the wrong one. `None` when one
    /// of this id is waited for.
    pub(super) fn wait(
        &self,
        mut id: RequestId,
        context: Context,
        progress: Option<ProgressToken>,
    ) -> Option<(RequestId, oneshot::Receiver<Answer>)> {
        let mut calls = self.calls();
        if calls.given_up.contains(&id) {
            calls.again += 1;
            id = RequestId::String(format!("{id}#{}", calls.again).into());
        }
        if calls.waiting.iter().any(|waiting| waiting.id == id) {
            return None;
        }
        let (answer, receiver) = oneshot::channel();
        // Exactly, because most sessions have one call at a time.
        calls.waiting.reserve_exact(1);
        calls.waiting.push(Waiting { id: id.clone(), answer, context, progress });
        Some((id, receiver))
    }

    /// The answer to a call, if anybody still waits for it.
    pub(super) fn answer(&self, id: &RequestId, answer: impl FnOnce() -> Answer) {
        let waiting = take(&mut self.calls().waiting, |waiting| waiting.id == *id);
        if let Some(waiting) = waiting {
            // Whoever waited may have left in this very moment.
            let _ = waiting.answer.send(answer());
        }
    }

    /// Nobody waits any more; whether it was still to be answered.
    pub(super) fn give_up(&self, id: &RequestId) -> bool {
        let mut calls = self.calls();
        let waited = take(&mut calls.waiting, |waiting| waiting.id == *id).is_some();
        if waited {
            calls.given_up.truncate(GIVEN_UP - 1);
            calls.given_up.push_front(id.clone());
        }
        waited
    }

    /// Nothing is answered any more.
    pub(super) fn close(&self) {
        let waiting = std::mem::take(&mut self.calls().waiting);
        drop(waiting);
    }

    pub(super) fn call(&self, id: &RequestId) -> Option<Context> {
        self.calls().waiting.iter().find(|waiting| waiting.id == *id).map(|waiting| waiting.context.clone())
    }

    pub(super) fn call_of_progress(&self, token: &ProgressToken) -> Option<Context> {
        let calls = self.calls();
        let call = calls.waiting.iter().find(|waiting| waiting.progress.as_ref() == Some(token))?;
        Some(call.context.clone())
    }

    /// The call, if there is just one.
    pub(super) fn only_call(&self) -> Option<Context> {
        match &*self.calls().waiting {
            [only] => Some(only.context.clone()),
            _ => None,
        }
    }

    // Questions.

    pub(super) fn asks(&self, id: RequestId, abort: AbortHandle) {
        self.questions().push((id, abort));
    }

    pub(super) fn asked(&self, id: &RequestId) {
        take(&mut self.questions(), |(question, _)| question == id);
    }

    /// The handler does not want to know any more.
    pub(super) fn withdraw(&self, id: &RequestId) {
        let question = take(&mut self.questions(), |(question, _)| question == id);
        if let Some((_, question)) = question {
            question.abort();
        }
    }
}

/// Takes one out; the last one takes the room with it.
fn take<T>(list: &mut Vec<T>, which: impl Fn(&T) -> bool) -> Option<T> {
    let at = list.iter().position(which)?;
    let taken = list.swap_remove(at);
    if list.is_empty() {
        *list = Vec::new();
    }
    Some(taken)
}
