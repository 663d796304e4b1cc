//! Cache hints: how long clients may keep a result, and who may share it (2026-07-28, Caching).
//!
//! 1. A hint is written for clients of 2026-07-28 only, as the first members of the result, and
//!    only into complete results ("Cacheable Results").
//! 2. By default nothing is cached and nothing is shared.
//! 3. A list has one hint, so that all its pages have one scope ("Interaction with Pagination").

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Context;
use crate::message::Era;

/// How long clients of 2026-07-28 may keep a result, and who may share it.
///
/// By default a result is not cached: [`CacheHint::default`] is private with a time of zero. An
/// announced change of a list invalidates cached lists before their time is over.
///
/// Set it for lists and discovery with [`McpServer::cache`](crate::McpServer::cache), for a
/// resource with [`Resource::cache`](super::Resource::cache), and for the contents that a handler
/// returns with [`Cached`](super::Cached).
///
/// ```
/// use std::time::Duration;
///
/// use mcp_http::server::{CacheHint, CacheScope};
///
/// let hint = CacheHint::private(Duration::from_secs(60));
/// assert_eq!((hint.ttl(), hint.scope()), (Duration::from_secs(60), CacheScope::Private));
/// assert_eq!(CacheHint::default().ttl(), Duration::ZERO);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
pub struct CacheHint {
    #[serde(rename = "ttlMs")]
    ttl_ms: u64,
    #[serde(rename = "cacheScope")]
    scope: CacheScope,
}

/// Who may receive a cached result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheScope {
    /// Any client, gateway or proxy may cache the result and serve it to any user.
    ///
    /// This applies behind authentication too ("Security Considerations"). A result for one access
    /// token may be served to a caller with another token, or without one, and this server never
    /// sees that request. Use it for results that are the same for all users and not secret. Calls
    /// are authorized when they are made, not by who can see a list.
    Public,
    /// Only requests with the same authorization.
    #[default]
    Private,
}

impl CacheHint {
    /// Returns a private hint. The time is rounded down to whole milliseconds, at most 2^53-1: the
    /// largest integer that all JSON parsers read alike.
    #[must_use]
    pub const fn private(ttl: Duration) -> Self {
        Self { ttl_ms: millis(ttl), scope: CacheScope::Private }
    }

    /// Returns a public hint; read [`CacheScope::Public`] first. The time is rounded as in
    /// [`CacheHint::private`].
    #[must_use]
    pub const fn public(ttl: Duration) -> Self {
        Self { ttl_ms: millis(ttl), scope: CacheScope::Public }
    }

    /// Returns how long the result may be cached. Zero: not at all.
    #[must_use]
    pub const fn ttl(self) -> Duration {
        Duration::from_millis(self.ttl_ms)
    }

    /// Returns who may share the result.
    #[must_use]
    pub const fn scope(self) -> CacheScope {
        self.scope
    }

    /// Returns the hint if the client's revision has cache hints.
    pub(crate) fn known_to(self, client: &Context) -> Option<Self> {
        (client.protocol_version().era() == Era::Modern).then_some(self)
    }

    /// Writes the first members of an object. The code that completes results recognizes them by
    /// that position.
    pub(crate) fn write(self, out: &mut String) {
        let scope = match self.scope {
            CacheScope::Public => "public",
            CacheScope::Private => "private",
        };
        out.push_str(r#""ttlMs":"#);
        out.push_str(&self.ttl_ms.to_string());
        out.push_str(r#","cacheScope":""#);
        out.push_str(scope);
        out.push('"');
    }
}

/// RFC 8259, section 6: parsers disagree on larger integers.
const MAX_MILLIS: u64 = (1 << 53) - 1;

const fn millis(ttl: Duration) -> u64 {
    let millis = ttl.as_millis();
    if millis > MAX_MILLIS as u128 { MAX_MILLIS } else { millis as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(hint: CacheHint) -> String {
        let mut out = String::from("{");
        hint.write(&mut out);
        out.push('}');
        out
    }

    #[test]
    fn hints_are_written_in_bounded_milliseconds() {
        for (hint, wanted) in [
            (CacheHint::default(), r#"{"ttlMs":0,"cacheScope":"private"}"#),
            (CacheHint::private(Duration::from_micros(1_999)), r#"{"ttlMs":1,"cacheScope":"private"}"#),
            (CacheHint::public(Duration::from_secs(300)), r#"{"ttlMs":300000,"cacheScope":"public"}"#),
            (CacheHint::private(Duration::MAX), r#"{"ttlMs":9007199254740991,"cacheScope":"private"}"#),
        ] {
            assert_eq!(written(hint), wanted);
            assert_eq!(serde_json::to_string(&hint).unwrap(), wanted);
        }
    }
}
