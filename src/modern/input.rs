//! Inputs of one round: the answers that its handler receives, and the requests sent to its client
//! at the end (2026-07-28, Multi Round-Trip Requests).
//!
//! 1. A call that needs input ends with its requests to the client. The client calls again with the
//!    answers, and the handler runs again from its beginning. Requests that were answered return at
//!    once, and new ones are sent.
//! 2. Each request has a key. An answer counts only for the request that it was given to. When the
//!    same key comes with another content the next time, the request is sent again.
//! 3. The values of earlier rounds travel with the client, sealed. The seal opens only for the same
//!    service, principal, method and parameters, and for a limited time. Anything else that comes
//!    back gives one error without details.
//! 4. An answer without sealed state counts too, because in any case the client states what its
//!    user answered.
//! 5. The rounds of a call are counted, and the size of the sealed state is bounded.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::canonical;
use super::request_keys::RequestKeys;
use crate::message::{ClientCapabilities, ErrorObject, ProtocolVersion, RawJson, write};
use crate::server::ClientError;

/// The values of earlier rounds, and the requests of this one.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    carried: Carried,
    /// Answers that came with this request, until the handler uses them.
    given: BTreeMap<String, RawJson>,
    /// Requests of this round that the handler waits for, in their order.
    open: Vec<Open>,
    request_keys: RequestKeys,
    steps: RequestKeys,
    /// A step ran whose value cannot be carried.
    lost: bool,
}

/// The state that a client carries from one round to the next.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Carried {
    /// The time of expiry, in milliseconds since 1970.
    until: u64,
    round: u32,
    /// The requests that have an answer, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    answers: BTreeMap<String, Answered>,
    /// The requests that have no answer yet.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    requests: BTreeMap<String, u64>,
    /// The values of steps that do not run again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    steps: BTreeMap<String, RawJson>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Answered {
    /// The fingerprint of the request.
    print: u64,
    answer: RawJson,
}

#[derive(Debug)]
struct Open {
    key: String,
    method: &'static str,
    params: RawJson,
    print: u64,
}

/// The limits of the state that a client carries, before it is sealed.
pub(super) struct Bounds {
    pub(super) now: u64,
    pub(super) lifetime: u64,
    pub(super) rounds: u32,
    pub(super) bytes: usize,
}

/// Returns `true` for methods that may end with requests to the client (Multi Round-Trip Requests,
/// "Supported Requests").
pub(super) fn may_request(method: &str) -> bool {
    matches!(method, "tools/call" | "prompts/get" | "resources/read")
}

/// Returns the method of a request if it may be sent to this client in a round.
pub(super) fn check(method: &str, client: &ClientCapabilities) -> Result<&'static str, ClientError> {
    let (method, capability, declared) = match method {
        "elicitation/create" => ("elicitation/create", "elicitation", client.elicitation.is_some()),
        "sampling/createMessage" => ("sampling/createMessage", "sampling", client.sampling.is_some()),
        "roots/list" => ("roots/list", "roots", client.roots.is_some()),
        _ => ("", "this request in its revision", false),
    };
    if declared { Ok(method) } else { Err(ClientError::NotCapable(capability)) }
}

/// Returns the context to which the sealed state is bound: the service, the principal and the call.
/// Parameters that change from round to round are left out.
pub(super) fn purpose(
    service: Option<&str>,
    principal: Option<&str>,
    version: ProtocolVersion,
    method: &str,
    params: Option<&RawJson>,
) -> Vec<u8> {
    let mut purpose = b"[".to_vec();
    for part in [service, principal, Some(version.as_str()), Some(method)] {
        match part {
            Some(text) => write::string(text, &mut purpose),
            None => purpose.extend_from_slice(b"null"),
        }
        purpose.push(b',');
    }
    if let Some(params) = params {
        canonical::write(params, &["_meta", "inputResponses", "requestState"], &mut purpose);
    }
    purpose
}

