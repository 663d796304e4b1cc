//! The transport of an rmcp service: sends answers to their calls, messages to their streams, and
//! requests to the client and their answers back.

use std::future::{Future, ready};
use std::pin::pin;
use std::sync::Arc;

use futures_util::future::{AbortHandle, Abortable, BoxFuture, Either};
use rmcp::RoleServer;
use rmcp::model::{
    ClientJsonRpcMessage, ClientResult, GetExtensions, GetMeta, JsonRpcMessage, RequestId, ServerJsonRpcMessage,
    ServerNotification, ServerRequest,
};
use rmcp::service::OriginatingRequestId;
use rmcp::transport::Transport;
use serde::Deserialize;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, WeakUnboundedSender, unbounded_channel};
use tokio::time::sleep;

use super::convert::{self, Outgoing};
use super::held;
use super::owned;
use super::pending::Pending;
use crate::message::RawJson;
use crate::server::{ClientError, Context, LogLevel, Session};

/// The sender to a service of rmcp. Messages are boxed, because a channel allocates space for many
/// elements when it is made.
pub(super) type Inbound = UnboundedSender<Box<ClientJsonRpcMessage>>;

/// The transport of one service of rmcp.
pub(super) struct SessionTransport {
    pending: Arc<Pending>,
    inbound: UnboundedReceiver<Box<ClientJsonRpcMessage>>,
    /// Weak, because otherwise the service would keep itself alive.
    answers: WeakUnboundedSender<Box<ClientJsonRpcMessage>>,
}

impl SessionTransport {
    /// Returns the transport and the sender to it. Each message sent to it came with an HTTP
    /// request that this crate has counted and admitted. rmcp takes messages without waiting for a
    /// handler, so there are never many.
    pub(super) fn new(pending: &Arc<Pending>) -> (Self, Inbound) {
        let (sender, inbound) = unbounded_channel();
        (Self { pending: Arc::clone(pending), inbound, answers: sender.downgrade() }, sender)
    }

    /// Sends a request to the client and passes the answer back.
    fn request(&self, id: RequestId, request: &ServerRequest) -> BoxFuture<'static, Result<(), ClientError>> {
        let origin = request.extensions().get::<OriginatingRequestId>();
        let origin = origin.map_or(Ok(None), |origin| self.pending.origin(&origin.0));
        let (pending, answers) = (Arc::clone(&self.pending), self.answers.clone());
        let outgoing = convert::outgoing(request);
        // Registered at once, because it may be withdrawn before the future is first polled.
        let (abort, registration) = AbortHandle::new_pair();
        let open = pending.open_request(id.clone(), abort);
        Box::pin(async move {
            let (origin, outgoing) = (origin?, outgoing.map_err(ClientError::Unreadable)?);
            let asking = put(&pending, origin, outgoing);
            let answer = Abortable::new(asking, registration).await;
            drop(open);
            // Abandoned by its handler, or in favour of newer requests.
            let answer = answer.unwrap_or(Err(ClientError::Ended));
            let message = match answer {
                Ok(result) => {
                    let result: ClientResult = result.read().map_err(ClientError::Unreadable)?;
                    ClientJsonRpcMessage::response(result, id)
                }
                Err(ClientError::Refused(error)) => ClientJsonRpcMessage::error(convert::rejection(error), Some(id)),
                Err(error) => return Err(error),
            };
            let answers = answers.upgrade().ok_or(ClientError::Ended)?;
            answers.send(Box::new(message)).map_err(|_| ClientError::Ended)
        })
    }

    /// Sends a notification to its stream. A notification of a call that has ended is dropped.
    fn notify(&self, mut notification: ServerNotification) -> BoxFuture<'static, Result<(), ClientError>> {
        let pending = Arc::clone(&self.pending);
        if pending.tasks.as_ref().is_some_and(|tasks| !tasks.rename(&mut notification)) {
            tracing::debug!("a notification names a task that its client did not receive: it is dropped");
            return Box::pin(ready(Ok(())));
        }
        if let ServerNotification::CancelledNotification(cancelled) = &notification {
            if let Some(id) = &cancelled.params.request_id {
                pending.withdraw(id);
            }
            return Box::pin(ready(Ok(())));
        }
        let call = match &notification {
            _ if notification.get_meta().subscription_id().is_some() => {
                let subscription = notification.get_meta().subscription_id();
                ToCall::Its(subscription.and_then(|id| pending.call(&id)))
            }
            ServerNotification::ProgressNotification(progress) => {
                ToCall::Its(pending.call_of_progress(&progress.params.progress_token))
            }
            ServerNotification::LoggingMessageNotification(_) => ToCall::Log,
            ServerNotification::ToolListChangedNotification(_)
            | ServerNotification::PromptListChangedNotification(_)
            | ServerNotification::ResourceListChangedNotification(_)
            | ServerNotification::ResourceUpdatedNotification(_) => ToCall::None,
            _ => ToCall::Only,
        };
        Box::pin(async move {
            let Outgoing { method, params } = convert::outgoing(&notification).map_err(ClientError::Unreadable)?;
            let call = match call {
                ToCall::Its(Some(call)) => Some(call),
                ToCall::Its(None) => return Ok(()),
                ToCall::Log => {
                    let call = pending.only_call();
                    if !wanted(call.as_ref(), pending.session().as_ref(), &params) {
                        return Ok(());
                    }
                    call
                }
                ToCall::Only => pending.only_call(),
                ToCall::None => None,
            };
            match (call, pending.session()) {
                (Some(call), _) => call.notify(&method, &params).await,
                (None, Some(session)) => held::send_or_hold(&pending, &session, Outgoing { method, params }).await,
                (None, None) if pending.is_of_session() => return Err(ClientError::Ended),
                (None, None) => announce(&pending, &notification),
            }
            Ok(())
        })
    }
}

