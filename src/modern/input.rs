//! Decides what the handler of one round is answered, and what its client is asked in the end
//! (2026-07-28, Multi Round-Trip Requests).
//!
//! 1. A call that has to ask ends with its questions. The client calls again with the answers, and
//!    the handler runs anew from its beginning: what was answered is answered at once, what is new is
//!    asked.
//! 2. Each question has a key. An answer counts for the question it was given to: when the same key
//!    comes with other words the next time, it is asked again.
//! 3. What earlier rounds learnt travels with the client, sealed: it opens for the same principal,
//!    the same method and the same parameters only, and not for long. Everything else that comes back
//!    is one error, which says nothing.
//! 4. An answer without anything carried counts too: the client says what its user said in any case.
//! 5. The rounds of a call are counted, and what travels is bounded.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::canonical;
use crate::message::{ErrorObject, ProtocolVersion, RawJson};

/// What a round knows of the rounds before it, and what it asks.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    carried: Carried,
    /// Answers that came with this request, until somebody asks for them.
    given: BTreeMap<String, RawJson>,
    /// Questions of this round that nobody has answered, in their order.
    open: Vec<Open>,
    /// How often each name was used in this round.
    used: BTreeMap<String, u32>,
}

/// What a client carries from one round to the next.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Carried {
    /// When it is worth nothing any more, in milliseconds since 1970.
    until: u64,
    round: u32,
    /// What was answered, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    answers: BTreeMap<String, Answered>,
    /// What was asked and has no answer yet.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    asked: BTreeMap<String, u64>,
    /// The values of steps that are not taken again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    steps: BTreeMap<String, RawJson>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Answered {
    /// Of the question.
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

/// What a client is made to carry, before it is sealed.
pub(super) struct Bounds {
    pub(super) now: u64,
    pub(super) lifetime: u64,
    pub(super) rounds: u32,
    pub(super) bytes: usize,
}

/// Methods whose answer may be a question (Multi Round-Trip Requests, "Supported Requests").
pub(super) fn may_ask(method: &str) -> bool {
    matches!(method, "tools/call" | "prompts/get" | "resources/read")
}

/// Requests that may be such a question.
pub(super) fn may_be_asked(method: &str) -> bool {
    matches!(method, "elicitation/create" | "sampling/createMessage" | "roots/list")
}

/// What a sealed text is bound to: whoever asks, and for what. Parameters that change from round to
/// round do not count.
pub(super) fn purpose(
    principal: Option<&str>,
    version: ProtocolVersion,
    method: &str,
    params: Option<&RawJson>,
) -> Vec<u8> {
    let mut params: Map<String, Value> = params.and_then(|params| params.read().ok()).unwrap_or_default();
    for changing in ["_meta", "inputResponses", "requestState"] {
        params.remove(changing);
    }
    let mut purpose = Vec::new();
    let who = principal.map_or(Value::Null, Value::from);
    let what = Value::Array(vec![who, version.as_str().into(), method.into(), Value::Object(params)]);
    canonical::write(&what, &mut purpose);
    purpose
}

impl Inputs {
    /// What came with a request. `carried` is opened already; what did not open is `None` in it.
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

    /// The answer to a question; `None` when there is none yet, and it is asked.
    pub(super) fn ask(&mut self, method: &'static str, params: RawJson, key: Option<&str>) -> Option<RawJson> {
        let key = self.key(method, key);
        let print = print(method, &params);
        if let Some(answered) = self.carried.answers.get(&key).filter(|answered| answered.print == print) {
            return Some(answered.answer.clone());
        }
        // Where it is known what the answer was given to, it must have been this.
        let fits = self.carried.asked.get(&key).is_none_or(|asked| *asked == print);
        match self.given.remove(&key).filter(|_| fits) {
            Some(answer) => {
                self.carried.asked.remove(&key);
                self.carried.answers.insert(key, Answered { print, answer: answer.clone() });
                Some(answer)
            }
            None => {
                self.open.push(Open { key, method, params, print });
                None
            }
        }
    }

    /// The name of a question: its own, or what it is and which of them; a name that was used before
    /// in this round is counted on.
    fn key(&mut self, method: &str, key: Option<&str>) -> String {
        let name = key.unwrap_or_else(|| method.split('/').next().unwrap_or(method));
        let used = self.used.entry(name.to_owned()).or_default();
        *used += 1;
        match (key, *used) {
            (Some(name), 1) => name.to_owned(),
            (_, n) => format!("{name}-{n}"),
        }
    }

    pub(super) fn recall(&self, step: &str) -> Option<RawJson> {
        self.carried.steps.get(step).cloned()
    }

    pub(super) fn remember(&mut self, step: &str, value: RawJson) {
        self.carried.steps.insert(step.to_owned(), value);
    }

    /// The result that asks the client, and what it shall carry, to be sealed.
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
        let Self { mut carried, open, .. } = self;
        carried.round += 1;
        if carried.round > bounds.rounds {
            return Err(over(&format!("the call asked in {} rounds, which is the limit", bounds.rounds)));
        }
        carried.until = bounds.now.saturating_add(bounds.lifetime);
        carried.asked = open.iter().map(|open| (open.key.clone(), open.print)).collect();
        let plain = serde_json::to_vec(&carried).map_err(internal)?;
        if plain.len() > bounds.bytes {
            return Err(over(&format!("what the client would have to carry is over {} bytes", bounds.bytes)));
        }
        let request_state = seal(&plain).ok_or_else(|| internal("there is no randomness to seal with"))?;
        let requests = open.iter().map(|open| (&*open.key, Request { method: open.method, params: &open.params }));
        let result = InputRequired { result_type: "input_required", input_requests: requests.collect(), request_state };
        RawJson::from_value(&result).map_err(internal)
    }
}

