//! Decides how long clients may keep a result, and who may share it (2026-07-28, Caching).
//!
//! 1. A hint is written for clients of 2026-07-28 only, first in the result, and only into results
//!    that are complete ("Cacheable Results").
//! 2. Where nobody says anything, nothing is kept, and nothing is shared.
//! 3. A list has one hint, so that all its pages have one scope ("Interaction with Pagination").

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Context, IntoResourceContents, ResourceContents, ToolError};
use crate::message::Era;

/// How long clients of 2026-07-28 may keep a result, and who may share it.
///
/// By default a result is not kept at all: [`CacheHint::default`] is a private one of no time. A
/// change that is announced ends what clients kept of a list before its time is over.
///
/// Set it for lists and discovery with [`McpServer::cache`](crate::McpServer::cache), for a
/// resource with [`Resource::cache`](super::Resource::cache), for what a handler just read with
/// [`Cached`].
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

/// Who may be given what one client was given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheScope {
    /// Anybody: any client, gateway or proxy may keep the result and give it to any user.
    ///
    /// That holds behind authentication too ("Security Considerations"): what was answered to one
    /// access token may be given to a caller with another one, or with none, and this server never
    /// hears of it. It is for what is the same for everybody and secret to nobody. Whether a call is
    /// allowed is decided when it is made, never by who could see a list.
    Public,
    /// Whoever has the same authorization, and nobody else.
    #[default]
    Private,
}

/// Contents of a resource that may be kept for a while; what a handler returns instead of the
/// contents alone. It goes before what [`Resource::cache`](super::Resource::cache) says.
///
/// ```
/// use std::time::Duration;
///
/// use mcp_http::McpServer;
/// use mcp_http::server::{CacheHint, Cached};
///
/// async fn forecast() -> Cached<String> {
///     Cached(CacheHint::private(Duration::from_secs(600)), "Rain.".to_owned())
/// }
///
/// let server: McpServer = McpServer::new("weather", "1.0.0").resource("weather://today", "today", forecast);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cached<T>(pub CacheHint, pub T);

impl CacheHint {
    /// For whoever asked only. The time counts in whole milliseconds, up to 2^53-1 of them: the
    /// largest integer that all readers of JSON read alike.
    #[must_use]
    pub const fn private(ttl: Duration) -> Self {
        Self { ttl_ms: millis(ttl), scope: CacheScope::Private }
    }

    /// For everybody: read at [`CacheScope::Public`] what that means. The time is as for
    /// [`CacheHint::private`].
    #[must_use]
    pub const fn public(ttl: Duration) -> Self {
        Self { ttl_ms: millis(ttl), scope: CacheScope::Public }
    }

    /// How long the result may be kept; nothing: not at all.
    #[must_use]
    pub const fn ttl(self) -> Duration {
        Duration::from_millis(self.ttl_ms)
    }

    /// Who may share the result.
    #[must_use]
    pub const fn scope(self) -> CacheScope {
        self.scope
    }

    /// The hint, if the client of a call is one that knows hints.
    pub(crate) fn known_to(self, client: &Context) -> Option<Self> {
        (client.protocol_version().era() == Era::Modern).then_some(self)
    }

    /// Its members, the first of an object. Whoever completes results knows them by that place.
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

/// RFC 8259, section 6: beyond it, not all readers see the same integer.
const MOST: u64 = (1 << 53) - 1;

const fn millis(ttl: Duration) -> u64 {
    let millis = ttl.as_millis();
    if millis > MOST as u128 { MOST } else { millis as u64 }
}

impl<T: IntoResourceContents> IntoResourceContents for Cached<T> {
    fn into_resource_contents(self) -> Result<Vec<ResourceContents>, ToolError> {
        self.1.into_resource_contents()
    }

    fn cache_hint(&self) -> Option<CacheHint> {
        Some(self.0)
    }
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
    fn a_hint_is_written_in_whole_milliseconds_that_every_reader_of_json_knows() {
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

    #[test]
    fn what_holds_cached_contents_says_how_they_are_cached() {
        let hint = CacheHint::private(Duration::from_secs(1));
        assert_eq!(Some(Cached(hint, "a")).cache_hint(), Some(hint));
        assert_eq!(Ok::<_, ToolError>(Some(Cached(hint, "a"))).cache_hint(), Some(hint));
        assert_eq!(None::<Cached<&str>>.cache_hint(), None);
        assert_eq!(Err::<Cached<&str>, _>(ToolError::new("no")).cache_hint(), None);
        assert_eq!("a".cache_hint(), None);
    }
}