/// The call whose stream a notification goes to.
enum ToCall {
    /// The call that it names, or no stream.
    Its(Option<Context>),
    /// The only call, else the session's own stream. Dropped if the client wants no message this
    /// severe.
    Log,
    /// The only call, else the session's own stream.
    Only,
    /// The session's own stream.
    None,
}

/// Sends a request on the stream of its call. Without a call it uses any stream that exists, and
/// waits a limited time for one if there is none yet.
async fn put(pending: &Pending, origin: Option<Context>, request: Outgoing) -> Result<RawJson, ClientError> {
    if let Some(call) = origin {
        return call.request(request.method, request.params, pending.request_timeout).await;
    }
    let mut patience = pin!(sleep(held::LISTEN_TIMEOUT));
    loop {
        let opens = pending.session().map(|session| session.stream_opened());
        match put_anywhere(pending, request.clone()).await {
            Err(ClientError::NoStream) => {}
            answer => return answer,
        }
        let Some(opens) = opens else { return Err(ClientError::NoStream) };
        tokio::select! {
            () = opens => {}
            // The stream may be open on a node that announced it long ago.
            () = &mut patience => return put_anywhere(pending, request).await,
        }
    }
}

/// Sends a request on the session's own stream if the client listens there, else on that of the
/// only call.
async fn put_anywhere(pending: &Pending, request: Outgoing) -> Result<RawJson, ClientError> {
    let Outgoing { method, params } = request;
    match pending.session() {
        Some(session) => match session.request(method.clone(), params.clone(), pending.request_timeout).await {
            Err(ClientError::NoStream) => {}
            answer => return answer,
        },
        None if pending.is_of_session() => return Err(ClientError::Ended),
        None => {}
    }
    match pending.only_call() {
        Some(call) => call.request(method, params, pending.request_timeout).await,
        None => Err(ClientError::NoStream),
    }
}

/// Announces a change from a call without a session to all subscribed clients.
fn announce(pending: &Pending, notification: &ServerNotification) {
    let Some(handle) = pending.only_call().map(|call| call.handle()) else { return };
    match notification {
        ServerNotification::ToolListChangedNotification(_) => handle.tools_changed(),
        ServerNotification::PromptListChangedNotification(_) => handle.prompts_changed(),
        ServerNotification::ResourceListChangedNotification(_) => handle.resources_changed(),
        ServerNotification::ResourceUpdatedNotification(updated) => handle.resource_updated(&updated.params.uri),
        _ => {}
    }
}

/// Returns `true` if the client wants log messages as severe as this one.
fn wanted(call: Option<&Context>, session: Option<&Session>, message: &RawJson) -> bool {
    #[derive(Deserialize)]
    struct Message {
        level: LogLevel,
    }
    let Ok(Message { level }) = message.read() else { return false };
    match (call, session) {
        (Some(call), _) => call.logs(level),
        (None, session) => session.is_none_or(|session| session.logs(level)),
    }
}

impl Drop for SessionTransport {
    /// Wakes the calls that wait for this service, however it ended.
    fn drop(&mut self) {
        self.pending.close();
    }
}

impl Transport<RoleServer> for SessionTransport {
    type Error = ClientError;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = Result<(), ClientError>> + Send + 'static {
        match message {
            JsonRpcMessage::Response(response) => {
                self.pending.answer(&response.id, |carried| owned::answer(carried, Ok(response.result)));
            }
            JsonRpcMessage::Error(error) => {
                if let Some(id) = error.id {
                    self.pending.answer(&id, |carried| owned::answer(carried, Err(error.error)));
                }
            }
            JsonRpcMessage::Request(request) => return Either::Right(self.request(request.id, &request.request)),
            JsonRpcMessage::Notification(notification) => {
                return Either::Right(self.notify(notification.notification));
            }
        }
        Either::Left(ready(Ok(())))
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        self.inbound.recv().await.map(|message| *message)
    }

    fn close(&mut self) -> impl Future<Output = Result<(), ClientError>> + Send {
        self.inbound.close();
        ready(Ok(()))
    }
}
