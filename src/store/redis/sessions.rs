//! Sessions: the operations on whole sessions, their calls and their state.

use std::sync::Arc;
use std::time::Duration;

use redis::{Value, cmd};

use super::client::{Call, micros, number, size};
use super::reply::Reply;
use super::{Inner, Result, scripts, signals};
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::{SessionId, SessionInfo};
use crate::message::{RawJson, RequestId};
use crate::store::{
    Begin, Create, EndReason, Ended, Loaded, NodeId, SessionSummary, SessionUpdate, StateValue, StreamNo,
};

/// Maximum number of sessions that one sweep script takes from each queue.
const CONCURRENCY: usize = 64;

impl Inner {
    pub(super) async fn create(&self, create: &Create) -> Result<Vec<Ended>> {
        let (pseudonyms, policy, account) = (&self.client.names(), self.policy(), create.info.account());
        let limit_of_one = account.as_ref().map_or(usize::MAX, |account| policy.share_of(account).sessions);
        let call = self
            .client
            .call_with(&scripts::CREATE, &self.client.token())
            .silent()
            .arg(pseudonyms.session(create.info.id))
            .arg(pseudonyms.seal(&create.info)?)
            .arg(pseudonyms.principal(create.info.principal.as_ref()))
            .arg(create.epoch)
            .arg(size(policy.max_sessions))
            .arg(size(limit_of_one))
            .arg(pseudonyms.account(account.as_ref()));
        let evicted = self.client.take(call).await?.list()?;
        Ok(evicted.filter_map(|row| self.ended(row, Some(EndReason::Evicted))).collect())
    }

    pub(super) async fn load(&self, session: SessionId, principal: String) -> Result<Loaded> {
        let name = self.client.names().session(session);
        let mut reply = self.client.take(self.client.call(&scripts::LOAD).silent().arg(&name).arg(principal)).await?;
        let info = self.client.names().open(&reply.bytes()?, &name)?;
        Ok(Loaded { info: Arc::new(info), epoch: reply.number()?, revision: reply.number()? })
    }

    /// Returns the call, and the call that undoes it.
    pub(super) fn begin(&self, begin: &Begin<'_>) -> (Call, Call) {
        let (client, policy) = (&self.client, self.policy());
        let (token, session, node) = (client.token(), client.names().session(begin.session), signals::text(begin.node));
        let mut call = client
            .call_with(&scripts::BEGIN, &token)
            .silent()
            .arg(&session)
            .arg(client.names().principal(begin.principal))
            .arg(&node)
            .arg(u8::from(begin.unique))
            .arg(size(policy.max_calls))
            .arg(size(policy.max_calls_per_principal));
        for id in begin.ids {
            call = call.arg(id.as_json()).arg(&*id.canonical());
        }
        let back = client.call(&scripts::FINISH).arg(&session).arg("").arg(&node).arg(&token);
        (call, back)
    }

    pub(super) async fn finish(&self, session: SessionId, stream: StreamNo) -> Result<()> {
        self.undo(self.client.call(&scripts::FINISH).arg(self.client.names().session(session)).arg(stream)).await
    }

    pub(super) async fn cancel(&self, session: SessionId, id: &str) -> Result<bool> {
        let client = Arc::clone(&self.client);
        let call = client.call(&scripts::CANCEL).arg(client.names().session(session)).arg(id);
        self.to_the_end(async move { client.take(call).await?.flag() }).await
    }

    pub(super) async fn cancelled(&self, session: SessionId, stream: StreamNo) -> Result<Vec<RequestId>> {
        let call = self.client.call(&scripts::CANCELLED).silent().arg(self.client.names().session(session)).arg(stream);
        let mut ids = Reply::of(Value::Array(self.client.take(call).await?.list()?.collect()))?;
        let mut cancelled = Vec::new();
        while let Some(id) = ids.maybe_bytes()? {
            let id = String::from_utf8(id).ok().and_then(|id| id.parse().ok());
            cancelled.push(id.ok_or_else(|| StoreError::new(StoreErrorKind::Corrupt))?);
        }
        Ok(cancelled)
    }

