//! Decides which call an answer or a figure of progress belongs to: calls of many clients have ids and
//! progress tokens of many clients, and the child is given numbers of ours instead.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use mcp_http::message::{ErrorObject, RawJson};
use mcp_http::server::Context;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::notifications::{self, Notification, Notifications};

pub(crate) type Answer = Result<RawJson, ErrorObject>;

/// The calls of one child that are not answered yet.
///
/// The lock is never held across an await.
#[derive(Debug)]
pub(crate) struct Calls {
    table: Mutex<Table>,
    /// To the writer. As many wait there as there are permits.
    cancelled: mpsc::UnboundedSender<Cancelled>,
}

#[derive(Debug, Default)]
struct Table {
    last: u64,
    waiting: BTreeMap<u64, Waiting>,
    /// Why there will be no more answers, and since when.
    ended: Option<(ErrorObject, Instant)>,
}

#[derive(Debug)]
struct Waiting {
    answer: oneshot::Sender<Answer>,
    /// The way to the client; there is none for what the bridge asks itself.
    client: Option<Client>,
    /// The client's, where it wants progress.
    token: Option<RawJson>,
    /// The child has been sent it, or a part of it.
    written: bool,
}

#[derive(Debug)]
struct Client {
    context: Context,
    notifications: Notifications,
}

/// A call that the child is to be told of as cancelled. It counts as in flight until it was.
#[derive(Debug)]
pub(crate) struct Cancelled {
    pub(crate) id: u64,
    _permit: OwnedSemaphorePermit,
}

impl Calls {
    pub(crate) fn new(cancelled: mpsc::UnboundedSender<Cancelled>) -> Self {
        Self { table: Mutex::default(), cancelled }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call that waits from now on.
    pub(crate) fn add(
        self: &Arc<Self>,
        context: Option<Context>,
        token: Option<RawJson>,
        permit: OwnedSemaphorePermit,
    ) -> Result<Pending, ErrorObject> {
        let (answer, receiver) = oneshot::channel();
        let (client, said) = match context {
            Some(context) => {
                let (notifications, said) = notifications::channel();
                (Some(Client { context: context.clone(), notifications }), Some((context, said)))
            }
            None => (None, None),
        };
        let mut table = self.table();
        if let Some((error, _)) = &table.ended {
            return Err(error.clone());
        }
        table.last += 1;
        let id = table.last;
        table.waiting.insert(id, Waiting { answer, client, token, written: false });
        Ok(Pending { calls: Arc::clone(self), id, receiver, said, permit: Some(permit) })
    }

    /// Whether the call is still to be written; from now on it counts as written.
    pub(crate) fn write(&self, id: u64) -> bool {
        self.table().waiting.get_mut(&id).map(|waiting| waiting.written = true).is_some()
    }

    /// Whether somebody waited for this answer.
    pub(crate) fn answered(&self, id: u64, answer: Answer) -> bool {
        let waiting = self.table().waiting.remove(&id);
        waiting.is_some_and(|waiting| waiting.answer.send(answer).is_ok())
    }

    /// Where the progress of a call goes, and under which token.
    pub(crate) fn progress(&self, id: u64) -> Option<(Notifications, RawJson)> {
        let table = self.table();
        let waiting = table.waiting.get(&id)?;
        Some((waiting.client.as_ref()?.notifications.clone(), waiting.token.clone()?))
    }

    /// The ways to the clients whose calls run, oldest first.
    pub(crate) fn running(&self) -> Vec<Context> {
        self.clients(|client| client.context.clone())
    }

    /// Where to say something in the calls that run, oldest first.
    pub(crate) fn notifications(&self) -> Vec<Notifications> {
        self.clients(|client| client.notifications.clone())
    }

    fn clients<T>(&self, of: impl FnMut(&Client) -> T) -> Vec<T> {
        self.table().waiting.values().filter_map(|waiting| waiting.client.as_ref()).map(of).collect()
    }

    /// There will be no more answers: whoever waits is told so, and whoever calls from now on.
    pub(crate) fn end(&self, error: &ErrorObject) {
        let waiting = {
            let mut table = self.table();
            table.ended = Some((error.clone(), Instant::now()));
            std::mem::take(&mut table.waiting)
        };
        for waiting in waiting.into_values() {
            // Whoever called may have left in this very moment.
            let _ = waiting.answer.send(Err(error.clone()));
        }
    }

    /// Since when.
    pub(crate) fn ended(&self) -> Option<Instant> {
        self.table().ended.as_ref().map(|(_, since)| *since)
    }
}

/// One call, in the hands of whoever waits for it. Dropped before the answer, it is cancelled.
#[derive(Debug)]
pub(crate) struct Pending {
    calls: Arc<Calls>,
    pub(crate) id: u64,
    receiver: oneshot::Receiver<Answer>,
    /// What the child says until then, and whom to tell.
    said: Option<(Context, mpsc::UnboundedReceiver<Notification>)>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Pending {
    /// Passes on what the child says, and returns its answer after that.
    pub(crate) async fn answer(mut self) -> Answer {
        if let Some((context, said)) = &mut self.said {
            // It ends when the call is answered: nobody can say anything any more.
            while let Some(note) = said.recv().await {
                note.send(context).await;
            }
        }
        let answer = (&mut self.receiver).await;
        answer.unwrap_or_else(|_| Err(ErrorObject::internal()))
    }

    /// From now on the child is not told when nobody waits any more: `initialize` cannot be cancelled.
    pub(crate) fn not_cancelled(mut self) -> Self {
        self.permit = None;
        self
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let waiting = self.calls.table().waiting.remove(&self.id);
        if let Some(permit) = self.permit.take()
            && waiting.is_some_and(|waiting| waiting.written)
        {
            // Without a writer there is nobody to tell.
            let _ = self.calls.cancelled.send(Cancelled { id: self.id, _permit: permit });
        }
    }
}
