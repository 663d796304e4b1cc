//! The form of a tool's result: which revision reads it, and how that has structured content.

use serde_json::{Value, json};

use crate::message::{Era, ProtocolVersion};
use crate::server::schema;

/// How the result of a call is written, see [`IntoToolResult`](super::IntoToolResult).
///
/// Structured content is any JSON since 2026-07-28, and an object before. Clients of the session
/// revisions read everything else as `{"result": ..}`, in the output schema too.
#[derive(Debug, Clone, Copy)]
pub struct ResultForm {
    version: ProtocolVersion,
    output: Output,
}

/// What the output schema of a tool says of its structured content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Output {
    /// It may be something other than an object.
    wraps: bool,
    /// There are numbers with a fraction in it, so that a `null` in place of one would be a lie.
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

    /// The revision of the client that reads the result.
    #[must_use]
    pub fn version(self) -> ProtocolVersion {
        self.version
    }

    /// Whether a value is written as `{"result": ..}`.
    pub(super) fn wraps(self, is_object: bool) -> bool {
        self.version.era() == Era::Legacy && (self.output.wraps || !is_object)
    }

    /// Whether numbers have to be finite.
    pub(super) fn has_numbers(self) -> bool {
        self.output.numbers
    }

    /// A value as the client reads it.
    pub(super) fn fit(self, value: Value) -> Value {
        if self.wraps(value.is_object()) { json!({ "result": value }) } else { value }
    }
}
