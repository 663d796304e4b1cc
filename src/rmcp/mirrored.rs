//! The tool arguments that clients repeat as headers, from the annotations of the tool's schema.
//! Each schema is read once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rmcp::model::{JsonObject, Tool};
use serde_json::Value;

use crate::server::MirroredArguments;

/// More tools than a server names. If a server generates names, its schemas are read again.
const MAX_ARGUMENTS: usize = 1_024;

/// Cached results for schemas, valid while the schemas are the same.
#[derive(Debug, Default)]
pub(super) struct Mirrored(Mutex<HashMap<String, Known>>);

#[derive(Debug)]
struct Known {
    schema: Arc<JsonObject>,
    arguments: Option<Arc<MirroredArguments>>,
}

impl Mirrored {
    /// Returns the arguments of a tool that are repeated, or `None` if there are none.
    pub(super) fn of(&self, tool: &Tool) -> Option<Arc<MirroredArguments>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(&*tool.name)
            && Arc::ptr_eq(&known.schema, &tool.input_schema)
        {
            return known.arguments.clone();
        }
        let arguments = MirroredArguments::of(&Value::Object((*tool.input_schema).clone()));
        let arguments = arguments.unwrap_or_else(|error| {
            tracing::error!(%error, tool = &*tool.name, "a tool is not offered: its `x-mcp-header` annotations are invalid");
            MirroredArguments::default()
        });
        let arguments = (!arguments.is_empty()).then(|| Arc::new(arguments));
        if known.len() >= MAX_ARGUMENTS {
            known.clear();
        }
        known.insert(
            tool.name.to_string(),
            Known { schema: Arc::clone(&tool.input_schema), arguments: arguments.clone() },
        );
        arguments
    }
}
