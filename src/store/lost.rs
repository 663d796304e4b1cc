//! Decides what a call ends with whose node is gone: an error its client can tell from any other.

use crate::message::ErrorObject;

/// The error of a call nobody runs any more.
pub(super) fn node_lost() -> ErrorObject {
    ErrorObject::new(ErrorObject::INTERNAL_ERROR, "The server that ran this call is gone")
        .with_data(&serde_json::json!({ "reason": "node_lost" }))
}
