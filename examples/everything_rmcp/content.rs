//! Tools that answer at once: one for each kind of content, and one that fails.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolResult, ContentBlock, JsonObject, ResourceContents};
use rmcp::schemars::{self, JsonSchema};
use rmcp::{tool, tool_router};
use serde::Deserialize;

use crate::composed;
use crate::handler::Everything;
use crate::media::{PNG, WAV};

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Echo {
    /// What to answer.
    message: String,
}

/// A contact; described by hand, in words a Rust type has no form for.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Contact {
    name: Option<String>,
}

/// With headers such as `Mcp-Param-Region`, what stands between client and server can route a call
/// without reading its body.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Mirrored {
    /// Where the call should be served.
    #[schemars(extend("x-mcp-header" = "Region"))]
    region: String,
    /// How urgent it is.
    #[serde(default)]
    #[schemars(extend("x-mcp-header" = "Priority"))]
    priority: i32,
    /// Whether nothing shall be done.
    #[serde(default)]
    #[schemars(extend("x-mcp-header" = "Dry-Run"))]
    dry_run: bool,
}

#[tool_router(router = content, vis = "pub(crate)")]
impl Everything {
    /// Answers with a text.
    #[tool(annotations(read_only_hint = true))]
    fn test_simple_text(&self) -> String {
        "This is a simple text response for testing.".to_owned()
    }

    /// Answers with a picture.
    #[tool]
    fn test_image_content(&self) -> ContentBlock {
        image()
    }

    /// Answers with a sound.
    #[tool]
    fn test_audio_content(&self) -> ContentBlock {
        ContentBlock::audio(BASE64_STANDARD.encode(WAV), "audio/wav")
    }

    /// Answers with a resource and its contents.
    #[tool]
    fn test_embedded_resource(&self) -> ContentBlock {
        ContentBlock::embedded_text("test://embedded-resource", "This is an embedded resource content.")
    }

    /// Answers with a text, a picture and a resource.
    #[tool]
    fn test_multiple_content_types(&self) -> CallToolResult {
        let resource = ResourceContents::text(r#"{"test":"data","value":123}"#, "test://mixed-content-resource");
        CallToolResult::success(vec![
            ContentBlock::text("Multiple content types test:"),
            image(),
            ContentBlock::resource(resource.with_mime_type("application/json")),
        ])
    }

    /// Fails.
    #[tool]
    fn test_error_handling(&self) -> Result<String, String> {
        Err("This tool intentionally returns an error for testing".to_owned())
    }

    /// Has an input schema that uses all of JSON Schema 2020-12.
    #[tool(input_schema = composed_schema())]
    fn json_schema_2020_12_tool(&self, Parameters(Contact { name }): Parameters<Contact>) -> String {
        format!("Contact: {}", name.as_deref().unwrap_or("nobody"))
    }

    /// Answers with the message it was given.
    #[tool]
    fn echo(&self, Parameters(Echo { message }): Parameters<Echo>) -> String {
        message
    }

    /// Answers with its arguments, which clients repeat as headers.
    #[tool]
    fn test_x_mcp_header(&self, Parameters(Mirrored { region, priority, dry_run }): Parameters<Mirrored>) -> String {
        format!("region={region}, priority={priority}, dry_run={dry_run}")
    }
}

pub(crate) fn image() -> ContentBlock {
    ContentBlock::image(BASE64_STANDARD.encode(PNG), "image/png")
}

fn composed_schema() -> Arc<JsonObject> {
    Arc::new(rmcp::model::object(composed::schema()))
}
