//! Names of the client requests and the steps of one call. No two of them have the same name.

use std::collections::BTreeMap;

/// The names in use. It stores only a count for each, so its size is bounded by the names that the
/// handler uses.
#[derive(Debug, Default)]
pub(super) struct RequestKeys(BTreeMap<String, u32>);

impl RequestKeys {
    /// Returns the name of a client request: its key, or its kind with a number.
    pub(super) fn request_key(&mut self, method: &str, key: Option<&str>) -> String {
        match key {
            Some(key) => self.give(key),
            None => self.count(method.split('/').next().unwrap_or(method)),
        }
    }

    /// Returns a name unchanged the first time, and with a number afterwards.
    pub(super) fn give(&mut self, name: &str) -> String {
        if self.0.contains_key(name) || self.is_counted(name) {
            return self.count(name);
        }
        self.0.insert(name.to_owned(), 1);
        name.to_owned()
    }

    /// Returns a name with a number.
    fn count(&mut self, name: &str) -> String {
        let mut count = self.0.get(name).copied().unwrap_or_default();
        let counted = loop {
            count = count.saturating_add(1);
            let counted = format!("{name}-{count}");
            // The handler may have used exactly this name elsewhere.
            if !self.0.contains_key(&counted) {
                break counted;
            }
        };
        self.0.insert(name.to_owned(), count);
        counted
    }

    /// Returns `true` if another name with a number may have been written like this one.
    fn is_counted(&self, name: &str) -> bool {
        let Some((name, count)) = name.rsplit_once('-') else { return false };
        let count: Option<u32> = count.parse().ok();
        count.is_some_and(|count| self.0.get(name).is_some_and(|given| count <= *given))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn repeated_names_are_counted() {
        let mut names = RequestKeys::default();
        let given = [None, None, Some("x"), Some("x"), Some("x"), Some("elicitation")]
            .map(|key| names.request_key("elicitation/create", key));
        assert_eq!(given, ["elicitation-1", "elicitation-2", "x", "x-2", "x-3", "elicitation-3"]);
        assert_eq!(names.request_key("roots/list", None), "roots-1");
    }

    proptest! {
        #[test]
        fn keys_are_unique(keys in prop::collection::vec(prop::option::of("x(-0?[1-3]){0,3}"), 0..40)) {
            let (mut names, mut given) = (RequestKeys::default(), BTreeSet::new());
            for key in keys {
                let name = names.request_key("x/y", key.as_deref());
                prop_assert!(given.insert(name.clone()), "{} was given twice", name);
            }
        }
    }
}
