//! Principals: who owns a session or a task.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The authenticated sender of a request, as determined by the application's authentication layer.
///
/// The layer inserts it into the request's extensions. A session opened by one principal does not
/// exist for another, which receives a 404 as for an unknown id. A session opened without a
/// principal does not exist for a request that has one.
///
/// The text must stay the same for as long as the person is the same: use issuer and subject. Never
/// use the bytes of a token that is renewed each hour.
///
/// ```
/// use mcp_http::Principal;
///
/// assert_eq!(Principal::new("alice"), Principal::new("alice"));
/// assert_ne!(Principal::issued("https://a", "cli", "bob"), Principal::issued("https://b", "cli", "bob"));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Principal(Arc<str>);

impl Principal {
    /// Makes a principal from a name that is unique in the application.
    #[must_use]
    pub fn new(name: impl AsRef<str>) -> Self {
        Self(Arc::from(name.as_ref()))
    }

    /// Makes a principal of OAuth or OpenID Connect from issuer, client and subject. If one of the
    /// three differs, the principal differs.
    #[must_use]
    pub fn issued(issuer: &str, client: &str, subject: &str) -> Self {
        // A JSON array is readable, and no two triples have the same text.
        let triple = serde_json::to_string(&[issuer, client, subject]);
        Self(triple.unwrap_or_default().into())
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
