//! The policy for items whose scopes a request lacks: to show and challenge, or to hide.

/// What a [`McpServer`](crate::McpServer) does with an item whose scopes the access token of a
/// request lacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ScopePolicy {
    /// Lists show the item, and a call gets a 403 that names the scopes. A client can ask its user
    /// for them, which it can only do for a tool that it knows.
    #[default]
    Challenge,
    /// Lists leave the item out, and a call fails as if it did not exist. Clients of 2026-07-28 are
    /// then asked to cache lists for this authorization only.
    Hide,
}
