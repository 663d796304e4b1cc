//! Opening a session: reads `initialize` and negotiates the revision. An opening that fails leaves
//! no trace.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::Node;
use super::request::{Post, session_header};
use super::session::LiveSession;
use super::standalone::Standalone;
use crate::core::LogLine;
use crate::error::{Limit, Rejection, StoreError, StoreErrorKind};
use crate::identity::{Peer, Principal, SessionId, SessionInfo};
use crate::message::{
    Body, CAPABILITIES, CLIENT_INFO, Envelope, ErrorObject, INITIALIZE, InitializeParams, Kind, Oversized, Params,
    ProtocolVersion, RawJson, RequestId, check_client, shown, write,
};
use crate::outcome::{Outcome, Reply};
use crate::panics::Contained;
use crate::server::{Context, Initialize, Session};
use crate::settings::ResponseMode;
use crate::store::Create;

/// Handles a POST that names no session: an opening, or an error of the client.
pub(super) async fn without_session<S: Clone + Send + Sync + 'static>(
    post: Post<'_, S>,
    body: Body,
) -> Result<Reply, Rejection> {
    match body {
        Body::One(Envelope { kind: Kind::Request { id, method }, params }) if method == "initialize" => {
            open(post, id, params.map(Params::into_text)).await
        }
        Body::One(_) => Err(Rejection::SessionRequired),
        Body::Batch(elements) => {
            let opens =
                |envelope: &Envelope| matches!(&envelope.kind, Kind::Request { method, .. } if method == "initialize");
            let opening = elements.iter().flatten().any(opens);
            Err(if opening { Rejection::InitializeInBatch } else { Rejection::SessionRequired })
        }
    }
}

/// Rejects parameters of `initialize` that are too large. A session, or a server's own peer object,
/// stores parts of them for its lifetime.
pub(super) fn check_size(params: Option<&RawJson>) -> Result<(), Rejection> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Sized<'a> {
        #[serde(borrow, default)]
        client_info: Option<&'a RawValue>,
        #[serde(borrow, default)]
        capabilities: Option<&'a RawValue>,
    }
    let Some(params) = params.filter(|params| params.as_str().len() > CLIENT_INFO.min(CAPABILITIES)) else {
        return Ok(());
    };
    let sized: Option<Sized<'_>> = params.read_borrowed().ok();
    if let Some(Sized { client_info, capabilities }) = sized {
        check_client(client_info.map(RawValue::get), capabilities.map(RawValue::get)).map_err(|oversized| {
            Rejection::InvalidParams(match oversized {
                Oversized::ClientInfo => "`clientInfo` has more than 8 KiB",
                Oversized::Capabilities => "`capabilities` has more than 16 KiB",
            })
        })?;
    }
    if params.as_str().len() > INITIALIZE {
        return Err(Rejection::InvalidParams("the parameters of initialize have more than 32 KiB"));
    }
    Ok(())
}

/// Reads the parameters of `initialize`, and returns their text too.
pub(super) fn read_params(params: Option<RawJson>) -> Result<(InitializeParams, RawJson), ErrorObject> {
    let params = params.unwrap_or_else(RawJson::empty_object);
    let invalid = || {
        ErrorObject::invalid_params(
            "Invalid parameters of initialize: `protocolVersion` (a string) is required, `capabilities` and `clientInfo` are objects",
        )
    };
    // As a struct, serde would also accept an array, with the members by position.
    if !params.as_str().starts_with('{') {
        return Err(invalid());
    }
    let read = params.read().map_err(|error| {
        tracing::debug!(error = &*shown(&error.to_string()), "initialize with unreadable parameters");
        invalid()
    })?;
    Ok((read, params))
}

/// Returns the revision to speak: the requested session revision if it is served, else the newest
/// one served. Revisions without sessions are not opened by `initialize`.
pub(super) fn negotiate(node: &Node, requested: &str) -> ProtocolVersion {
    let asked = requested.parse().ok().filter(|version| node.speaks(*version));
    asked.unwrap_or_else(|| node.newest_version())
}

/// Why no session opens.
enum Failed {
    /// The transport rejects it.
    Refused(Rejection),
    /// The server or its hook answers with an error.
    Answered(ErrorObject),
}

impl From<Rejection> for Failed {
    fn from(rejection: Rejection) -> Self {
        Self::Refused(rejection)
    }
}

impl From<ErrorObject> for Failed {
    fn from(error: ErrorObject) -> Self {
        Self::Answered(error)
    }
}

async fn open<S: Clone + Send + Sync + 'static>(
    post: Post<'_, S>,
    id: RequestId,
    params: Option<RawJson>,
) -> Result<Reply, Rejection> {
    let node = post.node;
    match opened(post, params).await {
        Ok((session, result)) => {
            let outcome = in_form(node, write::answer(&id, &Ok(result)));
            Ok(Reply { session: session_header(&session), ..outcome.into() })
        }
        Err(Failed::Answered(error)) => Ok(in_form(node, write::answer(&id, &Err(error))).into()),
        Err(Failed::Refused(rejection)) => Err(rejection),
    }
}

