//! Scopes: a set of scope names in the order in which they were given, without duplicates.

use std::fmt;
use std::sync::Arc;

/// Names of scopes. Cheap to clone.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Scopes(Arc<[Box<str>]>);

/// The scopes that every request to a resource needs. The layer of a resource server puts them into
/// the request's extensions, so that a challenge names them together with those of the operation.
#[derive(Debug, Clone)]
pub(crate) struct RequiredScopes(pub(crate) Scopes);

/// All scopes of the operation of this request, which its token has. The transport puts them into
/// the request's extensions, so that a handler that needs more can name them all.
#[derive(Debug, Clone)]
pub(crate) struct OperationScopes(pub(crate) Scopes);

impl Scopes {
    pub(crate) fn new<I: IntoIterator<Item: Into<String>>>(names: I) -> Self {
        let mut scopes: Vec<Box<str>> = Vec::new();
        for name in names {
            let name = name.into().into_boxed_str();
            if !scopes.contains(&name) {
                scopes.push(name);
            }
        }
        Self(scopes.into())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the scopes of both, this one's first.
    pub(crate) fn union(&self, other: &Self) -> Self {
        match (self.is_empty(), other.is_empty()) {
            (_, true) => self.clone(),
            (true, false) => other.clone(),
            (false, false) => Self::new(self.iter().chain(other.iter())),
        }
    }

    /// Returns the first name that is not a scope token of RFC 6749, 3.3. Only these can be written
    /// into a challenge.
    pub(crate) fn invalid(&self) -> Option<&str> {
        self.iter().find(|name| !is_scope(name))
    }
}

/// Returns `true` for a scope token: visible ASCII without `"` and `\`.
fn is_scope(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

/// Writes the names with spaces between them, as `scope` has them. Names that are no scope tokens
/// are left out: no token can have them, and they would change the meaning of a challenge.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in self.iter().filter(|name| is_scope(name)).enumerate() {
            f.write_str(if at == 0 { "" } else { " " })?;
            f.write_str(name)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_keeps_its_order_and_no_duplicates() {
        let base = Scopes::new(["mcp", "files:read", "mcp"]);
        assert_eq!(base.to_string(), "mcp files:read");
        assert_eq!(base.union(&Scopes::new(["files:write", "mcp"])).to_string(), "mcp files:read files:write");
        assert_eq!(Scopes::default().union(&base), base);
    }

    #[test]
    fn only_scope_tokens_fit_into_a_challenge() {
        assert_eq!(Scopes::new(["files:read", "https://x/y?z", "a'b"]).invalid(), None);
        for wrong in ["", "a b", "a\"b", "a\\b", "\u{e9}", "a\nb"] {
            assert_eq!(Scopes::new([wrong]).invalid(), Some(wrong), "{wrong:?}");
        }
    }
}
