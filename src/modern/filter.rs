//! The filter of a subscription: the changes that a client asked for and that the server announces
//! (2026-07-28, Subscriptions, "Notification Filter", "Acknowledgment").
//!
//! 1. A flag is a boolean, and the resources are a list of strings. `null` and unknown members ask
//!    for nothing. Changes that are not asked for are not sent.
//! 2. Updates of a resource use the exact URI that the client gave. The resource need not exist
//!    yet.
//! 3. The capabilities of the server state which changes it announces. The rest is left out, as the
//!    acknowledgement shows.

use indexmap::IndexSet;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::Rejection;
use crate::message::{ErrorObject, RawJson};
use crate::server::change::Change;
use crate::settings::Limits;

/// The changes that a client receives, in the order in which it asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Filter(IndexSet<Change>);

/// The changes that a server announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Supported {
    tools: bool,
    prompts: bool,
    resources: bool,
    updates: bool,
}

impl Filter {
    /// Reads the parameters of a `subscriptions/listen`. `takes_tasks` is called only if the
    /// request names tasks.
    pub(super) fn read(params: Option<&RawJson>, takes_tasks: impl FnOnce() -> bool) -> Result<Self, Rejection> {
        #[derive(Deserialize)]
        struct Params<'a> {
            #[serde(borrow, default)]
            notifications: Option<&'a RawValue>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Wishes<'a> {
            tools_list_changed: Option<bool>,
            prompts_list_changed: Option<bool>,
            resources_list_changed: Option<bool>,
            #[serde(borrow)]
            resource_subscriptions: Option<&'a RawValue>,
            task_ids: Option<IgnoredAny>,
        }
        let params = params.map(RawJson::read_borrowed::<Params<'_>>).transpose();
        let wishes = params.ok().flatten().and_then(|params| params.notifications);
        // Read as a struct, an array would be the members by position.
        let wishes = wishes.filter(|wishes| wishes.get().starts_with('{'));
        let wishes = wishes.ok_or(Rejection::InvalidParams("`notifications` is required, and is an object"))?;
        let wishes: Wishes<'_> = serde_json::from_str(wishes.get()).map_err(|_| {
            Rejection::InvalidParams("in `notifications` each flag is a boolean, `resourceSubscriptions` a list")
        })?;
        // Only clients that declare tasks may subscribe to them (the extension
        // `io.modelcontextprotocol/tasks`).
        if wishes.task_ids.is_some() && !takes_tasks() {
            return Err(Rejection::MissingCapability { data: ErrorObject::tasks_not_declared().data });
        }
        let flags = [
            (wishes.tools_list_changed, Change::Tools),
            (wishes.prompts_list_changed, Change::Prompts),
            (wishes.resources_list_changed, Change::Resources),
        ];
        let flags = flags.into_iter().filter_map(|(wanted, change)| (wanted == Some(true)).then_some(change));
        let uris = wishes.resource_subscriptions.map(uris).transpose()?.unwrap_or_default();
        let mut topics: IndexSet<Change> = flags.chain(uris.into_iter().map(Change::resource)).collect();
        topics.shrink_to_fit();
        Ok(Self(topics))
    }

    /// Leaves out the changes that the server does not announce.
    pub(super) fn narrow(&mut self, offer: Supported) {
        self.0.retain(|change| match change {
            Change::Tools => offer.tools,
            Change::Prompts => offer.prompts,
            Change::Resources => offer.resources,
            Change::Resource(_) => offer.updates,
        });
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn find(&self, change: &Change) -> Option<usize> {
        self.0.get_index_of(change)
    }

    pub(super) fn get(&self, at: usize) -> Option<&Change> {
        self.0.get_index(at)
    }

    /// Returns the filter as the protocol writes it.
    pub(super) fn to_json(&self) -> RawJson {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Honoured<'a> {
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            tools_list_changed: bool,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            prompts_list_changed: bool,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            resources_list_changed: bool,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            resource_subscriptions: Vec<&'a str>,
        }
        let honoured = Honoured {
            tools_list_changed: self.0.contains(&Change::Tools),
            prompts_list_changed: self.0.contains(&Change::Prompts),
            resources_list_changed: self.0.contains(&Change::Resources),
            resource_subscriptions: self.0.iter().filter_map(Change::uri).collect(),
        };
        RawJson::from_value(&honoured).unwrap_or_else(|_| RawJson::empty_object())
    }
}

impl Supported {
    /// Reads a server's capabilities, which may contain any JSON.
    pub(super) fn read(capabilities: &RawJson) -> Self {
        let capabilities: Value = capabilities.read().unwrap_or_default();
        let has = |what: &str, feature: &str| capabilities[what][feature] == true;
        Self {
            tools: has("tools", "listChanged"),
            prompts: has("prompts", "listChanged"),
            resources: has("resources", "listChanged"),
            updates: has("resources", "subscribe"),
        }
    }
}

