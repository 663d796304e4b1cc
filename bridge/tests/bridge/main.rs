//! Tests of the bridge as a process, with misbehaving processes behind it: what clients see at the wire, and
//! which processes are left.

#![cfg(unix)]

mod hostile;
mod life;
mod support;
mod talk;
mod without_session;
