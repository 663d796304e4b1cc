//! What every [`SessionEngine`](super::SessionEngine) must do, as a suite any backend can run.