/// Calls the server. Returns its result and the new session.
async fn opened<S: Clone + Send + Sync + 'static>(
    post: Post<'_, S>,
    params: Option<RawJson>,
) -> Result<(Arc<LiveSession>, RawJson), Failed> {
    let Post { node, server, state, incoming } = post;
    check_size(params.as_ref())?;
    let _permit = node.core.acquire(incoming.account(), 1)?;
    let (params, text) = read_params(params)?;
    let mut session = draft(node, incoming.principal, incoming.peer, &params);
    let context = Context::new(Arc::new(Standalone::new(node, &session)), None);
    let opening = Arc::clone(server).initialize(Initialize { params, text, parts: incoming.parts, context }, state);
    let result = Contained::new(opening).await.unwrap_or_else(|_| {
        if let Some(left_out) = node.core.log_line(LogLine::Panicked) {
            tracing::error!(left_out, "initialize panicked");
        }
        Err(ErrorObject::internal())
    })?;
    // A drain may have begun meanwhile, and may even be over.
    if node.core.is_draining() {
        return Err(Rejection::Draining.into());
    }
    let version = agreed(node, session.info.version, &result)?;
    if version != session.info.version {
        session = session.with_version(version);
    }
    keep(node, &session).await?;
    Ok((session, result))
}

/// Creates a session that is not yet known elsewhere.
fn draft(
    node: &Arc<Node>,
    principal: Option<Principal>,
    peer: Option<Peer>,
    params: &InitializeParams,
) -> Arc<LiveSession> {
    let info = SessionInfo {
        id: SessionId::random(),
        principal,
        peer: peer.filter(|_| node.core.settings.sessions.max_sessions_per_peer.is_some()),
        version: negotiate(node, &params.protocol_version),
        client: node.clients.share(&params.client_info),
        capabilities: node.capabilities.share(&params.capabilities),
        opened_at: SystemTime::now(),
    };
    Arc::new(LiveSession::draft(info, &node.member))
}

/// Returns the revision that the server chose, if it is served. A revision that is not served
/// cannot be spoken, so the client must not see an agreement on it.
pub(super) fn agreed(node: &Node, proposed: ProtocolVersion, result: &RawJson) -> Result<ProtocolVersion, ErrorObject> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Agreed<'a> {
        #[serde(borrow)]
        protocol_version: Cow<'a, str>,
    }
    if begins_with(proposed, result) {
        return Ok(proposed);
    }
    // A result without a revision is the server's own responsibility.
    let Ok(Agreed { protocol_version }) = result.read_borrowed() else { return Ok(proposed) };
    match protocol_version.parse() {
        Ok(version) if node.speaks(version) => Ok(version),
        _ => {
            if let Some(left_out) = node.core.log_line(LogLine::Revision) {
                tracing::error!(
                    version = &*shown(&protocol_version),
                    left_out,
                    "the server agreed to a protocol revision that is not served"
                );
            }
            let text = "The server speaks a protocol revision that is not served here";
            let error = ErrorObject::new(ErrorObject::INTERNAL_ERROR, text);
            Err(error.with_data(&json!({ "version": protocol_version })))
        }
    }
}

/// Returns `true` if a result begins with the revision, as most do. The rest need not be parsed
/// then.
fn begins_with(version: ProtocolVersion, result: &RawJson) -> bool {
    let rest = result.as_str().strip_prefix(r#"{"protocolVersion":""#);
    rest.and_then(|rest| rest.strip_prefix(version.as_str())).is_some_and(|rest| rest.starts_with('"'))
}

/// Creates the session in the engine. The hook may still reject it, and then no trace of it
/// remains.
async fn keep(node: &Arc<Node>, session: &Arc<LiveSession>) -> Result<(), Failed> {
    let create = Create { info: Arc::clone(&session.info), epoch: session.epoch };
    // If the client disconnects now, or the hook panics, the session must be removed.
    let mut guard = Unkept { node, session, created: true, kept: false };
    node.share_client(session);
    let evicted = node.core.engine.create(create).await.map_err(|error| {
        // An unreachable engine may have created the session anyway, and no client would use or end
        // it.
        guard.created = error.kind() == StoreErrorKind::Unavailable;
        rejection(node, &error)
    })?;
    node.core.closed(evicted);
    if let Some(hook) = &node.core.settings.sessions.opened {
        let welcome = Contained::new(hook(Session::new(Arc::clone(session) as _))).await;
        welcome.unwrap_or_else(|_| Err(ErrorObject::internal()))?;
    }
    guard.kept = true;
    if node.opened(session) { Ok(()) } else { Err(Rejection::SessionEnded.into()) }
}

fn rejection(node: &Node, error: &StoreError) -> Rejection {
    let policy = node.core.settings.policy();
    match error.kind() {
        StoreErrorKind::Full => Rejection::LimitReached { limit: Limit::Sessions, max: policy.max_sessions },
        StoreErrorKind::FullForPrincipal => {
            Rejection::LimitReached { limit: Limit::SessionsOfPrincipal, max: policy.max_sessions_per_principal }
        }
        StoreErrorKind::FullForPeer => {
            Rejection::LimitReached { limit: Limit::SessionsOfPeer, max: policy.max_sessions_per_peer }
        }
        _ => node.rejection(error),
    }
}

/// A session whose opening is not complete. Dropping it removes the session.
struct Unkept<'a> {
    node: &'a Arc<Node>,
    session: &'a Arc<LiveSession>,
    /// The engine may have created it.
    created: bool,
    kept: bool,
}

impl Drop for Unkept<'_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        self.node.forget(self.session.info.id);
        if self.created {
            let id = self.session.info.id;
            self.node.core.step_in_background(self.node.core.engine.discard_session(id));
        }
    }
}

/// Returns a single answer in the configured form.
pub(super) fn in_form(node: &Node, answer: bytes::Bytes) -> Outcome {
    match node.core.settings.streams.response_mode {
        ResponseMode::Sse => Outcome::ShortStream(Some(answer)),
        ResponseMode::Auto | ResponseMode::Json => Outcome::Json(answer),
    }
}
