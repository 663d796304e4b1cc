//! The in-flight calls and client requests of one rmcp service: finds the call that an outgoing
//! message belongs to.
//!
//! rmcp sends everything of a session through one transport. A message that names its call goes
//! there: an answer and a message of a subscription by the id, progress by its token, a request to
//! the client by the call that its handler was in. A message that names no call goes to the only
//! call, if there is exactly one.
//!
//! rmcp does not report every client request that its handler has abandoned. Requests are therefore
//! bounded in time and in number.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::AbortHandle;
use rmcp::model::{ProgressToken, RequestId};
use tokio::sync::oneshot;

use super::held::Held;
use super::owned::{Carried, Known};
use crate::message::{ErrorObject, RawJson};
use crate::server::{ClientError, Context, Session, WeakSession};

/// The answer to a call.
pub(super) type Answer = Result<RawJson, ErrorObject>;

/// The calls and client requests of one service of rmcp.
#[derive(Debug)]
pub(super) struct Pending {
    /// `None`: the service exists for one request.
    session: Option<Mutex<WeakSession>>,
    /// How long a request to the client may stay open.
    pub(super) request_timeout: Duration,
    /// Messages that wait until the client first listens.
    pub(super) held: Held,
    /// The tasks that the client received, if it has a principal.
    pub(super) tasks: Option<Arc<Known>>,
    /// Short lists, as there are few entries at a time, and an idle session keeps no allocation.
    /// Neither lock is held across an await.
    calls: Mutex<Calls>,
    /// The oldest first.
    requests: Mutex<Vec<(RequestId, AbortHandle)>>,
}

/// Client requests that may be open at once.
const MAX_REQUESTS: usize = 128;

#[derive(Debug, Default)]
struct Calls {
    waiting: Vec<WaitingCall>,
    /// The last ids whose handlers may still run, although no caller waits for them.
    given_up: VecDeque<RequestId>,
    /// How many ids had to be made distinct from one of those.
    again: u64,
}

/// More than the number of handlers that still run after their cancellation.
const GIVEN_UP: usize = 64;

#[derive(Debug)]
struct WaitingCall {
    id: RequestId,
    answer: oneshot::Sender<Answer>,
    context: Context,
    progress: Option<ProgressToken>,
    carried: Option<Box<Carried>>,
}

impl Pending {
    /// Creates the state for the session of a context, or for its single request.
    pub(super) fn new(context: &Context, patience: Duration) -> Self {
        Self {
            session: context.session().map(|session| Mutex::new(session.downgrade())),
            request_timeout: patience,
            held: Held::default(),
            tasks: context.principal().map(|_| Arc::default()),
            calls: Mutex::default(),
            requests: Mutex::default(),
        }
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn requests(&self) -> MutexGuard<'_, Vec<(RequestId, AbortHandle)>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // The session.

    /// Returns `true` if the service belongs to a session.
    pub(super) fn is_of_session(&self) -> bool {
        self.session.is_some()
    }

    /// Returns the session while it exists.
    pub(super) fn session(&self) -> Option<Session> {
        self.session.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// Takes over the new object of a session. A session is replaced when it agrees to another
    /// revision.
    pub(super) fn meet(&self, session: &Session) {
        if let Some(known) = &self.session {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.upgrade().is_none() {
                *known = session.downgrade();
            }
        }
    }

    // Calls.

    /// Registers a call and returns the id under which rmcp receives it, with the receiver of its
    /// answer. The id is the call's own unless rmcp may still be busy with another call of that id,
    /// whose answer would be taken for this one. Returns `None` if a call with this id is already
    /// waiting.
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
        // Reserves exactly one, because most sessions have one call at a time.
        calls.waiting.reserve_exact(1);
        calls.waiting.push(WaitingCall { id: id.clone(), answer, context, progress, carried });
        Some((id, receiver))
    }

    /// Delivers the answer to a call, if it still waits.
    pub(super) fn answer(&self, id: &RequestId, answer: impl FnOnce(Option<&Carried>) -> Answer) {
        let waiting = take(&mut self.calls().waiting, |waiting| waiting.id == *id);
        if let Some(waiting) = waiting {
            // The caller may have stopped waiting at this moment.
            let _ = waiting.answer.send(answer(waiting.carried.as_deref()));
        }
    }

    /// Removes a call that no caller waits for. Returns it if it was still unanswered.
    pub(super) fn give_up(&self, id: &RequestId) -> Option<Context> {
        let mut calls = self.calls();
        let waited = take(&mut calls.waiting, |waiting| waiting.id == *id)?;
        calls.given_up.truncate(GIVEN_UP - 1);
        calls.given_up.push_front(id.clone());
        Some(waited.context)
    }

    /// Ends all waiting calls without an answer.
    pub(super) fn close(&self) {
        let waiting = std::mem::take(&mut self.calls().waiting);
        drop(waiting);
    }

    pub(super) fn call(&self, id: &RequestId) -> Option<Context> {
        self.calls().waiting.iter().find(|waiting| waiting.id == *id).map(|waiting| waiting.context.clone())
    }

    /// Returns the call that sent a client request, or `None` if the call has been answered. A call
    /// that was given up may send no more requests.
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

    /// Returns the call if there is exactly one.
    pub(super) fn only_call(&self) -> Option<Context> {
        match &*self.calls().waiting {
            [only] => Some(only.context.clone()),
            _ => None,
        }
    }

    // Requests to the client.

    /// Registers a client request, which stays open until the returned guard is dropped. Beyond the
    /// limit, the oldest request is abandoned.
    pub(super) fn open_request(self: &Arc<Self>, id: RequestId, abort: AbortHandle) -> OpenRequest {
        let oldest = {
            let mut requests = self.requests();
            requests.push((id.clone(), abort));
            (requests.len() > MAX_REQUESTS).then(|| requests.remove(0))
        };
        if let Some((_, oldest)) = oldest {
            tracing::warn!(
                limit = MAX_REQUESTS,
                "a handler has too many open requests to the client: the oldest is abandoned"
            );
            oldest.abort();
        }
        OpenRequest { pending: Arc::clone(self), id }
    }

    /// Aborts a request that the handler has withdrawn.
    pub(super) fn withdraw(&self, id: &RequestId) {
        if let Some(request) = self.settle(id) {
            request.abort();
        }
    }

    fn settle(&self, id: &RequestId) -> Option<AbortHandle> {
        let mut requests = self.requests();
        let at = requests.iter().position(|(request, _)| request == id)?;
        let (_, abort) = requests.remove(at);
        if requests.is_empty() {
            *requests = Vec::new();
        }
        Some(abort)
    }
}

/// A client request that is open.
#[derive(Debug)]
pub(super) struct OpenRequest {
    pending: Arc<Pending>,
    id: RequestId,
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.pending.settle(&self.id);
    }
}

/// Takes one element out, and releases the allocation with the last one.
fn take<T>(list: &mut Vec<T>, which: impl Fn(&T) -> bool) -> Option<T> {
    let at = list.iter().position(which)?;
    let taken = list.swap_remove(at);
    if list.is_empty() {
        *list = Vec::new();
    }
    Some(taken)
}
