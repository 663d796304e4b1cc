//! `examples/bridge` as a process of its own, with processes behind it that do what they should not:
//! what clients see at the wire, and what is left of the processes.

#![cfg(unix)]

mod hostile;
mod life;
mod support;
mod talk;
mod without_session;
