//! Decides how a question is sent: capability first, then the request, then the answer's type.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;

use crate::message::{ClientCapabilities, RawJson};
use crate::server::channel::Question;
use crate::server::{ClientError, Context};

/// How long a question to a person waits unless told otherwise: long enough to read a form, look
/// something up and decide, short enough that a call nobody answers does not stay for the day.
pub const DEFAULT_PERSON_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// How long a question that the client's program answers by itself waits unless told otherwise.
pub const DEFAULT_PROGRAM_TIMEOUT: Duration = Duration::from_secs(30);

/// What can be said about any question.
#[derive(Debug, Clone)]
pub(super) struct Manner {
    pub(super) within: Duration,
    pub(super) key: Option<Cow<'static, str>>,
}

impl Manner {
    pub(super) fn within(within: Duration) -> Self {
        Self { within, key: None }
    }
}

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

    /// Asks, and reads the answer.
    pub(super) async fn ask<P: Serialize + ?Sized + Sync, A>(
        &self,
        method: &'static str,
        params: &P,
        manner: Manner,
        read: impl FnOnce(&RawJson) -> Result<A, serde_json::Error> + Send,
    ) -> Result<A, ClientError> {
        let params = RawJson::from_value(params).map_err(ClientError::Unreadable)?;
        let question = Question { method: method.into(), params, key: manner.key };
        let read = read(&self.put(question, manner.within).await?);
        match read {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.misread(method, error).await),
        }
    }
}
