//! Decides which call what rmcp sends belongs to.
//!
//! rmcp sends everything of a session through one door. What names its call goes there: an answer and
//! a subscription's message by the id, progress by its token, a question by the call its handler was
//! in. What names none goes to the only call there is, if there is just one.
//!
//! rmcp does not tell of each question that its handler has left, so questions are bounded, in time and in
//! number.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::AbortHandle;
use rmcp::model::{ProgressToken, RequestId};
use tokio::sync::oneshot;

use super::early::Early;
use super::owned::{Carried, Known};
use crate::message::{ErrorObject, RawJson};
use crate::server::{ClientError, Context, Session, WeakSession};

/// What a call is answered with.
pub(super) type Answer = Result<RawJson, ErrorObject>;

/// The calls and questions of one service of rmcp.
#[derive(Debug)]
pub(super) struct Desk {
    /// `None`: it is there for one request.
    session: Option<Mutex<WeakSession>>,
    /// How long a question may be open.
    pub(super) patience: Duration,
    /// What its client shall find when it first listens.
    pub(super) early: Early,
    /// Tasks that its client was given, if that has a principal.
    pub(super) tasks: Option<Arc<Known>>,
    /// Short, as there are few at a time; an idle session keeps no room for any. Neither is ever held
    /// across an await.
    calls: Mutex<Calls>,
    /// The oldest first.
    questions: Mutex<Vec<(RequestId, AbortHandle)>>,
}

/// Questions that may be open at once.
const QUESTIONS: usize = 128;

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
    carried: Option<Box<Carried>>,
}

impl Desk {
    /// The desk of the session of a context, or of its one request.
    pub(super) fn new(context: &Context, patience: Duration) -> Self {
        Self {
            session: context.session().map(|session| Mutex::new(session.downgrade())),
            patience,
            early: Early::default(),
            tasks: context.principal().map(|_| Arc::default()),
            calls: Mutex::default(),
            questions: Mutex::default(),
        }
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
        carried: Option<Box<Carried>>,
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
        calls.waiting.push(Waiting { id: id.clone(), answer, context, progress, carried });
        Some((id, receiver))
    }

    /// The answer to a call, if anybody still waits for it.
    pub(super) fn answer(&self, id: &RequestId, answer: impl FnOnce(Option<&Carried>) -> Answer) {
        let waiting = take(&mut self.calls().waiting, |waiting| waiting.id == *id);
        if let Some(waiting) = waiting {
            // Whoever waited may have left in this very moment.
            let _ = waiting.answer.send(answer(waiting.carried.as_deref()));
        }
    }

    /// Nobody waits any more; the call, if it was still to be answered.
    pub(super) fn give_up(&self, id: &RequestId) -> Option<Context> {
        let mut calls = self.calls();
        let waited = take(&mut calls.waiting, |waiting| waiting.id == *id)?;
        calls.given_up.truncate(GIVEN_UP - 1);
        calls.given_up.push_front(id.clone());
        Some(waited.context)
    }

    /// Nothing is answered any more.
    pub(super) fn close(&self) {
        let waiting = std::mem::take(&mut self.calls().waiting);
        drop(waiting);
    }

    pub(super) fn call(&self, id: &RequestId) -> Option<Context> {
        self.calls().waiting.iter().find(|waiting| waiting.id == *id).map(|waiting| waiting.context.clone())
    }

    /// The call a question was asked in, unless it has been answered. One that was given up asks nothing any more.
    pub(super) fn origin(&self, id: &RequestId) -> Result<Option<Context>, ClientError> {
        if self.calls().given_up.contains(id) {
            return Err(ClientError::Ended);
        }
        Ok(self.call(id))
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

    /// A question is open until what is given here is dropped. Where there are too many, the oldest is given up.
    pub(super) fn asks(self: &Arc<Self>, id: RequestId, abort: AbortHandle) -> OpenQuestion {
        let oldest = {
            let mut questions = self.questions();
            questions.push((id.clone(), abort));
            (questions.len() > QUESTIONS).then(|| questions.remove(0))
        };
        if let Some((_, oldest)) = oldest {
            tracing::warn!(limit = QUESTIONS, "a handler has too many questions open: its oldest is given up");
            oldest.abort();
        }
        OpenQuestion { desk: Arc::clone(self), id }
    }

    /// The handler does not want to know any more.
    pub(super) fn withdraw(&self, id: &RequestId) {
        if let Some(question) = self.settle(id) {
            question.abort();
        }
    }

    fn settle(&self, id: &RequestId) -> Option<AbortHandle> {
        let mut questions = self.questions();
        let at = questions.iter().position(|(question, _)| question == id)?;
        let (_, abort) = questions.remove(at);
        if questions.is_empty() {
            *questions = Vec::new();
        }
        Some(abort)
    }
}

/// A question that is open.
#[derive(Debug)]
pub(super) struct OpenQuestion {
    desk: Arc<Desk>,
    id: RequestId,
}

impl Drop for OpenQuestion {
    fn drop(&mut self) {
        self.desk.settle(&self.id);
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