/// One answer for everything that does not open, has expired, or was given to somebody else.
pub(super) fn unusable() -> ErrorObject {
    ErrorObject::invalid_params("Invalid params: `requestState` cannot be used")
}

fn over(why: &str) -> ErrorObject {
    ErrorObject::new(ErrorObject::INTERNAL_ERROR, format!("Too much input: {why}"))
}

fn internal(why: impl std::fmt::Display) -> ErrorObject {
    tracing::error!(%why, "a client cannot be asked");
    ErrorObject::internal()
}

/// Tells one question from another.
fn print(method: &str, params: &RawJson) -> u64 {
    let mut text = Vec::with_capacity(method.len() + params.as_bytes().len());
    text.extend_from_slice(method.as_bytes());
    match params.read() {
        Ok(params) => canonical::write(&params, &mut text),
        Err(_) => text.extend_from_slice(params.as_bytes()),
    }
    let digest: [u8; 32] = Sha256::digest(&text).into();
    digest.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BOUNDS: Bounds = Bounds { now: 1_000, lifetime: 500, rounds: 2, bytes: 4_096 };

    fn raw(value: &Value) -> RawJson {
        RawJson::from_value(value).unwrap()
    }

    fn ask(inputs: &mut Inputs, words: &str, key: Option<&str>) -> Option<String> {
        let answer = inputs.ask("elicitation/create", raw(&json!({"message": words})), key)?;
        Some(answer.as_str().to_owned())
    }

    /// Ends a round; what is asked, and what is carried.
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
    fn a_question_is_asked_once_and_answered_in_every_round_after() {
        let mut first = Inputs::default();
        assert_eq!(ask(&mut first, "name?", Some("name")), None);
        let (asked, carried) = end(first);
        assert_eq!(asked, ["name"]);
        let mut second = again(&carried, &json!({"name": "ann", "stray": 1}), 1_200).unwrap();
        assert_eq!(ask(&mut second, "name?", Some("name")).as_deref(), Some("\"ann\""));
        assert_eq!(ask(&mut second, "age?", Some("age")), None);
        let (asked, carried) = end(second);
        assert_eq!(asked, ["age"]);
        assert!(!carried.contains("stray"));
        let mut third = again(&carried, &json!({"age": 7}), 1_200).unwrap();
        assert_eq!(ask(&mut third, "name?", Some("name")).as_deref(), Some("\"ann\""));
        assert_eq!(ask(&mut third, "age?", Some("age")).as_deref(), Some("7"));
        assert!(third.open.is_empty());
    }

    #[test]
    fn an_answer_counts_for_the_question_it_was_given_to() {
        let mut first = Inputs::default();
        ask(&mut first, "Delete 3 files?", Some("sure"));
        let (_, carried) = end(first);
        let mut second = again(&carried, &json!({"sure": true}), 1_200).unwrap();
        assert_eq!(ask(&mut second, "Delete 5 files?", Some("sure")), None);
        // Without anything carried it is taken for what it says it is.
        let mut direct = Inputs::read(None, Some(&raw(&json!({"sure": true}))), 0).unwrap();
        assert_eq!(ask(&mut direct, "Delete 5 files?", Some("sure")).as_deref(), Some("true"));
    }

    #[test]
    fn questions_without_a_name_are_counted_and_names_are_never_used_twice() {
        let mut inputs = Inputs::default();
        for (words, key) in [("a", None), ("b", None), ("c", Some("x")), ("d", Some("x"))] {
            ask(&mut inputs, words, key);
        }
        inputs.ask("roots/list", raw(&json!({})), None);
        assert_eq!(end(inputs).0, ["elicitation-1", "elicitation-2", "roots-1", "x", "x-2"]);
    }

    #[test]
    fn what_is_carried_expires_is_bounded_and_has_only_so_many_rounds() {
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
        large.remember("step", raw(&json!("x".repeat(5_000))));
        ask(&mut large, "a", None);
        assert_eq!(large.result(&BOUNDS, |_| None).unwrap_err().code, ErrorObject::INTERNAL_ERROR);
    }

    #[test]
    fn answers_are_an_object() {
        for wrong in [json!(null), json!([]), json!("x")] {
            assert_eq!(Inputs::read(None, Some(&raw(&wrong)), 0).unwrap_err().code, ErrorObject::INVALID_PARAMS);
        }
    }

    #[test]
    fn the_purpose_is_who_and_what_and_not_how_it_is_written() {
        let version = ProtocolVersion::V2026_07_28;
        let purpose = |who, params: &'static str| purpose(who, version, "tools/call", Some(&RawJson::trusted(params)));
        let base = purpose(Some("ann"), r#"{"name":"a","arguments":{"x":1,"y":2}}"#);
        assert_eq!(
            base,
            purpose(Some("ann"), r#"{"requestState":"s","arguments":{"y":2,"x":1},"_meta":{},"name":"a"}"#)
        );
        assert_ne!(base, purpose(Some("bob"), r#"{"name":"a","arguments":{"x":1,"y":2}}"#));
        assert_ne!(base, purpose(None, r#"{"name":"a","arguments":{"x":1,"y":2}}"#));
        assert_ne!(base, purpose(Some("ann"), r#"{"name":"a","arguments":{"x":1,"y":3}}"#));
    }
}
