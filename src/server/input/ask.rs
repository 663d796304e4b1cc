//! Decides how a question is sent: capability first, then the request, then the answer's type.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::message::{ClientCapabilities, RawJson};
use crate::server::{ClientError, Context};

/// How long a question to a person waits unless told otherwise: long enough to read a form, look
/// something up and decide, short enough that a call nobody answers does not stay for the day.
pub const DEFAULT_PERSON_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// How long a question that the client's program answers by itself waits unless told otherwise.
pub const DEFAULT_PROGRAM_TIMEOUT: Duration = Duration::from_secs(30);

impl Context {
    /// Whether the client can be asked.
    pub(super) fn check_capability(
        &self,
        name: &'static str,
        has: impl FnOnce(&ClientCapabilities) -> bool,
    ) -> Result<(), ClientError> {
        match self.client_capabilities() {
            // Without a session there is nothing declared, and no way to be answered either.
            None => Err(ClientError::NoStream),
            Some(capabilities) if has(capabilities) => Ok(()),
            Some(_) => Err(ClientError::NotCapable(name)),
        }
    }

    pub(super) async fn ask<P: Serialize + ?Sized + Sync, A: DeserializeOwned>(
        &self,
        method: &'static str,
        params: &P,
        within: Duration,
    ) -> Result<A, ClientError> {
        let params = RawJson::from_value(params).map_err(ClientError::Unreadable)?;
        self.request(method, params, within).await?.read().map_err(ClientError::Unreadable)
    }
}
