//! Model Context Protocol over HTTP for axum: tools are axum handlers, and a stream outlives its connection.
//!
//! ```no_run
//! use axum::{Json, Router};
//! use mcp_http::{Args, McpListener, McpServer, mcp_router};
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! struct Add { x: i64, y: i64 }
//!
//! #[derive(serde::Serialize, schemars::JsonSchema)]
//! struct Sum { total: i64 }
//!
//! async fn add(Args(add): Args<Add>) -> Json<Sum> {
//!     Json(Sum { total: add.x.saturating_add(add.y) })
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> std::io::Result<()> {
//! let server = McpServer::new("calculator", "1.0.0").tool("add", "Adds two numbers.", add);
//! let app = Router::new().nest("/mcp", mcp_router(server));
//! axum::serve(McpListener::bind("127.0.0.1:3000").await?, app).await
//! # }
//! ```
//!
//! One URL serves both eras of the protocol: the session revisions (2025-03-26, 2025-06-18, 2025-11-25) and the
//! stateless one (2026-07-28). With nothing set the service answers to loopback names only ([`Security`]),
//! keeps sessions in memory, bounded in number and time ([`Sessions`], [`Limits`]), and what their streams sent for a
//! client that comes back ([`Streams`]).
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
//! | [`guide`] | pages to read: [mounting](guide::mounting), layers, tests and stopping; [every setting](guide::settings); [every refusal](guide::refusals); sessions that [outlive the process](guide::durable) or [belong to many nodes](guide::nodes); [coming from another SDK](guide::migrating); [published advisories](guide::advisories), one by one |
//! | [`error`] | how requests are refused, and what can go wrong |
//!
//! # Words
//!
//! | | |
//! |---|---|
//! | era | *legacy*: the revisions with sessions; *modern*: 2026-07-28, where every request stands for itself |
//! | session | what a legacy client opens with `initialize` and names in `Mcp-Session-Id` |
//! | call | a request that a handler answers, from its arrival to its answer |
//! | stream | the events of one call, or the *standalone* stream of a session, which a client opens by GET |
//! | subscription stream, listen | the modern counterpart of the standalone stream: `subscriptions/listen` |
//! | round | one of the several requests by which a modern client answers questions |
//! | task | a call whose result a modern client polls for |
//! | principal | who sends a request, as your authentication layer says: a [`Principal`] |
//! | engine, node | where sessions and tasks are kept ([`store::SessionEngine`]); one service that uses it |
//! | drain | the orderly end of a service: [`McpHandle::drain`] |
//!
//! # Features
//!
//! Features only add; none is on by default. `file`: an engine that keeps sessions and tasks in a
//! folder. `redis`: an engine that many nodes share through a Redis server; `redis-cluster`:
//! through a cluster; `redis-tls`: over TLS. `cors`: tower-http's CORS layer for MCP. `rmcp`:
//! servers written against rmcp. `testing`: the contract suite of session engines.

#![cfg_attr(docsrs, feature(doc_cfg))]

/// What the README shows compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod clock;
#[cfg(feature = "cors")]
mod cors;
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
mod panics;
#[cfg(feature = "rmcp")]
mod rmcp;
mod router;
mod seal;
pub mod server;
mod service;
mod settings;
pub mod store;
mod streams;
mod throttle;

#[cfg(feature = "cors")]
pub use self::cors::cors_layer;
#[cfg(feature = "rmcp")]
pub use self::rmcp::RmcpServer;
pub use counters::Statistics;
pub use edge::{Security, era_of};
pub use error::Rejection;
pub use handle::{DrainReport, McpHandle};
pub use identity::{Peer, Principal, SessionId, SessionInfo, TaskId};
pub use layer::{Mcp, McpLayer};
pub use net::{GuardedStream, McpListener};
pub use router::mcp_router;
pub use server::{Args, Context, McpServer};
pub use service::{McpService, McpServiceBuilder};
pub use settings::{Inputs, Limits, ResponseMode, SealingKey, Sessions, Streams, Tasks};
