//! Streamed responses: frames, event ids, and the queue for calls that clients cannot resume.
//!
//! The logs of streams that clients can resume belong to the engine.

mod event_id;
mod expiring;
mod frame;
mod queue;

pub(crate) use event_id::EventId;
pub(crate) use expiring::Expiring;
pub(crate) use frame::{Expiry, Frame, Frames, Source};
pub(crate) use queue::{HIGH_WATER, Queue, QueueReader};