    pub(super) async fn load_state(&self, session: SessionId, key: &str) -> Result<(Option<RawJson>, u64)> {
        let session = self.client.names().session(session);
        let mut reply = self.client.take(self.client.call(&scripts::STATE).silent().arg(&session).arg(key)).await?;
        let version = reply.number()?;
        let value = reply.maybe_bytes()?.map(|value| self.client.names().said.open(&session, value)).transpose()?;
        Ok((value.map(json).transpose()?, version))
    }

    pub(super) async fn load_states(
        &self,
        session: SessionId,
        prefix: &str,
        known: &[(String, u64)],
    ) -> Result<Vec<StateValue>> {
        let session = self.client.names().session(session);
        let call = self.client.call(&scripts::STATES).silent().arg(&session).arg(prefix);
        let call = known.iter().fold(call, |call, (key, version)| call.arg(key).arg(number(*version)));
        let mut rows = Reply::of(Value::Array(self.client.take(call).await?.list()?.collect()))?;
        let mut values = Vec::new();
        while let Some(key) = rows.maybe_bytes()? {
            let key = String::from_utf8(key).map_err(|error| StoreError::because(StoreErrorKind::Corrupt, error))?;
            let version = rows.number()?;
            let value = json(self.client.names().said.open(&session, rows.bytes()?)?)?;
            values.push(StateValue { key: key.into(), value, version });
        }
        Ok(values)
    }

    pub(super) async fn store_state(
        &self,
        session: SessionId,
        key: &str,
        value: &RawJson,
        version: u64,
    ) -> Result<bool> {
        let session = self.client.names().session(session);
        let call = self
            .client
            .call_with(&scripts::STATE, &self.client.token())
            .arg(&session)
            .arg(key)
            .arg(number(version))
            .arg(&*self.client.names().said.close(&session, value.as_str().as_bytes())?);
        self.client.take(call).await?.flag()
    }

    pub(super) async fn end(&self, session: SessionId, reason: EndReason) -> Result<Ended> {
        let name = self.client.names().session(session);
        let call = self.client.call_with(&scripts::END, &self.client.token()).arg(&name).arg(reason.as_str());
        let info = self.client.names().open(&self.client.take(call).await?.bytes()?, &name)?;
        Ok(Ended { info: Arc::new(info), reason })
    }

