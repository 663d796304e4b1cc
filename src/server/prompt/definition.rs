//! Prompt: the definition of a prompt and its handler.

use std::collections::HashMap;
use std::sync::Arc;

use schemars::Schema;
use serde::Serialize;
use serde_json::Value;

use super::{GetPromptResult, IntoPromptResult};
use crate::error::ConfigError;
use crate::identity::Scopes;
use crate::message::{ErrorObject, RawJson};
use crate::server::ResultForm;
use crate::server::catalog::{Item, Rendered};
use crate::server::completion::{Completers, IntoCompletion, complete};
use crate::server::content::Shown;
use crate::server::handler::{ArgumentRejection, Erased, Handler};
use crate::server::setters::item_setters;

/// A prompt: a name, a description for the user who selects it, and a handler that writes its
/// messages.
///
/// Its arguments are the fields of the handler's [`Args`](crate::Args). By the protocol
/// they are strings; fields of numbers and booleans are parsed from them.
///
/// ```
/// use mcp_http::{Args, McpServer};
/// use mcp_http::server::Prompt;
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Review {
///     /// The language of the code.
///     language: String,
/// }
///
/// async fn review(Args(review): Args<Review>) -> String {
///     format!("Review this {} code.", review.language)
/// }
///
/// let prompt = Prompt::new("review", "Reviews code.", review).title("Code review");
/// let server: McpServer = McpServer::new("review", "1.0.0").with_prompt(prompt);
/// ```
#[derive(Debug)]
pub struct Prompt<S = ()> {
    facts: Facts,
    pub(crate) name: Arc<str>,
    /// The reason why it cannot be registered.
    problem: Option<String>,
    /// The scopes that a request needs.
    pub(crate) scopes: Scopes,
    pub(crate) completers: Completers<S>,
    pub(crate) run: Erased<S, GetPromptResult>,
}

#[derive(Debug, Clone, Serialize)]
struct Facts {
    name: String,
    description: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    arguments: Vec<PromptArgument>,
    #[serde(flatten)]
    shown: Shown,
}

/// An argument of a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PromptArgument {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    required: bool,
}

impl PromptArgument {
    /// Makes an optional argument.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), title: None, description: None, required: false }
    }

    /// Sets the display name.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Sets the description.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Sets whether the argument is required.
    #[must_use]
    pub fn required(mut self, required: bool) -> Self {
        self.required = required;
        self
    }
}

item_setters!(Prompt);

impl<S> Prompt<S> {
    /// Makes a prompt.
    #[must_use]
    pub fn new<H, M>(name: impl Into<String>, description: impl Into<String>, handler: H) -> Self
    where
        H: Handler<S, M>,
        H::Output: IntoPromptResult + Send,
        S: Send + Sync + 'static,
        M: 'static,
    {
        let (arguments, problem) = match H::arguments() {
            Ok(schema) => (schema.map(arguments_of).unwrap_or_default(), None),
            Err(problem) => (Vec::new(), Some(problem)),
        };
        let name = name.into();
        let shared = Arc::from(name.as_str());
        let facts = Facts { name, description: description.into(), arguments, shown: Shown::default() };
        let run = Erased::of(handler, messages::<H::Output>);
        Self { facts, name: shared, problem, scopes: Scopes::default(), completers: HashMap::new(), run }
    }

    /// Replaces the description of an argument that its type gives, or adds an argument that the
    /// type leaves open (a map).
    #[must_use]
    pub fn argument(mut self, argument: PromptArgument) -> Self {
        match self.facts.arguments.iter_mut().find(|known| known.name == argument.name) {
            Some(known) => *known = argument,
            None => self.facts.arguments.push(argument),
        }
        self
    }

