//! Command line: the options, and the settings of the crate made from them.

use std::net::IpAddr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use mcp_http::message::ProtocolVersion;
use mcp_http::server::DEFAULT_PAGE_SIZE;
use mcp_http::store::Policy;
use mcp_http::{InputRequests, Limits, ResponseMode, SealingKey, Security, Sessions, Streams, Tasks};

use crate::auth::Token;
use crate::store::Store;

/// An MCP server with every feature of the protocol, for trying clients and settings.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    /// Port to listen on. 0 takes any free port, and the first line of output names it.
    #[arg(long, default_value_t = 3000)]
    pub(crate) port: u16,

    /// Address to listen on. Beyond loopback, set --allowed-host to the name clients use.
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) bind: IpAddr,

    /// Where sessions and tasks are stored: `memory`; `file:FOLDER`, which survives a restart; or
    /// `redis://HOST:PORT/` (`rediss://..`), which nodes share.
    #[arg(long, default_value = "memory")]
    pub(crate) store: Store,

    /// With a folder: acknowledged data also survives a power failure.
    #[arg(long)]
    pub(crate) sync: bool,

    /// With a Redis server: seconds without a heartbeat after which a node counts as dead.
    #[arg(long, default_value_t = 15)]
    pub(crate) lease: u64,

    /// Revisions to serve, separated by commas. Default: all.
    #[arg(long, value_name = "VERSION", value_delimiter = ',')]
    versions: Vec<ProtocolVersion>,

    /// Items in one page of a list.
    #[arg(long, default_value_t = DEFAULT_PAGE_SIZE)]
    pub(crate) page_size: usize,

    /// Seconds clients of 2026-07-28 may cache lists and the discovery result. 0: no caching.
    #[arg(long, default_value_t = 60.0)]
    cache: f64,

    /// Form of responses: JSON unless a call streams (auto), always a stream (sse), or always
    /// JSON (json).
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    response_mode: Mode,

    /// Milliseconds without a message after which a response becomes a stream, in auto mode.
    #[arg(long, default_value_t = 500)]
    stream_after: u64,

    /// Seconds between keep-alive comments on a quiet stream. 0: none.
    #[arg(long, default_value_t = 15.0)]
    keep_alive: f64,

    /// Milliseconds after which clients should reconnect, sent with streams. 0: not sent.
    #[arg(long, default_value_t = 1000)]
    retry_interval: u64,

    /// Sends events without ids, so that a broken stream cannot be resumed.
    #[arg(long)]
    not_resumable: bool,

    /// Rejects a second GET stream of a session (409).
    #[arg(long)]
    reject_second_stream: bool,

    /// Rejects a request id that is in flight in its session (400).
    #[arg(long)]
    reject_duplicate_ids: bool,

    /// Seconds a call waits for a slow reader before its connection is closed.
    #[arg(long, default_value_t = 10.0)]
    slow_reader_timeout: f64,

    /// Notifications buffered in a stream for a client that is disconnected.
    #[arg(long, default_value_t = Streams::DEFAULT_REPLAY_BUFFER.0)]
    replay_events: usize,

    /// Bytes of notifications buffered in a stream for a client that is disconnected.
    #[arg(long, default_value_t = Streams::DEFAULT_REPLAY_BUFFER.1)]
    replay_bytes: usize,

    /// Bytes of notifications buffered in all streams of a session together.
    #[arg(long, default_value_t = Streams::DEFAULT_REPLAY_BYTES_PER_SESSION)]
    replay_bytes_per_session: usize,

    /// Finished streams retained in a session for a client that resumes.
    #[arg(long, default_value_t = Streams::DEFAULT_KEEP_FINISHED.0)]
    keep_finished: usize,

    /// Seconds a finished stream is retained.
    #[arg(long, default_value_t = Streams::DEFAULT_KEEP_FINISHED.1.as_secs_f64())]
    keep_finished_for: f64,

    /// Stateless mode: requests have no session.
    #[arg(long)]
    stateless: bool,

    /// Seconds after which an unused session ends. 0: never.
    #[arg(long, default_value_t = 1800.0)]
    idle_timeout: f64,

    /// Seconds after which any session ends. 0: never.
    #[arg(long, default_value_t = 0.0)]
    lifetime: f64,

    /// Maximum number of sessions.
    #[arg(long, default_value_t = Sessions::DEFAULT_MAX_SESSIONS)]
    max_sessions: usize,

    /// Maximum number of sessions of one principal.
    #[arg(long, default_value_t = Sessions::DEFAULT_MAX_SESSIONS_PER_PRINCIPAL)]
    max_sessions_per_principal: usize,

    /// Maximum number of sessions without a principal from one address. 0: no separate limit.
    #[arg(long, default_value_t = Sessions::DEFAULT_MAX_SESSIONS_PER_PEER)]
    max_sessions_per_peer: usize,

    /// Maximum size of a request body in bytes.
    #[arg(long, default_value_t = Limits::DEFAULT_MAX_BODY_BYTES)]
    max_body_bytes: usize,

    /// Seconds a request body may take to arrive.
    #[arg(long, default_value_t = 30.0)]
    body_timeout: f64,

    /// Maximum number of calls in flight in one session.
    #[arg(long, default_value_t = Limits::DEFAULT_MAX_CALLS_PER_SESSION)]
    max_calls_per_session: usize,

    /// Maximum number of calls in flight of one principal.
    #[arg(long, default_value_t = Limits::DEFAULT_MAX_CALLS_PER_PRINCIPAL)]
    max_calls_per_principal: usize,

    /// Maximum number of calls in flight without a session, of all clients together.
    #[arg(long, default_value_t = Limits::DEFAULT_MAX_CALLS_WITHOUT_SESSION)]
    max_calls_without_session: usize,

    /// Maximum number of these calls without a principal from one address. 0: no separate limit.
    #[arg(long, default_value_t = Limits::DEFAULT_MAX_CALLS_PER_PEER)]
    max_calls_per_peer: usize,

    /// Maximum number of open streams in one session.
    #[arg(long, default_value_t = Limits::DEFAULT_MAX_STREAMS_PER_SESSION)]
    max_streams_per_session: usize,

    /// Base64 key that seals the state clients of 2026-07-28 carry between the rounds of a call.
    /// Repeatable; the first one seals. Default: a random key.
    #[arg(long, value_name = "KEY")]
    sealing_key: Vec<SealingKey>,

    /// Seconds a client of 2026-07-28 may take to answer an input request.
    #[arg(long, default_value_t = InputRequests::DEFAULT_LIFETIME.as_secs_f64())]
    input_lifetime: f64,

    /// Maximum number of rounds in which one call may request input from a client of 2026-07-28.
    #[arg(long, default_value_t = InputRequests::DEFAULT_MAX_ROUNDS)]
    input_max_rounds: u32,

    /// Maximum bytes of state a client of 2026-07-28 carries between the rounds of a call.
    #[arg(long, default_value_t = InputRequests::DEFAULT_MAX_STATE_BYTES)]
    input_max_state_bytes: usize,

    /// Maximum number of subscription streams.
    #[arg(long, default_value_t = Limits::DEFAULT_MAX_LISTEN_STREAMS)]
    max_listen_streams: usize,

    /// Maximum number of subscription streams of one principal.
    #[arg(long, default_value_t = Limits::DEFAULT_MAX_LISTEN_STREAMS_PER_PRINCIPAL)]
    max_listen_streams_per_principal: usize,

    /// Maximum number of subscription streams without a principal from one address. 0: no separate
    /// limit.
    #[arg(long, default_value_t = Limits::DEFAULT_MAX_LISTEN_STREAMS_PER_PEER)]
    max_listen_streams_per_peer: usize,

    /// Seconds a task is retained from its creation. 0: until other tasks need the capacity.
    #[arg(long, default_value_t = Tasks::DEFAULT_TTL.as_secs_f64())]
    task_ttl: f64,

    /// Seconds after which clients should poll a task again.
    #[arg(long, default_value_t = Tasks::DEFAULT_POLL_INTERVAL.as_secs_f64())]
    task_poll_interval: f64,

    /// Maximum number of tasks.
    #[arg(long, default_value_t = Policy::DEFAULT_MAX_TASKS)]
    max_tasks: usize,

    /// Maximum number of tasks of one principal.
    #[arg(long, default_value_t = Policy::DEFAULT_MAX_TASKS_PER_PRINCIPAL)]
    max_tasks_per_principal: usize,

    /// Maximum bytes of all tasks together.
    #[arg(long, default_value_t = Policy::DEFAULT_TASK_BYTES)]
    max_task_bytes: usize,

    /// Maximum bytes of the tasks of one principal together.
    #[arg(long, default_value_t = Policy::DEFAULT_TASK_BYTES_PER_PRINCIPAL)]
    max_task_bytes_per_principal: usize,

    /// Maximum number of tasks without a principal from one address. 0: no separate limit.
    #[arg(long, default_value_t = Policy::DEFAULT_MAX_TASKS_PER_PEER)]
    max_tasks_per_peer: usize,

    /// Host name clients may use, besides loopback names. Repeatable.
    #[arg(long, value_name = "HOST")]
    allowed_host: Vec<String>,

    /// Web origin that may use the server, besides loopback origins. Repeatable.
    #[arg(long, value_name = "ORIGIN")]
    allowed_origin: Vec<String>,

    /// Network of proxies whose X-Forwarded-Host, X-Forwarded-For and Forwarded are trusted.
    /// Repeatable.
    #[arg(long, value_name = "CIDR")]
    trusted_proxy: Vec<String>,

    /// Requires a bearer token: SECRET authenticates the principal NAME. Repeatable.
    #[arg(long, value_name = "NAME=SECRET")]
    pub(crate) token: Vec<Token>,

    /// Makes this an OAuth 2.1 resource server. URL is the address of the endpoint as clients use
    /// it, and the audience of their tokens. Tokens of --token are accepted besides.
    #[cfg(feature = "auth-http")]
    #[arg(long, value_name = "URL", requires = "authorization_server")]
    pub(crate) resource: Option<String>,

    /// The issuer of the tokens: JWTs that are signed by one of its published keys.
    #[cfg(feature = "auth-http")]
    #[arg(long, value_name = "URL", requires = "resource")]
    pub(crate) authorization_server: Option<String>,

    /// Scope that every request needs. Repeatable.
    #[cfg(feature = "auth-http")]
    #[arg(long, value_name = "SCOPE", requires = "resource")]
    pub(crate) scope: Vec<String>,

    /// Seconds by which the clocks of this machine and the authorization server may differ.
    #[cfg(feature = "auth-http")]
    #[arg(long, default_value_t = 30, requires = "resource")]
    pub(crate) token_leeway: u64,

    /// Scope that calls of the tool NAME need. Repeatable.
    #[cfg(feature = "auth-http")]
    #[arg(long, value_name = "NAME=SCOPE", requires = "resource", value_parser = crate::auth::tool_scope)]
    pub(crate) tool_scope: Vec<(String, String)>,

    /// With a Redis server: seconds in which open connections may still be used when this node is
    /// stopped, while new ones go to other nodes. The default is short, for trying it. In
    /// production it should be longer than clients keep an idle connection (the official ones: 5).
    #[arg(long, default_value_t = 1.0)]
    linger: f64,

    /// Seconds calls may take to finish when the server is stopped.
    #[arg(long, default_value_t = 10.0)]
    drain: f64,

    /// Log level on stderr: error, warn, info, debug or trace.
    #[arg(long, default_value = "info")]
    pub(crate) log: tracing::Level,
}

