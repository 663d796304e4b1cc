//! Streams: the operations on events, readers and client requests.

use std::sync::Arc;
use std::time::Duration;

use super::client::{Call, number, size};
use super::sessions::json;
use super::{Inner, Outcome, Result, scripts, signals};
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::SessionId;
use crate::store::log::TAKEN_OVER_RETRY;
use crate::store::{Append, Appended, Attach, Event, EventKind, NodeId, Page, Stored, StreamNo};

impl Inner {
    pub(super) async fn append(&self, append: &Append) -> Result<Appended> {
        let pseudonyms = self.client.names();
        let session = pseudonyms.session(append.session);
        let mut call = self
            .client
            .call(&scripts::APPEND)
            .arg(&session)
            .arg(append.stream)
            .arg(signals::text(append.node))
            .arg(number(append.first))
            .arg(u8::from(append.close));
        call = self.bounds(call).retry_long();
        for event in &append.events {
            call = call.arg(kind(event)).arg(&*pseudonyms.said.close(&session, &event.payload)?);
        }
        self.appended(call).await
    }

    pub(super) async fn publish(&self, session: SessionId, node: NodeId, event: &Event) -> Result<Appended> {
        let session = self.client.names().session(session);
        let call = self
            .client
            .call_with(&scripts::PUBLISH, &self.client.token())
            .arg(&session)
            .arg(signals::text(node))
            .arg(kind(event))
            .arg(&*self.client.names().said.close(&session, &event.payload)?);
        self.appended(self.bounds(call).retry_long()).await
    }

    /// Adds the bounds of a log, of a session and of all sessions.
    pub(super) fn bounds(&self, call: Call) -> Call {
        let policy = self.policy();
        call.arg(size(policy.stream_events))
            .arg(size(policy.stream_bytes))
            .arg(size(policy.session_bytes))
            .arg(size(policy.answer_bytes))
            .arg(size(policy.finished_streams))
            .arg(size(policy.kept_bytes))
    }

    async fn appended(&self, call: Call) -> Result<Appended> {
        let mut reply = self.client.take(call).await?;
        Ok(Appended {
            read: reply.flag()?,
            unread: reply.number()?,
            dropped: reply.number()?,
            lost: reply.number()?,
            cancelled: reply.flag()?,
        })
    }

    /// Returns the call, and the call that undoes it.
    pub(super) fn attach(&self, attach: &Attach<'_>) -> (Call, Call) {
        let client = &self.client;
        let (token, session, node) =
            (client.token(), client.names().session(attach.session), signals::text(attach.node));
        let call = client
            .call_with(&scripts::ATTACH, &token)
            .arg(&session)
            .arg(client.names().principal(attach.principal))
            .arg(attach.stream)
            .arg(&node)
            .arg(attach.after.map(|after| number(after).to_string()).unwrap_or_default())
            .arg(u8::from(attach.takeover))
            .arg(size(self.policy().max_streams))
            .arg(millis(Some(TAKEN_OVER_RETRY)));
        let back = client.call(&scripts::DETACH).arg(&session).arg(attach.stream).arg("").arg(&node).arg(&token);
        (call, back)
    }

    pub(super) async fn read(
        &self,
        session: SessionId,
        stream: StreamNo,
        generation: u32,
        after: u64,
        max_bytes: usize,
    ) -> Result<Page> {
        let session = self.client.names().session(session);
        let call = self
            .client
            .call(&scripts::READ)
            .arg(&session)
            .arg(stream)
            .arg(generation)
            .arg(number(after))
            .arg(size(max_bytes));
        // The response is already open, so it may wait for the server as long as a message does.
        let mut reply = self.client.take(call.retry_long()).await?;
        let (tail, closed) = (reply.number()?, reply.flag()?);
        let mut events = Vec::new();
        let mut values = super::Reply::of(redis::Value::Array(reply.list()?.collect()))?;
        while let Some(redis::Value::Int(seq)) = values.next() {
            let seq = u64::try_from(seq).map_err(|error| StoreError::because(StoreErrorKind::Corrupt, error))?;
            let payload = self.client.names().said.open(&session, values.bytes()?)?.into();
            events.push(Stored { seq, payload });
        }
        Ok(Page { events, tail, closed })
    }

    pub(super) async fn detach(&self, session: SessionId, stream: StreamNo, generation: u32) -> Result<()> {
        let call = self.client.call(&scripts::DETACH).arg(self.client.names().session(session));
        self.undo(call.arg(stream).arg(generation).arg("").arg("")).await
    }

    pub(super) async fn request_detach(
        &self,
        session: SessionId,
        stream: StreamNo,
        retry: Option<Duration>,
    ) -> Result<()> {
        let call = self.client.call(&scripts::REQUEST_DETACH).arg(self.client.names().session(session));
        self.client.take(call.arg(stream).arg(millis(retry))).await.map(drop)
    }

    pub(super) async fn answer(&self, session: SessionId, request: &str, outcome: &Outcome) -> Result<bool> {
        let (kind, value) = match outcome {
            Ok(value) => (GIVEN, value),
            Err(error) => (REJECTED, error),
        };
        let (client, session) = (Arc::clone(&self.client), self.client.names().session(session));
        let call = client
            .call_with(&scripts::ANSWER_REQUEST, &client.token())
            .arg(&session)
            .arg(request)
            .arg(kind)
            .arg(&*client.names().said.close(&session, value.as_str().as_bytes())?)
            .arg(size(self.policy().session_bytes));
        self.to_the_end(async move { client.take(call).await?.flag() }).await
    }

    pub(super) async fn take(&self, session: SessionId, request: &str) -> Result<Option<Outcome>> {
        let session = self.client.names().session(session);
        let call = self.client.call_with(&scripts::TAKE_ANSWER, &self.client.token()).silent();
        let call = call.arg(&session).arg(request).arg("take").retry_long();
        let mut reply = self.client.take(call).await?;
        let Some(kind) = reply.maybe_bytes()? else { return Ok(None) };
        let value = json(self.client.names().said.open(&session, reply.bytes()?)?)?;
        Ok(Some(if kind == GIVEN.as_bytes() { Ok(value) } else { Err(value) }))
    }

    pub(super) async fn withdraw(&self, session: SessionId, request: &str) -> Result<()> {
        let call = self.client.call(&scripts::TAKE_ANSWER).silent().arg(self.client.names().session(session));
        self.undo(call.arg(request).arg("withdraw")).await
    }
}

/// The kinds of a client's answer: a result, or an error.
const GIVEN: &str = "given";
const REJECTED: &str = "refused";

/// Returns the kind of an event as scripts name it.
fn kind(event: &Event) -> String {
    match &event.kind {
        EventKind::Notification => "n".to_owned(),
        EventKind::Response => "r".to_owned(),
        EventKind::Request(id) => format!("q{id}"),
    }
}

fn millis(retry: Option<Duration>) -> String {
    retry.map(|retry| retry.as_millis().to_string()).unwrap_or_default()
}
