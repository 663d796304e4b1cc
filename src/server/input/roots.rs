//! Roots: requests the folders that the client's user opened to the server.

use std::future::IntoFuture;

use futures_util::future::BoxFuture;
use serde::Deserialize;

use super::DEFAULT_PROGRAM_TIMEOUT;
use super::request::{RequestOptions, request_setters};
use crate::message::RawJson;
use crate::server::{ClientError, Context};

/// A folder or file that the client's user opened to the server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Root {
    /// The location, a `file:` URI.
    pub uri: String,
    /// The display name.
    #[serde(default)]
    pub name: Option<String>,
}

impl Root {
    /// Makes a root without a name.
    #[must_use]
    pub fn new(uri: impl Into<String>) -> Self {
        Self { uri: uri.into(), name: None }
    }
}

impl Context {
    /// Requests the client's roots.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the request may have been sent; a late answer to it is dropped.
    pub fn roots(&self) -> ListRoots {
        ListRoots { context: self.clone(), options: RequestOptions::timeout(DEFAULT_PROGRAM_TIMEOUT) }
    }
}

/// A request for the roots, from [`Context::roots`]. It is sent when this is awaited.
#[derive(Debug)]
#[must_use = "the request is sent when this is awaited"]
pub struct ListRoots {
    context: Context,
    options: RequestOptions,
}

request_setters!(impl for ListRoots, DEFAULT_PROGRAM_TIMEOUT);

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
            self.context.send_request("roots/list", &serde_json::json!({}), self.options, read).await
        })
    }
}
