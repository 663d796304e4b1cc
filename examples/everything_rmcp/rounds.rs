//! Input requests with keys: tools that request several inputs at once or one after the other.

use rmcp::model::{CallToolResponse, CallToolResult, ContentBlock};
use rmcp::schemars::{self, JsonSchema};
use rmcp::{ErrorData, tool, tool_router};
use serde::Deserialize;
use serde_json::Value;

use crate::handler::Everything;
use crate::round::{Round, accepted, folders, form, roots, sample, sampled_text};

/// The result of a tool that may request input.
pub(crate) type Answer = Result<CallToolResponse, ErrorData>;

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Name {
    /// What people call you.
    name: String,
}

#[derive(Deserialize, JsonSchema)]
struct Confirm {
    /// Whether to go on.
    ok: bool,
}

#[derive(Deserialize, JsonSchema)]
struct Colour {
    /// The colour you like best.
    color: String,
}

#[tool_router(router = rounds, vis = "pub(crate)")]
impl Everything {
    /// Asks the user for a name and greets.
    #[tool]
    async fn test_input_required_result_elicitation(&self, round: Round) -> Answer {
        greets(round).await
    }

    /// Asks the user as soon as it is called.
    #[tool]
    async fn test_streaming_elicitation(&self, round: Round) -> Answer {
        greets(round).await
    }

    /// Asks the client's model for a capital.
    #[tool]
    async fn test_input_required_result_sampling(&self, round: Round) -> Answer {
        asks_a_model(round).await
    }

    /// Needs a client whose model can be asked.
    #[tool]
    async fn test_missing_capability(&self, round: Round) -> Answer {
        asks_a_model(round).await
    }

    /// Asks which folders are open to it.
    #[tool]
    async fn test_input_required_result_list_roots(&self, mut round: Round) -> Answer {
        if let Some(again) = round.request([("client_roots", roots())]).await? {
            return Ok(again.into());
        }
        Ok(text(folders(round.answer("client_roots"))))
    }

    /// Asks, and remembers what came before.
    #[tool]
    async fn test_input_required_result_request_state(&self, mut round: Round) -> Answer {
        round.remember("before", "state-ok");
        if let Some(again) = round.request([("confirm", form::<Confirm>("Shall it go on?")?)]).await? {
            return Ok(again.into());
        }
        let before = round.answer("before").as_str().unwrap_or_default();
        Ok(text(format!("{}, {before}", outcome(round.answer("confirm")))))
    }

    /// Asks for three things at once.
    #[tool]
    async fn test_input_required_result_multiple_inputs(&self, mut round: Round) -> Answer {
        let name = form::<Name>("What is your name?")?;
        let requests = [("user_name", name), ("greeting", sample("Say hello.", 50)), ("client_roots", roots())];
        if let Some(again) = round.request(requests).await? {
            return Ok(again.into());
        }
        let (name, hello) = (greeting(round.answer("user_name")), sampled_text(round.answer("greeting")));
        Ok(text(format!("{name} The model said: {hello}. {}", folders(round.answer("client_roots")))))
    }

    /// Asks twice, the second time by the first answer.
    #[tool]
    async fn test_input_required_result_multi_round(&self, mut round: Round) -> Answer {
        if let Some(again) = round.request([("step1", form::<Name>("Step 1: what is your name?")?)]).await? {
            return Ok(again.into());
        }
        let Some(Name { name }) = accepted(round.answer("step1")) else {
            return Ok(text("Stopped at step 1.".to_owned()));
        };
        let message = format!("Step 2: which colour does {name} like best?");
        if let Some(again) = round.request([("step2", form::<Colour>(message)?)]).await? {
            return Ok(again.into());
        }
        let colour = accepted(round.answer("step2")).map_or_else(|| "no colour".to_owned(), |Colour { color }| color);
        Ok(text(format!("{name} likes {colour}.")))
    }

    /// Asks; what it remembers cannot be changed.
    #[tool]
    async fn test_input_required_result_tampered_state(&self, mut round: Round) -> Answer {
        if let Some(again) = round.request([("confirm", form::<Confirm>("Shall it go on?")?)]).await? {
            return Ok(again.into());
        }
        Ok(text(outcome(round.answer("confirm")).to_owned()))
    }

    /// Asks for all that the client can be asked.
    #[tool]
    async fn test_input_required_result_capabilities(&self, mut round: Round) -> Answer {
        let mut parts = Vec::new();
        let name = form::<Name>("What is your name?")?;
        let hello = sample("Say hello.", 50);
        if round.supports(&name) {
            if let Some(again) = round.request([("user_name", name)]).await? {
                return Ok(again.into());
            }
            parts.push(greeting(round.answer("user_name")));
        }
        if round.supports(&hello) {
            if let Some(again) = round.request([("greeting", hello)]).await? {
                return Ok(again.into());
            }
            parts.push(format!("The model said: {}.", sampled_text(round.answer("greeting"))));
        }
        if round.supports(&roots()) {
            if let Some(again) = round.request([("client_roots", roots())]).await? {
                return Ok(again.into());
            }
            parts.push(folders(round.answer("client_roots")));
        }
        Ok(text(if parts.is_empty() { "This client can be asked nothing.".to_owned() } else { parts.join(" ") }))
    }
}

async fn greets(mut round: Round) -> Answer {
    if let Some(again) = round.request([("user_name", form::<Name>("What is your name?")?)]).await? {
        return Ok(again.into());
    }
    Ok(text(greeting(round.answer("user_name"))))
}

async fn asks_a_model(mut round: Round) -> Answer {
    if let Some(again) = round.request([("capital_question", sample("What is the capital of France?", 100))]).await? {
        return Ok(again.into());
    }
    Ok(text(format!("The model said: {}", sampled_text(round.answer("capital_question")))))
}

pub(crate) fn text(text: String) -> CallToolResponse {
    CallToolResult::success(vec![ContentBlock::text(text)]).into()
}

pub(crate) fn name_of(answer: &Value) -> String {
    accepted(answer).map_or_else(|| "nobody".to_owned(), |Name { name }| name)
}

fn greeting(answer: &Value) -> String {
    format!("Hello, {}!", name_of(answer))
}

fn outcome(answer: &Value) -> &'static str {
    if accepted(answer).is_some_and(|Confirm { ok }| ok) { "confirmed" } else { "not confirmed" }
}
