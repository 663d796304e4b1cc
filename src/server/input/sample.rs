//! Decides how the client's model is asked.

use std::borrow::Cow;
use std::future::IntoFuture;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::DEFAULT_PERSON_TIMEOUT;
use super::ask::Manner;
use crate::message::RawJson;
use crate::server::{ClientError, Content, Context, Role};

/// A prompt for the client's model.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SamplingRequest {
    messages: Vec<SamplingMessage>,
    max_tokens: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_prompt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_preferences: Option<ModelPreferences>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Map<String, Value>>,
}

/// One message of the conversation with the model: a text, a picture or a sound.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SamplingMessage {
    role: Role,
    content: Content,
}

impl SamplingMessage {
    /// A message of the person.
    #[must_use]
    pub fn user(content: impl Into<Content>) -> Self {
        Self { role: Role::User, content: content.into() }
    }

    /// A message of the model.
    #[must_use]
    pub fn assistant(content: impl Into<Content>) -> Self {
        Self { role: Role::Assistant, content: content.into() }
    }
}

impl SamplingRequest {
    /// One message of the person, and the most tokens the answer may have.
    #[must_use]
    pub fn new(prompt: impl Into<Content>, max_tokens: u32) -> Self {
        Self::conversation([SamplingMessage::user(prompt)], max_tokens)
    }

    /// A whole conversation.
    #[must_use]
    pub fn conversation(messages: impl IntoIterator<Item = SamplingMessage>, max_tokens: u32) -> Self {
        Self {
            messages: messages.into_iter().collect(),
            max_tokens,
            system_prompt: None,
            temperature: None,
            stop_sequences: Vec::new(),
            model_preferences: None,
            metadata: None,
        }
    }

    /// The system prompt the server would like; the client may change or drop it.
    #[must_use]
    pub fn system_prompt(mut self, prompt: impl Into<String>) -> Self {
        self.system_prompt = Some(prompt.into());
        self
    }

    /// The temperature.
    #[must_use]
    pub fn temperature(mut self, temperature: f64) -> Self {
        self.temperature = Some(temperature);
        self
    }

    /// Adds a text that ends the answer.
    #[must_use]
    pub fn stop_sequence(mut self, text: impl Into<String>) -> Self {
        self.stop_sequences.push(text.into());
        self
    }

    /// Which model the server would like.
    #[must_use]
    pub fn model_preferences(mut self, preferences: ModelPreferences) -> Self {
        self.model_preferences = Some(preferences);
        self
    }

    /// Members for the provider of the model.
    #[must_use]
    pub fn metadata(mut self, metadata: Map<String, Value>) -> Self {
        self.metadata = Some(metadata);
        self
    }
}

/// Which model a server would like; the client decides. Priorities go from 0 to 1.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelPreferences {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<Hint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_priority: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    speed_priority: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    intelligence_priority: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Hint {
    name: String,
}

impl ModelPreferences {
    /// No preference yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part of a model's name; earlier ones count more.
    #[must_use]
    pub fn hint(mut self, name: impl Into<String>) -> Self {
        self.hints.push(Hint { name: name.into() });
        self
    }

    /// How much a low price counts.
    #[must_use]
    pub fn cost(mut self, priority: f64) -> Self {
        self.cost_priority = Some(priority);
        self
    }

    /// How much speed counts.
    #[must_use]
    pub fn speed(mut self, priority: f64) -> Self {
        self.speed_priority = Some(priority);
        self
    }

    /// How much ability counts.
    #[must_use]
    pub fn intelligence(mut self, priority: f64) -> Self {
        self.intelligence_priority = Some(priority);
        self
    }
}

/// What the client's model answered.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SamplingResult {
    /// Who speaks; the model, as a rule.
    pub role: Role,
    /// The answer; a single block except from clients since 2025-11-25.
    #[serde(deserialize_with = "one_or_many")]
    pub content: Vec<Content>,
    /// The model that was used.
    pub model: String,
    /// Why it stopped: `endTurn`, `stopSequence`, `maxTokens`, or a word of the provider.
    #[serde(default)]
    pub stop_reason: Option<String>,
}

impl SamplingResult {
    /// The texts of the answer, one after the other.
    #[must_use]
    pub fn text(&self) -> String {
        self.content.iter().filter_map(Content::as_text).collect()
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Content>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(Box<Content>),
        Many(Vec<Content>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(content) => vec![*content],
        OneOrMany::Many(contents) => contents,
    })
}

impl Context {
    /// Asks the client's model. The client shows the prompt to its user, as a rule, so the answer
    /// may take as long as a person does.
    ///
    /// ```
    /// use mcp_http::server::{Context, SamplingRequest, ToolError};
    ///
    /// async fn haiku(cx: Context) -> Result<String, ToolError> {
    ///     let answer = cx.sample(SamplingRequest::new("Write a haiku about ports.", 100)).await?;
    ///     Ok(answer.text())
    /// }
    /// # let _ = mcp_http::McpServer::<()>::new("doc", "1").tool("haiku", "Writes a haiku.", haiku);
    /// ```
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    ///
    /// # Cancel safety
    ///
    /// The question may have been sent; a late answer to it is dropped.
    pub fn sample(&self, request: SamplingRequest) -> Sample {
        Sample { context: self.clone(), request, manner: Manner::within(DEFAULT_PERSON_TIMEOUT) }
    }
}

/// A question to the model, from [`Context::sample`]; sent when awaited.
#[derive(Debug)]
#[must_use = "a question is sent when it is awaited"]
pub struct Sample {
    context: Context,
    request: SamplingRequest,
    manner: Manner,
}

impl Sample {
    /// How long to wait; [`DEFAULT_PERSON_TIMEOUT`] unless told otherwise.
    pub fn timeout(mut self, within: Duration) -> Self {
        self.manner.within = within;
        self
    }

    /// The name of the question, by which a client of 2026-07-28 answers it; unique in its handler.
    /// Without one it is named by what it is and its place among the questions of the call.
    pub fn key(mut self, key: impl Into<Cow<'static, str>>) -> Self {
        self.manner.key = Some(key.into());
        self
    }
}

impl IntoFuture for Sample {
    type Output = Result<SamplingResult, ClientError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            self.context.check_capability("sampling", |client| client.sampling.is_some())?;
            self.context.ask("sampling/createMessage", &self.request, self.manner, RawJson::read).await
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_is_written_as_the_schema_wants_it() {
        let request = SamplingRequest::new("Hi", 100)
            .system_prompt("Be short.")
            .model_preferences(ModelPreferences::new().hint("small").speed(1.0));
        assert_eq!(
            serde_json::to_value(request).unwrap(),
            json!({
                "messages": [{"role": "user", "content": {"type": "text", "text": "Hi"}}],
                "maxTokens": 100,
                "systemPrompt": "Be short.",
                "modelPreferences": {"hints": [{"name": "small"}], "speedPriority": 1.0},
            })
        );
    }

    #[test]
    fn an_answer_is_one_block_or_several() {
        let block = json!({"type": "text", "text": "a"});
        for (content, text) in [(block.clone(), "a"), (json!([block, block]), "aa")] {
            let answer = json!({"role": "assistant", "model": "m", "content": content});
            assert_eq!(serde_json::from_value::<SamplingResult>(answer).unwrap().text(), text);
        }
    }
}
