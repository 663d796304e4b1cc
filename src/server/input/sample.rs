//! Sampling: requests an answer from the client's model.

use std::future::IntoFuture;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::DEFAULT_PERSON_TIMEOUT;
use super::request::{RequestOptions, request_setters};
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

/// One message of the conversation with the model: text, image or audio.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SamplingMessage {
    role: Role,
    content: Content,
}

impl SamplingMessage {
    /// Makes a message of the user.
    #[must_use]
    pub fn user(content: impl Into<Content>) -> Self {
        Self { role: Role::User, content: content.into() }
    }

    /// Makes a message of the model.
    #[must_use]
    pub fn assistant(content: impl Into<Content>) -> Self {
        Self { role: Role::Assistant, content: content.into() }
    }
}

impl SamplingRequest {
    /// Makes a request of one user message. `max_tokens` limits the answer.
    #[must_use]
    pub fn new(prompt: impl Into<Content>, max_tokens: u32) -> Self {
        Self::conversation([SamplingMessage::user(prompt)], max_tokens)
    }

    /// Makes a request from a whole conversation.
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

    /// Sets the preferred system prompt; the client may change or drop it.
    #[must_use]
    pub fn system_prompt(mut self, prompt: impl Into<String>) -> Self {
        self.system_prompt = Some(prompt.into());
        self
    }

    /// Sets the temperature.
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

    /// Sets the preferences for a model.
    #[must_use]
    pub fn model_preferences(mut self, preferences: ModelPreferences) -> Self {
        self.model_preferences = Some(preferences);
        self
    }

    /// Sets members for the provider of the model.
    #[must_use]
    pub fn metadata(mut self, metadata: Map<String, Value>) -> Self {
        self.metadata = Some(metadata);
        self
    }
}

/// Preferences for a model; the client decides. Priorities range from 0 to 1.
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
    /// Returns preferences that are all unset.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part of a model's name; earlier ones take precedence.
    #[must_use]
    pub fn hint(mut self, name: impl Into<String>) -> Self {
        self.hints.push(Hint { name: name.into() });
        self
    }

    /// Sets the priority of a low price.
    #[must_use]
    pub fn cost(mut self, priority: f64) -> Self {
        self.cost_priority = Some(priority);
        self
    }

    /// Sets the priority of speed.
    #[must_use]
    pub fn speed(mut self, priority: f64) -> Self {
        self.speed_priority = Some(priority);
        self
    }

    /// Sets the priority of capability.
    #[must_use]
    pub fn intelligence(mut self, priority: f64) -> Self {
        self.intelligence_priority = Some(priority);
        self
    }
}

/// The answer of the client's model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SamplingResult {
    /// The author, usually the model.
    pub role: Role,
    /// The answer. Before 2025-11-25 it is a single block.
    #[serde(deserialize_with = "one_or_many")]
    pub content: Vec<Content>,
    /// The name of the model that answered.
    pub model: String,
    /// Why the model stopped: `endTurn`, `stopSequence`, `maxTokens`, or a value of the provider.
    #[serde(default)]
    pub stop_reason: Option<String>,
}

impl SamplingResult {
    /// Returns the texts of the answer, concatenated.
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
    /// Requests an answer from the client's model. Clients usually show the prompt to the user
    /// first, so the answer may take as long as a person does.
    ///
    /// ```
    /// use mcp_http::server::{SamplingRequest, ToolError};
    /// use mcp_http::Context;
    ///
    /// async fn haiku(cx: Context) -> Result<String, ToolError> {
    ///     let answer = cx.sample(SamplingRequest::new("Write a haiku about ports.", 100)).await?;
    ///     Ok(answer.text())
    /// }
    /// # let _ = mcp_http::McpServer::<()>::new("doc", "1").tool("haiku", "Writes one.", haiku);
    /// ```
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the request may have been sent; a late answer to it is dropped.
    pub fn sample(&self, request: SamplingRequest) -> Sample {
        Sample { context: self.clone(), request, options: RequestOptions::timeout(DEFAULT_PERSON_TIMEOUT) }
    }
}

/// A request to the model, from [`Context::sample`]. It is sent when this is awaited.
#[derive(Debug)]
#[must_use = "the request is sent when this is awaited"]
pub struct Sample {
    context: Context,
    request: SamplingRequest,
    options: RequestOptions,
}

request_setters!(impl for Sample, DEFAULT_PERSON_TIMEOUT);

impl IntoFuture for Sample {
    type Output = Result<SamplingResult, ClientError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            self.context.check_capability("sampling", |client| client.sampling.is_some())?;
            self.context.send_request("sampling/createMessage", &self.request, self.options, RawJson::read).await
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_matches_the_schema() {
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
