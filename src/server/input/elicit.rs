//! Elicitation: requests input from the client's user, by a flat form or by a page at a URL.

use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;

use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::DEFAULT_PERSON_TIMEOUT;
use super::request::{RequestOptions, request_setters};
use crate::message::{Era, ProtocolVersion, RawJson, whole};
use crate::server::{ClientError, Context, schema};

/// The user's reaction to an elicitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elicited<T> {
    /// The user answered.
    Accept(T),
    /// The user declined.
    Decline,
    /// The user closed it without an answer.
    Cancel,
}

impl<T> Elicited<T> {
    /// Returns the answer, if there is one.
    #[must_use]
    pub fn accepted(self) -> Option<T> {
        match self {
            Self::Accept(value) => Some(value),
            Self::Decline | Self::Cancel => None,
        }
    }
}

impl Context {
    /// Requests the client's user to fill in a form with the fields of `T`.
    ///
    /// The protocol's forms are flat: strings, numbers, booleans, choices (an enum without data)
    /// and lists of choices (since 2025-11-25). An `Option` is a field that may stay empty. Never
    /// request secrets with a form; use [`Context::elicit_url`] for them.
    ///
    /// ```
    /// use mcp_http::server::{Elicited, ToolError};
    /// use mcp_http::Context;
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
    /// See [`ClientError`]. [`ClientError::NotAForm`] if `T` is not a flat form, regardless of the
    /// client. [`ClientError::NotCapable`] for lists of choices before 2025-11-25. If a handler
    /// takes a [`Form<T>`](crate::server::Form), registering it finds the former.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the request may have been sent; a late answer to it is dropped.
    #[doc(alias = "confirm")]
    #[doc(alias = "form")]
    pub fn elicit<T: DeserializeOwned + JsonSchema>(&self, message: impl Into<String>) -> Elicit<T> {
        let schema = schema::form::<T>().map_err(NoForm);
        Elicit::new(self.clone(), message.into(), schema)
    }

    /// Requests a form as [`Context::elicit`] does, with a hand-written schema.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the request may have been sent; a late answer to it is dropped.
    pub fn elicit_schema<T: DeserializeOwned>(&self, message: impl Into<String>, requested_schema: Value) -> Elicit<T> {
        Elicit::new(self.clone(), message.into(), Ok(requested_schema))
    }

    /// Requests the client's user to open a page and do something there: sign in, pay, enter a
    /// secret. The answer only says whether the user agreed to open it.
    ///
    /// `elicitation_id` identifies this elicitation in the notification that it is complete
    /// (`notifications/elicitation/complete`).
    ///
    /// # Errors
    ///
    /// See [`ClientError`]. [`ClientError::NotCapable`] for all clients before 2025-11-25.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the request may have been sent; a late answer to it is dropped.
    #[doc(alias = "oauth")]
    #[doc(alias = "authorize")]
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
            options: RequestOptions::timeout(DEFAULT_PERSON_TIMEOUT),
        }
    }
}

/// A form for the user, from [`Context::elicit`]. The request is sent when this is awaited.
#[must_use = "the request is sent when this is awaited"]
pub struct Elicit<T> {
    context: Context,
    message: String,
    schema: Result<Value, NoForm>,
    options: RequestOptions,
    answer: PhantomData<fn() -> T>,
}

/// The reason why a type is not a form. It is a programming error, reported when the form is sent.
struct NoForm(String);

request_setters!(impl <T> for Elicit<T>, DEFAULT_PERSON_TIMEOUT);

impl<T> Elicit<T> {
    fn new(context: Context, message: String, schema: Result<Value, NoForm>) -> Self {
        Self { context, message, schema, options: RequestOptions::timeout(DEFAULT_PERSON_TIMEOUT), answer: PhantomData }
    }
}

impl<T: DeserializeOwned + Send + 'static> IntoFuture for Elicit<T> {
    type Output = Result<Elicited<T>, ClientError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let context = &self.context;
            let version = context.protocol_version();
            // Checked first, so that a programming error shows with the first client, whatever its
            // capabilities.
            let schema = self.schema.map_err(|NoForm(why)| {
                tracing::error!(why, "a type cannot be requested from the user: it is not a flat form");
                ClientError::NotAForm(why)
            })?;
            // The first revision does not have this method, whatever its clients declare.
            let known = version >= ProtocolVersion::V2025_06_18;
            context.check_capability("elicitation", |client| known && client.elicits_forms())?;
            // Older revisions have neither modes nor lists of choices.
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
            context.send_request("elicitation/create", &params, self.options, read).await
        })
    }
}

impl<T> fmt::Debug for Elicit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elicit").field("message", &self.message).finish_non_exhaustive()
    }
}

/// A page for the user, from [`Context::elicit_url`]. The request is sent when this is awaited.
#[derive(Debug)]
#[must_use = "the request is sent when this is awaited"]
pub struct ElicitUrl {
    context: Context,
    message: String,
    url: String,
    id: String,
    options: RequestOptions,
}

request_setters!(impl for ElicitUrl, DEFAULT_PERSON_TIMEOUT);

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
            self.context.send_request("elicitation/create", &params, self.options, read).await
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
    /// Absent in later revisions, which have no notification that could refer to it.
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
