//! Entries: the items of one list in order, its pages and their cursors.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::ConfigError;
use crate::identity::Scopes;
use crate::message::{Era, ErrorObject, RawJson};
use crate::server::CacheHint;

/// An item of a list, with its key.
pub(crate) trait Item {
    /// The member of the result that holds the list; also the tag of its cursors.
    const LIST: &'static str;

    /// The size at which a page ends before it has all its items.
    const MAX_PAGE_BYTES: usize = usize::MAX;

    fn key(&self) -> &str;

    /// Returns the scopes that a request needs.
    fn scopes(&self) -> &Scopes;

    /// Returns the item as lists write it, or the reason why it is invalid.
    fn check(&self) -> Result<Rendered, ConfigError>;
}

/// An item as lists write it.
#[derive(Debug, Clone)]
pub(crate) struct Rendered {
    pub(crate) json: RawJson,
    /// The form for clients of the session revisions, if it differs.
    pub(crate) for_sessions: Option<RawJson>,
}

impl Rendered {
    fn of(&self, era: Era) -> &RawJson {
        self.for_sessions.as_ref().filter(|_| era == Era::Legacy).unwrap_or(&self.json)
    }
}

impl From<RawJson> for Rendered {
    fn from(json: RawJson) -> Self {
        Self { json, for_sessions: None }
    }
}

/// The items of one list, in the order of their registration.
#[derive(Debug)]
pub(crate) struct Entries<T> {
    by_key: HashMap<Arc<str>, (u64, Arc<T>)>,
    /// The JSON of each item, by its number. Numbers are never reused.
    rendered: BTreeMap<u64, Rendered>,
    next: u64,
}

impl<T: Item> Entries<T> {
    /// Inserts an item. It replaces one with the same key and keeps its position.
    pub(crate) fn put(&mut self, item: T) -> Result<(), ConfigError> {
        let rendered = item.check()?;
        if let Some(scope) = item.scopes().invalid() {
            let why = format!("`{}`: {scope:?} has a character that scopes cannot have", item.key());
            return Err(ConfigError::new("scopes", why));
        }
        let number = match self.by_key.get(item.key()) {
            Some((number, _)) => *number,
            None => self.next,
        };
        self.by_key.insert(Arc::from(item.key()), (number, Arc::new(item)));
        self.rendered.insert(number, rendered);
        self.next = self.next.max(number + 1);
        Ok(())
    }

    /// Removes an item and returns it, if it exists.
    pub(crate) fn remove(&mut self, key: &str) -> Option<Arc<T>> {
        let (number, item) = self.by_key.remove(key)?;
        self.rendered.remove(&number);
        Some(item)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Arc<T>> {
        self.by_key.get(key).map(|(_, item)| item)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rendered.is_empty()
    }

    pub(crate) fn items(&self) -> impl Iterator<Item = &T> {
        self.by_key.values().map(|(_, item)| &**item)
    }

    /// Returns the items in the order of their numbers.
    pub(crate) fn ordered(&self) -> Vec<&T> {
        let mut items: Vec<_> = self.by_key.values().collect();
        items.sort_unstable_by_key(|(number, _)| *number);
        items.into_iter().map(|(_, item)| &**item).collect()
    }

    /// Returns the numbers of the items for which `hides` returns `true`.
    pub(crate) fn numbers(&self, hides: impl Fn(&T) -> bool) -> HashSet<u64> {
        self.by_key.values().filter(|(_, item)| hides(item)).map(|(number, _)| *number).collect()
    }

    /// Returns a page of the list as the result of its method, without the hidden items. The hint is
    /// for clients whose revision has cache hints.
    pub(crate) fn page(
        &self,
        cursor: Option<&str>,
        size: usize,
        hint: Option<CacheHint>,
        era: Era,
        hidden: &HashSet<u64>,
    ) -> Result<RawJson, ErrorObject> {
        let from = match cursor {
            None => 0,
            Some(cursor) => number_after::<T>(cursor).ok_or_else(|| ErrorObject::invalid_params("Invalid cursor"))?,
        };
        let shown = self.rendered.range(from..).filter(|(number, _)| !hidden.contains(number));
        let mut rest = shown.map(|(number, item)| (number, item.of(era)));
        let (mut count, mut bytes) = (0, 128);
        for (_, json) in rest.clone().take(size) {
            let more = bytes + json.as_str().len() + 1;
            if count > 0 && more > T::MAX_PAGE_BYTES {
                break;
            }
            (count, bytes) = (count + 1, more);
        }
        let mut out = String::with_capacity(bytes);
        out.push('{');
        if let Some(hint) = hint {
            hint.write(&mut out);
            out.push(',');
        }
        out.push('"');
        out.push_str(T::LIST);
        out.push_str("\":[");
        let mut last = None;
        for (number, json) in rest.by_ref().take(count) {
            if last.is_some() {
                out.push(',');
            }
            out.push_str(json.as_str());
            last = Some(*number);
        }
        out.push(']');
        if let (Some(last), Some(_)) = (last, rest.next()) {
            out.push_str(",\"nextCursor\":\"");
            out.push_str(&cursor_of::<T>(last));
            out.push('"');
        }
        out.push('}');
        Ok(RawJson::trusted(out))
    }
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self { by_key: HashMap::new(), rendered: BTreeMap::new(), next: 0 }
    }
}

