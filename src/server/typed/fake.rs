//! Fake transport for tests: records what a call sends and answers its requests to the client.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::request::Parts;
use serde_json::{Value, json};

use super::McpServer;
use crate::error::StoreError;
use crate::handle::McpHandle;
use crate::identity::{Principal, SessionId, SessionInfo};
use crate::message::{ClientCapabilities, ErrorObject, Implementation, ProtocolVersion, RawJson, RequestId};
use crate::server::channel::Channel;
use crate::server::client_request::ClientRequest;
use crate::server::session_access::SessionAccess;
use crate::server::{Call, ClientError, Context, Discover, Extensions, Initialize, Server};

/// What a [`Fake`] recorded, and the answers it will give.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) notifications: Vec<(String, Value)>,
    pub(super) requests: Vec<(Cow<'static, str>, Value)>,
    pub(super) answers: VecDeque<Value>,
    pub(super) level: u8,
}

/// A client with or without a session.
#[derive(Debug, Clone)]
pub(super) struct Fake {
    pub(super) seen: Arc<Mutex<Seen>>,
    version: ProtocolVersion,
    session: Option<Arc<FakeSession>>,
}

#[derive(Debug)]
struct FakeSession {
    info: SessionInfo,
    extensions: Extensions,
    seen: Arc<Mutex<Seen>>,
}

impl Fake {
    pub(super) fn with_session(version: ProtocolVersion, capabilities: Value) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let info = SessionInfo {
            id: SessionId::random(),
            principal: None,
            peer: None,
            version,
            client: Arc::default(),
            capabilities: serde_json::from_value(capabilities).unwrap(),
            opened_at: SystemTime::UNIX_EPOCH,
        };
        let session = FakeSession { info, extensions: Extensions::default(), seen: Arc::clone(&seen) };
        Self { seen, version, session: Some(Arc::new(session)) }
    }

    pub(super) fn new() -> Self {
        Self::with_session(ProtocolVersion::NEWEST_SESSION, json!({}))
    }

    pub(super) fn stateless() -> Self {
        Self { session: None, ..Self::new() }
    }

    pub(super) async fn initialize(&self, server: &McpServer) -> Value {
        let context = Context::new(Arc::new(self.clone()), None);
        let request = Initialize::from(Discover { parts: head(), context });
        Server::<()>::initialize(server, request, &()).await.unwrap().read().unwrap()
    }

    pub(super) async fn call(
        &self,
        server: &McpServer,
        method: &'static str,
        params: Value,
    ) -> Result<Value, ErrorObject> {
        let params = (!params.is_null()).then(|| RawJson::from_value(&params).unwrap());
        let call = Call {
            method: method.into(),
            id: RequestId::from(1),
            context: Context::new(Arc::new(self.clone()), params.clone()),
            params,
            parts: head(),
            outline: None,
        };
        Server::<()>::call(server, call, &()).await.map(|result| result.read().unwrap())
    }
}

impl Channel for Fake {
    fn version(&self) -> ProtocolVersion {
        self.version
    }

    fn client(&self) -> Option<&Implementation> {
        Some(&self.session.as_ref()?.info.client)
    }

    fn capabilities(&self) -> Option<&ClientCapabilities> {
        Some(&self.session.as_ref()?.info.capabilities)
    }

    fn principal(&self) -> Option<&Principal> {
        None
    }

    fn session(&self) -> Option<Arc<dyn SessionAccess>> {
        self.session.clone().map(|session| session as _)
    }

    fn handle(&self) -> McpHandle {
        McpHandle::nowhere()
    }

    fn log_level(&self) -> u8 {
        self.seen.lock().unwrap().level
    }

    fn set_log_level(&self, level: u8) -> BoxFuture<'_, Result<(), StoreError>> {
        self.seen.lock().unwrap().level = level;
        Box::pin(std::future::ready(Ok(())))
    }

    fn send(&self, notification: Bytes) -> bool {
        let mut notification: Value = serde_json::from_slice(&notification).unwrap();
        let method = notification["method"].as_str().unwrap().to_owned();
        self.seen.lock().unwrap().notifications.push((method, notification["params"].take()));
        true
    }

    fn ready(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }

    fn request(&self, request: ClientRequest) -> BoxFuture<'_, Result<RawJson, ClientError>> {
        let mut seen = self.seen.lock().unwrap();
        seen.requests.push((request.method, request.params.read().unwrap()));
        match seen.answers.pop_front() {
            Some(answer) => async move { Ok(RawJson::from_value(&answer).unwrap()) }.boxed(),
            None => std::future::pending().boxed(),
        }
    }

    fn close_stream(&self, _: Option<Duration>) -> bool {
        false
    }

    fn is_cancelled(&self) -> bool {
        false
    }

    fn cancelled(&self) -> BoxFuture<'_, ()> {
        std::future::pending().boxed()
    }
}

impl SessionAccess for FakeSession {
    fn info(&self) -> &SessionInfo {
        &self.info
    }

    fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    fn load_state(&self, _: &str) -> BoxFuture<'_, Result<(Option<RawJson>, u64), StoreError>> {
        async { Ok((None, 0)) }.boxed()
    }

    fn store_state(&self, _: &str, _: RawJson, _: u64) -> BoxFuture<'_, Result<bool, StoreError>> {
        async { Ok(true) }.boxed()
    }

    fn log_level(&self) -> u8 {
        0
    }

    fn notify(&self, _: &str, _: &RawJson) {}

    fn try_notify(&self, _: &str, _: &RawJson) -> BoxFuture<'_, Result<bool, StoreError>> {
        async { Ok(false) }.boxed()
    }

    fn stream_opened(&self) -> BoxFuture<'static, ()> {
        std::future::pending().boxed()
    }

    fn request(&self, _: Cow<'static, str>, _: RawJson) -> BoxFuture<'_, Result<RawJson, ClientError>> {
        async { Err(ClientError::NoStream) }.boxed()
    }

    fn subscriptions(&self) -> Vec<String> {
        Vec::new()
    }

    fn subscribe(&self, uri: &str, wanted: bool) -> BoxFuture<'_, Result<(), StoreError>> {
        self.seen.lock().unwrap().notifications.push((format!("subscribe {wanted}"), uri.into()));
        async { Ok(()) }.boxed()
    }

    fn end(&self) -> BoxFuture<'_, Result<bool, StoreError>> {
        async { Ok(true) }.boxed()
    }
}

/// Returns the head of a request.
fn head() -> Box<Parts> {
    Box::new(http::Request::builder().header("x-who", "me").body(()).unwrap().into_parts().0)
}
