//! Resources: a text, an image, one to subscribe to, and a template.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rmcp::ErrorData;
use rmcp::model::{CacheScope, ReadResourceResult, Resource, ResourceContents, ResourceTemplate};
use serde_json::json;

use crate::media::PNG;
use crate::skills;

/// Milliseconds clients may cache contents that never change.
const LONG: u64 = 3_600_000;

/// Milliseconds clients may cache contents that are generated on each read.
const SHORT: u64 = 1_000;

pub(crate) fn list() -> Vec<Resource> {
    vec![
        Resource::new("test://static-text", "static-text")
            .with_description("A text that never changes.")
            .with_mime_type("text/plain"),
        Resource::new("test://static-binary", "static-binary")
            .with_description("A picture that never changes.")
            .with_mime_type("image/png"),
        Resource::new("test://watched-resource", "watched-resource")
            .with_description("A text that can be subscribed to.")
            .with_mime_type("text/plain"),
        skills::entry(),
    ]
}

pub(crate) fn templates() -> Vec<ResourceTemplate> {
    vec![
        ResourceTemplate::new("test://template/{id}/data", "template-data")
            .with_description("Data for any id.")
            .with_mime_type("application/json"),
    ]
}

pub(crate) fn read(uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let (contents, ttl, scope) = match uri {
        "test://static-text" => {
            (ResourceContents::text("This is the content of the static text resource.", uri), LONG, CacheScope::Public)
        }
        "test://static-binary" => {
            let picture = ResourceContents::blob(BASE64_STANDARD.encode(PNG), uri).with_mime_type("image/png");
            (picture, LONG, CacheScope::Public)
        }
        "test://watched-resource" => {
            (ResourceContents::text("This is the content of the watched resource.", uri), 0, CacheScope::Private)
        }
        _ => match (skills::text(uri), id(uri)) {
            (Some(text), _) => {
                (ResourceContents::text(text, uri).with_mime_type("text/markdown"), LONG, CacheScope::Public)
            }
            (None, Some(id)) => {
                let data = json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") });
                let data = ResourceContents::text(data.to_string(), uri).with_mime_type("application/json");
                (data, SHORT, CacheScope::Private)
            }
            (None, None) => {
                return Err(ErrorData::resource_not_found("Resource not found", Some(json!({ "uri": uri }))));
            }
        },
    };
    Ok(ReadResourceResult::new(vec![contents]).with_ttl_ms(ttl).with_cache_scope(scope))
}

/// Returns the id in a URI of the template.
fn id(uri: &str) -> Option<&str> {
    let id = uri.strip_prefix("test://template/")?.strip_suffix("/data")?;
    (!id.is_empty() && !id.contains('/')).then_some(id)
}