impl<T> Clone for Entries<T> {
    fn clone(&self) -> Self {
        Self { by_key: self.by_key.clone(), rendered: self.rendered.clone(), next: self.next }
    }
}

fn cursor_of<T: Item>(last: u64) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}:{last}", T::LIST))
}

/// Returns the number at which a page starts, from the cursor of the previous page.
fn number_after<T: Item>(cursor: &str) -> Option<u64> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (list, number) = text.split_once(':')?;
    let number: u64 = number.parse().ok()?;
    (list == T::LIST).then(|| number.checked_add(1))?
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[derive(Debug)]
    struct Name(&'static str, Scopes);

    impl Item for Name {
        const LIST: &'static str = "names";

        fn key(&self) -> &str {
            self.0
        }

        fn scopes(&self) -> &Scopes {
            &self.1
        }

        fn check(&self) -> Result<Rendered, ConfigError> {
            RawJson::from_value(self.0).map(Rendered::from).map_err(|error| ConfigError::new("name", error.to_string()))
        }
    }

    fn entries(names: &[&'static str]) -> Entries<Name> {
        let mut entries = Entries::default();
        for name in names {
            entries.put(Name(name, Scopes::default())).unwrap();
        }
        entries
    }

    fn page(entries: &Entries<Name>, cursor: Option<&str>) -> (Vec<String>, Option<String>) {
        let page: Value = entries.page(cursor, 2, None, Era::Modern, &HashSet::new()).unwrap().read().unwrap();
        let names = serde_json::from_value(page["names"].clone()).unwrap();
        (names, page["nextCursor"].as_str().map(str::to_owned))
    }

    #[test]
    fn pages_follow_the_order_of_registration() {
        let entries = entries(&["c", "a", "b", "d"]);
        let (first, cursor) = page(&entries, None);
        assert_eq!(first, ["c", "a"]);
        assert_eq!(page(&entries, cursor.as_deref()), (vec!["b".to_owned(), "d".to_owned()], None));
        assert_eq!(page(&Entries::default(), None), (vec![], None));
    }

    #[test]
    fn a_cursor_stays_right_when_the_list_changes() {
        let mut entries = entries(&["a", "b", "c"]);
        let (_, cursor) = page(&entries, None);
        entries.remove("b");
        entries.remove("a");
        entries.put(Name("d", Scopes::default())).unwrap();
        entries.put(Name("c", Scopes::default())).unwrap();
        assert_eq!(page(&entries, cursor.as_deref()).0, ["c", "d"]);
    }

    #[test]
    fn an_invalid_cursor_is_rejected() {
        let entries = entries(&["a"]);
        let foreign = URL_SAFE_NO_PAD.encode("tools:0");
        let too_far = URL_SAFE_NO_PAD.encode(format!("names:{}", u64::MAX));
        for cursor in ["", "x", "!!", foreign.as_str(), too_far.as_str()] {
            assert_eq!(
                entries.page(Some(cursor), 2, None, Era::Modern, &HashSet::new()).unwrap_err().code,
                ErrorObject::INVALID_PARAMS,
                "{cursor}"
            );
        }
    }
}
