//! Decides how the client's user is asked for input: by a flat form, or by a page elsewhere.

use std::borrow::Cow;
use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::time::Duration;

use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::DEFAULT_PERSON_TIMEOUT;
use super::ask::Manner;
use crate::message::{Era, ProtocolVersion, RawJson, whole};
use crate::server::{ClientError, Context, schema};

/// What the user did with a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elicited<T> {
    /// Answered it.
    Accept(T),
    /// Said no.
    Decline,
    /// Closed it without an answer.
    Cancel,
}

impl<T> Elicited<T> {
    /// The answer, if there is one.
    #[must_use]
    pub fn accepted(self) -> Option<T> {
        match self {
            Self::Accept(value) => Some(value),
            Self::Decline | Self::Cancel => None,
        }
    }
}

impl Context {
    /// Asks the client's user to fill in a form whose fields are those of `T`.
    ///
    /// The protocol's forms are flat: texts, numbers, booleans, choices (an enum without data) and
    /// lists of choices (since 2025-11-25). An `Option` is a field that may stay empty. Do not ask
    /// for secrets with a form; that is what [`Context::elicit_url`] is for.
    ///
    /// ```
    /// use mcp_http::server::{Context, Elicited, ToolError};
    ///
    /// #[derive(serde::Deserialize, schemars::JsonSchema)]
    /// struct Confirm {
    ///     /// Delete the file for good?
    ///     sure: bool,
    /// }
    ///
    /// async fn delete(cx: Context) -> Result<&'static str, ToolError> {
    ///     match cx.elicit::<Confirm>("This cannot be undone.").await? {
    ///         Elicited::Accept(Confirm { sure: true }) => Ok("deleted"),
    ///         _ => Ok("kept"),
    ///     }
    /// }
    /// # let _ = mcp_http::McpServer::<()>::new("doc", "1").tool("delete", "Deletes.", delete);
    /// ```
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ClientError::NotAForm`] when `T` is no flat form, whatever the client can
    /// do, and [`ClientError::NotCapable`] for lists of choices before 2025-11-25. A handler that takes a
    /// [`Form<T>`](crate::server::Form) finds the former where it is registered.
    ///
    /// # Cancel safety
    ///
    /// The question may have been sent; a late answer to it is dropped.
    pub fn elicit<T: DeserializeOwned + JsonSchema>(&self, message: impl Into<String>) -> Elicit<T> {
        let schema = schema::form::<T>().map_err(NoForm);
        Elicit::new(self.clone(), message.into(), schema)
    }

    /// As [`Context::elicit`], with the schema of the form written by hand.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    ///
    /// # Cancel safety
    ///
    /// The question may have been sent; a late answer to it is dropped.
    pub fn elicit_schema<T: DeserializeOwned>(&self, message: impl Into<String>, requested_schema: Value) -> Elicit<T> {
        Elicit::new(self.clone(), message.into(), Ok(requested_schema))
    }

    /// Asks the client's user to open a page and do something there: sign in, pay, enter a secret.
    /// The answer only says whether the user agreed to open it.
    ///
    /// `elicitation_id` names this question for the notification that it is done
    /// (`notifications/elicitation/complete`).
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ClientError::NotCapable`] for every client before 2025-11-25.
    ///
    /// # Cancel safety
    ///
    /// The question may have been sent; a late answer to it is dropped.
    pub fn elicit_url(
        &self,
        message: impl Into<String>,
        url: impl Into<String>,
        elicitation_id: impl Into<String>,
    ) -> ElicitUrl {
        ElicitUrl {
            context: self.clone(),
            message: message.into(),
            url: url.into(),
            id: elicitation_id.into(),
            manner: Manner::within(DEFAULT_PERSON_TIMEOUT),
        }
    }
}

/// A form for the user, from [`Context::elicit`]; sent when awaited.
#[must_use = "a question is sent when it is awaited"]
pub struct Elicit<T> {
    context: Context,
    message: String,
    schema: Result<Value, NoForm>,
    manner: Manner,
    answer: PhantomData<fn() -> T>,
}

