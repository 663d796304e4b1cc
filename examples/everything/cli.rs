//! Decides what can be set from the command line.

use std::net::IpAddr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use mcp_http::message::ProtocolVersion;
use mcp_http::server::DEFAULT_PAGE_SIZE;
use mcp_http::store::Policy;
use mcp_http::{Inputs, Limits, ResponseMode, SealingKey, Security, Sessions, Streams, Tasks};

use crate::auth::Token;
use crate::store::Store;

/// An MCP server with every feature of the protocol, for trying clients and settings.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    /// The port to listen on; 0 takes any free one, and the first line of output says which.
    #[arg(long, default_value_t = 3000)]
    pub(crate) port: u16,

    /// The address to listen on. Beyond loopback, --allowed-host must name the host clients use.
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) bind: IpAddr,

    /// Where sessions and tasks are kept: `memory`; `file:FOLDER`, which outlives the process; or
    /// `redis://HOST:PORT/` (`rediss://..`), which other nodes use, too.
    #[arg(long, default_value = "memory")]
    pub(crate) store: Store,

    /// With a folder: what is acknowledged survives a loss of power, too.
    #[arg(long)]
    pub(crate) sync: bool,

    /// With a Redis server: seconds of silence after which a node counts as dead.
    #[arg(long, default_value_t = 15)]
    pub(crate) lease: u64,

    /// The revisions to serve, with commas between them; all of them when not given.
    #[arg(long, value_name = "VERSION", value_delimiter = ',')]
    versions: Vec<ProtocolVersion>,

    /// How many items a page of a list has.
    #[arg(long, default_value_t = DEFAULT_PAGE_SIZE)]
    pub(crate) page_size: usize,

    /// Seconds clients of 2026-07-28 may keep lists and what the server says of itself; 0: not at
    /// all.
    #[arg(long, default_value_t = 60.0)]
    cache: f64,

    /// The form of answers: JSON unless a call streams (auto), always a stream (sse), or always
    /// JSON (json).
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    response_mode: Mode,

    /// Milliseconds of silence after which an answer becomes a stream, in auto mode.
    #[arg(long, default_value_t = 500)]
    silence: u64,

    /// Seconds between comments on a quiet stream; 0: none.
    #[arg(long, default_value_t = 15.0)]
    keep_alive: f64,

    /// Milliseconds after which clients should reconnect, sent with streams; 0: not sent.
    #[arg(long, default_value_t = 1000)]
    retry_interval: u64,

    /// Events have no ids, and a broken stream cannot be resumed.
    #[arg(long)]
    not_resumable: bool,

    /// A second standalone stream (409) and an id in flight (400) are refused.
    #[arg(long)]
    exclusive: bool,

    /// Seconds a call waits for a reader that is behind, before it is cut off.
    #[arg(long, default_value_t = 10.0)]
    slow_reader: f64,

    /// Notifications kept in a stream for a client that is away.
    #[arg(long, default_value_t = Streams::DEFAULT_KEPT.0)]
    kept_events: usize,

    /// Bytes of notifications kept in a stream for a client that is away.
    #[arg(long, default_value_t = Streams::DEFAULT_KEPT.1)]
    kept_bytes: usize,

    /// Bytes of notifications kept in all streams of a session together.
    #[arg(long, default_value_t = Streams::DEFAULT_KEPT_PER_SESSION)]
    kept_per_session: usize,

    /// Finished streams kept in a session for a client that comes back.
    #[arg(long, default_value_t = Streams::DEFAULT_FINISHED.0)]
    finished: usize,

    /// Seconds a finished stream is kept.
    #[arg(long, default_value_t = Streams::DEFAULT_FINISHED.1.as_secs_f64())]
    finished_for: f64,

    /// No sessions: each request stands for itself.
    #[arg(long)]
    stateless: bool,

    /// Seconds after which a session nobody uses ends; 0: never.
    #[arg(long, default_value_t = 1800.0)]
    idle_timeout: f64,

    /// Seconds after which a session ends, used or not; 0: never.
    #[arg(long, default_value_t = 0.0)]
    lifetime: f64,

    /// The most sessions at one time.
    #[arg(long, default_value_t = Sessions::DEFAULT_MAX)]
    max_sessions: usize,

    /// The most sessions of one principal at one time.
    #[arg(long, default_value_t = Sessions::DEFAULT_MAX_PER_PRINCIPAL)]
    max_sessions_per_principal: usize,

    /// The most sessions without a principal from one address at one time; 0: as many as there may be.
    #[arg(long, default_value_t = Sessions::DEFAULT_MAX_PER_PEER)]
    max_sessions_per_peer: usize,

    /// The largest body in bytes.
    #[arg(long, default_value_t = Limits::DEFAULT_BODY)]
    max_body: usize,

    /// Seconds a whole body may take.
    #[arg(long, default_value_t = 30.0)]
    body_timeout: f64,

    /// The most calls in flight in one session.
    #[arg(long, default_value_t = Limits::DEFAULT_CALLS)]
    max_calls: usize,

    /// The most calls in flight of one principal.
    #[arg(long, default_value_t = Limits::DEFAULT_CALLS_PER_PRINCIPAL)]
    calls_per_principal: usize,

    /// The most calls in flight that belong to no session, whoever makes them.
    #[arg(long, default_value_t = Limits::DEFAULT_CALLS_WITHOUT_SESSION)]
    calls_without_session: usize,

    /// Of these, the most from one address without a principal; 0: as many as there may be.
    #[arg(long, default_value_t = Limits::DEFAULT_CALLS_PER_PEER)]
    calls_per_peer: usize,

    /// The most open streams in one session.
    #[arg(long, default_value_t = Limits::DEFAULT_STREAMS)]
    streams: usize,

    /// A key in Base64 that seals what clients of 2026-07-28 carry between the rounds of a call;
    /// repeatable, the first one seals. When not given, a random one.
    #[arg(long, value_name = "KEY")]
    sealing_key: Vec<SealingKey>,

    /// Seconds a client of 2026-07-28 may take from a question to its answer.
    #[arg(long, default_value_t = Inputs::DEFAULT_LIFETIME.as_secs_f64())]
    input_lifetime: f64,

    /// How often one call may ask a client of 2026-07-28 and be called again.
    #[arg(long, default_value_t = Inputs::DEFAULT_ROUNDS)]
    input_rounds: u32,

    /// Bytes that a client of 2026-07-28 is made to carry between the rounds of a call.
    #[arg(long, default_value_t = Inputs::DEFAULT_STATE_BYTES)]
    input_bytes: usize,

    /// The most subscription streams at one time.
    #[arg(long, default_value_t = Limits::DEFAULT_LISTENS)]
    max_listens: usize,

    /// The most subscription streams of one principal at one time.
    #[arg(long, default_value_t = Limits::DEFAULT_LISTENS_PER_PRINCIPAL)]
    max_listens_per_principal: usize,

    /// The most subscription streams from one address without a principal; 0: as many as there may be.
    #[arg(long, default_value_t = Limits::DEFAULT_LISTENS_PER_PEER)]
    max_listens_per_peer: usize,

    /// Seconds a task is kept from its beginning; 0: until others need the room.
    #[arg(long, default_value_t = Tasks::DEFAULT_TTL.as_secs_f64())]
    task_ttl: f64,

    /// Seconds after which clients are told to ask for a task again.
    #[arg(long, default_value_t = Tasks::DEFAULT_POLL_INTERVAL.as_secs_f64())]
    task_poll_interval: f64,

    /// The most tasks at one time.
    #[arg(long, default_value_t = Policy::DEFAULT_MAX_TASKS)]
    max_tasks: usize,

    /// The most tasks of one principal at one time.
    #[arg(long, default_value_t = Policy::DEFAULT_MAX_TASKS_PER_PRINCIPAL)]
    max_tasks_per_principal: usize,

    /// Bytes that all tasks hold together.
    #[arg(long, default_value_t = Policy::DEFAULT_TASK_BYTES)]
    task_bytes: usize,

    /// Bytes that the tasks of one principal hold together.
    #[arg(long, default_value_t = Policy::DEFAULT_TASK_BYTES_PER_PRINCIPAL)]
    task_bytes_per_principal: usize,

    /// The most tasks from one address without a principal; 0: as many as there may be.
    #[arg(long, default_value_t = Policy::DEFAULT_MAX_TASKS_PER_PEER)]
    max_tasks_per_peer: usize,

    /// A host clients may use, besides loopback names; repeatable.
    #[arg(long, value_name = "HOST")]
    allowed_host: Vec<String>,

    /// A web origin that may use the server, besides those on loopback; repeatable.
    #[arg(long, value_name = "ORIGIN")]
    allowed_origin: Vec<String>,

    /// A network of proxies whose X-Forwarded-Host, X-Forwarded-For and Forwarded are believed; repeatable.
    #[arg(long, value_name = "CIDR")]
    trusted_proxy: Vec<String>,

    /// Asks for a bearer token: SECRET makes the client the principal NAME; repeatable.
    #[arg(long, value_name = "NAME=SECRET")]
    pub(crate) token: Vec<Token>,

    /// With a Redis server: seconds in which connections may still be used when this node is stopped, and new ones
    /// are left to others. Short, for trying it; where it must surprise nobody it is longer than clients keep an
    /// idle connection (the official ones: 5).
    #[arg(long, default_value_t = 1.0)]
    leave: f64,

    /// Seconds calls may take to finish when the server is stopped.
    #[arg(long, default_value_t = 10.0)]
    drain: f64,

    /// How much is logged to stderr: error, warn, info, debug, trace.
    #[arg(long, default_value = "info")]
    pub(crate) log: tracing::Level,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    Auto,
    Sse,
    Json,
}

