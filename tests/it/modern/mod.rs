//! Tests of 2026-07-28 at the HTTP level, one module for each topic.

mod answers;
mod envelope;
mod eras;
mod foreign;
mod headers;
mod hostile;
mod leaving;
mod limits;
mod people;
