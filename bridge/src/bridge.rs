//! The server the transport calls: passes each request to the process of its session, or to the
//! shared process for clients without a session.

use std::sync::{Arc, OnceLock};

use mcp_http::message::{Era, ErrorObject, ProtocolVersion, RawJson};
use mcp_http::server::{Call, Discover, Discovery, Initialize, Notification, Server};
use serde_json::json;

use crate::connection::UNAVAILABLE;
use crate::message;
use crate::owner::Owner;
use crate::pool::Pool;
use crate::session::StdioSession;
use crate::shared::SharedSession;

/// A [`Server`] that forwards everything to processes.
#[derive(Debug)]
pub(crate) struct Bridge {
    pool: Arc<Pool>,
    /// For clients without a session. Never set with `--stateless refuse`.
    shared: Arc<OnceLock<SharedSession>>,
}

impl Bridge {
    pub(crate) fn new(pool: &Arc<Pool>, shared: &Arc<OnceLock<SharedSession>>) -> Self {
        Self { pool: Arc::clone(pool), shared: Arc::clone(shared) }
    }

    fn shared(&self) -> Result<&SharedSession, ErrorObject> {
        self.shared.get().ok_or_else(ErrorObject::internal)
    }
}

/// Checks the revision that the process chose: Streamable HTTP must serve it, with sessions.
fn check_version(version: &str) -> Result<(), ErrorObject> {
    let known: Option<ProtocolVersion> = version.parse().ok();
    if known.is_some_and(|version| version.era() == Era::Legacy) {
        return Ok(());
    }
    tracing::error!(version, "the server speaks a revision that Streamable HTTP does not serve; update the server");
    let text = "The server behind the bridge speaks a protocol revision that is not served over Streamable HTTP";
    Err(ErrorObject::new(UNAVAILABLE, text).with_data(&json!({ "version": version })))
}

impl<S: Send + Sync> Server<S> for Bridge {
    async fn initialize(&self, request: Initialize, _: &S) -> Result<RawJson, ErrorObject> {
        let Initialize { text: params, context, .. } = request;
        let session = context.session().ok_or_else(ErrorObject::internal)?;
        let owner = Owner::Session { handle: context.handle(), id: session.info().id };
        let (stdio, result) = StdioSession::open(&self.pool, owner, params).await?;
        check_version(stdio.version())?;
        // The extensions are dropped with the session, and the process ends with them.
        session.extensions().insert(stdio);
        Ok(result)
    }

    async fn call(&self, call: Call, _: &S) -> Result<RawJson, ErrorObject> {
        let Call { method, params, context, .. } = call;
        let Some(session) = context.session() else {
            let params = params.map(|params| message::strip_client_meta(&params)).transpose().map_err(|error| {
                tracing::debug!(%error, "cannot read the parameters of a call");
                message::invalid_params()
            })?;
            // The shared session keeps no state, so a restart loses nothing.
            let connection = self.shared()?.session.connection(true).await?;
            return connection.call(&method, params, context).await;
        };
        let stdio = session.extensions().get::<StdioSession>().ok_or_else(ErrorObject::internal)?;
        let connection = stdio.connection(self.pool.settings.restart).await?;
        connection.call(&method, params, context).await
    }

    async fn discover(&self, _: Discover, _: &S) -> Result<Discovery, ErrorObject> {
        Ok(self.shared()?.discovery.clone())
    }

    /// Without a session, rejects methods that would change the shared process for all clients, and
    /// methods that only exist in a session.
    fn serves(&self, method: &str) -> bool {
        !["ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"].contains(&method)
            && !method.starts_with("tasks/")
    }

    fn info(&self) -> Option<RawJson> {
        self.shared.get().map(|shared| shared.info.clone())
    }

    async fn notification(&self, notice: Notification, _: &S) {
        let Some(session) = notice.context.session() else { return };
        if let Some(stdio) = session.extensions().get::<StdioSession>() {
            stdio.notify(&notice.method, notice.params.as_ref());
        }
    }
}
