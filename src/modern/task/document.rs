//! The document of a task: its state and its allowed changes. Each client request is made once and
//! answered once, and the first end is final.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::validate;
use crate::identity::TaskId;
use crate::message::{ErrorObject, RawJson};

/// A task as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Document {
    /// Milliseconds since 1970.
    created: u64,
    updated: u64,
    ttl: Option<u64>,
    poll: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    requests: Vec<InputRequest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<End>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct InputRequest {
    key: String,
    method: String,
    params: RawJson,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<RawJson>,
}

/// How a task ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum End {
    Completed(RawJson),
    Failed(ErrorObject),
    Cancelled,
}

impl Document {
    pub(super) fn new(now: u64, ttl: Option<Duration>, poll: Duration) -> Self {
        let (ttl, poll) = (ttl.map(millis), millis(poll));
        Self { created: now, updated: now, ttl, poll, message: None, requests: Vec::new(), end: None }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    pub(super) fn touch(&mut self, now: u64) {
        self.updated = now.max(self.updated);
    }

    pub(super) fn say(&mut self, message: String) {
        self.message = Some(message);
    }

    /// Adds a client request. A key is never used for two requests.
    pub(super) fn add_request(&mut self, key: &str, method: &str, params: &RawJson) {
        if !self.requests.iter().any(|request| request.key == key) {
            self.requests.push(InputRequest {
                key: key.to_owned(),
                method: method.to_owned(),
                params: params.clone(),
                answer: None,
            });
        }
    }

    /// Removes the answers that no handler waits for.
    pub(super) fn forget_answers(&mut self, waits: impl Fn(&str) -> bool) {
        self.requests.retain(|request| request.answer.is_none() || waits(&request.key));
    }

    /// Stores an answer to an open request. Returns `false` if no open request has this key.
    pub(super) fn answer(&mut self, key: &str, answer: &RawJson) -> bool {
        let open = self.requests.iter_mut().find(|request| request.key == key && request.answer.is_none());
        open.is_some_and(|request| request.answer.replace(answer.clone()).is_none())
    }

    pub(super) fn answer_to(&self, key: &str) -> Option<&RawJson> {
        self.requests.iter().find(|request| request.key == key)?.answer.as_ref()
    }

    /// Removes an open request that the handler no longer waits for.
    pub(super) fn withdraw(&mut self, key: &str) {
        self.requests.retain(|request| request.key != key || request.answer.is_some());
    }

    /// Ends the task. Returns `false` if it had ended before.
    pub(super) fn end(&mut self, end: End) -> bool {
        if self.has_ended() {
            return false;
        }
        // A status message about the work does not describe its end.
        self.message = match &end {
            End::Failed(error) => Some(error.message.clone().into_owned()),
            End::Completed(_) | End::Cancelled => None,
        };
        // No request stays open, and the answers have been used.
        self.requests.clear();
        self.end = Some(end);
        true
    }

    /// Returns the reason if an answer does not fit the open request that it is for.
    pub(super) fn misfit(&self, key: &str, answer: &RawJson) -> Option<String> {
        let open = self.requests.iter().find(|request| request.key == key && request.answer.is_none())?;
        validate::check(&open.method, &open.params, answer).err()
    }

    /// Returns `true` if the task waits for its client.
    fn waits(&self) -> bool {
        self.requests.iter().any(|request| request.answer.is_none())
    }

    fn status(&self) -> &'static str {
        match &self.end {
            Some(End::Completed(_)) => "completed",
            Some(End::Failed(_)) => "failed",
            Some(End::Cancelled) => "cancelled",
            None if self.waits() => "input_required",
            None => "working",
        }
    }

    /// Returns the task as the answer to the call that became it.
    pub(super) fn created(&self, id: TaskId) -> Result<RawJson, serde_json::Error> {
        RawJson::from_value(&View { result_type: Some("task"), ..self.view(id) })
    }

