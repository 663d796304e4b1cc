//! What the tests stand on: an application in this process, a client that shows every byte, and a
//! server with tools for each kind of call.

mod app;
mod engine;
mod sse;
mod tools;
mod wire;

pub(crate) use app::{App, Client, Reply, RequestExt, call, initialize, request, service};
pub(crate) use engine::{FarEngine, Pace};
pub(crate) use sse::{Event, Sse};
pub(crate) use wire::{Served, exchange};
