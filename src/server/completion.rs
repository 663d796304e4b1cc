//! Completions: proposals for the value of an argument (`completion/complete`).

use std::collections::HashMap;

use serde::Serialize;

use super::handler::{ArgumentRejection, Arguments, CallParts, Erased, FromCall};
use super::{IntoToolError, ResultForm, ToolError};
use crate::message::ErrorObject;

/// The completion handlers, by the name of the argument.
pub(crate) type Completers<S> = HashMap<String, Erased<S, Completion>>;

/// An argument that the user is typing: the input of a completion handler.
///
/// ```
/// use mcp_http::McpServer;
/// use mcp_http::server::{CompletionRequest, Prompt};
///
/// async fn languages(typed: CompletionRequest) -> Vec<&'static str> {
///     ["python", "rust"].into_iter().filter(|name| name.starts_with(&typed.value)).collect()
/// }
///
/// # #[derive(serde::Deserialize, schemars::JsonSchema)] struct Review { language: String }
/// # use mcp_http::Args;
/// async fn review(Args(review): Args<Review>) -> String {
///     format!("Review this {} code.", review.language)
/// }
///
/// let prompt = Prompt::new("review", "Reviews code.", review).complete("language", languages);
/// let server: McpServer = McpServer::new("review", "1.0.0").with_prompt(prompt);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CompletionRequest {
    /// The name of the argument.
    pub argument: String,
    /// The text typed so far.
    pub value: String,
    /// The other arguments that the client knows; empty before 2025-06-18.
    pub known: HashMap<String, String>,
}

/// Proposals for an argument, the best first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Completion {
    values: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<usize>,
    has_more: bool,
}

impl Completion {
    /// The specification's limit of proposals in one result. Further ones are cut off, and the
    /// result says that there are more.
    pub const MAX_VALUES: usize = 100;

    /// Makes a completion of these proposals.
    #[must_use]
    pub fn new(values: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut values: Vec<String> = values.into_iter().map(Into::into).collect();
        let total = values.len();
        values.truncate(Self::MAX_VALUES);
        Self { has_more: total > values.len(), total: Some(total), values }
    }

    /// Sets the total number of proposals, if the list holds only the first of them.
    #[must_use]
    pub fn total(mut self, total: usize) -> Self {
        self.has_more = total > self.values.len();
        self.total = Some(total);
        self
    }
}

/// The return type of a completion handler: a list of texts, a [`Completion`], or a `Result` of
/// these.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a completion",
    label = "not a completion",
    note = "return `Vec<String>`, `Vec<&'static str>`, `Completion`, or a `Result` of these"
)]
pub trait IntoCompletion {
    /// Converts the value into proposals.
    ///
    /// # Errors
    ///
    /// If the handler failed.
    fn into_completion(self) -> Result<Completion, ToolError>;
}

impl IntoCompletion for Completion {
    fn into_completion(self) -> Result<Self, ToolError> {
        Ok(self)
    }
}

impl IntoCompletion for Vec<String> {
    fn into_completion(self) -> Result<Completion, ToolError> {
        Ok(Completion::new(self))
    }
}

impl IntoCompletion for Vec<&'static str> {
    fn into_completion(self) -> Result<Completion, ToolError> {
        Ok(Completion::new(self))
    }
}

impl<T: IntoCompletion, E: IntoToolError> IntoCompletion for Result<T, E> {
    fn into_completion(self) -> Result<Completion, ToolError> {
        self.map_err(E::into_tool_error)?.into_completion()
    }
}

/// Marks this kind of argument at the type level.
#[derive(Debug)]
#[doc(hidden)]
pub enum ViaCompletion {}

impl<S: Sync> FromCall<S, ViaCompletion> for CompletionRequest {
    async fn from_call(call: &mut CallParts, _: &S) -> Result<Self, ArgumentRejection> {
        let Arguments::Partial(pairs) = &call.arguments else {
            return Err(ArgumentRejection::server("CompletionRequest belongs to handlers for completions"));
        };
        let Some(((argument, value), known)) = pairs.split_last() else {
            return Err(ArgumentRejection::client("There is no argument to complete"));
        };
        Ok(Self { argument: argument.clone(), value: value.clone(), known: known.iter().cloned().collect() })
    }
}

/// Converts the output of a completion handler.
pub(crate) fn complete<T: IntoCompletion>(
    output: Result<T, ArgumentRejection>,
    form: ResultForm,
) -> Result<Completion, ErrorObject> {
    let output = output.map_err(ArgumentRejection::into_error)?;
    output.into_completion().map_err(|error| error.into_error(form.version()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_completion_holds_at_most_a_hundred_values() {
        let all = Completion::new((0..250).map(|n| n.to_string()));
        assert_eq!((all.values.len(), all.total, all.has_more), (100, Some(250), true));
        let few = Completion::new(["a"]);
        assert_eq!((few.total, few.has_more), (Some(1), false));
    }
}
