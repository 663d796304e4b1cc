//! Decides how the client is asked for its roots: the folders its user opened to the server.

use std::future::IntoFuture;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Deserialize;

use super::DEFAULT_PROGRAM_TIMEOUT;
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
        ListRoots { context: self.clone(), within: DEFAULT_PROGRAM_TIMEOUT }
    }
}

/// The question for the roots, from [`Context::roots`]; sent when awaited.
#[derive(Debug)]
#[must_use = "a question is sent when it is awaited"]
pub struct ListRoots {
    context: Context,
    within: Duration,
}

impl ListRoots {
    /// How long to wait; [`DEFAULT_PROGRAM_TIMEOUT`] unless told otherwise.
    pub fn timeout(mut self, within: Duration) -> Self {
        self.within = within;
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
            let answer: Roots = self.context.ask("roots/list", &serde_json::json!({}), self.within).await?;
            Ok(answer.roots)
        })
    }
}