    /// Returns the task as a client that polls sees it.
    pub(super) fn detailed(&self, id: TaskId) -> Result<RawJson, serde_json::Error> {
        let open = self.requests.iter().filter(|request| request.answer.is_none());
        let requests: Vec<_> = open.collect();
        let (result, error) = match &self.end {
            Some(End::Completed(result)) => (Some(result), None),
            Some(End::Failed(error)) => (None, Some(error)),
            Some(End::Cancelled) | None => (None, None),
        };
        let requests = (!requests.is_empty()).then_some(Requests(requests));
        RawJson::from_value(&View { input_requests: requests, result, error, ..self.view(id) })
    }

    fn view(&self, id: TaskId) -> View<'_> {
        View {
            result_type: None,
            task_id: id.to_string(),
            status: self.status(),
            // A handler's message describes its work, not the input that it waits for.
            status_message: self.message.as_deref().filter(|_| !self.waits()),
            created_at: time(self.created),
            last_updated_at: time(self.updated),
            ttl_ms: self.ttl,
            poll_interval_ms: self.poll,
            input_requests: None,
            result: None,
            error: None,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    result_type: Option<&'static str>,
    task_id: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_message: Option<&'a str>,
    created_at: String,
    last_updated_at: String,
    /// `null`: kept without a time limit.
    ttl_ms: Option<u64>,
    poll_interval_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_requests: Option<Requests<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a ErrorObject>,
}

/// Client requests by their keys, in their order.
struct Requests<'a>(Vec<&'a InputRequest>);

impl Serialize for Requests<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Request<'a> {
            method: &'a str,
            params: &'a RawJson,
        }
        serializer
            .collect_map(self.0.iter().map(|open| (&open.key, Request { method: &open.method, params: &open.params })))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Formats a time as ISO 8601.
fn time(unix_millis: u64) -> String {
    /// The end of the year 9999, the last that this format can write.
    const LAST: u64 = 253_402_300_799_000;
    let since = Duration::from_millis(unix_millis.min(LAST));
    humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + since).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn raw(value: &Value) -> RawJson {
        RawJson::from_value(value).unwrap()
    }

    fn seen(document: &Document) -> Value {
        let id = TaskId::parse("0f5bd1f2-3c4e-4a6b-8c7d-9e0f1a2b3c4d").unwrap();
        document.detailed(id).unwrap().read().unwrap()
    }

    #[test]
    fn tasks_have_the_form_of_the_extension() {
        let mut document = Document::new(1_000, Some(Duration::from_secs(60)), Duration::from_millis(500));
        document.touch(2_000);
        assert_eq!(
            seen(&document),
            json!({
                "taskId": "0f5bd1f2-3c4e-4a6b-8c7d-9e0f1a2b3c4d", "status": "working",
                "createdAt": "1970-01-01T00:00:01.000Z", "lastUpdatedAt": "1970-01-01T00:00:02.000Z",
                "ttlMs": 60_000, "pollIntervalMs": 500,
            })
        );
        assert!(document.end(End::Completed(raw(&json!({"content": []})))));
        assert_eq!(seen(&document)["result"], json!({"content": []}));
        assert!(!document.end(End::Cancelled), "the first end is the end");
        assert_eq!(Document::new(u64::MAX, None, Duration::MAX).view(TaskId::random()).ttl_ms, None);
    }

    #[test]
    fn client_requests_are_listed_until_answered() {
        let mut document = Document::new(0, None, Duration::from_secs(1));
        document.add_request("b", "roots/list", &raw(&json!({})));
        document.add_request("a", "roots/list", &raw(&json!({})));
        document.add_request("a", "elicitation/create", &raw(&json!({})));
        let requests = seen(&document)["inputRequests"].clone();
        assert_eq!(requests.as_object().unwrap().keys().collect::<Vec<_>>(), ["b", "a"]);
        assert!(document.answer("b", &raw(&json!(1))) && !document.answer("b", &raw(&json!(2))));
        assert!(!document.answer("stray", &raw(&json!(1))));
        assert_eq!(document.answer_to("b").map(RawJson::as_str), Some("1"));
        document.forget_answers(|key| key == "b");
        assert!(document.answer_to("b").is_some());
        document.forget_answers(|_| false);
        assert!(document.answer_to("b").is_none() && seen(&document)["inputRequests"].get("a").is_some());
        document.withdraw("a");
        assert_eq!((&seen(&document)["status"], seen(&document).get("inputRequests")), (&json!("working"), None));
    }
}
