//! Checks of answers: each answer names the request it belongs to, and contains the expected
//! content.

use std::borrow::Cow;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

#[derive(Deserialize)]
struct Message<'a> {
    id: Option<u64>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    params: Option<Params<'a>>,
    #[serde(borrow)]
    result: Option<Outcome<'a>>,
    #[serde(borrow)]
    error: Option<Failure<'a>>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(rename = "progressToken")]
    token: Option<serde_json::Value>,
    progress: Option<f64>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Outcome<'a> {
    #[serde(borrow, default)]
    content: Vec<Block<'a>>,
    #[serde(borrow, rename = "resultType")]
    result_type: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "protocolVersion")]
    version: Option<Cow<'a, str>>,
    #[serde(rename = "isError", default)]
    is_error: bool,
}

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Failure<'a> {
    code: i64,
    #[serde(borrow)]
    message: Cow<'a, str>,
}

/// What arrived on the stream of one request.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// The progress of each notification, in the order of arrival.
    pub(crate) steps: Vec<u32>,
    /// The number of results.
    pub(crate) results: u32,
    /// The revision that the result names.
    pub(crate) version: Option<String>,
}

/// The expected answer to one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected<'a> {
    pub(crate) id: u64,
    /// The text of the tool's result, or `None` if the request calls no tool.
    pub(crate) text: Option<&'a str>,
    /// The message of each notification, if it is checked.
    pub(crate) message: Option<&'a str>,
    /// The result must say that it is complete, as in 2026-07-28.
    pub(crate) typed: bool,
}

impl Received {
    /// Checks and counts a message.
    pub(crate) fn take(&mut self, text: &[u8], expected: Expected<'_>) -> Result<()> {
        let shown = || format!("not a message: {}", shorten(text));
        let message: Message<'_> = serde_json::from_slice(text).with_context(shown)?;
        if let Some(failure) = message.error {
            return Err(failure.into());
        }
        if let Some(result) = message.result {
            ensure!(message.id == Some(expected.id), "the answer to {:?} came for {}", message.id, expected.id);
            result.check(expected).with_context(|| shorten(text))?;
            self.version = result.version.map(Cow::into_owned);
            self.results += 1;
        } else if message.method.as_deref() == Some("notifications/progress") {
            let params = message.params.context("progress without parameters")?;
            let token = params.token.and_then(|token| token.as_u64());
            ensure!(token == Some(expected.id), "the progress of another request: {}", shorten(text));
            let says = expected.message.is_none() || params.message.as_deref() == expected.message;
            ensure!(says, "not the message that was asked for: {}", shorten(text));
            self.steps.push(params.progress.context("progress without progress")? as u32);
        }
        Ok(())
    }
}

impl Outcome<'_> {
    fn check(&self, expected: Expected<'_>) -> Result<()> {
        ensure!(!self.is_error, "the tool failed");
        if let Some(text) = expected.text {
            let found = self.content.first().and_then(|block| block.text.as_deref());
            ensure!(found == Some(text), "not the text that was asked for");
        }
        let complete = self.result_type.as_deref() == Some("complete");
        ensure!(complete || !expected.typed, "the result does not say that it is complete");
        Ok(())
    }
}

/// An error that a server answered with.
#[derive(Debug)]
pub(crate) struct Refusal(String);

impl std::error::Error for Refusal {}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Failure<'_>> for anyhow::Error {
    fn from(failure: Failure<'_>) -> Self {
        /// The specification's code for a revision that the server does not serve.
        const UNSUPPORTED: i64 = -32022;
        let served = if failure.code == UNSUPPORTED { "this revision is not served: " } else { "" };
        Refusal(format!("{served}error {}, {}", failure.code, shorten(failure.message.as_bytes()))).into()
    }
}

/// Returns the beginning of a text, on one line, for a report.
pub(crate) fn shorten(text: &[u8]) -> String {
    const MOST: usize = 160;
    let text = String::from_utf8_lossy(text);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= MOST { line } else { line.chars().take(MOST).chain(['…']).collect() }
}
