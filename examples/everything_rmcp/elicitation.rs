//! Elicitation and sampling: tools whose forms have each kind of field, and one that uses the
//! client's model.

use std::borrow::Cow;

use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{
    BooleanSchema, ElicitationSchema, EnumSchema, IntegerSchema, LegacyEnumSchema, NumberSchema, StringSchema,
};
use rmcp::schemars::{self, JsonSchema};
use rmcp::{ErrorData, tool, tool_router};
use serde::Deserialize;
use serde_json::Value;

use crate::handler::Everything;
use crate::round::{Round, fill, form, sample, sampled_text};
use crate::rounds::{Answer, text};

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Ask {
    /// What to tell the user.
    message: String,
}

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Prompt {
    /// What to ask the model.
    prompt: String,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct User {
    /// The user's name.
    username: String,
    /// Where to write to.
    email: String,
}

#[tool_router(router = elicitation, vis = "pub(crate)")]
impl Everything {
    /// Asks the user for a name and an address.
    #[tool]
    async fn test_elicitation(&self, Parameters(Ask { message }): Parameters<Ask>, mut round: Round) -> Answer {
        if let Some(again) = round.request([("user", form::<User>(message)?)]).await? {
            return Ok(again.into());
        }
        Ok(text(format!("User response: {}", described(round.answer("user")))))
    }

    /// Asks with a form whose fields have defaults.
    #[tool]
    async fn test_elicitation_sep1034_defaults(&self, mut round: Round) -> Answer {
        if let Some(again) = round.request([("form", fill("Please check the defaults.", defaults()?))]).await? {
            return Ok(again.into());
        }
        Ok(text(format!("Elicitation completed: {}", described(round.answer("form")))))
    }

    /// Asks with a form of every kind of choice.
    #[tool]
    async fn test_elicitation_sep1330_enums(&self, mut round: Round) -> Answer {
        if let Some(again) = round.request([("form", fill("Please choose.", choices()?))]).await? {
            return Ok(again.into());
        }
        Ok(text(format!("Elicitation completed: {}", described(round.answer("form")))))
    }

    /// Asks the client's model.
    #[tool]
    async fn test_sampling(&self, Parameters(Prompt { prompt }): Parameters<Prompt>, mut round: Round) -> Answer {
        if let Some(again) = round.request([("answer", sample(prompt, 100))]).await? {
            return Ok(again.into());
        }
        Ok(text(format!("LLM response: {}", sampled_text(round.answer("answer")))))
    }
}

fn defaults() -> Result<ElicitationSchema, ErrorData> {
    let status = EnumSchema::builder(words(["active", "inactive", "pending"])).with_default("active");
    let schema = ElicitationSchema::builder()
        .string_property("name", |_| StringSchema::new().description("Who you are").with_default("John Doe"))
        .integer_property("age", |_| IntegerSchema::new().description("How old you are").with_default(30))
        .number_property("score", |_| NumberSchema::new().description("Your score").with_default(95.5))
        .optional_enum_schema("status", status.map_err(wrong)?.build())
        .bool_property("verified", |_| BooleanSchema::new().description("Whether you are verified").with_default(true));
    schema.build().map_err(wrong)
}

fn choices() -> Result<ElicitationSchema, ErrorData> {
    let options = || EnumSchema::builder(words(["option1", "option2", "option3"]));
    let values = || EnumSchema::builder(words(["value1", "value2", "value3"]));
    let titles = || words(["Choice 1", "Choice 2", "Choice 3"]);
    let mut legacy = LegacyEnumSchema::new(words(["opt1", "opt2", "opt3"]));
    legacy.enum_names = Some(titles());
    let schema = ElicitationSchema::builder()
        .optional_enum_schema("untitledSingle", options().build())
        .optional_enum_schema("titledSingle", values().enum_titles(titles()).map_err(wrong)?.build())
        .optional_enum_schema("legacyEnum", EnumSchema::Legacy(legacy))
        .optional_enum_schema("untitledMulti", options().multiselect().build())
        .optional_enum_schema("titledMulti", values().enum_titles(titles()).map_err(wrong)?.multiselect().build());
    schema.build().map_err(wrong)
}

fn words(words: [&str; 3]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

fn wrong(why: impl Into<Cow<'static, str>>) -> ErrorData {
    ErrorData::internal_error(why, None)
}

fn described(answer: &Value) -> String {
    let action = answer.get("action").and_then(Value::as_str).unwrap_or_default();
    format!("action={action}, content={}", answer.get("content").unwrap_or(&Value::Null))
}
