//! Model Context Protocol over HTTP for axum: tools are axum handlers, and a stream outlives its
//! connection.
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
//! One URL serves both eras of the protocol: the session revisions (2025-03-26, 2025-06-18,
//! 2025-11-25) and the stateless one (2026-07-28). By default the service answers to loopback names
//! only ([`Security`]). It keeps sessions in memory, limited in number and lifetime ([`Sessions`],
//! [`Limits`]). It also keeps the events of their streams, so that clients can resume
//! ([`Streams`]).
//!
//! # What is where
//!
//! | to | use |
//! |---|---|
//! | describe a server: tools, resources and prompts, each an async function | [`McpServer`] |
//! | take arguments, reach the client, keep state between calls | [`Args`], [`Context`], [`server::Session`], and every axum extractor |
//! | return more than text, fail, request input, change tools while serving | the types in [`server`] |
//! | mount a server | [`mcp_router`], [`McpLayer`], [`McpService`] |
//! | change settings | [`McpService::builder`] with [`Sessions`], [`Streams`], [`Limits`], [`InputRequests`], [`Tasks`], [`Security`] |
//! | listen with timeouts, and shut down in order | [`McpListener`], [`McpHandle`] |
//! | announce changes, end sessions, read statistics | [`McpHandle`] |
//! | survive a restart, share sessions between nodes | an engine of [`store`] |
//! | serve a server written against rmcp, or another framework | `RmcpServer` (feature `rmcp`), [`server::Server`] |
//! | count or log rejections, handle errors | [`error`] |
//! | read or write JSON-RPC | [`message`] |
//!
//! The guides: [mounting](guide::mounting), layers, tests and shutdown;
//! [authorization](guide::authorization); [every setting](guide::settings); [every
//! rejection](guide::refusals); sessions that [outlive the process](guide::durable) or [belong to
//! many nodes](guide::nodes); [extensions and skills](guide::extensions); [coming
//! from another SDK](guide::migrating); [published advisories](guide::advisories).
//! How the crate works inside is in its `CONTRIBUTING.md`.
//!
//! # Words
//!
//! | | |
//! |---|---|
//! | era | *legacy*: the revisions with sessions; *modern*: 2026-07-28, where every request is independent of all others |
//! | session | opened by a legacy client with `initialize`, and named in `Mcp-Session-Id` |
//! | call | a request that a handler answers, from its arrival to its response |
//! | stream | the events of one call, or the *standalone* stream of a session, which a client opens by GET |
//! | subscription stream, listen | the modern counterpart of the standalone stream: `subscriptions/listen` |
//! | round | one of the several requests by which a modern client answers requests for input |
//! | task | a call whose result a modern client polls for |
//! | principal | the sender of a request, as your authentication layer determines it: a [`Principal`] |
//! | engine, node | the keeper of sessions and tasks ([`store::engine::SessionEngine`]); one service that uses it |
//! | drain | the orderly shutdown of a service: [`McpHandle::drain`] |
//!
//! # Features
//!
//! All features are additive, and none is enabled by default.
//!
//! | feature | adds |
//! |---|---|
//! | `file` | an engine that keeps sessions and tasks in a folder |
//! | `redis` | an engine that many nodes share through a Redis server |
//! | `redis-cluster` | the same through a Redis cluster |
//! | `redis-tls` | TLS for the connections to the Redis server |
//! | `auth` | an OAuth 2.1 resource server: metadata, challenges, and verifiers of your own |
//! | `auth-http` | verifiers that ask the authorization server: JWT by its keys, introspection |
//! | `cors` | tower-http's CORS layer with the headers of MCP |
//! | `skills` | skills that are read from folders |
//! | `rmcp` | serving servers written against rmcp |
//! | `testing` | the contract suite of session engines |

#![cfg_attr(docsrs, feature(doc_cfg))]

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(feature = "auth")]
pub mod auth;
mod clock;
mod core;
#[cfg(feature = "cors")]
mod cors;
mod counters;
mod edge;
mod encode;
pub mod error;
pub mod guide;
mod handle;
pub mod header;
mod identity;
mod layer;
mod legacy;
pub mod message;
mod modern;
mod mount;
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
pub use handle::{DrainReport, McpHandle};
pub use identity::{AccessToken, InsufficientScope, Peer, Principal, SessionId, SessionInfo, TaskId};
pub use layer::{Mcp, McpLayer};
pub use mount::{IntoMcpService, mcp_router};
pub use net::{GuardedStream, McpListener};
pub use server::context::Context;
pub use server::handler::Args;
pub use server::typed::McpServer;
pub use service::{McpService, McpServiceBuilder};
pub use settings::{InputRequests, Limits, ResponseMode, SealingKey, Sessions, Streams, Tasks};
