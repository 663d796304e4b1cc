//! `examples/everything` or `examples/everything_rmcp` as a separate process, and requests to it in
//! exact bytes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A running example. Dropping this value kills it.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: String,
    /// Kept open so that the example can write.
    _output: BufReader<ChildStdout>,
}

/// Builds an example. Returns the path of its binary.
pub(crate) fn built(example: &'static str) -> PathBuf {
    static BUILT: Mutex<Vec<&str>> = Mutex::new(Vec::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if !built.contains(&example) {
        // Without this build, a test that runs alone would use an older binary.
        let features = [
            ("auth", cfg!(feature = "auth")),
            ("auth-http", cfg!(feature = "auth-http")),
            ("cors", cfg!(feature = "cors")),
            ("file", cfg!(feature = "file")),
            ("redis", cfg!(feature = "redis")),
            ("redis-cluster", cfg!(feature = "redis-cluster")),
            ("redis-tls", cfg!(feature = "redis-tls")),
            ("rmcp", cfg!(feature = "rmcp")),
            ("skills", cfg!(feature = "skills")),
            ("testing", cfg!(feature = "testing")),
        ];
        let manifest = include_str!("../../Cargo.toml").split("[features]").nth(1).unwrap();
        let lines = manifest.lines().take_while(|line| !line.starts_with("[dependencies]"));
        let listed =
            lines.filter(|line| line.contains(" = ") && !line.starts_with("default") && !line.starts_with('#'));
        assert_eq!(listed.count(), features.len(), "each feature of Cargo.toml has a row here");
        let features: Vec<_> = features.into_iter().filter_map(|(name, is_on)| is_on.then_some(name)).collect();
        let arguments = ["build", "--quiet", "--example", example, "--features", &features.join(",")];
        let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
        let build = Command::new(env!("CARGO")).args(arguments).args(["--profile", profile]).status();
        assert!(build.unwrap().success());
        built.push(example);
    }
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.extend(["examples", example]);
    path
}

impl Server {
    pub(crate) fn command(switches: &[&str]) -> Command {
        Self::command_of("everything", 0, switches)
    }

    fn command_of(example: &'static str, port: u16, switches: &[&str]) -> Command {
        let mut command = Command::new(built(example));
        command.args(["--port", &port.to_string(), "--log", "warn"]).args(switches);
        command.stdout(Stdio::piped());
        command
    }

    pub(crate) fn start(switches: &[&str]) -> Self {
        Self::spawn(Self::command(switches))
    }

    /// Starts `everything` or `everything_rmcp`.
    #[allow(dead_code, reason = "not every binary starts both")]
    pub(crate) fn start_of(example: &'static str, switches: &[&str]) -> Self {
        Self::spawn(Self::command_of(example, 0, switches))
    }

    /// Starts a server at the address of an earlier one.
    #[allow(dead_code, reason = "not every binary starts one again")]
    pub(crate) fn start_at(address: &str, switches: &[&str]) -> Self {
        let (_, port) = address.rsplit_once(':').unwrap();
        let command = || Self::command_of("everything", port.parse().unwrap(), switches);
        let start = Instant::now();
        loop {
            match Self::try_spawn(command()) {
                Ok(server) => return server,
                // The system may have used the port for a connection in between.
                Err(line) => assert!(start.elapsed() < Duration::from_secs(60), "{line:?}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Starts a server and waits until it listens.
    pub(crate) fn spawn(command: Command) -> Self {
        Self::try_spawn(command).unwrap_or_else(|line| panic!("{line:?}"))
    }

    /// Like [`spawn`](Self::spawn). Returns the first line of output, or an empty one, if the
    /// server does not listen.
    fn try_spawn(mut command: Command) -> Result<Self, String> {
        let mut process = command.spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").and_then(|rest| rest.strip_suffix("/mcp"));
        let Some(address) = address.map(str::to_owned) else {
            let _ = process.kill();
            let _ = process.wait();
            return Err(line);
        };
        Ok(Self { process, address, _output: output })
    }

    /// Kills the process with SIGKILL and waits for its end.
    #[allow(dead_code, reason = "not every binary kills it")]
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    #[allow(dead_code, reason = "not every binary looks at it from outside")]
    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Waits until the process has ended by itself. Returns `true` if it succeeded.
    #[allow(dead_code, reason = "not every binary asks it to end")]
    pub(crate) fn wait(mut self) -> bool {
        self.process.wait().unwrap().success()
    }

    /// Sends a request. The caller reads the response.
    pub(crate) fn send(&self, head: &str, body: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let (address, length) = (&self.address, body.len());
        let request = format!(
            "{head}\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        BufReader::new(stream)
    }

    /// Returns the status, and the body without the framing of its chunks.
    #[allow(dead_code, reason = "not every binary reads it at once")]
    pub(crate) fn all(&self, head: &str, body: &str) -> (u16, String) {
        let mut response = String::new();
        self.send(head, body).read_to_string(&mut response).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        let status = head[9..12].parse().unwrap();
        if !head.contains("transfer-encoding: chunked") {
            return (status, body.to_owned());
        }
        let (mut rest, mut whole) = (body, String::new());
        while let Some((size, after)) = rest.split_once("\r\n") {
            let size = usize::from_str_radix(size, 16).unwrap();
            whole.push_str(&after[..size]);
            rest = after[size..].trim_start_matches("\r\n");
        }
        (status, whole)
    }

    pub(crate) fn open(&self) -> String {
        self.open_as("{}")
    }

    /// Opens a session for a client with these capabilities.
    pub(crate) fn open_as(&self, capabilities: &str) -> String {
        let mut response = String::new();
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"2025-11-25","capabilities":{capabilities},"clientInfo":{{"name":"t","version":"1"}}}}}}"#
        );
        self.send(&format!("POST /mcp HTTP/1.1\r\n{ACCEPT}"), &body).read_to_string(&mut response).unwrap();
        let id = response.lines().find_map(|line| line.strip_prefix("mcp-session-id: "));
        id.unwrap_or_else(|| panic!("{response}")).trim().to_owned()
    }
}

/// Sends a signal to a process, for example to stop it, to continue it or to end it.
#[allow(dead_code, reason = "not every binary is cruel")]
pub(crate) fn signal(process: u32, signal: &str) {
    let sent = Command::new("kill").args([signal, &process.to_string()]).status();
    assert!(sent.unwrap().success(), "{signal} was not sent");
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) const ACCEPT: &str = "Accept: application/json, text/event-stream";

/// Reads a response up to an event. Returns the ids and the data of the events.
#[allow(dead_code, reason = "not every binary reads so")]
pub(crate) fn read_until(response: &mut BufReader<TcpStream>, last: &str) -> Vec<(String, String)> {
    let (mut events, mut id) = (Vec::new(), String::new());
    let begun = Instant::now();
    loop {
        // Comments on a quiet stream keep the socket from timing out.
        assert!(begun.elapsed() < Duration::from_secs(60), "no {last} after {events:?}");
        let mut line = String::new();
        assert!(response.read_line(&mut line).unwrap() > 0, "it ended after {events:?}");
        if let Some(text) = line.trim_end().strip_prefix("id: ") {
            text.clone_into(&mut id);
        } else if let Some(data) = line.trim_end().strip_prefix("data: ") {
            events.push((id.clone(), data.to_owned()));
            if data.contains(last) {
                return events;
            }
        }
    }
}