/// Why a type is no form; an error of the program, told when the question is asked.
struct NoForm(String);

impl<T> Elicit<T> {
    fn new(context: Context, message: String, schema: Result<Value, NoForm>) -> Self {
        Self { context, message, schema, manner: Manner::within(DEFAULT_PERSON_TIMEOUT), answer: PhantomData }
    }

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

impl<T: DeserializeOwned + Send + 'static> IntoFuture for Elicit<T> {
    type Output = Result<Elicited<T>, ClientError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let context = &self.context;
            let version = context.protocol_version();
            // First, so that a mistake in the program is found with the first client, whatever that can do.
            let schema = self.schema.map_err(|NoForm(why)| {
                tracing::error!(why, "a type cannot be elicited");
                ClientError::NotAForm(why)
            })?;
            // The method is younger than the oldest revision, whatever a client of that declares.
            let known = version >= ProtocolVersion::V2025_06_18;
            context.check_capability("elicitation", |client| known && client.elicits_forms())?;
            // Older revisions know neither modes nor lists of choices.
            let newest = version >= ProtocolVersion::V2025_11_25;
            if !newest && has_list(&schema) {
                return Err(ClientError::NotCapable("forms with lists of choices"));
            }
            let mode = newest.then_some("form");
            let params = Form { mode, message: &self.message, requested_schema: &schema };
            let read = |answer: &RawJson| {
                let content = |content: Option<&RawValue>| whole::read(content.map_or("{}", RawValue::get));
                answer.read::<Answer>()?.with_content(content)
            };
            context.ask("elicitation/create", &params, self.manner, read).await
        })
    }
}

impl<T> fmt::Debug for Elicit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elicit").field("message", &self.message).finish_non_exhaustive()
    }
}

/// A page for the user, from [`Context::elicit_url`]; sent when awaited.
#[derive(Debug)]
#[must_use = "a question is sent when it is awaited"]
pub struct ElicitUrl {
    context: Context,
    message: String,
    url: String,
    id: String,
    manner: Manner,
}

impl ElicitUrl {
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

impl IntoFuture for ElicitUrl {
    type Output = Result<Elicited<()>, ClientError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let version = self.context.protocol_version();
            let new_enough = version >= ProtocolVersion::V2025_11_25;
            self.context.check_capability("elicitation.url", |client| new_enough && client.elicits_urls())?;
            let elicitation_id = (version.era() == Era::Legacy).then_some(&*self.id);
            let params = Url { mode: "url", message: &self.message, url: &self.url, elicitation_id };
            let read = |answer: &RawJson| answer.read::<Answer>()?.with_content(|_| Ok(()));
            self.context.ask("elicitation/create", &params, self.manner, read).await
        })
    }
}

fn has_list(schema: &Value) -> bool {
    schema["properties"].as_object().is_some_and(|fields| fields.values().any(|field| field["type"] == "array"))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Form<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    message: &'a str,
    requested_schema: &'a Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Url<'a> {
    mode: &'static str,
    message: &'a str,
    url: &'a str,
    /// Later revisions have no notification it could be named in.
    #[serde(skip_serializing_if = "Option::is_none")]
    elicitation_id: Option<&'a str>,
}

#[derive(Deserialize)]
struct Answer {
    action: Action,
    #[serde(default)]
    content: Option<Box<RawValue>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Accept,
    Decline,
    Cancel,
}

impl Answer {
    fn with_content<T>(
        self,
        read: impl FnOnce(Option<&RawValue>) -> Result<T, serde_json::Error>,
    ) -> Result<Elicited<T>, serde_json::Error> {
        Ok(match self.action {
            Action::Accept => Elicited::Accept(read(self.content.as_deref())?),
            Action::Decline => Elicited::Decline,
            Action::Cancel => Elicited::Cancel,
        })
    }
}
