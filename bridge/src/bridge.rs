//! Decides which child answers whom: in a session its own, without one the shared child or none.

use std::sync::{Arc, OnceLock};

use mcp_http::message::{Era, ErrorObject, ProtocolVersion, RawJson};
use mcp_http::server::{Call, Discover, Discovery, Initialize, Notice, Server};
use serde_json::json;

use crate::conversation::Conversation;
use crate::message;
use crate::owner::Owner;
use crate::peer::UNAVAILABLE;
use crate::pool::Pool;
use crate::shared::Shared;

/// A server that has others answer.
#[derive(Debug)]
pub(crate) struct Bridge {
    pool: Arc<Pool>,
    /// With clients that have no session; never set where they are refused.
    shared: Arc<OnceLock<Shared>>,
}

impl Bridge {
    pub(crate) fn new(pool: &Arc<Pool>, shared: &Arc<OnceLock<Shared>>) -> Self {
        Self { pool: Arc::clone(pool), shared: Arc::clone(shared) }
    }

    fn shared(&self) -> Result<&Shared, ErrorObject> {
        self.shared.get().ok_or_else(ErrorObject::internal)
    }
}

/// The child has the last word on the revision, and this transport on which ones it serves.
fn is_served(version: &str) -> Result<(), ErrorObject> {
    let known: Option<ProtocolVersion> = version.parse().ok();
    if known.is_some_and(|version| version.era() == Era::Legacy) {
        return Ok(());
    }
    tracing::error!(version, "the server speaks a revision that is not served over Streamable HTTP");
    let text = "The server behind the bridge speaks a protocol revision that is not served over Streamable HTTP";
    Err(ErrorObject::new(UNAVAILABLE, text).with_data(&json!({ "version": version })))
}

impl<S: Send + Sync> Server<S> for Bridge {
    async fn initialize(&self, request: Initialize, _: &S) -> Result<RawJson, ErrorObject> {
        let Initialize { text: opening, context, .. } = request;
        let session = context.session().ok_or_else(ErrorObject::internal)?;
        let owner = Owner::Session { handle: context.handle(), id: session.id };
        let (conversation, result) = Conversation::open(&self.pool, owner, opening).await?;
        is_served(conversation.version())?;
        // It ends with the session, and the child with it.
        session.extensions().insert(conversation);
        Ok(result)
    }

    async fn call(&self, call: Call, _: &S) -> Result<RawJson, ErrorObject> {
        let Call { method, params, context, .. } = call;
        let Some(session) = context.session() else {
            let params = params.map(|params| message::without_envelope(&params)).transpose().map_err(|error| {
                tracing::debug!(%error, "a call with unreadable parameters");
                ErrorObject::invalid_params("Invalid params: they are an object, and so is their _meta")
            })?;
            // Nobody has anything to lose here.
            let peer = self.shared()?.conversation.peer(true).await?;
            return peer.call(&method, params, context).await;
        };
        let conversation = session.extensions().get::<Conversation>().ok_or_else(ErrorObject::internal)?;
        let peer = conversation.peer(self.pool.settings.restarts).await?;
        peer.call(&method, params, context).await
    }

    async fn discover(&self, _: Discover, _: &S) -> Result<Discovery, ErrorObject> {
        Ok(self.shared()?.discovery.clone())
    }

    /// What would change the shared process for everybody, or has a meaning in a session only.
    fn serves(&self, method: &str) -> bool {
        !["ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"].contains(&method)
            && !method.starts_with("tasks/")
    }

    fn info(&self) -> Option<RawJson> {
        self.shared.get().map(|shared| shared.info.clone())
    }

    async fn notified(&self, notice: Notice, _: &S) {
        let Some(session) = notice.context.session() else { return };
        if let Some(conversation) = session.extensions().get::<Conversation>() {
            conversation.tell(&notice.method, notice.params.as_ref());
        }
    }
}
