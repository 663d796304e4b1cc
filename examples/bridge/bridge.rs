//! Decides which child answers whom: in a session its own, without one the shared child or none.

use std::sync::{Arc, OnceLock};

use mcp_http::message::{Era, ErrorObject, InitializeParams, ProtocolVersion, RawJson};
use mcp_http::server::{Call, Context, Discovery, Notice, Server};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::conversation::{Conversation, INITIALIZED};
use crate::home::Home;
use crate::house::House;
use crate::peer::UNAVAILABLE;

/// A server that has others answer.
#[derive(Debug)]
pub(crate) struct Bridge {
    house: Arc<House>,
    /// With clients that have no session; opened when the first one asks.
    shared: OnceCell<Shared>,
    /// What the shared child says of itself, for the transport to repeat.
    info: OnceLock<RawJson>,
}

/// The conversation that clients without a session share.
#[derive(Debug)]
struct Shared {
    conversation: Conversation,
    discovery: Discovery,
}

impl Bridge {
    pub(crate) fn new(house: &Arc<House>) -> Self {
        Self { house: Arc::clone(house), shared: OnceCell::new(), info: OnceLock::new() }
    }

    async fn shared(&self, context: &Context) -> Result<&Shared, ErrorObject> {
        self.shared.get_or_try_init(|| self.open_shared(context)).await
    }

    /// The bridge itself is the client here. It declares nothing it could be asked for: nobody could say
    /// which client a question is meant for.
    async fn open_shared(&self, context: &Context) -> Result<Shared, ErrorObject> {
        let opening = json!({
            "protocolVersion": ProtocolVersion::NEWEST_SESSION.as_str(),
            "capabilities": {},
            "clientInfo": {"name": "mcp-http-bridge", "version": env!("CARGO_PKG_VERSION")},
        });
        let opening = RawJson::from_value(&opening).map_err(|_| ErrorObject::internal())?;
        let home = Home::Everybody { handle: context.handle() };
        let (conversation, result) = Conversation::open(&self.house, home, opening).await?;
        conversation.tell(INITIALIZED, None);
        let result: Value = result.read().map_err(|_| ErrorObject::internal())?;
        if let Ok(info) = RawJson::from_value(&result["serverInfo"]) {
            let _ = self.info.set(info);
        }
        Ok(Shared { conversation, discovery: discovery(result)? })
    }
}

/// What the shared child can do for clients without a session: not what it can only do for one of them.
fn discovery(mut result: Value) -> Result<Discovery, ErrorObject> {
    let mut capabilities = result["capabilities"].take();
    if let Some(capabilities) = capabilities.as_object_mut() {
        capabilities.remove("logging");
        capabilities.remove("tasks");
        if let Some(resources) = capabilities.get_mut("resources").and_then(Value::as_object_mut) {
            resources.remove("subscribe");
        }
    }
    let capabilities = RawJson::from_value(&capabilities).map_err(|_| ErrorObject::internal())?;
    let discovery = Discovery::new(capabilities);
    Ok(match result["instructions"].as_str() {
        Some(instructions) => discovery.instructions(instructions),
        None => discovery,
    })
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
    async fn initialize(&self, params: InitializeParams, context: Context, _: &S) -> Result<RawJson, ErrorObject> {
        let session = context.session().ok_or_else(ErrorObject::internal)?;
        let opening = params.raw.ok_or_else(ErrorObject::internal)?;
        let home = Home::Session { handle: context.handle(), id: session.id };
        let (conversation, result) = Conversation::open(&self.house, home, opening).await?;
        is_served(conversation.version())?;
        // It ends with the session, and the child with it.
        session.extensions().insert(conversation);
        Ok(result)
    }

    async fn call(&self, call: Call, _: &S) -> Result<RawJson, ErrorObject> {
        let Call { method, params, context, .. } = call;
        let peer = match context.session() {
            Some(session) => {
                let conversation = session.extensions().get::<Conversation>().ok_or_else(ErrorObject::internal)?;
                conversation.peer(self.house.settings.restarts).await?
            }
            // Nobody has anything to lose here.
            None => self.shared(&context).await?.conversation.peer(true).await?,
        };
        peer.call(&method, params, Some(context)).await
    }

    async fn discover(&self, context: Context, _: &S) -> Result<Discovery, ErrorObject> {
        Ok(self.shared(&context).await?.discovery.clone())
    }

    fn info(&self) -> Option<RawJson> {
        self.info.get().cloned()
    }

    async fn notified(&self, notice: Notice, _: &S) {
        let Some(session) = notice.context.session() else { return };
        if let Some(conversation) = session.extensions().get::<Conversation>() {
            conversation.tell(&notice.method, notice.params.as_ref());
        }
    }
}