#[cfg(feature = "auth-http")]
impl Cli {
    /// Returns the scopes of each tool that has some.
    pub(crate) fn tool_scopes(&self) -> std::collections::BTreeMap<&str, Vec<&str>> {
        let mut scopes = std::collections::BTreeMap::<&str, Vec<&str>>::new();
        for (tool, scope) in &self.tool_scope {
            scopes.entry(tool).or_default().push(scope);
        }
        scopes
    }
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
            .max_sessions(self.max_sessions)
            .max_sessions_per_principal(self.max_sessions_per_principal.min(self.max_sessions))
            .max_sessions_per_peer(share(self.max_sessions_per_peer))
    }

    pub(crate) fn streams(&self) -> Streams {
        let retry = Duration::from_millis(self.retry_interval);
        Streams::new()
            .response_mode(match self.response_mode {
                Mode::Auto => ResponseMode::Auto,
                Mode::Sse => ResponseMode::Sse,
                Mode::Json => ResponseMode::Json,
            })
            .stream_after(Duration::from_millis(self.stream_after))
            .keep_alive(seconds(self.keep_alive))
            .retry_interval(Some(retry).filter(|retry| !retry.is_zero()))
            .resumable(!self.not_resumable)
            .reject_second_stream(self.reject_second_stream)
            .reject_duplicate_ids(self.reject_duplicate_ids)
            .slow_reader_timeout(seconds(self.slow_reader_timeout).unwrap_or_default())
            .replay_buffer(self.replay_events, self.replay_bytes)
            .replay_bytes_per_session(self.replay_bytes_per_session)
            .keep_finished(self.keep_finished, seconds(self.keep_finished_for).unwrap_or_default())
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits::new()
            .max_body_bytes(self.max_body_bytes)
            .body_timeout(seconds(self.body_timeout).unwrap_or_default())
            .max_calls_per_session(self.max_calls_per_session)
            .max_calls_per_principal(self.max_calls_per_principal)
            .max_calls_without_session(self.max_calls_without_session)
            .max_calls_per_peer(share(self.max_calls_per_peer))
            .max_streams_per_session(self.max_streams_per_session)
            .max_listen_streams(self.max_listen_streams)
            .max_listen_streams_per_principal(self.max_listen_streams_per_principal)
            .max_listen_streams_per_peer(share(self.max_listen_streams_per_peer))
    }

    pub(crate) fn inputs(&self) -> InputRequests {
        let inputs = InputRequests::new()
            .lifetime(self.input_lifetime())
            .max_rounds(self.input_max_rounds)
            .max_state_bytes(self.input_max_state_bytes);
        if self.sealing_key.is_empty() { inputs } else { inputs.keys(self.sealing_key.clone()) }
    }

    /// Returns how long a client may take to answer an input request.
    pub(crate) fn input_lifetime(&self) -> Duration {
        seconds(self.input_lifetime).unwrap_or_default()
    }

    /// Returns how long a task is retained, or `None` if that is not limited.
    pub(crate) fn task_ttl(&self) -> Option<Duration> {
        seconds(self.task_ttl)
    }

    /// Returns after which time clients should poll a task again.
    pub(crate) fn task_poll_interval(&self) -> Duration {
        seconds(self.task_poll_interval).unwrap_or_default()
    }

    pub(crate) fn tasks(&self) -> Tasks {
        Tasks::new()
            .ttl(self.task_ttl())
            .poll_interval(self.task_poll_interval())
            .max_tasks(self.max_tasks)
            .max_tasks_per_principal(self.max_tasks_per_principal.min(self.max_tasks))
            .max_task_bytes(self.max_task_bytes)
            .max_task_bytes_per_principal(self.max_task_bytes_per_principal)
            .max_tasks_per_peer(share(self.max_tasks_per_peer))
    }

    /// Returns how long clients may cache lists.
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

    pub(crate) fn linger(&self) -> Option<Duration> {
        seconds(self.linger).filter(|_| self.store.is_shared())
    }

    pub(crate) fn drain(&self) -> Duration {
        seconds(self.drain).unwrap_or_default()
    }
}

/// Returns `None` for zero, which means no separate limit.
fn share(max: usize) -> Option<usize> {
    Some(max).filter(|max| *max > 0)
}

/// Returns `None` for zero, and for numbers that are no duration.
fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero())
}
