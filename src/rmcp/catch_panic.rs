//! Panic protection for rmcp handlers: a handler that panics answers its call with an error, which
//! rmcp does not do. The module also signals when a handler has begun with a notification.

use std::any::Any;
use std::borrow::Cow;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::FutureExt;
use rmcp::model::{ClientNotification, ClientRequest, ProtocolVersion, ServerConfig, ServerResult};
use rmcp::service::{NotificationContext, RequestContext};
use rmcp::{ErrorData, RoleServer, ServerHandler, Service};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A handler whose panics affect only their call.
pub(super) struct CatchPanic<H>(pub(super) Arc<H>);

impl<H> Clone for CatchPanic<H> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<H: ServerHandler> Service<RoleServer> for CatchPanic<H> {
    async fn handle_request(
        &self,
        request: ClientRequest,
        context: RequestContext<RoleServer>,
    ) -> Result<ServerResult, ErrorData> {
        let handling = AssertUnwindSafe(self.0.handle_request(request, context));
        handling.catch_unwind().await.unwrap_or_else(panicked)
    }

    async fn handle_notification(
        &self,
        notification: ClientNotification,
        mut context: NotificationContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let begun = context.extensions.remove::<Begun>();
        let handling = AssertUnwindSafe(self.0.handle_notification(notification, context));
        let mut handling = pin!(handling.catch_unwind());
        let first = poll_fn(|cx| Poll::Ready(handling.as_mut().poll(cx))).await;
        drop(begun);
        match first {
            Poll::Ready(handled) => handled,
            Poll::Pending => handling.await,
        }
        .unwrap_or_else(panicked)
    }

    fn get_info(&self) -> ServerConfig {
        Service::get_info(&*self.0)
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Service::supported_protocol_versions(&*self.0)
    }
}

/// Travels with a notification. Dropping it wakes the waiting sender, once the handler has begun or
/// when it never will.
#[derive(Clone)]
pub(super) struct Begun {
    _guard: Arc<DropGuard>,
}

impl Begun {
    /// Returns the guard and the token that its drop cancels.
    pub(super) fn new() -> (Self, CancellationToken) {
        let token = CancellationToken::new();
        (Self { _guard: Arc::new(token.clone().drop_guard()) }, token)
    }
}

/// The panic message is in the log already, and is not meant for the client.
fn panicked<T>(_: Box<dyn Any + Send>) -> Result<T, ErrorData> {
    tracing::error!("a handler panicked");
    Err(ErrorData::internal_error("Internal error", None))
}
