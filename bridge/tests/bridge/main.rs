//! End-to-end tests of the bridge: what clients receive, and which processes are left.

#![cfg(unix)]

mod lifecycle;
mod messages;
mod misbehaving;
mod options;
mod shared;
mod support;
