#![doc = include_str!("../README.md")]
//!
//! # The map of this crate
//!
//! ```text
//!  request -> edge: host, origin, method, media types, headers, size, JSON -> era -+-> legacy: sessions, GET, DELETE, resume <-> store
//!                 |                                                                +-> modern: stateless, listen, rounds, tasks <-> store
//!                 +-- Rejection ------------------+                                             |
//!                                                 |                                             v
//!  response <- encode: JSON or SSE bytes <--------+-- Outcome <---- server: your handlers, as axum's
//! ```
//!
//! | | decides |
//! |---|---|
//! | [`McpService`], [`mcp_router`], [`McpLayer`] | how a server is mounted, and with which settings |
//! | [`McpServer`] | what a server offers: tools, resources, prompts, each an axum handler |
//! | [`server::Args`], [`server::Context`], [`server::Session`] | what handlers take: typed arguments, the way back to the client, what stays between calls |
//! | [`server`] | everything else you write against, down to JSON-RPC ([`server::Server`]) |
//! | [`Sessions`], [`Streams`], [`Limits`], [`Inputs`], [`Tasks`], [`Security`] | what can be set |
//! | [`McpHandle`] | what an application sees and does from outside |
//! | [`message`] | JSON-RPC: ids and parameters as exact text |
//! | [`store`] | where sessions and tasks are kept: the engine boundary, its contract, engines in memory, files, Redis |
//! | `RmcpServer` (feature `rmcp`) | how a server written against rmcp is served |
//! | [`guide`] | pages to read: every setting, sessions that outlive the process, or belong to many nodes, coming from another SDK |
//! | [`error`] | how requests are refused, and what can go wrong |
//!
//! # Features
//!
//! Features only add; none is on by default. `file`: an engine that keeps sessions and tasks in a
//! folder. `redis`: an engine that many nodes share through a Redis server; `redis-cluster`:
//! through a cluster; `redis-tls`: over TLS. `rmcp`: servers written against rmcp. `testing`: the contract
//! suite of session engines.

mod clock;
mod counters;
mod edge;
mod encode;
pub mod error;
pub mod guide;
mod hall;
mod handle;
pub mod header;
mod identity;
mod layer;
mod legacy;
pub mod message;
mod modern;
mod net;
mod outcome;
#[cfg(feature = "rmcp")]
mod rmcp;
mod router;
pub mod server;
mod service;
mod settings;
pub mod store;
mod streams;

#[cfg(feature = "rmcp")]
pub use self::rmcp::RmcpServer;
pub use counters::Statistics;
pub use edge::{Security, era_of};
pub use error::Rejection;
pub use handle::{DrainReport, McpHandle};
pub use identity::{Principal, SessionId, SessionInfo, TaskId};
pub use layer::{Mcp, McpLayer};
pub use net::{GuardedStream, McpListener};
pub use router::mcp_router;
pub use server::{Args, Context, McpServer};
pub use service::McpService;
pub use settings::{Inputs, Limits, ResponseMode, SealingKey, Sessions, Streams, Tasks};
