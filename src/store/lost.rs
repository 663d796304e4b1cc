//! The error of a call whose node is gone, which its client can distinguish from any other error.

use crate::message::ErrorObject;

/// Returns the error of a call that no node runs any more.
pub(super) fn node_lost() -> ErrorObject {
    ErrorObject::new(ErrorObject::INTERNAL_ERROR, "The server that ran this call is gone")
        .with_data(&serde_json::json!({ "reason": "node_lost" }))
}
