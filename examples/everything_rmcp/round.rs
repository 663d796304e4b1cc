//! Decides how a handler asks the client: by a question on the call's stream before 2026-07-28, by an answer that
//! asks and a client that calls again since. rmcp has both ways and leaves it to its users to choose.
#![expect(deprecated, reason = "models and roots can still be asked for")]

use std::sync::Arc;

use mcp_http::Principal;
use rmcp::handler::server::common::FromContextPart;
use rmcp::handler::server::tool::ToolCallContext;
use rmcp::model::{
    ClientCapabilities, CreateMessageRequest, CreateMessageRequestParams, CreateMessageResult, ElicitRequest,
    ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationSchema, GetPromptRequestParams, InputRequest,
    InputRequests, InputRequiredResult, InputResponses, ListRootsRequest, ListRootsResult, ProtocolVersion,
    SamplingMessage, SamplingMessageContentBlock, SealOptions,
};
use rmcp::schemars::JsonSchema;
use rmcp::service::{RequestContext, ServiceError};
use rmcp::{ErrorData, RoleServer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::handler::{Everything, Shared};
use crate::owners;

/// One round of a call, with the answers to what was asked in it and before.
pub(crate) struct Round {
    shared: Arc<Shared>,
    /// The tool or prompt, and the principal: a state of one cannot be used for another.
    bound_to: String,
    context: RequestContext<RoleServer>,
    answers: InputResponses,
}

impl FromContextPart<ToolCallContext<'_, Everything>> for Round {
    fn from_context_part(call: &mut ToolCallContext<'_, Everything>) -> Result<Self, ErrorData> {
        let (given, state) = (call.input_responses.take(), call.request_state.take());
        Self::new(&call.service.shared, call.name(), call.request_context.clone(), given, state)
    }
}

impl Round {
    fn new(
        shared: &Arc<Shared>,
        of: &str,
        context: RequestContext<RoleServer>,
        given: Option<InputResponses>,
        state: Option<String>,
    ) -> Result<Self, ErrorData> {
        let mut answers = given.unwrap_or_default();
        let principal = owners::principal(&context.extensions).map(Principal::as_str);
        let bound_to = serde_json::to_string(&(of, principal)).unwrap_or_default();
        if let Some(state) = state {
            let before: InputResponses = shared
                .seal
                .open_json_with(&state, bound_to.as_bytes())
                .map_err(|_| ErrorData::invalid_params("`requestState` is not what this server gave", None))?;
            answers.extend(before);
        }
        Ok(Self { shared: Arc::clone(shared), bound_to, context, answers })
    }

    /// The round of a prompt.
    pub(crate) fn of_prompt(
        shared: &Arc<Shared>,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<Self, ErrorData> {
        Self::new(shared, &request.name, context, request.input_responses, request.request_state)
    }

    /// Asks what has no answer yet. What is returned is what to answer the call with: the client comes back.
    pub(crate) async fn ask<const N: usize>(
        &mut self,
        questions: [(&str, InputRequest); N],
    ) -> Result<Option<InputRequiredResult>, ErrorData> {
        let mut open = InputRequests::new();
        for (key, question) in questions {
            if self.answers.get(key).is_some_and(|answer| is_answer(&question, answer)) {
                continue;
            }
            if !self.can(&question) {
                return Err(ErrorData::missing_required_client_capability(needed(&question)));
            }
            self.answers.remove(key);
            open.insert(key.to_owned(), question);
        }
        if open.is_empty() {
            return Ok(None);
        }
        if self.context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28) {
            let state = self.seal()?;
            return Ok(Some(InputRequiredResult::new(Some(open), Some(state))));
        }
        for (key, question) in open {
            let answer = self.live(question).await.map_err(told)?;
            self.answers.insert(key, answer);
        }
        Ok(None)
    }

    /// Notes something to be had in later rounds.
    pub(crate) fn note(&mut self, key: &str, value: &str) {
        self.answers.entry(key.to_owned()).or_insert_with(|| value.into());
    }

    pub(crate) fn answer(&self, key: &str) -> &Value {
        self.answers.get(key).unwrap_or(&Value::Null)
    }

    /// Who is asked.
    pub(crate) fn principal(&self) -> Option<&Principal> {
        owners::principal(&self.context.extensions)
    }

    /// Whether the client takes an answer later, as the result of a task.
    pub(crate) fn takes_tasks(&self) -> bool {
        self.context.client_capabilities().is_some_and(|can| can.supports_tasks())
    }

