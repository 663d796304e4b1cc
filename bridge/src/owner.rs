//! The owner of a process: sends its notifications and requests to the right client stream. That is
//! the call they belong to, the session's GET stream, or, for the shared process, all subscribers.

use std::time::Duration;

use mcp_http::message::{ErrorObject, RawJson};
use mcp_http::server::{ClientError, Session};
use mcp_http::{McpHandle, SessionId};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use crate::calls::Calls;
use crate::connection::UNAVAILABLE;

/// How long a client request waits for a stream. Servers send requests right after
/// `notifications/initialized`, while the client is opening its GET stream.
const STREAM_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a waiting client request checks for a stream.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// The clients a process works for.
#[derive(Debug, Clone)]
pub(crate) enum Owner {
    /// One session, by its id: holding the session itself would keep it alive.
    Session { handle: McpHandle, id: SessionId },
    /// All clients of 2026-07-28.
    Shared { handle: McpHandle },
}

impl Owner {
    /// Returns a name for the log.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Session { id, .. } => format!("{id:?}"),
            Self::Shared { .. } => "shared".to_owned(),
        }
    }

    async fn session(&self) -> Option<Session> {
        match self {
            Self::Session { handle, id } => handle.session(*id).await.ok().flatten(),
            Self::Shared { .. } => None,
        }
    }

    /// Ends the session, if the owner is one.
    pub(crate) async fn end_session(&self) {
        if let Self::Session { handle, id } = self
            && let Err(error) = handle.end_session(*id).await
        {
            tracing::warn!(error = &error as &dyn std::error::Error, session = ?id, "the session could not be ended");
        }
    }

    /// Returns the handle of the service.
    pub(crate) fn handle(&self) -> &McpHandle {
        let (Self::Session { handle, .. } | Self::Shared { handle }) = self;
        handle
    }

    /// Forwards a notification that names no call. If exactly one call runs, a log message goes
    /// into that call: a client without an open GET stream would not receive it otherwise.
    pub(crate) async fn forward_notification(&self, calls: &Calls, method: &str, params: RawJson) {
        if let Self::Shared { handle } = self {
            return announce(handle, method, &params);
        }
        let call = (method == "notifications/message").then(|| single(calls.notification_senders())).flatten();
        if let Some(call) = call {
            call.send(method, params).await;
        } else if let Some(session) = self.session().await {
            session.notify(method, &params);
        }
    }

    /// Forwards a request of the process to the client, and returns the client's answer.
    pub(crate) async fn request_client(
        &self,
        calls: &Calls,
        method: &str,
        params: Option<RawJson>,
        timeout: Duration,
    ) -> Result<RawJson, ErrorObject> {
        if let Self::Shared { .. } = self {
            // The bridge answers a ping itself: it is the client of the shared process.
            return if method == "ping" { Ok(RawJson::empty_object()) } else { Err(no_single_client(method)) };
        }
        let params = params.unwrap_or_else(RawJson::empty_object);
        let deadline = Instant::now() + STREAM_TIMEOUT;
        let answer = loop {
            match self.send_request(calls, method, params.clone(), timeout).await {
                Err(ClientError::NoStream) if Instant::now() < deadline => sleep(POLL_INTERVAL).await,
                answer => break answer,
            }
        };
        match answer {
            Err(ClientError::NoStream | ClientError::Ended) if method == "ping" => Ok(RawJson::empty_object()),
            answer => answer.map_err(|error| client_error(&error)),
        }
    }

    /// Sends a request on the stream of the only call that runs, or else on the GET stream, or else
    /// on the stream of the newest call, which most likely caused the request. Keeps no other call
    /// alive meanwhile.
    async fn send_request(
        &self,
        calls: &Calls,
        method: &str,
        params: RawJson,
        timeout: Duration,
    ) -> Result<RawJson, ClientError> {
        if let Some(call) = single(calls.contexts()) {
            match call.request(method.to_owned(), params.clone(), timeout).await {
                Err(ClientError::NoStream) => {}
                answer => return answer,
            }
        }
        let Some(session) = self.session().await else { return Err(ClientError::Ended) };
        match session.request(method.to_owned(), params.clone(), timeout).await {
            Err(ClientError::NoStream) => {}
            answer => return answer,
        }
        match calls.contexts().pop() {
            Some(newest) => newest.request(method.to_owned(), params, timeout).await,
            None => Err(ClientError::NoStream),
        }
    }
}

/// Returns the item, if there is exactly one.
fn single<T>(mut items: Vec<T>) -> Option<T> {
    items.pop().filter(|_| items.is_empty())
}

/// Announces a change to clients of 2026-07-28, which receive it if they subscribed. A log message
/// belongs to no client, so it goes to the log of the bridge.
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
        "notifications/message" => tracing::info!(params = params.as_str(), "log message of the shared process"),
        _ => tracing::debug!(method, "dropped a notification of the shared process: it names no client"),
    }
}

fn no_single_client(method: &str) -> ErrorObject {
    let text = format!("Several clients share this process, so it cannot send them requests: {method}");
    ErrorObject::new(ErrorObject::METHOD_NOT_FOUND, text)
}

fn client_error(error: &ClientError) -> ErrorObject {
    match error {
        ClientError::Refused(error) => error.clone(),
        other => ErrorObject::new(UNAVAILABLE, other.to_string()),
    }
}
