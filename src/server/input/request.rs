//! Sending of requests to the client: checks the capability, sends, parses the answer.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;

use crate::message::{ClientCapabilities, RawJson};
use crate::server::client_request::ClientRequest;
use crate::server::{ClientError, Context};

/// The default timeout of requests that a person answers: long enough to read a form, look
/// something up and decide. It is short enough that an unanswered call does not stay all day.
pub const DEFAULT_PERSON_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// The default timeout of requests that the client's program answers by itself.
pub const DEFAULT_PROGRAM_TIMEOUT: Duration = Duration::from_secs(30);

/// The options that every request to the client has.
#[derive(Debug, Clone)]
pub(super) struct RequestOptions {
    pub(super) timeout: Duration,
    pub(super) key: Option<Cow<'static, str>>,
}

impl RequestOptions {
    pub(super) fn timeout(timeout: Duration) -> Self {
        Self { timeout, key: None }
    }
}

impl Context {
    /// Checks that the client declared a capability.
    pub(super) fn check_capability(
        &self,
        name: &'static str,
        has: impl FnOnce(&ClientCapabilities) -> bool,
    ) -> Result<(), ClientError> {
        match self.client_capabilities() {
            // Without a session the client has declared nothing, and no answer could arrive.
            None => Err(ClientError::NoStream),
            Some(capabilities) if has(capabilities) => Ok(()),
            Some(_) => Err(ClientError::NotCapable(name)),
        }
    }

    /// Sends the request and parses the answer.
    pub(super) async fn send_request<P: Serialize + ?Sized + Sync, A>(
        &self,
        method: &'static str,
        params: &P,
        options: RequestOptions,
        read: impl FnOnce(&RawJson) -> Result<A, serde_json::Error> + Send,
    ) -> Result<A, ClientError> {
        let params = RawJson::from_value(params).map_err(ClientError::Unreadable)?;
        let request = ClientRequest { method: method.into(), params, key: options.key };
        let read = read(&self.send_and_wait(request, options.timeout).await?);
        match read {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.misread(method, error).await),
        }
    }
}

/// The setters of every request to the client. The type has a field `options`.
macro_rules! request_setters {
    (impl $(<$param:ident>)? for $request:ty, $default:ident) => {
        impl $(<$param>)? $request {
            #[doc = concat!("Sets how long to wait. Default [`", stringify!($default), "`].")]
            pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
                self.options.timeout = timeout;
                self
            }

            /// Sets the key under which a client of 2026-07-28 answers the request; unique in its
            /// handler. Default: made from its kind and its position among the requests of the call.
            pub fn key(mut self, key: impl Into<std::borrow::Cow<'static, str>>) -> Self {
                self.options.key = Some(key.into());
                self
            }
        }
    };
}

pub(super) use request_setters;