fn uris(list: &RawValue) -> Result<Vec<String>, Rejection> {
    // Checked first, which also bounds the parsing below.
    if list.get().len() > Limits::MAX_LISTEN_BYTES {
        return Err(Rejection::InvalidParams("`resourceSubscriptions` is longer than 256 KiB"));
    }
    let uris: Vec<String> = serde_json::from_str(list.get())
        .map_err(|_| Rejection::InvalidParams("`resourceSubscriptions` is a list of strings"))?;
    if uris.len() > Limits::MAX_LISTEN_RESOURCES {
        return Err(Rejection::InvalidParams("`resourceSubscriptions` has more than 1,000 members"));
    }
    Ok(uris)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(notifications: &Value) -> Result<String, &'static str> {
        let params = RawJson::from_value(&json!({ "notifications": notifications })).unwrap();
        match Filter::read(Some(&params), || false) {
            Ok(filter) => Ok(filter.to_json().as_str().to_owned()),
            Err(Rejection::InvalidParams(why)) => Err(why),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn filters_are_deduplicated_in_order() {
        let all = json!({"resourceSubscriptions": ["b:1", "a:1", "b:1"], "resourcesListChanged": true,
            "promptsListChanged": true, "toolsListChanged": true});
        let kept = r#"{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true,"resourceSubscriptions":["b:1","a:1"]}"#;
        assert_eq!(read(&all).as_deref(), Ok(kept));
        for nothing in [
            json!({}),
            json!({"toolsListChanged": false, "resourceSubscriptions": []}),
            json!({"toolsListChanged": null, "resourceSubscriptions": null}),
            json!({"taskIds": null, "tools": true}),
        ] {
            assert_eq!(read(&nothing).as_deref(), Ok("{}"), "{nothing}");
        }
    }

    #[test]
    fn invalid_filters_are_rejected() {
        for malformed in [json!(null), json!([]), json!([true]), json!("tools"), json!(1), json!(true)] {
            assert_eq!(read(&malformed), Err("`notifications` is required, and is an object"), "{malformed}");
        }
        for malformed in [json!({"toolsListChanged": 1}), json!({"promptsListChanged": "true"})] {
            assert!(read(&malformed).is_err_and(|why| why.starts_with("in `notifications`")), "{malformed}");
        }
        for malformed in [json!("a:1"), json!({}), json!([1]), json!([["a:1"]]), json!([null])] {
            let why = read(&json!({"resourceSubscriptions": malformed}));
            assert_eq!(why, Err("`resourceSubscriptions` is a list of strings"), "{malformed}");
        }
        for missing in [None, Some(RawJson::empty_object())] {
            assert!(Filter::read(missing.as_ref(), || false).is_err(), "{missing:?}");
        }
        let twice = RawJson::trusted(r#"{"notifications":{},"notifications":{}}"#);
        assert!(Filter::read(Some(&twice), || false).is_err());
    }

    #[test]
    fn resources_are_bounded_in_number_and_in_length() {
        let many =
            |count: usize| json!({"resourceSubscriptions": (0..count).map(|n| n.to_string()).collect::<Vec<_>>()});
        assert!(read(&many(Limits::MAX_LISTEN_RESOURCES)).is_ok());
        assert!(read(&many(Limits::MAX_LISTEN_RESOURCES + 1)).is_err_and(|why| why.contains("1,000")));
        let long = |length: usize| json!({"resourceSubscriptions": ["x".repeat(length - r#"[""]"#.len())]});
        assert!(read(&long(Limits::MAX_LISTEN_BYTES)).is_ok());
        assert!(read(&long(Limits::MAX_LISTEN_BYTES + 1)).is_err_and(|why| why.contains("256 KiB")));
    }

    #[test]
    fn filters_are_limited_to_the_capabilities() {
        let request = json!({"notifications": {"toolsListChanged": true, "promptsListChanged": true,
            "resourcesListChanged": true, "resourceSubscriptions": ["a:1"]}});
        let request = RawJson::from_value(&request).unwrap();
        for (capabilities, honoured) in [
            (r#"{"tools":{"listChanged":true}}"#, r#"{"toolsListChanged":true}"#),
            (r#"{"prompts":{"listChanged":true},"tools":{}}"#, r#"{"promptsListChanged":true}"#),
            (r#"{"resources":{"listChanged":true,"subscribe":false}}"#, r#"{"resourcesListChanged":true}"#),
            (r#"{"resources":{"subscribe":true}}"#, r#"{"resourceSubscriptions":["a:1"]}"#),
            (r#"{"tools":{"listChanged":"true"},"prompts":null,"resources":[]}"#, "{}"),
            ("{}", "{}"),
            ("[]", "{}"),
        ] {
            let mut filter = Filter::read(Some(&request), || false).unwrap();
            filter.narrow(Supported::read(&RawJson::trusted(capabilities)));
            assert_eq!(filter.to_json().as_str(), honoured, "{capabilities}");
        }
    }
}
