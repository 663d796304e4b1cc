//! Test support: an application in this process, a client that shows every byte, and a server with
//! tools for each kind of call.

mod app;
mod engine;
mod logs;
mod modern;
mod sse;
mod tools;
mod wire;

pub(crate) use app::{
    App, Client, Reply, RequestExt, call, eventually, initialize, opening, ping, request, service, streams,
};
pub(crate) use engine::{FarEngine, Fault, Pace};
pub(crate) use logs::Logs;
pub(crate) use modern::{
    CAPABILITIES_KEY, CLIENT_KEY, LOG_KEY, MODERN, VERSION_KEY, encoded, envelope, meta, mirrored, modern, modern_call,
    text_of,
};
pub(crate) use sse::{Event, Sse, steps, whole};
pub(crate) use wire::{Served, exchange, exchange_all};
