//! Decides how the client is asked for its roots: the folders its user opened to the server.

use std::borrow::Cow;
use std::future::IntoFuture;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Deserialize;

use super::DEFAULT_PROGRAM_TIMEOUT;
use super::ask::Manner;
use crate::message::RawJson;
use crate::server::{ClientError, Context};

/// A folder or file the client's user opened to the server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Root {
    /// Where it is; a `file:` URI.
    pub uri: String,
    /// The name for people.
    #[serde(default)]
    pub name: Option<String>,
}

impl Context {
    /// Asks the client for its roots.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    ///
    /// # Cancel safety
    ///
    /// The question may have been sent; a late answer to it is dropped.
    pub fn roots(&self) -> ListRoots {
        ListRoots { context: self.clone(), manner: Manner::within(DEFAULT_PROGRAM_TIMEOUT) }
    }
}

/// The question for the roots, from [`Context::roots`]; sent when awaited.
#[derive(Debug)]
#[must_use = "a question is sent when it is awaited"]
pub struct ListRoots {
    context: Context,
    manner: Manner,
}

impl ListRoots {
    /// How long to wait; [`DEFAULT_PROGRAM_TIMEOUT`] unless told otherwise.
    pub fn timeout(mut self, within: Duration) -> Self {
        self.manner.within = within;
        self
    }

    /// The name of the question, by which a client of 2026-07-28 answers it; unique in its handler.
    /// Without one it is named by what it is and its place among the questions of the call.
    pub fn key(mut self, key: impl Into<Cow<'static, str>>) -> Self {
        self.manner.key = Some(key.into());
        self
    }
}

impl IntoFuture for ListRoots {
    type Output = Result<Vec<Root>, ClientError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        #[derive(Deserialize)]
        struct Roots {
            roots: Vec<Root>,
        }
        Box::pin(async move {
            self.context.check_capability("roots", |client| client.roots.is_some())?;
            let read = |answer: &RawJson| Ok(answer.read::<Roots>()?.roots);
            self.context.ask("roots/list", &serde_json::json!({}), self.manner, read).await
        })
    }
}
