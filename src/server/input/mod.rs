//! What a handler can ask the client: its user by a form or a URL, its model, its roots.
//!
//! 1. Each question is a value that is awaited; [`timeout`](Elicit::timeout) on it says how long.
//! 2. A client that did not declare the capability is not asked: the answer is
//!    [`ClientError::NotCapable`](super::ClientError::NotCapable) at once.
//! 3. A question goes on the stream of the call that asks.

mod ask;
mod elicit;
mod roots;
mod sample;

pub use ask::{DEFAULT_PERSON_TIMEOUT, DEFAULT_PROGRAM_TIMEOUT};
pub use elicit::{Elicit, ElicitUrl, Elicited};
pub use roots::{ListRoots, Root};
pub use sample::{ModelPreferences, Sample, SamplingMessage, SamplingRequest, SamplingResult};
