//! Requests to the client: elicitation of its user, sampling of its model, its roots.
//!
//! 1. Each request is a value that is sent when awaited. Its [`timeout`](Elicit::timeout) bounds
//!    the wait.
//! 2. If the client did not declare the capability, nothing is sent and the result is
//!    [`ClientError::NotCapable`](super::ClientError::NotCapable) at once.
//! 3. With a session, the request is sent on the stream of the call, which waits for the answer.
//! 4. A client of 2026-07-28 receives the request as the end of the call, and answers by repeating
//!    the call. The handler starts again, and requests that were answered complete at once.
//!    Requests that are awaited together (`tokio::join!`) are sent together.
//! 5. Put work that must not run twice after the requests, or in
//!    [`Context::once`](super::Context::once). A handler that sends different requests each time it
//!    starts needs new answers each time.
//! 6. If the order of the requests may change, name them with [`key`](Elicit::key).

mod elicit;
mod request;
mod roots;
mod sample;

pub use elicit::{Elicit, ElicitUrl, Elicited};
pub use request::{DEFAULT_PERSON_TIMEOUT, DEFAULT_PROGRAM_TIMEOUT};
pub use roots::{ListRoots, Root};
pub use sample::{ModelPreferences, Sample, SamplingMessage, SamplingRequest, SamplingResult};
