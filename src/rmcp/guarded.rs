//! Decides what becomes of a handler of rmcp's that panics: its call is answered with an error. rmcp
//! itself would never answer it.

use std::any::Any;
use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use rmcp::model::{ClientNotification, ClientRequest, ProtocolVersion, ServerConfig, ServerResult};
use rmcp::service::{NotificationContext, RequestContext};
use rmcp::{ErrorData, RoleServer, ServerHandler, Service};

/// A handler whose panics stay in their call.
pub(super) struct Guarded<H>(pub(super) Arc<H>);

impl<H> Clone for Guarded<H> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<H: ServerHandler> Service<RoleServer> for Guarded<H> {
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
        context: NotificationContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let handling = AssertUnwindSafe(self.0.handle_notification(notification, context));
        handling.catch_unwind().await.unwrap_or_else(panicked)
    }

    fn get_info(&self) -> ServerConfig {
        Service::get_info(&*self.0)
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Service::supported_protocol_versions(&*self.0)
    }
}

/// What was said with the panic is in the log already, and not for the client.
fn panicked<T>(_: Box<dyn Any + Send>) -> Result<T, ErrorData> {
    tracing::error!("a handler panicked");
    Err(ErrorData::internal_error("Internal error", None))
}
