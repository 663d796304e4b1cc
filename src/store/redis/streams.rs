//! Streams: the operations on events, readers and client requests.

use std::sync::Arc;
use std::time::Duration;

use super::link::{Call, number, size};
use super::sessions::json;
use super::{Inner, Outcome, Result, bells, scripts};
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::SessionId;
use crate::store::log::TAKEN_OVER_RETRY;
use crate::store::{Append, Appended, Attach, Event, EventKind, NodeId, Page, Stored, StreamNo};

impl Inner {
    pub(super) async fn append(&self, append: &Append) -> Result<Appended> {
        let names = self.link.names();
        let session = names.session(append.session);
        let mut call = self
            .link
            .call(&scripts::APPEND)
            .arg(&session)
            .arg(append.stream)
            .arg(bells::text(append.node))
            .arg(number(append.first))
            .arg(u8::from(append.close));
        call = self.bounds(call).patient();
        for event in &append.events {
            call = call.arg(kind(event)).arg(&*names.said.close(&session, &event.payload)?);
        }
        self.appended(call).await
    }

    pub(super) async fn publish(&self, session: SessionId, node: NodeId, event: &Event) -> Result<Appended> {
        let session = self.link.names().session(session);
        let call = self
            .link
            .call_with(&scripts::PUBLISH, &self.link.token())
            .arg(&session)
            .arg(bells::text(node))
            .arg(kind(event))
            .arg(&*self.link.names().said.close(&session, &event.payload)?);
        self.appended(self.bounds(call).patient()).await
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
        let mut reply = self.link.take(call).await?;
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
        let link = &self.link;
        let (token, session, node) = (link.token(), link.names().session(attach.session), bells::text(attach.node));
        let call = link
            .call_with(&scripts::ATTACH, &token)
            .arg(&session)
            .arg(link.names().principal(attach.principal))
            .arg(attach.stream)
            .arg(&node)
            .arg(attach.after.map(|after| number(after).to_string()).unwrap_or_default())
            .arg(u8::from(attach.takeover))
            .arg(size(self.policy().max_streams))
            .arg(millis(Some(TAKEN_OVER_RETRY)));
        let back = link.call(&scripts::DETACH).arg(&session).arg(attach.stream).arg("").arg(&node).arg(&token);
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
        let session = self.link.names().session(session);
        let call = self
            .link
            .call(&scripts::READ)
            .arg(&session)
            .arg(stream)
            .arg(generation)
            .arg(number(after))
            .arg(size(max_bytes));
        // The response is already open, so it may wait for the server as long as a message does.
        let mut reply = self.link.take(call.patient()).await?;
        let (tail, closed) = (reply.number()?, reply.flag()?);
        let mut events = Vec::new();
        let mut values = super::Reply::of(redis::Value::Array(reply.list()?.collect()))?;
        while let Some(redis::Value::Int(seq)) = values.next() {
            let seq = u64::try_from(seq).map_err(|error| StoreError::because(StoreErrorKind::Corrupt, error))?;
            let payload = self.link.names().said.open(&session, values.bytes()?)?.into();
            events.push(Stored { seq, payload });
        }
        Ok(Page { events, tail, closed })
    }

    pub(super) async fn detach(&self, session: SessionId, stream: StreamNo, generation: u32) -> Result<()> {
        let call = self.link.call(&scripts::DETACH).arg(self.link.names().session(session));
        self.give_back(call.arg(stream).arg(generation).arg("").arg("")).await
    }

    pub(super) async fn hang_up(&self, session: SessionId, stream: StreamNo, retry: Option<Duration>) -> Result<()> {
        let call = self.link.call(&scripts::HANG_UP).arg(self.link.names().session(session));
        self.link.take(call.arg(stream).arg(millis(retry))).await.map(drop)
    }

    pub(super) async fn answer(&self, session: SessionId, question: &str, outcome: &Outcome) -> Result<bool> {
        let (kind, value) = match outcome {
            Ok(value) => (GIVEN, value),
            Err(error) => (REFUSED, error),
        };
        let (link, session) = (Arc::clone(&self.link), self.link.names().session(session));
        let call = link
            .call_with(&scripts::ANSWER, &link.token())
            .arg(&session)
            .arg(question)
            .arg(kind)
            .arg(&*link.names().said.close(&session, value.as_str().as_bytes())?)
            .arg(size(self.policy().session_bytes));
        self.to_the_end(async move { link.take(call).await?.flag() }).await
    }

    pub(super) async fn take(&self, session: SessionId, question: &str) -> Result<Option<Outcome>> {
        let session = self.link.names().session(session);
        let call = self.link.call_with(&scripts::TAKE, &self.link.token()).silent();
        let call = call.arg(&session).arg(question).arg("take").patient();
        let mut reply = self.link.take(call).await?;
        let Some(kind) = reply.maybe_bytes()? else { return Ok(None) };
        let value = json(self.link.names().said.open(&session, reply.bytes()?)?)?;
        Ok(Some(if kind == GIVEN.as_bytes() { Ok(value) } else { Err(value) }))
    }

    pub(super) async fn withdraw(&self, session: SessionId, question: &str) -> Result<()> {
        let call = self.link.call(&scripts::TAKE).silent().arg(self.link.names().session(session));
        self.give_back(call.arg(question).arg("withdraw")).await
    }
}

/// The kinds of a client's answer: a result, or an error.
const GIVEN: &str = "given";
const REFUSED: &str = "refused";

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
