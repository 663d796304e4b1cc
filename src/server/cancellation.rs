//! Cancellation: what a client sends to cancel a call.

use http::request::Parts;

/// A client's `notifications/cancelled` for a call.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Cancellation {
    /// The client's reason.
    pub reason: Option<String>,
    /// The head of the HTTP request that carried it.
    pub parts: Box<Parts>,
}