impl Cli {
    pub(crate) fn sessions(&self) -> Sessions {
        Sessions::new()
            .stateless(self.stateless)
            .idle_timeout(seconds(self.idle_timeout))
            .lifetime(seconds(self.lifetime))
            .max(self.max_sessions)
            .max_per_principal(self.max_sessions_per_principal.min(self.max_sessions))
            .max_per_peer(share(self.max_sessions_per_peer))
    }

    pub(crate) fn streams(&self) -> Streams {
        let retry = Duration::from_millis(self.retry_interval);
        Streams::new()
            .response_mode(match self.response_mode {
                Mode::Auto => ResponseMode::Auto,
                Mode::Sse => ResponseMode::Sse,
                Mode::Json => ResponseMode::Json,
            })
            .silence(Duration::from_millis(self.silence))
            .keep_alive(seconds(self.keep_alive))
            .retry_interval(Some(retry).filter(|retry| !retry.is_zero()))
            .resumable(!self.not_resumable)
            .exclusive(self.exclusive)
            .slow_reader(seconds(self.slow_reader).unwrap_or_default())
            .kept(self.kept_events, self.kept_bytes)
            .kept_per_session(self.kept_per_session)
            .finished(self.finished, seconds(self.finished_for).unwrap_or_default())
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits::new()
            .body(self.max_body)
            .body_timeout(seconds(self.body_timeout).unwrap_or_default())
            .calls(self.max_calls)
            .calls_per_principal(self.calls_per_principal)
            .calls_without_session(self.calls_without_session)
            .calls_per_peer(share(self.calls_per_peer))
            .streams(self.streams)
            .listens(self.max_listens)
            .listens_per_principal(self.max_listens_per_principal)
            .listens_per_peer(share(self.max_listens_per_peer))
    }

