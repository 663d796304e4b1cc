//! Calls: which requests of a session are in flight, and the answers to requests to the client.

use super::future::Result;
use super::{EngineFuture, NodeId, StreamNo};
use crate::identity::{Principal, SessionId};
use crate::message::{RawJson, RequestId};

/// A store of the calls in flight, and of the requests to the client.
pub trait CallStore: Send + Sync + 'static {
    /// Registers the requests of a POST as in flight, all or none, and assigns them a stream.
    ///
    /// Fails with `Full` or `FullForPrincipal` at the limits of calls. Fails with `Conflict` if an
    /// id is in flight already and [`unique`](Begin::unique) is set. If the future is dropped, or
    /// fails with `Unavailable`, the engine undoes the operation: the caller does not know that the
    /// calls began, so they would never be answered. The same holds for
    /// [`attach`](super::StreamStore::attach).
    fn begin(&self, begin: Begin<'_>) -> EngineFuture<Result<Begun>>;

    /// Removes the requests of a stream from those in flight. If no response has closed the stream,
    /// it was abandoned: it is forgotten and its reader is detached. Repeating the operation is no
    /// error.
    ///
    /// The engine is responsible for this operation, for [`detach`](super::StreamStore::detach),
    /// [`withdraw_request`](CallStore::withdraw_request) and
    /// [`discard_session`](super::SessionStore::discard_session). While it is out of reach it
    /// queues them, and performs each later, once. They never fail with `Unavailable`, and the
    /// caller does not repeat them.
    fn finish(&self, session: SessionId, stream: StreamNo) -> EngineFuture<Result<()>>;

    /// Cancels a call on behalf of the client. Returns `true` if a call was found. If two calls in
    /// flight have the id, neither is cancelled, because the intended one cannot be known.
    fn cancel(&self, session: SessionId, id: &RequestId) -> EngineFuture<Result<bool>>;

    /// Returns the calls of a stream that were cancelled and are still in flight, for an owner that
    /// may have missed the signals. Fails with `NotFound` also if the stream has no calls in
    /// flight. An owner that still runs one of its calls runs it in vain.
    fn cancelled_calls(&self, session: SessionId, stream: StreamNo) -> EngineFuture<Result<Vec<RequestId>>>;

    /// Records a client's answer to a request to the client. The first answer wins; returns `true`
    /// if this was it. Fails with `NotFound` if no such request exists. An engine may fail with
    /// `Full` if the answers that have not been fetched would exceed [`Policy::session_bytes`](crate::store::Policy::session_bytes).
    fn answer_request(
        &self,
        session: SessionId,
        request: &str,
        outcome: std::result::Result<RawJson, RawJson>,
    ) -> EngineFuture<Result<bool>>;

    /// Returns the answer to a request to the client, if it has arrived; the request is forgotten
    /// then.
    fn take_answer(
        &self,
        session: SessionId,
        request: &str,
    ) -> EngineFuture<Result<Option<std::result::Result<RawJson, RawJson>>>>;

    /// Withdraws a request to the client, because the caller no longer waits for the answer. The
    /// operation is queued while the engine is out of reach, as [`finish`](CallStore::finish)
    /// is.
    fn withdraw_request(&self, session: SessionId, request: &str) -> EngineFuture<Result<()>>;
}

/// The parameters of [`CallStore::begin`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Begin<'a> {
    /// The session.
    pub session: SessionId,
    /// The principal that sends the requests.
    pub principal: Option<&'a Principal>,
    /// The node that will respond, and owns the stream.
    pub node: NodeId,
    /// The ids of the requests.
    pub ids: &'a [RequestId],
    /// If `true`, an id that is in flight already is rejected.
    pub unique: bool,
}

/// The result of [`CallStore::begin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Begun {
    /// The stream that was assigned to the calls.
    pub stream: StreamNo,
    /// The revision, as in [`Loaded`](super::Loaded).
    pub revision: u64,
}
