//! The behaviour of the crate at the wire, one module for each theme. `acceptance.rs` lists which
//! behaviour is tested where, and fails if a number has no test.

mod support;

mod acceptance;
mod advisories;
mod announcements;
mod answer_ends;
mod answers;
mod architecture;
#[cfg(feature = "auth")]
mod auth;
#[cfg(feature = "redis-tls")]
#[path = "../support/authority.rs"]
mod authority;
mod auto_traits;
mod batches;
mod bodies;
mod bounds;
mod budget;
mod bursts;
mod caching;
mod changes;
mod client_requests;
mod disconnects;
mod early_rejections;
mod engine_failures;
mod engines;
mod event_lines;
mod expiry;
mod extensions;
mod faulty;
mod floods;
mod guard;
mod handlers;
mod header_rules;
mod hostile;
mod input_requests;
mod layers;
mod leniency;
mod log_floods;
mod logging;
mod lost_signals;
mod media_types;
mod messages;
mod modern;
mod monitoring;
mod mounting;
mod moving_clients;
mod nodes;
mod opening;
mod openings;
mod owners;
mod panics;
mod polling;
mod progress;
mod races;
mod raw_http;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "redis-cluster")]
mod redis_cluster;
#[cfg(feature = "redis")]
mod redis_outages;
#[cfg(feature = "redis")]
#[path = "../support/redis.rs"]
mod redis_server;
#[cfg(feature = "redis-tls")]
mod redis_tls;
mod rejections;
mod resuming;
mod revisions;
mod rmcp_client;
#[cfg(feature = "rmcp")]
mod rmcp_ends;
#[cfg(feature = "rmcp")]
mod rmcp_server;
mod runtimes;
mod schemas;
mod session_ends;
mod sessions;
mod settings;
mod shutdown;
#[cfg(feature = "skills")]
mod skills;
mod slow_clients;
mod smoke;
mod stalled;
mod standalone_stream;
mod stateless;
mod stream_races;
mod structured;
mod subscriptions;
mod table;
mod tasks;
mod toggles;
mod two_nodes;
mod unread;
mod uris;
