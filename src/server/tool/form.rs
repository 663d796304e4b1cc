//! Result form: the revision that a tool's result is written for, and how it has structured
//! content.

use serde_json::{Value, json};

use crate::message::{Era, ProtocolVersion};
use crate::server::schema;

/// How the result of a call is written, see [`IntoToolResult`](super::IntoToolResult).
///
/// Structured content is any JSON since 2026-07-28, and an object before. Clients of the session
/// revisions receive everything else as `{"result": ..}`, in the output schema too.
#[derive(Debug, Clone, Copy)]
pub struct ResultForm {
    version: ProtocolVersion,
    output: Output,
}

/// The relevant facts of a tool's output schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Output {
    /// It allows values other than objects.
    wraps: bool,
    /// It has numbers that may have a fraction, for which `null` would be wrong.
    numbers: bool,
}

impl Output {
    pub(crate) fn of(schema: Option<&Value>) -> Self {
        let Some(schema) = schema else { return Self::default() };
        Self { wraps: !schema::takes_objects_only(schema), numbers: schema::has_number(schema) }
    }

    pub(crate) fn wraps(self) -> bool {
        self.wraps
    }
}

impl ResultForm {
    pub(crate) fn new(version: ProtocolVersion, output: Output) -> Self {
        Self { version, output }
    }

    /// Returns the revision of the client that reads the result.
    #[must_use]
    pub fn version(self) -> ProtocolVersion {
        self.version
    }

    /// Returns `true` if a value is written as `{"result": ..}`.
    pub(super) fn wraps(self, is_object: bool) -> bool {
        self.version.era() == Era::Legacy && (self.output.wraps || !is_object)
    }

    /// Returns `true` if numbers must be finite.
    pub(super) fn has_numbers(self) -> bool {
        self.output.numbers
    }

    /// Returns a value as the client reads it.
    pub(super) fn fit(self, value: Value) -> Value {
        if self.wraps(value.is_object()) { json!({ "result": value }) } else { value }
    }
}
