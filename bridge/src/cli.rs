//! Command line: the options, their defaults and the settings of the transport made from them.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use mcp_http::error::ConfigError;
use mcp_http::message::{Era, ProtocolVersion};
use mcp_http::{Limits, Security, Sessions};

/// Serves an MCP server that speaks over stdin and stdout through Streamable HTTP.
///
/// Each session has a server process of its own, from `initialize` to the end of the session.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    /// Address to listen on. Port 0 takes any free port, and the first line of output names it.
    /// Beyond loopback, set --allowed-host to the name clients use, and put an authenticating proxy
    /// in front: every client that reaches the port can start the program.
    #[arg(long, default_value = "127.0.0.1:3000", value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,

    /// Maximum number of processes at one time. A server in Node or Python takes 50 to 100 MB, so
    /// 32 of them fit into 4 GB.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..), value_name = "NUMBER")]
    pub(crate) max_processes: u16,

    /// Seconds a session must be idle before it may be ended to free its process for a new session.
    /// This happens only when --max-processes is reached: most clients never end their sessions. A
    /// session is idle without a call and without an open connection. If no session is idle, one is
    /// ended that has a call but has had no connection for this time, and for at least five
    /// seconds.
    #[arg(long, default_value = "60", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) evict_after: Duration,

    /// Seconds a process may take to answer `initialize`. Package runners download the server
    /// first; the official clients give up after 60.
    #[arg(long, default_value = "60", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) start_timeout: Duration,

    /// Seconds a process may take to answer a call, even if it reports progress. Then the client
    /// gets an error, and the process gets a cancellation. The default, an hour, is longer than
    /// builds and test runs take; it exists for processes that hang.
    #[arg(long, default_value = "3600", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) call_timeout: Duration,

    /// Longest line a process may write, in bytes. A process that writes a longer one is ended. The
    /// default is four times what a client may send, because images are sent as text.
    #[arg(long, default_value_t = 16 << 20, value_parser = positive, value_name = "BYTES")]
    pub(crate) longest_line: usize,

    /// Maximum number of calls in flight in one process. The default is more than agents use.
    #[arg(long, default_value_t = 64, value_parser = positive, value_name = "NUMBER")]
    pub(crate) max_calls: usize,

    /// Seconds a client may take to answer a request of the server (elicitation, sampling, roots).
    /// The default leaves time for a person to read it.
    #[arg(long, default_value = "600", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) client_request_timeout: Duration,

    /// Seconds a process has to exit after its stdin is closed, and again after SIGTERM, before
    /// SIGKILL. The default is that of the official SDKs.
    #[arg(long, default_value = "2", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) grace: Duration,

    /// Seconds after which an unused session ends, and its process with it. A session with a call
    /// is in use while its client is connected.
    #[arg(long, default_value = "1800", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) idle_timeout: Duration,

    /// What happens to a session whose process has exited. `never` (the default) ends the session:
    /// the process has lost its state, and a new session shows that to the client. `fresh` starts
    /// another process with the same `initialize` at the next call. Use it for servers that keep no
    /// state between calls.
    #[arg(long, value_enum, default_value_t = Restart::Never)]
    pub(crate) restart: Restart,

    /// How clients of revision 2026-07-28 are served. They have no session, and so no process of
    /// their own. `refuse` (the default) answers with the revisions that have sessions. `shared`
    /// lets all of them use one process. Use it only for a server that keeps no state between
    /// calls, and for clients that may see each other's data.
    #[arg(long, value_enum, default_value_t = Stateless::Refuse)]
    pub(crate) stateless: Stateless,

    /// Host name clients may use, besides loopback names. Repeatable.
    #[arg(long, value_name = "HOST")]
    allowed_host: Vec<String>,

    /// Web origin that may use the server, besides loopback origins. Repeatable.
    #[arg(long, value_name = "ORIGIN")]
    allowed_origin: Vec<String>,

    /// Seconds calls may take to finish when the bridge is stopped.
    #[arg(long, default_value = "10", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) drain: Duration,

    /// Log level on stderr: error, warn, info, debug or trace. What processes write to stderr is
    /// logged as `info`, for each process at most 1,000 lines at once and 10 lines a second after
    /// that.
    #[arg(long, default_value = "info")]
    pub(crate) log: tracing::Level,

    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// Values of `--restart`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Restart {
    Never,
    Fresh,
}

/// Values of `--stateless`.
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

    /// Sets no maximum number of sessions: `--max-processes` bounds them.
    pub(crate) fn sessions(&self) -> Sessions {
        Sessions::new().idle_timeout(self.idle_timeout)
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits::new().max_calls_per_session(self.max_calls)
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

/// The options behind the settings of the transport, for error messages.
const OPTIONS: [(&str, &str); 4] = [
    ("setting `Sessions::idle_timeout`", "--idle-timeout"),
    ("setting `Limits::max_calls_per_session`", "--max-calls"),
    ("setting `Security::allowed_hosts`", "--allowed-host"),
    ("setting `Security::allowed_origins`", "--allowed-origin"),
];

/// Returns the text of a configuration error with options in place of settings.
pub(crate) fn with_option_names(error: &ConfigError) -> String {
    OPTIONS.iter().fold(error.to_string(), |text, (setting, option)| text.replace(setting, option))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let expected = || "expected a number of seconds greater than 0, such as 0.5 or 60".to_owned();
    let seconds: f64 = text.parse().map_err(|_| expected())?;
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero()).ok_or_else(expected)
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "expected a whole number, 1 or more".to_owned())
}
