//! Requests without a session: each has its own handler, which runs within the future of the
//! request. A service of rmcp exists behind it only for its peer, and ends with it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use futures_util::future::BoxFuture;
use http::request::Parts;
use rmcp::model::{ClientRequest, GetExtensions, GetMeta, InitializeRequestParams, RequestId, ServerResult};
use rmcp::service::{RequestContext, serve_directly};
use rmcp::{ErrorData, ServerHandler, Service};
use tokio_util::sync::CancellationToken;

use super::catch_panic::CatchPanic;
use super::owned::{self, Owner};
use super::pending::{Answer, Pending};
use super::transport::SessionTransport;
use crate::message::ErrorObject;
use crate::server::Context;

/// Answers one request of a client whose properties are known without a handshake.
///
/// # Cancel safety
///
/// If this future is dropped, the handler is cancelled and runs on in the background until it ends.
/// Its result is discarded.
pub(super) async fn answer<H: ServerHandler>(
    handler: H,
    (pending, owner): (Pending, Option<Owner>),
    client: InitializeRequestParams,
    id: RequestId,
    mut request: ClientRequest,
    parts: Parts,
    context: Context,
) -> Answer {
    let carried = match (owner, &pending.tasks) {
        (Some(owner), Some(known)) => Some(owner.open(&mut request, known)?),
        _ => None,
    };
    let guarded = CatchPanic(Arc::new(handler));
    let pending = Arc::new(pending);
    let (line, _inbound) = SessionTransport::new(&pending);
    let service = serve_directly(guarded.clone(), line, Some(client));
    let mut call = RequestContext::new(id.clone(), service.peer().clone());
    call.meta = std::mem::take(request.get_meta_mut());
    call.extensions = std::mem::take(request.extensions_mut());
    call.extensions.insert(parts);
    call.extensions.insert(context.clone());
    // Messages of the handler go to this call's stream until the call is answered.
    let _waiting = pending.wait(id, context, call.meta.get_progress_token(), None).ok_or_else(ErrorObject::internal)?;
    let running = Running {
        cancelled: call.ct.clone(),
        handler: Some(Box::pin(async move { guarded.handle_request(request, call).await })),
    };
    owned::answer(carried.as_deref(), running.await)
}

/// A handler that is not dropped in the middle of its work.
struct Running {
    cancelled: CancellationToken,
    /// Present until it has ended.
    handler: Option<BoxFuture<'static, Result<ServerResult, ErrorData>>>,
}

impl Future for Running {
    type Output = Result<ServerResult, ErrorData>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let Some(handler) = &mut self.handler else { return Poll::Pending };
        let polled = handler.as_mut().poll(cx);
        if polled.is_ready() {
            self.handler = None;
            // As in rmcp, where the answer cancels the work that the handler left behind.
            self.cancelled.cancel();
        }
        polled
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let (Some(handler), Ok(runtime)) = (self.handler.take(), tokio::runtime::Handle::try_current()) {
            self.cancelled.cancel();
            runtime.spawn(handler);
        }
    }
}
