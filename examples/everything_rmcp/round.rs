//! Input requests: asks the client on the call's stream before 2026-07-28, and by an
//! `input_required` result from then on, after which the client calls again. rmcp has both ways and
//! leaves the choice to handlers.
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

/// One round of a call, with the answers of this round and earlier ones.
pub(crate) struct Round {
    shared: Arc<Shared>,
    /// The tool or prompt and the principal, so that a state is valid for these only.
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

    /// Returns the round of a prompt.
    pub(crate) fn of_prompt(
        shared: &Arc<Shared>,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<Self, ErrorData> {
        Self::new(shared, &request.name, context, request.input_responses, request.request_state)
    }

    /// Sends the requests that have no answer yet. If this returns a result, the handler must
    /// return it: the client calls again with the answers.
    pub(crate) async fn request<const N: usize>(
        &mut self,
        requests: [(&str, InputRequest); N],
    ) -> Result<Option<InputRequiredResult>, ErrorData> {
        let mut open = InputRequests::new();
        for (key, request) in requests {
            if self.answers.get(key).is_some_and(|answer| is_answer(&request, answer)) {
                continue;
            }
            if !self.supports(&request) {
                return Err(ErrorData::missing_required_client_capability(required_capability(&request)));
            }
            self.answers.remove(key);
            open.insert(key.to_owned(), request);
        }
        if open.is_empty() {
            return Ok(None);
        }
        if self.context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28) {
            let state = self.seal()?;
            return Ok(Some(InputRequiredResult::new(Some(open), Some(state))));
        }
        for (key, request) in open {
            let answer = self.send(request).await.map_err(client_error)?;
            self.answers.insert(key, answer);
        }
        Ok(None)
    }

    /// Stores a value for later rounds.
    pub(crate) fn remember(&mut self, key: &str, value: &str) {
        self.answers.entry(key.to_owned()).or_insert_with(|| value.into());
    }

    pub(crate) fn answer(&self, key: &str) -> &Value {
        self.answers.get(key).unwrap_or(&Value::Null)
    }

    /// Returns the principal of the call.
    pub(crate) fn principal(&self) -> Option<&Principal> {
        owners::principal(&self.context.extensions)
    }

    /// Returns `true` if the client supports tasks.
    pub(crate) fn supports_tasks(&self) -> bool {
        self.context.client_capabilities().is_some_and(|can| can.supports_tasks())
    }

    /// Returns `true` if the client supports the request.
    pub(crate) fn supports(&self, request: &InputRequest) -> bool {
        let capabilities = self.context.client_capabilities().unwrap_or_default();
        match request {
            InputRequest::CreateMessage(_) => capabilities.sampling.is_some(),
            InputRequest::Elicitation(_) => capabilities.elicitation.is_some(),
            InputRequest::ListRoots(_) => capabilities.roots.is_some(),
            _ => false,
        }
    }

    fn seal(&self) -> Result<String, ErrorData> {
        let options = SealOptions::new().associated_data(self.bound_to.as_bytes()).ttl(self.shared.seal_lifetime);
        let sealed = self.shared.seal.seal_json_with(&self.answers, &options);
        sealed.map_err(|error| ErrorData::internal_error(error.to_string(), None))
    }

    async fn send(&self, request: InputRequest) -> Result<Value, ServiceError> {
        let peer = &self.context.peer;
        match request {
            InputRequest::CreateMessage(request) => peer.create_message(request.params).await.map(value),
            InputRequest::Elicitation(request) => peer.create_elicitation(request.params).await.map(value),
            InputRequest::ListRoots(_) => peer.list_roots().await.map(value),
            _ => Err(ServiceError::UnexpectedResponse),
        }
    }
}

/// Returns a form with the fields of a type.
pub(crate) fn form<T: JsonSchema>(message: impl Into<String>) -> Result<InputRequest, ErrorData> {
    let schema = ElicitationSchema::from_type::<T>();
    Ok(fill(message, schema.map_err(|error| ErrorData::internal_error(error.to_string(), None))?))
}

/// Returns a form with this schema.
pub(crate) fn fill(message: impl Into<String>, requested_schema: ElicitationSchema) -> InputRequest {
    let message = message.into();
    InputRequest::Elicitation(ElicitRequest::new(ElicitRequestParams::FormElicitationParams {
        meta: None,
        message,
        requested_schema,
    }))
}

/// Returns a sampling request.
pub(crate) fn sample(prompt: impl Into<String>, max_tokens: u32) -> InputRequest {
    let messages = vec![SamplingMessage::user_text(prompt)];
    InputRequest::CreateMessage(CreateMessageRequest::new(CreateMessageRequestParams::new(messages, max_tokens)))
}

/// Returns a request for the roots.
pub(crate) fn roots() -> InputRequest {
    InputRequest::ListRoots(ListRootsRequest::default())
}

/// Returns the content of an accepted form.
pub(crate) fn accepted<T: DeserializeOwned>(answer: &Value) -> Option<T> {
    let answer: ElicitResult = read(answer)?;
    let content = (answer.action == ElicitationAction::Accept).then_some(answer.content)??;
    serde_json::from_value(content).ok()
}

/// Returns the text of a sampling result.
pub(crate) fn sampled_text(answer: &Value) -> String {
    let Some(answer) = read::<CreateMessageResult>(answer) else { return String::new() };
    let texts = answer.message.content.iter().filter_map(|block| match block {
        SamplingMessageContentBlock::Text(text) => Some(text.text.as_str()),
        _ => None,
    });
    texts.collect()
}

/// Describes the roots.
pub(crate) fn folders(answer: &Value) -> String {
    let roots = read::<ListRootsResult>(answer).map(|answer| answer.roots).unwrap_or_default();
    let uris: Vec<_> = roots.into_iter().map(|root| root.uri).collect();
    format!("Open: {}.", uris.join(", "))
}

fn is_answer(request: &InputRequest, answer: &Value) -> bool {
    match request {
        InputRequest::CreateMessage(_) => read::<CreateMessageResult>(answer).is_some(),
        InputRequest::Elicitation(_) => read::<ElicitResult>(answer).is_some(),
        InputRequest::ListRoots(_) => read::<ListRootsResult>(answer).is_some(),
        _ => false,
    }
}

fn required_capability(request: &InputRequest) -> ClientCapabilities {
    match request {
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

/// Returns the error for the client when a request failed.
fn client_error(error: ServiceError) -> ErrorData {
    match error {
        ServiceError::McpError(error) => error,
        error => ErrorData::internal_error(error.to_string(), None),
    }
}