    /// Sets the handler that proposes values for an argument, see
    /// [`CompletionRequest`](crate::server::CompletionRequest). If the prompt has no such argument,
    /// registering the prompt fails.
    #[must_use]
    pub fn complete<H, M>(mut self, argument: impl Into<String>, handler: H) -> Self
    where
        H: Handler<S, M>,
        H::Output: IntoCompletion + Send,
        S: Send + Sync + 'static,
        M: 'static,
    {
        self.problem = self.problem.or(H::arguments().err());
        self.completers.insert(argument.into(), Erased::of(handler, complete::<H::Output>));
        self
    }
}

impl<S: Clone + Send + Sync + 'static> Prompt<S> {
    /// Binds the state, so that the prompt fits a server of any state.
    #[must_use]
    pub fn with_state<S2: 'static>(&self, state: &S) -> Prompt<S2> {
        let completers = self.completers.iter().map(|(name, run)| (name.clone(), run.bind(state))).collect();
        Prompt {
            facts: self.facts.clone(),
            name: Arc::clone(&self.name),
            problem: self.problem.clone(),
            scopes: self.scopes.clone(),
            completers,
            run: self.run.bind(state),
        }
    }
}

impl<S> Item for Prompt<S> {
    const LIST: &'static str = "prompts";

    fn key(&self) -> &str {
        &self.facts.name
    }

    fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    fn check(&self) -> Result<Rendered, ConfigError> {
        let Facts { name, arguments, .. } = &self.facts;
        if name.is_empty() || name.len() > 128 || name.contains(char::is_control) {
            return Err(ConfigError::new("prompt", format!("{name:?} is not a name of 1 to 128 bytes")));
        }
        if let Some(problem) = &self.problem {
            return Err(ConfigError::new("prompt", format!("`{name}`: {problem}")));
        }
        let known = |wanted: &String| arguments.iter().any(|argument| argument.name == *wanted);
        if let Some(wanted) = self.completers.keys().find(|wanted| !known(wanted)) {
            return Err(ConfigError::new("prompt", format!("`{name}` has no argument `{wanted}` to complete")));
        }
        RawJson::from_value(&self.facts)
            .map(Rendered::from)
            .map_err(|error| ConfigError::new("prompt", error.to_string()))
    }
}

/// Returns the fields of a type as arguments. Required ones come first, in the order of the type,
/// because the list of fields may be in alphabetical order.
fn arguments_of(schema: Schema) -> Vec<PromptArgument> {
    let schema = schema.to_value();
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let place = |name: &str| required.iter().position(|required| *required == name);
    let text = |field: &Value, member: &str| field[member].as_str().map(str::to_owned);
    let mut arguments: Vec<PromptArgument> = schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, field)| PromptArgument {
            name: name.clone(),
            title: text(field, "title"),
            description: text(field, "description"),
            required: place(name).is_some(),
        })
        .collect();
    arguments.sort_by_key(|argument| place(&argument.name).unwrap_or(usize::MAX));
    arguments
}

/// Converts the output of a prompt handler.
fn messages<T: IntoPromptResult>(
    output: Result<T, ArgumentRejection>,
    form: ResultForm,
) -> Result<GetPromptResult, ErrorObject> {
    let output = output.map_err(ArgumentRejection::into_error)?;
    output.into_prompt_result().map_err(|error| error.into_error(form.version()))
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;

    use super::*;
    use crate::server::schema;

    #[derive(JsonSchema)]
    #[allow(dead_code, reason = "only its schema is used")]
    struct Review {
        /// The language.
        language: String,
        from: Option<u32>,
        author: String,
    }

    #[test]
    fn fields_become_arguments() {
        assert_eq!(
            arguments_of(schema::input::<Review>()),
            [
                PromptArgument::new("language").description("The language.").required(true),
                PromptArgument::new("author").required(true),
                PromptArgument::new("from"),
            ]
        );
    }

    #[test]
    fn completing_an_unknown_argument_fails_at_registration() {
        let prompt = Prompt::<()>::new("p", "P.", async || "text").complete("x", async || vec!["y"]);
        assert!(prompt.check().unwrap_err().to_string().contains("`x`"));
        assert!(prompt.argument(PromptArgument::new("x")).check().is_ok());
    }
}