impl Inputs {
    /// Reads the inputs of a request. `carried` is its unsealed state, or `None` if it has none.
    pub(super) fn read(carried: Option<&[u8]>, given: Option<&RawJson>, now: u64) -> Result<Self, ErrorObject> {
        let carried: Carried = match carried {
            None => Carried::default(),
            Some(text) => serde_json::from_slice(text)
                .ok()
                .filter(|carried: &Carried| carried.until > now)
                .ok_or_else(unusable)?,
        };
        let given = match given {
            None => BTreeMap::new(),
            Some(given) if given.as_str().starts_with('{') => {
                given.read().map_err(|_| ErrorObject::invalid_params("Invalid params: `inputResponses`"))?
            }
            Some(_) => return Err(ErrorObject::invalid_params("Invalid params: `inputResponses` is not an object")),
        };
        Ok(Self { carried, given, ..Self::default() })
    }

    /// Returns the answer to a request, or the key under which it stays open while the handler
    /// waits.
    pub(super) fn request(
        &mut self,
        method: &'static str,
        params: &RawJson,
        key: Option<&str>,
    ) -> Result<RawJson, String> {
        let key = self.name(method, key);
        let print = print(method, params);
        if let Some(answered) = self.carried.answers.get(&key).filter(|answered| answered.print == print) {
            return Ok(answered.answer.clone());
        }
        // If the request behind the answer is known, it must be this one.
        let fits = self.carried.requests.get(&key).is_none_or(|request| *request == print);
        match self.given.remove(&key).filter(|_| fits) {
            Some(answer) => {
                self.carried.requests.remove(&key);
                self.carried.answers.insert(key, Answered { print, answer: answer.clone() });
                Ok(answer)
            }
            None => {
                self.open.push(Open { key: key.clone(), method, params: params.clone(), print });
                Err(key)
            }
        }
    }

    /// Returns the key of the next request.
    pub(super) fn name(&mut self, method: &str, key: Option<&str>) -> String {
        self.request_keys.request_key(method, key)
    }

    /// Removes a request that the handler no longer waits for.
    pub(super) fn withdraw(&mut self, key: &str) {
        self.open.retain(|open| open.key != key);
    }

    /// Returns `true` if the handler waits for an answer.
    pub(super) fn has_requests(&self) -> bool {
        !self.open.is_empty()
    }

    /// Returns the name of the next step, and its value from an earlier round.
    pub(super) fn step(&mut self, key: &str) -> (String, Option<RawJson>) {
        let name = self.steps.give(key);
        let value = self.carried.steps.get(&name).cloned();
        (name, value)
    }

    /// Stores the value of a step for later rounds. Without a value the step would run again in
    /// them, so no later round is possible.
    pub(super) fn remember(&mut self, step: String, value: Option<RawJson>) {
        match value {
            Some(value) => drop(self.carried.steps.insert(step, value)),
            None => self.lost = true,
        }
    }

    /// Builds the result with the requests to the client and the sealed state.
    pub(super) fn result(
        self,
        bounds: &Bounds,
        seal: impl FnOnce(&[u8]) -> Option<String>,
    ) -> Result<RawJson, ErrorObject> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct InputRequired<'a> {
            result_type: &'static str,
            input_requests: BTreeMap<&'a str, Request<'a>>,
            request_state: String,
        }
        #[derive(Serialize)]
        struct Request<'a> {
            method: &'static str,
            params: &'a RawJson,
        }
        let Self { mut carried, open, lost, .. } = self;
        if lost {
            return Err(internal("the value of a step cannot be carried in the request state"));
        }
        carried.round += 1;
        if carried.round > bounds.rounds {
            return Err(over(&format!(
                "the call needed input in {} rounds, the limit of the server's setting `InputRequests::max_rounds`",
                bounds.rounds
            )));
        }
        carried.until = bounds.now.saturating_add(bounds.lifetime);
        carried.requests = open.iter().map(|open| (open.key.clone(), open.print)).collect();
        let plain = serde_json::to_vec(&carried).map_err(internal)?;
        if plain.len() > bounds.bytes {
            return Err(over(&format!(
                "the request state is over {} bytes, the limit of the server's setting `InputRequests::max_state_bytes`",
                bounds.bytes
            )));
        }
        let request_state =
            seal(&plain).ok_or_else(|| internal("the operating system gave no random bytes to seal with"))?;
        let requests = open.iter().map(|open| (&*open.key, Request { method: open.method, params: &open.params }));
        let result = InputRequired { result_type: "input_required", input_requests: requests.collect(), request_state };
        RawJson::from_value(&result).map_err(internal)
    }
}

