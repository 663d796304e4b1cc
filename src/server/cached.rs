//! Cached contents: the contents of a resource with a cache hint of their own.

use super::{CacheHint, IntoResourceContents, ResourceContents, ToolError};

/// Contents of a resource with a cache hint: a handler returns this in place of the contents. It
/// takes precedence over [`Resource::cache`](super::Resource::cache).
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
/// let server: McpServer =
///     McpServer::new("weather", "1.0.0").resource("weather://today", "today", forecast);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cached<T>(pub CacheHint, pub T);

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
    use std::time::Duration;

    use super::*;

    #[test]
    fn wrappers_forward_the_cache_hint() {
        let hint = CacheHint::private(Duration::from_secs(1));
        assert_eq!(Some(Cached(hint, "a")).cache_hint(), Some(hint));
        assert_eq!(Ok::<_, ToolError>(Some(Cached(hint, "a"))).cache_hint(), Some(hint));
        assert_eq!(None::<Cached<&str>>.cache_hint(), None);
        assert_eq!(Err::<Cached<&str>, _>(ToolError::new("no")).cache_hint(), None);
        assert_eq!("a".cache_hint(), None);
    }
}
