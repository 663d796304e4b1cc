//! Announcements: the operations on announcements, and their delivery to sessions.

use super::client::{number, size};
use super::reply::Reply;
use super::{Inner, Result, scripts};
use crate::error::{StoreError, StoreErrorKind};
use crate::store::announcements::{TOPIC_BYTES, TOPICS};
use crate::store::{Announced, Deliver, Delivered};

impl Inner {
    pub(super) async fn announce(&self, topic: &str, id: u64) -> Result<u64> {
        // Every node that announces the same change sends the same token, so the repetitions are
        // recognised.
        let call = self.client.call_with(&scripts::ANNOUNCE, &format!("announced.{id:x}"));
        let call = call.arg(topic).arg(size(TOPICS)).arg(size(TOPIC_BYTES));
        self.client.take(call).await?.number()
    }

    pub(super) async fn announced(&self, after: u64, among: &[String]) -> Result<Announced> {
        let call = self.client.call(&scripts::ANNOUNCED).silent().arg(number(after));
        let call = among.iter().fold(call, |call, topic| call.arg(topic));
        let mut reply = self.client.take(call).await?;
        let (newest, complete) = (reply.number()?, reply.flag()?);
        let mut rows = Reply::of(redis::Value::Array(reply.list()?.collect()))?;
        let mut topics = Vec::new();
        while let Some(announced) = rows.maybe_bytes()? {
            let announced = String::from_utf8(announced).ok().and_then(|number| number.parse().ok());
            let announced = announced.ok_or_else(|| StoreError::new(StoreErrorKind::Corrupt))?;
            topics.push((announced, rows.text()?.into_boxed_str()));
        }
        topics.sort_unstable();
        Ok(Announced { topics, newest, complete })
    }

    pub(super) async fn deliver(&self, deliver: &Deliver) -> Result<Delivered> {
        let (pseudonyms, session) = (self.client.names(), self.client.names().session(deliver.session));
        let call = self
            .client
            .call(&scripts::DELIVER)
            .arg(&session)
            .arg(number(deliver.after))
            .arg(number(deliver.up_to))
            .arg(number(deliver.revision));
        let mut call = self.bounds(call);
        for event in &deliver.events {
            call = call.arg(&*pseudonyms.said.close(&session, &event.payload)?);
        }
        let mut reply = self.client.take(call).await?;
        Ok(Delivered { up_to: reply.number()?, lost: reply.number()? })
    }
}
