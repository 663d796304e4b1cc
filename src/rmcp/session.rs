//! The rmcp service of a session: opened with `initialize`, then given calls and notifications. Its
//! calls go through rmcp's own loop, which alone knows the call that a client request belongs to.

use std::sync::{Arc, OnceLock};

use http::request::Parts;
use rmcp::model::{
    CancelledNotification, CancelledNotificationParam, ClientJsonRpcMessage, ClientRequest, GetExtensions, GetMeta,
    RequestId,
};
use rmcp::service::RunningService;
use rmcp::{RoleServer, ServerHandler, serve_server};
use tokio_util::sync::CancellationToken;

use super::catch_panic::{Begun, CatchPanic};
use super::convert;
use super::owned::Owner;
use super::pending::{Answer, Pending};
use super::transport::{Inbound, SessionTransport};
use crate::message::{ErrorObject, RawJson, shown};
use crate::server::{Call, Cancellation, Context, Notification};

/// A running service of rmcp. Dropping it cancels its work. Peers that handlers kept fail from then
/// on.
pub(super) struct RmcpSession<H: ServerHandler> {
    pending: Arc<Pending>,
    inbound: Inbound,
    /// Set once the handler has received `notifications/initialized`, which it receives only once.
    ready: OnceLock<CancellationToken>,
    _service: RunningService<RoleServer, CatchPanic<H>>,
}

const INITIALIZED: &str = "notifications/initialized";

impl<H: ServerHandler> RmcpSession<H> {
    /// Opens a service with `initialize`, as a client does. Returns the service and its answer.
    pub(super) async fn open(
        handler: H,
        pending: Pending,
        mut initialize: ClientRequest,
        parts: Parts,
        context: Context,
    ) -> Result<(Self, RawJson), ErrorObject> {
        const FIRST: RequestId = RequestId::Number(0);
        let pending = Arc::new(pending);
        let (line, inbound) = SessionTransport::new(&pending);
        let extensions = initialize.extensions_mut();
        extensions.insert(parts);
        extensions.insert(context.clone());
        let (_, answer) = pending.wait(FIRST, context, None, None).ok_or_else(ErrorObject::internal)?;
        inbound.send(Box::new(ClientJsonRpcMessage::request(initialize, FIRST))).map_err(|_| ended())?;
        let started = serve_server(CatchPanic(Arc::new(handler)), line).await;
        // The service answers before it starts, if it answers at all.
        pending.answer(&FIRST, |_| Err(ErrorObject::internal()));
        match (started, answer.await) {
            (Ok(service), Ok(Ok(result))) => {
                Ok((Self { pending, inbound, ready: OnceLock::new(), _service: service }, result))
            }
            (started, answer) => {
                if let Err(error) = started {
                    tracing::debug!(error = &*shown(&error.to_string()), "a session did not open");
                }
                answer.unwrap_or_else(|_| Err(ErrorObject::internal())).and(Err(ErrorObject::internal()))
            }
        }
    }

    /// Sends a call to the handler and returns its answer.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the handler is cancelled, and its answer is discarded.
    pub(super) async fn call(&self, call: Call, owner: Option<Owner>) -> Answer {
        let Call { id, parts, context, .. } = call;
        let (mut request, id) = (convert::request(&call.method, call.params.as_ref())?, convert::id(&id));
        if let Some(session) = context.session() {
            self.pending.meet(&session);
        }
        let carried = match (owner, &self.pending.tasks) {
            (Some(owner), Some(known)) => Some(owner.open(&mut request, known)?),
            _ => None,
        };
        let progress = request.get_meta().get_progress_token();
        let extensions = request.extensions_mut();
        extensions.insert(*parts);
        extensions.insert(context.clone());
        let (id, answer) = self.pending.wait(id, context, progress, carried).ok_or_else(|| {
            ErrorObject::new(ErrorObject::INVALID_REQUEST, "A request with this id is in flight already")
        })?;
        let _guard = InFlight { desk: &self.pending, inbound: &self.inbound, id: &id };
        self.inbound.send(Box::new(ClientJsonRpcMessage::request(request, id.clone()))).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    /// Passes a notification on, and waits until its handler has begun. This keeps notifications in
    /// order. A notification that cannot be read is dropped.
    pub(super) async fn notify(&self, notice: Notification) {
        if notice.method == INITIALIZED {
            self.ready.get_or_init(|| self.pass_on(notice)).cancelled().await;
            return;
        }
        self.be_ready(&notice.parts, &notice.context).await;
        self.pass_on(notice).cancelled().await;
    }

    /// Tells the handler that its client is ready, unless it knows. The client may have said so to
    /// another node.
    pub(super) async fn be_ready(&self, parts: &Parts, context: &Context) {
        let begun = self.ready.get_or_init(|| {
            let (parts, context) = (Box::new(parts.clone()), context.clone());
            self.pass_on(Notification { method: INITIALIZED.into(), params: None, parts, context })
        });
        if !begun.is_cancelled() {
            begun.cancelled().await;
        }
    }

    /// Passes a notification on. The returned token is cancelled once the handler has begun, or if
    /// it never will.
    fn pass_on(&self, notice: Notification) -> CancellationToken {
        if let Some(session) = notice.context.session() {
            self.pending.meet(&session);
        }
        let (begun, beginning) = Begun::new();
        match convert::notification(&notice.method, notice.params.as_ref()) {
            Ok(mut notification) => {
                let extensions = notification.extensions_mut();
                extensions.insert(*notice.parts);
                extensions.insert(notice.context);
                extensions.insert(begun);
                // A service that has ended takes no notification.
                let _ = self.inbound.send(Box::new(ClientJsonRpcMessage::notification(notification)));
            }
            Err(error) => {
                let (error, method) = (error.to_string(), shown(&notice.method));
                tracing::debug!(
                    error = &*shown(&error),
                    method = &*method,
                    "a notification was rejected by the handler"
                );
            }
        }
        beginning
    }
}

/// A call in flight, cancelled on drop unless its handler has answered.
struct InFlight<'a> {
    desk: &'a Pending,
    inbound: &'a Inbound,
    id: &'a RequestId,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Some(context) = self.desk.give_up(self.id) {
            let (reason, parts) = match context.cancellation() {
                Some(Cancellation { reason, parts }) => (reason, *parts),
                // The session or the service ends, or another node received the cancellation.
                None => (None, http::Request::new(()).into_parts().0),
            };
            let param = CancelledNotificationParam::new(Some(self.id.clone()), reason);
            let mut cancelled = CancelledNotification::new(param);
            cancelled.extensions.insert(parts);
            cancelled.extensions.insert(context);
            let _ = self.inbound.send(Box::new(ClientJsonRpcMessage::notification(cancelled.into())));
        }
    }
}

fn ended() -> ErrorObject {
    ErrorObject::new(ErrorObject::INTERNAL_ERROR, "The session has ended")
}
