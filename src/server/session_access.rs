//! Session access: what a live session offers to server code, on whatever node and engine it is.

use std::borrow::Cow;
use std::fmt;

use futures_util::future::BoxFuture;

use super::{ClientError, Extensions};
use crate::error::StoreError;
use crate::identity::SessionInfo;
use crate::message::RawJson;

/// A live session, as handlers, routes and the handle see it.
pub(crate) trait SessionAccess: fmt::Debug + Send + Sync {
    fn info(&self) -> &SessionInfo;
    fn extensions(&self) -> &Extensions;
    /// Returns the value of a key with its version; version 0 means that it does not exist yet.
    fn load_state(&self, key: &str) -> BoxFuture<'_, Result<(Option<RawJson>, u64), StoreError>>;
    /// Writes the value if its version is unchanged. Returns `false` after a concurrent write.
    fn store_state(&self, key: &str, value: RawJson, version: u64) -> BoxFuture<'_, Result<bool, StoreError>>;
    /// Returns the same as [`Channel::log_level`](super::channel::Channel::log_level).
    fn log_level(&self) -> u8;
    /// Sends a notification on the session's standalone stream.
    fn notify(&self, method: &str, params: &RawJson);
    /// Sends a notification on the session's standalone stream. Returns `true` if the client has
    /// the stream open or will receive it when it opens the stream again.
    fn try_notify(&self, method: &str, params: &RawJson) -> BoxFuture<'_, Result<bool, StoreError>>;
    /// Completes when the client next opens the session's standalone stream, or the session ends.
    fn stream_opened(&self) -> BoxFuture<'static, ()>;
    /// Sends a request to the client on the session's standalone stream. Fails at once if none is
    /// open.
    fn request(&self, method: Cow<'static, str>, params: RawJson) -> BoxFuture<'_, Result<RawJson, ClientError>>;
    /// Returns the URIs of the resources that the client subscribed to, in order.
    fn subscriptions(&self) -> Vec<String>;
    /// Adds or removes a subscription of the client.
    fn subscribe(&self, uri: &str, wanted: bool) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Ends the session. Returns `false` if it has ended already.
    fn end(&self) -> BoxFuture<'_, Result<bool, StoreError>>;
}
