//! Decides how a session opens: who asks, what is agreed, and that nothing is left of an opening
//! that fails.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::Node;
use super::post::{Post, session_header};
use super::session::LiveSession;
use super::standalone::Standalone;
use crate::error::{Rejection, StoreError, StoreErrorKind};
use crate::hall::LogLine;
use crate::identity::{Peer, Principal, SessionId, SessionInfo};
use crate::message::{
    Body, CAPABILITIES, CLIENT_INFO, Envelope, ErrorObject, INITIALIZE, InitializeParams, Kind, Oversized, Params,
    ProtocolVersion, RawJson, RequestId, check_client, shown, write,
};
use crate::outcome::{Outcome, Reply};
use crate::panics::Contained;
use crate::server::{Context, Initialize, Session};
use crate::settings::ResponseMode;
use crate::store::{Create, EndReason};

/// A POST that names no session: an opening, or a mistake.
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

/// Refuses parameters of `initialize` that are larger than what a session, or a server's own peer of it,
/// may keep of them for its life.
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

/// Reads the parameters of `initialize`, and keeps their text.
pub(super) fn read_params(params: Option<RawJson>) -> Result<(InitializeParams, RawJson), ErrorObject> {
    let params = params.unwrap_or_else(RawJson::empty_object);
    let invalid = || {
        ErrorObject::invalid_params(
            "Invalid parameters of initialize: `protocolVersion` (a string) is required, `capabilities` and `clientInfo` are objects",
        )
    };
    // Read as a struct, an array would be the members by position.
    if !params.as_str().starts_with('{') {
        return Err(invalid());
    }
    let read = params.read().map_err(|error| {
        tracing::debug!(error = &*shown(&error.to_string()), "initialize with unreadable parameters");
        invalid()
    })?;
    Ok((read, params))
}

/// The revision to speak: the session revision asked for where it is served, else the newest that
/// is. A later one cannot be opened like this.
pub(super) fn negotiate(node: &Node, requested: &str) -> ProtocolVersion {
    let asked = requested.parse().ok().filter(|version| node.speaks(*version));
    asked.unwrap_or_else(|| node.newest_version())
}

/// Why no session opens.
enum Failed {
    /// The transport refuses it.
    Refused(Rejection),
    /// The server, or its hook, answers with an error.
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

/// Asks the server; its result, and the session that is kept for it.
async fn opened<S: Clone + Send + Sync + 'static>(
    post: Post<'_, S>,
    params: Option<RawJson>,
) -> Result<(Arc<LiveSession>, RawJson), Failed> {
    let Post { node, server, state, incoming } = post;
    check_size(params.as_ref())?;
    let _permit = node.let_in(incoming.account(), 1)?;
    let (params, text) = read_params(params)?;
    let mut session = draft(node, incoming.principal, incoming.peer, &params);
    let context = Context::new(Arc::new(Standalone::new(&session)), None);
    let opening = Arc::clone(server).initialize(Initialize { params, text, parts: incoming.parts, context }, state);
    let result = Contained::new(opening).await.unwrap_or_else(|_| {
        if let Some(left_out) = node.log_line(LogLine::Panicked) {
            tracing::error!(left_out, "initialize panicked");
        }
        Err(ErrorObject::internal())
    })?;
    // The drain may have begun in the meantime, and even be over.
    if node.is_draining() {
        return Err(Rejection::Draining.into());
    }
    let version = agreed(node, session.info.version, &result)?;
    if version != session.info.version {
        session = session.with_version(version);
    }
    keep(node, &session).await?;
    Ok((session, result))
}

/// A session nobody else knows of yet.
fn draft(
    node: &Arc<Node>,
    principal: Option<Principal>,
    peer: Option<Peer>,
    params: &InitializeParams,
) -> Arc<LiveSession> {
    let info = SessionInfo {
        id: SessionId::random(),
        principal,
        peer: peer.filter(|_| node.settings.sessions.max_per_peer.is_some()),
        version: negotiate(node, &params.protocol_version),
        client: node.clients.share(&params.client_info),
        capabilities: node.capabilities.share(&params.capabilities),
        opened_at: SystemTime::now(),
    };
    Arc::new(LiveSession::draft(info, node))
}

/// The server has the last word on the revision, among those served. One that is not served cannot be spoken,
/// so no client is told that it was agreed on.
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
    // A result that names none is the server's own affair.
    let Ok(Agreed { protocol_version }) = result.read_borrowed() else { return Ok(proposed) };
    match protocol_version.parse() {
        Ok(version) if node.speaks(version) => Ok(version),
        _ => {
            if let Some(left_out) = node.log_line(LogLine::Revision) {
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

/// Whether a result begins with the revision, which most do: the rest need not be read then.
fn begins_with(version: ProtocolVersion, result: &RawJson) -> bool {
    let rest = result.as_str().strip_prefix(r#"{"protocolVersion":""#);
    rest.and_then(|rest| rest.strip_prefix(version.as_str())).is_some_and(|rest| rest.starts_with('"'))
}

/// Makes the session known. The hook may still refuse it; then nothing of it is left.
async fn keep(node: &Arc<Node>, session: &Arc<LiveSession>) -> Result<(), Failed> {
    let create = Create { info: Arc::clone(&session.info), epoch: session.epoch };
    // A client that leaves now, or a hook that panics, must not leave the session behind.
    let mut guard = Unkept { node, session, created: true, kept: false };
    node.know(session);
    let evicted = node.engine.create(create).await.map_err(|error| {
        // Out of reach it may have it all the same, and nobody would ever ask for it.
        guard.created = error.kind() == StoreErrorKind::Unavailable;
        refusal(node, &error)
    })?;
    node.closed(evicted);
    if let Some(hook) = &node.settings.sessions.opened {
        let welcome = Contained::new(hook(Session::new(Arc::clone(session) as _))).await;
        welcome.unwrap_or_else(|_| Err(ErrorObject::internal()))?;
    }
    guard.kept = true;
    if node.opened(session) { Ok(()) } else { Err(Rejection::SessionEnded.into()) }
}

fn refusal(node: &Node, error: &StoreError) -> Rejection {
    let policy = node.settings.policy();
    match error.kind() {
        StoreErrorKind::Full => Rejection::TooManySessions { limit: policy.max_sessions },
        StoreErrorKind::FullForPrincipal => {
            Rejection::TooManySessionsOfPrincipal { limit: policy.max_sessions_per_principal }
        }
        StoreErrorKind::FullForPeer => Rejection::TooManySessionsOfPeer { limit: policy.max_sessions_per_peer },
        _ => node.refusal(error),
    }
}

/// A session that was not welcomed yet.
struct Unkept<'a> {
    node: &'a Arc<Node>,
    session: &'a Arc<LiveSession>,
    /// The engine may have it.
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
            self.node.give_back(move |engine| engine.end(id, EndReason::Closed));
        }
    }
}

/// One answer in the form the service promised.
pub(super) fn in_form(node: &Node, answer: bytes::Bytes) -> Outcome {
    match node.settings.streams.response_mode {
        ResponseMode::Sse => Outcome::ShortStream(Some(answer)),
        ResponseMode::Auto | ResponseMode::Json => Outcome::Json(answer),
    }
}
