//! Messages of the floors: requests are parsed in one pass, borrowed where possible, and only what
//! the answer needs is checked.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

#[derive(Deserialize)]
pub(crate) struct Request<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    params: Params<'a>,
}

#[derive(Default, Deserialize)]
struct Params<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    arguments: Arguments<'a>,
    #[serde(borrow, rename = "_meta", default)]
    meta: Meta<'a>,
}

#[derive(Default, Deserialize)]
struct Arguments<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    steps: Option<u32>,
    millis: Option<u64>,
}

#[derive(Default, Deserialize)]
struct Meta<'a> {
    #[serde(borrow, rename = "progressToken")]
    token: Option<&'a RawValue>,
    #[serde(borrow, rename = "io.modelcontextprotocol/protocolVersion")]
    version: Option<&'a RawValue>,
}

/// A request, with its answer if that is available at once.
pub(crate) enum Call<'a> {
    Initialize(Answer<'a, Initialized>),
    Echo(Answer<'a, Outcome<'a>>),
    Burst,
    /// This many steps, with this many milliseconds before each.
    Slow(u32, u64),
    Notification,
    Other,
}

impl<'a> Request<'a> {
    pub(crate) fn read(body: &'a [u8]) -> Self {
        serde_json::from_slice(body).expect("a message")
    }

    pub(crate) fn call(&self) -> Call<'_> {
        match (&*self.method, &*self.params.name, &self.params.arguments.text) {
            ("tools/call", "echo", Some(text)) => Call::Echo(self.answer(self.outcome(text))),
            ("tools/call", "burst", _) => Call::Burst,
            ("tools/call", "slow", _) => {
                let Arguments { steps, millis, .. } = self.params.arguments;
                Call::Slow(steps.unwrap_or_default(), millis.unwrap_or_default())
            }
            ("initialize", ..) => Call::Initialize(self.answer(Initialized::new())),
            _ if self.id.is_none() => Call::Notification,
            _ => Call::Other,
        }
    }

    /// Returns the result of a burst.
    pub(crate) fn done(&self) -> impl Serialize + use<'_> {
        self.answer(self.outcome("done"))
    }

    pub(crate) fn token(&self) -> Box<RawValue> {
        self.params.meta.token.expect("a progress token").to_owned()
    }

    fn outcome<'t>(&self, text: &'t str) -> Outcome<'t> {
        Outcome { result_type: self.params.meta.version.map(|_| "complete"), content: [Text { r#type: "text", text }] }
    }

    fn answer<R>(&self, result: R) -> Answer<'_, R> {
        Answer { jsonrpc: "2.0", id: self.id, result }
    }
}

#[derive(Serialize)]
pub(crate) struct Answer<'a, R> {
    jsonrpc: &'static str,
    id: Option<&'a RawValue>,
    result: R,
}

#[derive(Serialize)]
pub(crate) struct Outcome<'a> {
    #[serde(rename = "resultType", skip_serializing_if = "Option::is_none")]
    result_type: Option<&'static str>,
    content: [Text<'a>; 1],
}

#[derive(Serialize)]
struct Text<'a> {
    r#type: &'static str,
    text: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Initialized {
    protocol_version: &'static str,
    capabilities: Capabilities,
    server_info: Info,
}

#[derive(Serialize)]
struct Capabilities {
    tools: Nothing,
}

#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct Info {
    name: &'static str,
    version: &'static str,
}

impl Initialized {
    fn new() -> Self {
        Self {
            protocol_version: "2025-11-25",
            capabilities: Capabilities { tools: Nothing {} },
            server_info: Info { name: "floor", version: "1.0.0" },
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Progress<'a> {
    jsonrpc: &'static str,
    method: &'static str,
    params: ProgressParams<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProgressParams<'a> {
    progress_token: &'a RawValue,
    progress: u32,
    total: u32,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(token: &'a RawValue, step: u32, total: u32) -> Self {
        let params = ProgressParams { progress_token: token, progress: step, total };
        Self { jsonrpc: "2.0", method: "notifications/progress", params }
    }
}
