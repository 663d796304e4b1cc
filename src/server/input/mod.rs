//! What a handler can ask the client: its user by a form or a URL, its model, its roots.
//!
//! 1. Each question is a value that is awaited; [`timeout`](Elicit::timeout) on it says how long.
//! 2. A client that did not declare the capability is not asked: the answer is
//!    [`ClientError::NotCapable`](super::ClientError::NotCapable) at once.
//! 3. A client of a session is asked on the stream of the call, which waits for the answer.
//! 4. A client of 2026-07-28 is asked by the end of the call, and answers by making it again: the
//!    handler begins again, and what was answered is answered at once. Questions that are awaited
//!    together (`tokio::join!`) are asked together. What must not be done twice stands behind the
//!    questions, or in [`Context::once`](super::Context::once); a handler that asks other questions each
//!    time it begins is asked for new answers each time. Give questions a name with
//!    [`key`](Elicit::key) where the order in which they are asked may change.

mod ask;
mod elicit;
mod roots;
mod sample;

pub use ask::{DEFAULT_PERSON_TIMEOUT, DEFAULT_PROGRAM_TIMEOUT};
pub use elicit::{Elicit, ElicitUrl, Elicited};
pub use roots::{ListRoots, Root};
pub use sample::{ModelPreferences, Sample, SamplingMessage, SamplingRequest, SamplingResult};
