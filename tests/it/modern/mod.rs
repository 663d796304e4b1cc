//! Tests of 2026-07-28 at the HTTP level, one module for each topic.

mod answers;
mod cancellation;
mod envelope;
mod eras;
mod foreign;
mod headers;
mod hostile;
mod limits;
mod principals;
