//! Prompts: one without arguments, one with completed arguments, one with a resource, one with an
//! image, and one that requests input.

use rmcp::handler::server::prompt::PromptContext;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{
    CompleteRequestParams, CompleteResult, CompletionInfo, GetPromptRequestParams, GetPromptResponse, GetPromptResult,
    Prompt, PromptMessage, Reference, ResourceContents, Role,
};
use rmcp::schemars::{self, JsonSchema};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, prompt, prompt_router};
use serde::Deserialize;

use crate::content::image;
use crate::handler::Everything;
use crate::round::{Round, accepted, form};

/// The prompt that requests input.
const ASKING: &str = "test_input_required_result_prompt";

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Two {
    /// The first argument.
    arg1: String,
    /// The second argument.
    arg2: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct About {
    /// The URI of the resource.
    resource_uri: String,
}

#[derive(Deserialize, JsonSchema)]
struct Topic {
    /// What it is about.
    context: String,
}

#[prompt_router(vis = "pub(crate)")]
impl Everything {
    /// Has no arguments.
    #[prompt]
    async fn test_simple_prompt(&self) -> Vec<PromptMessage> {
        vec![user("This is a simple prompt for testing.")]
    }

    /// Repeats its two arguments.
    #[prompt]
    async fn test_prompt_with_arguments(&self, Parameters(Two { arg1, arg2 }): Parameters<Two>) -> Vec<PromptMessage> {
        vec![user(format!("Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"))]
    }

    /// Holds a resource with its contents.
    #[prompt]
    async fn test_prompt_with_embedded_resource(
        &self,
        Parameters(About { resource_uri }): Parameters<About>,
    ) -> Vec<PromptMessage> {
        let resource = ResourceContents::text("Embedded resource content for testing.", resource_uri);
        let resource = rmcp::model::ContentBlock::resource(resource);
        vec![PromptMessage::new(Role::User, resource), user("Please process the embedded resource above.")]
    }

    /// Holds a picture.
    #[prompt]
    async fn test_prompt_with_image(&self) -> Vec<PromptMessage> {
        vec![PromptMessage::new(Role::User, image()), user("Please analyze the image above.")]
    }
}

impl Everything {
    pub(crate) async fn prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        if request.name != ASKING {
            let GetPromptRequestParams { name, arguments, .. } = request;
            return self.shared.prompts.get_prompt(PromptContext::new(self, name, arguments, context)).await;
        }
        let mut round = Round::of_prompt(&self.shared, request, context)?;
        let request = form::<Topic>("What context should the prompt use?")?;
        if let Some(again) = round.request([("user_context", request)]).await? {
            return Ok(again.into());
        }
        let topic =
            accepted(round.answer("user_context")).map_or_else(|| "anything".to_owned(), |Topic { context }| context);
        Ok(GetPromptResult::new(vec![user(format!("Write about {topic}."))]).into())
    }

    pub(crate) fn every_prompt(&self) -> Vec<Prompt> {
        let mut prompts = self.shared.prompts.list_all();
        prompts.push(Prompt::new(ASKING, Some("Asks the user what it shall be about."), None));
        prompts
    }
}

fn user(text: impl Into<String>) -> PromptMessage {
    PromptMessage::new_text(Role::User, text)
}

/// Completes the arguments of a prompt and of the template.
pub(crate) fn complete(request: &CompleteRequestParams) -> Result<CompleteResult, ErrorData> {
    let known: &[&str] = match (&request.r#ref, &*request.argument.name) {
        (Reference::Prompt(prompt), "arg1" | "arg2") if prompt.name == "test_prompt_with_arguments" => {
            &["test", "testValue1", "testValue2"]
        }
        (Reference::Resource(template), "id") if template.uri == "test://template/{id}/data" => &["1", "2", "123"],
        _ => &[],
    };
    let fitting = known.iter().filter(|value| value.starts_with(&request.argument.value));
    let completion = CompletionInfo::with_all_values(fitting.map(|value| (*value).to_owned()).collect());
    Ok(CompleteResult::new(completion.map_err(|error| ErrorData::internal_error(error, None))?))
}
