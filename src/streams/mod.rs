//! What a response that streams is made of: frames, the ids clients come back with, and the queue
//! of calls nobody can come back for. (The logs of the others are the engine's.)

mod event_id;
mod frame;
mod queue;

pub(crate) use event_id::EventId;
pub(crate) use frame::{Frame, Frames, Source};
pub(crate) use queue::{HIGH_WATER, Queue, QueueReader};