    /// Whether the client can be asked this.
    pub(crate) fn can(&self, question: &InputRequest) -> bool {
        let can = self.context.client_capabilities().unwrap_or_default();
        match question {
            InputRequest::CreateMessage(_) => can.sampling.is_some(),
            InputRequest::Elicitation(_) => can.elicitation.is_some(),
            InputRequest::ListRoots(_) => can.roots.is_some(),
            _ => false,
        }
    }

    fn seal(&self) -> Result<String, ErrorData> {
        let options = SealOptions::new().associated_data(self.bound_to.as_bytes()).ttl(self.shared.seal_lifetime);
        let sealed = self.shared.seal.seal_json_with(&self.answers, &options);
        sealed.map_err(|error| ErrorData::internal_error(error.to_string(), None))
    }

    async fn live(&self, question: InputRequest) -> Result<Value, ServiceError> {
        let peer = &self.context.peer;
        match question {
            InputRequest::CreateMessage(question) => peer.create_message(question.params).await.map(value),
            InputRequest::Elicitation(question) => peer.create_elicitation(question.params).await.map(value),
            InputRequest::ListRoots(_) => peer.list_roots().await.map(value),
            _ => Err(ServiceError::UnexpectedResponse),
        }
    }
}

/// A form with the fields of a type.
pub(crate) fn form<T: JsonSchema>(message: impl Into<String>) -> Result<InputRequest, ErrorData> {
    let schema = ElicitationSchema::from_type::<T>();
    Ok(fill(message, schema.map_err(|error| ErrorData::internal_error(error.to_string(), None))?))
}

/// A form as a schema says.
pub(crate) fn fill(message: impl Into<String>, requested_schema: ElicitationSchema) -> InputRequest {
    let message = message.into();
    InputRequest::Elicitation(ElicitRequest::new(ElicitRequestParams::FormElicitationParams {
        meta: None,
        message,
        requested_schema,
    }))
}

/// A question to the client's model.
pub(crate) fn sample(prompt: impl Into<String>, most_tokens: u32) -> InputRequest {
    let messages = vec![SamplingMessage::user_text(prompt)];
    InputRequest::CreateMessage(CreateMessageRequest::new(CreateMessageRequestParams::new(messages, most_tokens)))
}

/// Which folders are open.
pub(crate) fn roots() -> InputRequest {
    InputRequest::ListRoots(ListRootsRequest::default())
}

/// What a form was filled in with, if it was.
pub(crate) fn accepted<T: DeserializeOwned>(answer: &Value) -> Option<T> {
    let answer: ElicitResult = read(answer)?;
    let content = (answer.action == ElicitationAction::Accept).then_some(answer.content)??;
    serde_json::from_value(content).ok()
}

/// What a model said.
pub(crate) fn said(answer: &Value) -> String {
    let Some(answer) = read::<CreateMessageResult>(answer) else { return String::new() };
    let texts = answer.message.content.iter().filter_map(|block| match block {
        SamplingMessageContentBlock::Text(text) => Some(text.text.as_str()),
        _ => None,
    });
    texts.collect()
}

/// Which folders are open, in words.
pub(crate) fn folders(answer: &Value) -> String {
    let roots = read::<ListRootsResult>(answer).map(|answer| answer.roots).unwrap_or_default();
    let uris: Vec<_> = roots.into_iter().map(|root| root.uri).collect();
    format!("Open: {}.", uris.join(", "))
}

fn is_answer(question: &InputRequest, answer: &Value) -> bool {
    match question {
        InputRequest::CreateMessage(_) => read::<CreateMessageResult>(answer).is_some(),
        InputRequest::Elicitation(_) => read::<ElicitResult>(answer).is_some(),
        InputRequest::ListRoots(_) => read::<ListRootsResult>(answer).is_some(),
        _ => false,
    }
}

fn needed(question: &InputRequest) -> ClientCapabilities {
    match question {
        InputRequest::CreateMessage(_) => ClientCapabilities::builder().enable_sampling().build(),
        InputRequest::Elicitation(_) => ClientCapabilities::builder().enable_elicitation().build(),
        _ => ClientCapabilities::builder().enable_roots().build(),
    }
}

fn read<T: DeserializeOwned>(answer: &Value) -> Option<T> {
    T::deserialize(answer).ok()
}

fn value<T: Serialize>(answer: T) -> Value {
    serde_json::to_value(answer).unwrap_or_default()
}

/// Why a question has no answer, for the client.
fn told(error: ServiceError) -> ErrorData {
    match error {
        ServiceError::McpError(error) => error,
        error => ErrorData::internal_error(error.to_string(), None),
    }
}
