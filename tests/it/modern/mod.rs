//! 2026-07-28 at the wire, one module for each theme.

mod answers;
mod envelope;
mod eras;
mod foreign;
mod headers;
mod hostile;
mod leaving;
mod limits;
mod people;
