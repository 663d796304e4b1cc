//! In-flight calls of one process: matches answers and progress to the callers. Clients choose
//! their ids and progress tokens freely, so the process gets numbers of the bridge instead.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use mcp_http::Context;
use mcp_http::message::{ErrorObject, RawJson};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::notifications::{self, NotificationSender, QueuedNotification};

pub(crate) type Answer = Result<RawJson, ErrorObject>;

/// The calls of one process that have no answer yet.
///
/// The lock is never held across an await.
#[derive(Debug)]
pub(crate) struct Calls {
    table: Mutex<Table>,
    /// To the writer. Permits bound its length.
    cancelled: mpsc::UnboundedSender<CancelledCall>,
}

#[derive(Debug, Default)]
struct Table {
    last_id: u64,
    in_flight: BTreeMap<u64, InFlight>,
    /// Why and since when no more answers can come.
    ended: Option<(ErrorObject, Instant)>,
}

#[derive(Debug)]
struct InFlight {
    answer: oneshot::Sender<Answer>,
    /// The client that waits. `None` for requests of the bridge itself.
    caller: Option<Caller>,
    /// The client's progress token, if it asked for progress.
    client_token: Option<RawJson>,
    /// At least a part of the call was written to the process.
    written: bool,
}

#[derive(Debug)]
struct Caller {
    context: Context,
    notifications: NotificationSender,
}

/// A call whose cancellation must be sent to the process. It counts as in flight until that is
/// done.
#[derive(Debug)]
pub(crate) struct CancelledCall {
    pub(crate) id: u64,
    _permit: OwnedSemaphorePermit,
}

impl Calls {
    pub(crate) fn new(cancelled: mpsc::UnboundedSender<CancelledCall>) -> Self {
        Self { table: Mutex::default(), cancelled }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a call.
    ///
    /// # Errors
    ///
    /// The process has ended. The error is the one that [`Calls::end`] received.
    pub(crate) fn register(
        self: &Arc<Self>,
        context: Option<Context>,
        client_token: Option<RawJson>,
        permit: OwnedSemaphorePermit,
    ) -> Result<PendingCall, ErrorObject> {
        let (answer, receiver) = oneshot::channel();
        let (caller, notifications) = match context {
            Some(context) => {
                let (sender, queued) = notifications::channel();
                (Some(Caller { context: context.clone(), notifications: sender }), Some((context, queued)))
            }
            None => (None, None),
        };
        let mut table = self.table();
        if let Some((error, _)) = &table.ended {
            return Err(error.clone());
        }
        table.last_id += 1;
        let id = table.last_id;
        table.in_flight.insert(id, InFlight { answer, caller, client_token, written: false });
        Ok(PendingCall { calls: Arc::clone(self), id, receiver, notifications, permit: Some(permit) })
    }

    /// Marks a call as written. Returns `false` if its client no longer waits, so it need not be
    /// written.
    pub(crate) fn mark_written(&self, id: u64) -> bool {
        self.table().in_flight.get_mut(&id).map(|call| call.written = true).is_some()
    }

    /// Delivers an answer. Returns `false` if no caller waits for it.
    pub(crate) fn complete(&self, id: u64, answer: Answer) -> bool {
        let call = self.table().in_flight.remove(&id);
        call.is_some_and(|call| call.answer.send(answer).is_ok())
    }

    /// Returns where the progress of a call goes, and the client's token for it.
    pub(crate) fn progress_target(&self, id: u64) -> Option<(NotificationSender, RawJson)> {
        let table = self.table();
        let call = table.in_flight.get(&id)?;
        Some((call.caller.as_ref()?.notifications.clone(), call.client_token.clone()?))
    }

    /// Returns the contexts of the clients' calls, oldest first.
    pub(crate) fn contexts(&self) -> Vec<Context> {
        self.callers(|caller| caller.context.clone())
    }

    /// Returns the notification senders of the clients' calls, oldest first.
    pub(crate) fn notification_senders(&self) -> Vec<NotificationSender> {
        self.callers(|caller| caller.notifications.clone())
    }

    fn callers<T>(&self, of: impl FnMut(&Caller) -> T) -> Vec<T> {
        self.table().in_flight.values().filter_map(|call| call.caller.as_ref()).map(of).collect()
    }

    /// Ends all calls with this error, and all later ones.
    pub(crate) fn end(&self, error: &ErrorObject) {
        let calls = {
            let mut table = self.table();
            table.ended = Some((error.clone(), Instant::now()));
            std::mem::take(&mut table.in_flight)
        };
        for call in calls.into_values() {
            // The caller may have left at the same moment.
            let _ = call.answer.send(Err(error.clone()));
        }
    }

    /// Returns when [`Calls::end`] was called.
    pub(crate) fn ended_at(&self) -> Option<Instant> {
        self.table().ended.as_ref().map(|(_, ended_at)| *ended_at)
    }
}

/// One call, held by its caller. Dropping it before the answer cancels the call.
#[derive(Debug)]
pub(crate) struct PendingCall {
    calls: Arc<Calls>,
    pub(crate) id: u64,
    receiver: oneshot::Receiver<Answer>,
    /// The client, and the notifications of the process for it.
    notifications: Option<(Context, mpsc::UnboundedReceiver<QueuedNotification>)>,
    /// `None` if the process must not receive a cancellation.
    permit: Option<OwnedSemaphorePermit>,
}

impl PendingCall {
    /// Forwards the notifications of the call to the client, and then returns the answer.
    pub(crate) async fn answer(mut self) -> Answer {
        if let Some((context, queued)) = &mut self.notifications {
            // The channel closes when the call is answered, because the table held its sender.
            while let Some(notification) = queued.recv().await {
                notification.send(context).await;
            }
        }
        let answer = (&mut self.receiver).await;
        answer.unwrap_or_else(|_| Err(ErrorObject::internal()))
    }

    /// Makes the call not cancellable: dropping it sends nothing. `initialize` cannot be cancelled.
    pub(crate) fn not_cancellable(mut self) -> Self {
        self.permit = None;
        self
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        let call = self.calls.table().in_flight.remove(&self.id);
        if let Some(permit) = self.permit.take()
            && call.is_some_and(|call| call.written)
        {
            // This fails if the writer has stopped: then the process has ended.
            let _ = self.calls.cancelled.send(CancelledCall { id: self.id, _permit: permit });
        }
    }
}