    pub(super) async fn discard(&self, session: SessionId) -> Result<()> {
        let name = self.client.names().session(session);
        let call = self.client.call_with(&scripts::END, &self.client.token()).arg(name);
        match self.undo(call.arg(EndReason::Closed.as_str())).await {
            Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    pub(super) async fn expire(&self) -> Result<Vec<Ended>> {
        let policy = self.policy();
        let limit = |limit: Option<Duration>| limit.map(|limit| micros(limit).to_string()).unwrap_or_default();
        let mut ended = Vec::new();
        loop {
            let call = self
                .client
                .call_with(&scripts::EXPIRE, &self.client.token())
                .arg(limit(policy.idle_timeout))
                .arg(limit(policy.lifetime))
                .arg(micros(policy.finished_for))
                .arg(CONCURRENCY);
            match self.client.take(call).await {
                Ok(mut reply) => {
                    let more = reply.flag()?;
                    ended.extend(reply.list()?.filter_map(|row| self.ended(row, None)));
                    if !more {
                        return Ok(ended);
                    }
                }
                // The caller must learn of the sessions that earlier rounds ended.
                Err(_) if !ended.is_empty() => return Ok(ended),
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads a session that a script removed. A session that cannot be read is gone anyway.
    fn ended(&self, row: Value, reason: Option<EndReason>) -> Option<Ended> {
        let read = || {
            let mut row = Reply::of(row)?;
            let (name, info) = (row.text()?, row.bytes()?);
            let reason = match reason {
                Some(reason) => reason,
                None => signals::reason(&row.text()?).ok_or_else(|| StoreError::new(StoreErrorKind::Corrupt))?,
            };
            Ok(Ended { info: Arc::new(self.client.names().open(&info, &name)?), reason })
        };
        read()
            .inspect_err(|error: &StoreError| {
                tracing::warn!(error = error as &dyn std::error::Error, "a session that ended cannot be read");
            })
            .ok()
    }

    pub(super) async fn broadcast(&self, session: SessionId, node: NodeId, update: SessionUpdate) -> Result<()> {
        let call = self
            .client
            .call(&scripts::BROADCAST)
            .silent()
            .arg(signals::text(node))
            .arg(self.client.names().session(session));
        self.client.take(call.arg(signals::update_text(update))).await.map(drop)
    }

    /// Lists the sessions. One that begins or ends meanwhile may be missing or not; every other one
    /// is listed once.
    pub(super) async fn list(&self) -> Result<Vec<SessionSummary>> {
        let mut list = Vec::new();
        let (mut name, mut age) = (String::new(), "-inf".to_owned());
        loop {
            let call = self.client.call(&scripts::LIST).silent().arg(&name).arg(&age);
            let mut reply = self.client.take(call).await?;
            list.extend(reply.list()?.filter_map(|row| self.summary(row)));
            let Some(last) = reply.maybe_bytes()? else { return Ok(list) };
            name = String::from_utf8(last).map_err(|error| StoreError::because(StoreErrorKind::Corrupt, error))?;
            age = reply.text()?;
        }
    }

    /// Reads a session of a list. One that cannot be read does not hide the others.
    fn summary(&self, row: Value) -> Option<SessionSummary> {
        let read = || {
            let mut row = Reply::of(row)?;
            let name = row.text()?;
            let info = Arc::new(self.client.names().open(&row.bytes()?, &name)?);
            let idle = Duration::from_micros(row.number()?);
            Ok(SessionSummary { info, idle, calls: row.number()?, readers: row.number()?, bytes: row.number()? })
        };
        read()
            .inspect_err(|error: &StoreError| {
                tracing::warn!(error = error as &dyn std::error::Error, "a session cannot be read");
            })
            .ok()
    }

    pub(super) async fn find(&self, session: SessionId) -> Result<Arc<SessionInfo>> {
        let name = self.client.names().session(session);
        let mut command = cmd("HGET");
        command.arg(format!("{}s:{name}", self.client.prefix)).arg("info");
        match self.client.command(&command).await? {
            Value::BulkString(info) => self.client.names().open(&info, &name).map(Arc::new),
            Value::Nil => Err(StoreError::new(StoreErrorKind::NotFound)),
            _ => Err(StoreError::new(StoreErrorKind::Corrupt)),
        }
    }

    pub(super) async fn sessions_of(&self, principal: String) -> Result<Vec<SessionId>> {
        let mut command = cmd("SMEMBERS");
        command.arg(format!("{}of:{principal}", self.client.prefix));
        let pseudonyms: Vec<Vec<u8>> = redis::from_redis_value(self.client.command(&command).await?)
            .map_err(|error| StoreError::because(StoreErrorKind::Corrupt, error))?;
        let names_of = self.client.names();
        Ok(pseudonyms.iter().filter_map(|name| names_of.session_of(name)).collect())
    }

    pub(super) async fn count(&self) -> Result<usize> {
        let mut count = cmd("ZCARD");
        count.arg(format!("{}age", self.client.prefix));
        match self.client.command(&count).await? {
            Value::Int(count) => Ok(count.try_into().unwrap_or_default()),
            _ => Err(StoreError::new(StoreErrorKind::Corrupt)),
        }
    }
}

/// Reads JSON that was checked before it was stored.
pub(super) fn json(bytes: Vec<u8>) -> Result<RawJson> {
    RawJson::parse(bytes).map_err(StoreError::corrupt)
}