    pub(crate) fn inputs(&self) -> Inputs {
        let inputs =
            Inputs::new().lifetime(self.input_lifetime()).rounds(self.input_rounds).state_bytes(self.input_bytes);
        if self.sealing_key.is_empty() { inputs } else { inputs.keys(self.sealing_key.clone()) }
    }

    /// How long a client may take from a question to its answer.
    pub(crate) fn input_lifetime(&self) -> Duration {
        seconds(self.input_lifetime).unwrap_or_default()
    }

    /// How long a task is kept, if that is limited.
    pub(crate) fn task_ttl(&self) -> Option<Duration> {
        seconds(self.task_ttl)
    }

    /// When clients shall ask for a task again.
    pub(crate) fn task_poll_interval(&self) -> Duration {
        seconds(self.task_poll_interval).unwrap_or_default()
    }

    pub(crate) fn tasks(&self) -> Tasks {
        Tasks::new()
            .ttl(self.task_ttl())
            .poll_interval(self.task_poll_interval())
            .max(self.max_tasks)
            .max_per_principal(self.max_tasks_per_principal.min(self.max_tasks))
            .bytes(self.task_bytes)
            .bytes_per_principal(self.task_bytes_per_principal)
            .max_per_peer(share(self.max_tasks_per_peer))
    }

    /// How long lists may be kept.
    pub(crate) fn cache(&self) -> Duration {
        seconds(self.cache).unwrap_or_default()
    }

    pub(crate) fn versions(&self) -> Vec<ProtocolVersion> {
        if self.versions.is_empty() { ProtocolVersion::ALL.to_vec() } else { self.versions.clone() }
    }

    pub(crate) fn security(&self) -> Security {
        let mut security = Security::new();
        if !self.allowed_host.is_empty() {
            security = security.allowed_hosts(&self.allowed_host);
        }
        if !self.allowed_origin.is_empty() {
            security = security.allowed_origins(&self.allowed_origin);
        }
        security.allow_loopback(true).trusted_proxies(&self.trusted_proxy)
    }

    pub(crate) fn leave(&self) -> Option<Duration> {
        seconds(self.leave).filter(|_| self.store.is_shared())
    }

    pub(crate) fn drain(&self) -> Duration {
        seconds(self.drain).unwrap_or_default()
    }
}

/// Zero is no share.
fn share(most: usize) -> Option<usize> {
    Some(most).filter(|most| *most > 0)
}

/// Zero, and what is no duration, is none.
fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero())
}
