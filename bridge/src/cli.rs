//! Decides what can be set from the command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use mcp_http::message::{Era, ProtocolVersion};
use mcp_http::{Limits, Security, Sessions};

/// Puts an MCP server that speaks over stdin and stdout behind Streamable HTTP.
///
/// Each session has a process of the server for itself, from `initialize` to the session's end.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    /// The address to listen on; port 0 takes any free one, and the first line of output says which.
    /// Beyond loopback, --allowed-host must name the host clients use, and something in front must say
    /// who they are: whoever reaches the port can start the program.
    #[arg(long, default_value = "127.0.0.1:3000", value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,

    /// The most processes at one time. A server in Node or Python takes 50 to 100 MB: 32 of them fit into
    /// 4 GB.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..), value_name = "NUMBER")]
    pub(crate) children: u16,

    /// Seconds of rest after which a session may be ended for a new one when there is no place left. Most
    /// clients never say that they are gone. A session rests when it has neither a call nor an open connection.
    /// One that has a call, and for these seconds, at least five, no connection, goes when no other rests.
    #[arg(long, default_value = "60", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) evict_after: Duration,

    /// Seconds a process may take to answer `initialize`. Package runners fetch the server first; the
    /// official clients give up after 60.
    #[arg(long, default_value = "60", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) start_within: Duration,

    /// Seconds a process may take to answer a call, whatever it says meanwhile; then the caller is told that
    /// there is no answer, and the process that the call is cancelled. The default, an hour, is more than
    /// builds and test runs take: it is there for processes that hang.
    #[arg(long, default_value = "3600", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) call_within: Duration,

    /// The longest line a process may write, in bytes; one that writes a longer line is ended. The default
    /// is four times what a client may send, because pictures are text here.
    #[arg(long, default_value_t = 16 << 20, value_parser = at_least_one, value_name = "BYTES")]
    pub(crate) longest_line: usize,

    /// The most calls in flight in one process: more than any agent fans out to.
    #[arg(long, default_value_t = 64, value_parser = at_least_one, value_name = "NUMBER")]
    pub(crate) calls: usize,

    /// Seconds a client may take to answer a question of the server: a person reads it first.
    #[arg(long, default_value = "600", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) answer_within: Duration,

    /// Seconds a process has to end by itself when its stdin is closed, and once more after SIGTERM,
    /// before SIGKILL. The default is the official SDKs'.
    #[arg(long, default_value = "2", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) grace: Duration,

    /// Seconds after which a session nobody uses ends, and its process with it. One with a call is in use as
    /// long as its client is connected.
    #[arg(long, default_value = "1800", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) idle_timeout: Duration,

    /// What becomes of a session whose process died. `never`, the default, ends it: what the process knew
    /// of its client is lost, and only a new session says so. `fresh` starts another process with the
    /// same `initialize` when the client calls next, for servers that keep nothing between calls.
    #[arg(long, value_enum, default_value_t = Restart::Never)]
    pub(crate) restart: Restart,

    /// How clients of 2026-07-28 are served, who have no session and so no process of their own. `refuse`,
    /// the default, names them the revisions that have sessions. `shared` lets all of them use one process:
    /// only for a server that keeps nothing between calls and for clients that may know of each other.
    #[arg(long, value_enum, default_value_t = Stateless::Refuse)]
    pub(crate) stateless: Stateless,

    /// A host clients may use, besides loopback names; repeatable.
    #[arg(long, value_name = "HOST")]
    allowed_host: Vec<String>,

    /// A web origin that may use the server, besides those on loopback; repeatable.
    #[arg(long, value_name = "ORIGIN")]
    allowed_origin: Vec<String>,

    /// Seconds calls may take to finish when the bridge is stopped.
    #[arg(long, default_value = "10", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) drain: Duration,

    /// How much is logged to stderr: error, warn, info, debug, trace. What processes write to theirs is
    /// `info`, of each a thousand lines at once and ten a second in the long run.
    #[arg(long, default_value = "info")]
    pub(crate) log: tracing::Level,

    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// See `--restart`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Restart {
    Never,
    Fresh,
}

/// See `--stateless`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stateless {
    Refuse,
    Shared,
}

impl Cli {
    pub(crate) fn versions(&self) -> Vec<ProtocolVersion> {
        let served = |version: &ProtocolVersion| self.stateless == Stateless::Shared || version.era() == Era::Legacy;
        ProtocolVersion::ALL.into_iter().filter(served).collect()
    }

    /// Sessions are bounded by their processes, not by their number.
    pub(crate) fn sessions(&self) -> Sessions {
        Sessions::new().idle_timeout(self.idle_timeout)
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits::new().calls(self.calls)
    }

    pub(crate) fn security(&self) -> Security {
        let mut security = Security::new();
        if !self.allowed_host.is_empty() {
            security = security.allowed_hosts(&self.allowed_host);
        }
        if !self.allowed_origin.is_empty() {
            security = security.allowed_origins(&self.allowed_origin);
        }
        security.allow_loopback(true)
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is a number of seconds".to_owned())?;
    let duration = Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| "it is longer than nothing".to_owned())
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "it is a whole number from 1".to_owned())
}