/// The single error for state that does not open, has expired, or belongs to another client.
pub(super) fn unusable() -> ErrorObject {
    ErrorObject::invalid_params("Invalid params: `requestState` cannot be used")
}

fn over(why: &str) -> ErrorObject {
    ErrorObject::new(ErrorObject::INTERNAL_ERROR, format!("Too much input: {why}"))
}

fn internal(why: impl std::fmt::Display) -> ErrorObject {
    tracing::error!(%why, "a request for input cannot be sent");
    ErrorObject::internal()
}

/// Returns the fingerprint of a request.
fn print(method: &str, params: &RawJson) -> u64 {
    let mut text = method.as_bytes().to_vec();
    canonical::write(params, &[], &mut text);
    let digest: [u8; 32] = Sha256::digest(&text).into();
    digest.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const BOUNDS: Bounds = Bounds { now: 1_000, lifetime: 500, rounds: 2, bytes: 4_096 };

    fn raw(value: &Value) -> RawJson {
        RawJson::from_value(value).unwrap()
    }

    fn ask(inputs: &mut Inputs, words: &str, key: Option<&str>) -> Option<String> {
        let answer = inputs.request("elicitation/create", &raw(&json!({"message": words})), key).ok()?;
        Some(answer.as_str().to_owned())
    }

    /// Ends a round. Returns the keys of its requests and the carried state.
    fn end(inputs: Inputs) -> (Vec<String>, String) {
        let mut carried = String::new();
        let result = inputs.result(&BOUNDS, |plain| {
            carried = String::from_utf8(plain.to_vec()).unwrap();
            Some("sealed".to_owned())
        });
        let result: Value = result.unwrap().read().unwrap();
        assert_eq!((&result["resultType"], &result["requestState"]), (&json!("input_required"), &json!("sealed")));
        (result["inputRequests"].as_object().unwrap().keys().cloned().collect(), carried)
    }

    fn again(carried: &str, given: &Value, now: u64) -> Result<Inputs, ErrorObject> {
        Inputs::read(Some(carried.as_bytes()), Some(&raw(given)), now)
    }

    #[test]
    fn answers_are_reused_in_later_rounds() {
        let mut first = Inputs::default();
        assert_eq!(ask(&mut first, "name?", Some("name")), None);
        let (request, carried) = end(first);
        assert_eq!(request, ["name"]);
        let mut second = again(&carried, &json!({"name": "ann", "stray": 1}), 1_200).unwrap();
        assert_eq!(ask(&mut second, "name?", Some("name")).as_deref(), Some("\"ann\""));
        assert_eq!(ask(&mut second, "age?", Some("age")), None);
        let (request, carried) = end(second);
        assert_eq!(request, ["age"]);
        assert!(!carried.contains("stray"));
        let mut third = again(&carried, &json!({"age": 7}), 1_200).unwrap();
        assert_eq!(ask(&mut third, "name?", Some("name")).as_deref(), Some("\"ann\""));
        assert_eq!(ask(&mut third, "age?", Some("age")).as_deref(), Some("7"));
        assert!(third.open.is_empty());
    }

    #[test]
    fn answers_belong_to_their_own_request() {
        let mut first = Inputs::default();
        ask(&mut first, "Delete 3 files?", Some("sure"));
        let (_, carried) = end(first);
        let mut second = again(&carried, &json!({"sure": true}), 1_200).unwrap();
        assert_eq!(ask(&mut second, "Delete 5 files?", Some("sure")), None);
        // An answer without sealed state is taken as an answer to the request of its key.
        let mut direct = Inputs::read(None, Some(&raw(&json!({"sure": true}))), 0).unwrap();
        assert_eq!(ask(&mut direct, "Delete 5 files?", Some("sure")).as_deref(), Some("true"));
    }

    #[test]
    fn generated_keys_are_counted_and_unique() {
        let mut inputs = Inputs::default();
        for (words, key) in [("a", None), ("b", None), ("c", Some("x")), ("d", Some("x"))] {
            ask(&mut inputs, words, key);
        }
        assert_eq!(inputs.request("roots/list", &raw(&json!({})), None), Err("roots-1".to_owned()));
        assert_eq!(end(inputs).0, ["elicitation-1", "elicitation-2", "roots-1", "x", "x-2"]);
    }

    #[test]
    fn request_state_is_bounded_and_expires() {
        let mut inputs = Inputs::default();
        ask(&mut inputs, "a", None);
        let (_, carried) = end(inputs);
        assert!(again(&carried, &json!({}), 1_499).is_ok());
        assert_eq!(again(&carried, &json!({}), 1_500).unwrap_err().message, unusable().message);
        let mut second = again(&carried, &json!({}), 1_200).unwrap();
        ask(&mut second, "a", None);
        let (_, carried) = end(second);
        let mut third = again(&carried, &json!({}), 1_200).unwrap();
        ask(&mut third, "a", None);
        assert_eq!(third.result(&BOUNDS, |_| None).unwrap_err().code, ErrorObject::INTERNAL_ERROR);
        let mut large = Inputs::default();
        large.remember("step".to_owned(), Some(raw(&json!("x".repeat(5_000)))));
        ask(&mut large, "a", None);
        assert_eq!(large.result(&BOUNDS, |_| None).unwrap_err().code, ErrorObject::INTERNAL_ERROR);
    }

    #[test]
    fn withdrawn_requests_keep_their_key() {
        let mut inputs = Inputs::default();
        for words in ["a", "b", "c"] {
            ask(&mut inputs, words, None);
        }
        inputs.withdraw("elicitation-2");
        assert!(inputs.has_requests());
        assert_eq!(end(std::mem::take(&mut inputs)).0, ["elicitation-1", "elicitation-3"]);
        assert!(!inputs.has_requests());
    }

    #[test]
    fn answers_are_an_object() {
        for wrong in [json!(null), json!([]), json!("x")] {
            assert_eq!(Inputs::read(None, Some(&raw(&wrong)), 0).unwrap_err().code, ErrorObject::INVALID_PARAMS);
        }
    }

    #[test]
    fn the_purpose_ignores_the_spelling_of_json() {
        let version = ProtocolVersion::V2026_07_28;
        let service = Some("calendar");
        let purpose =
            |who, params: &'static str| purpose(service, who, version, "tools/call", Some(&RawJson::trusted(params)));
        let base = purpose(Some("ann"), r#"{"name":"a","arguments":{"x":1,"y":2}}"#);
        assert_eq!(
            base,
            purpose(Some("ann"), r#"{"requestState":"s","arguments":{"y":2,"x":1},"_meta":{},"name":"a"}"#)
        );
        assert_ne!(base, purpose(Some("bob"), r#"{"name":"a","arguments":{"x":1,"y":2}}"#));
        assert_ne!(base, purpose(None, r#"{"name":"a","arguments":{"x":1,"y":2}}"#));
        assert_ne!(base, purpose(Some("ann"), r#"{"name":"a","arguments":{"x":1,"y":3}}"#));
        let other = RawJson::trusted(r#"{"name":"a","arguments":{"x":1,"y":2}}"#);
        assert_ne!(base, super::purpose(service, Some("ann"), version, "prompts/get", Some(&other)));
        assert_ne!(base, super::purpose(Some("mail"), Some("ann"), version, "tools/call", Some(&other)));
        assert_ne!(base, super::purpose(None, Some("ann"), version, "tools/call", Some(&other)));
    }
}
