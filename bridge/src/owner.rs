//! Decides where messages of a child go that are no answers: to the call they can only belong to, to the
//! session's standalone stream, or, where a child has many clients, to all of them.

use std::time::Duration;

use mcp_http::message::{ErrorObject, RawJson};
use mcp_http::server::{ClientError, Session};
use mcp_http::{McpHandle, SessionId};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use crate::calls::Calls;
use crate::peer::UNAVAILABLE;

/// How long a question waits for a stream to go on. Servers ask as soon as they are told that the client is
/// ready; the client opens its standalone stream in the same moment.
const STREAM_TIMEOUT: Duration = Duration::from_secs(2);

/// How often it is looked whether there is one.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Whose a child is.
#[derive(Debug, Clone)]
pub(crate) enum Owner {
    /// By its id: holding on to the session itself would keep it from ending.
    Session { handle: McpHandle, id: SessionId },
    /// The clients of 2026-07-28, all of them.
    Shared { handle: McpHandle },
}

impl Owner {
    /// A name for the log.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Session { id, .. } => format!("{id:?}"),
            Self::Shared { .. } => "shared".to_owned(),
        }
    }

    async fn session(&self) -> Option<Session> {
        match self {
            Self::Session { handle, id } => handle.session(*id).await,
            Self::Shared { .. } => None,
        }
    }

    /// Ends the session, if it is one's.
    pub(crate) async fn end(&self) {
        if let Self::Session { handle, id } = self {
            handle.end(*id).await;
        }
    }

    /// The hand on the service the child works for.
    pub(crate) fn handle(&self) -> &McpHandle {
        let (Self::Session { handle, .. } | Self::Shared { handle }) = self;
        handle
    }

    /// Takes a notification that names no call. A log message goes with the one call that runs: with a
    /// client that has no standalone stream open it would be lost otherwise.
    pub(crate) async fn tell(&self, calls: &Calls, method: &str, params: RawJson) {
        if let Self::Shared { handle } = self {
            return announce(handle, method, &params);
        }
        let only = (method == "notifications/message").then(|| only(calls.notifications())).flatten();
        if let Some(only) = only {
            only.put(method, params).await;
        } else if let Some(session) = self.session().await {
            session.notify(method, &params);
        }
    }

    /// Asks the client what the child asks.
    pub(crate) async fn ask(
        &self,
        calls: &Calls,
        method: &str,
        params: Option<RawJson>,
        within: Duration,
    ) -> Result<RawJson, ErrorObject> {
        if let Self::Shared { .. } = self {
            // That the peer lives, the bridge can say itself.
            return if method == "ping" { Ok(RawJson::empty_object()) } else { Err(nobody(method)) };
        }
        let params = params.unwrap_or_else(RawJson::empty_object);
        let deadline = Instant::now() + STREAM_TIMEOUT;
        let answered = loop {
            match self.put(calls, method, params.clone(), within).await {
                Err(ClientError::NoStream) if Instant::now() < deadline => sleep(POLL_INTERVAL).await,
                answered => break answered,
            }
        };
        match answered {
            Err(ClientError::NoStream | ClientError::Ended) if method == "ping" => Ok(RawJson::empty_object()),
            answered => answered.map_err(|error| refusal(&error)),
        }
    }

    /// In the one call that runs, else on the standalone stream, else in the call that began last, which is
    /// most likely the one the child asks for. No other call is held on to meanwhile.
    async fn put(
        &self,
        calls: &Calls,
        method: &str,
        params: RawJson,
        within: Duration,
    ) -> Result<RawJson, ClientError> {
        if let Some(only) = only(calls.running()) {
            match only.request(method.to_owned(), params.clone(), within).await {
                Err(ClientError::NoStream) => {}
                answered => return answered,
            }
        }
        let Some(session) = self.session().await else { return Err(ClientError::Ended) };
        match session.request(method.to_owned(), params.clone(), within).await {
            Err(ClientError::NoStream) => {}
            answered => return answered,
        }
        match calls.running().pop() {
            Some(last) => last.request(method.to_owned(), params, within).await,
            None => Err(ClientError::NoStream),
        }
    }
}

/// The one there is, if it is one.
pub(crate) fn only<T>(mut all: Vec<T>) -> Option<T> {
    all.pop().filter(|_| all.is_empty())
}

/// Clients of 2026-07-28 hear of changes where they listen for them. A log message is nobody's: it goes to
/// the bridge's own log.
fn announce(handle: &McpHandle, method: &str, params: &RawJson) {
    #[derive(Deserialize)]
    struct Updated {
        uri: String,
    }
    match method {
        "notifications/tools/list_changed" => handle.tools_changed(),
        "notifications/prompts/list_changed" => handle.prompts_changed(),
        "notifications/resources/list_changed" => handle.resources_changed(),
        "notifications/resources/updated" => {
            if let Ok(Updated { uri }) = params.read() {
                handle.resource_updated(uri);
            }
        }
        "notifications/message" => tracing::info!(params = params.as_str(), "the shared process logs"),
        _ => tracing::debug!(method, "a notification of the shared process is nobody's"),
    }
}

fn nobody(method: &str) -> ErrorObject {
    let text = format!("Of all clients of this process none can be asked: {method}");
    ErrorObject::new(ErrorObject::METHOD_NOT_FOUND, text)
}

fn refusal(error: &ClientError) -> ErrorObject {
    match error {
        ClientError::Refused(error) => error.clone(),
        other => ErrorObject::new(UNAVAILABLE, other.to_string()),
    }
}
