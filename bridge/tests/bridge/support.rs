//! Test support: a running bridge, HTTP requests in exact bytes, and the state of processes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, test_kill_process};
use serde_json::Value;

/// Longer than any step takes, even on a busy machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(120);

/// A running bridge. Dropping it stops the bridge and its processes.
pub(crate) struct Bridge {
    process: Child,
    address: String,
    log: tempfile::NamedTempFile,
    /// Kept open so that the bridge can write.
    _output: BufReader<ChildStdout>,
}

impl Bridge {
    /// Starts a bridge to the test server, `server.py`, with these arguments.
    pub(crate) fn start(options: &[&str], server: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bridge/server.py");
        Self::start_with(options, &[&["python3", script], server].concat())
    }

    /// Returns the command of a bridge without starting it.
    pub(crate) fn command(options: &[&str], command: &[&str]) -> Command {
        let mut bridge = Command::new(env!("CARGO_BIN_EXE_mcp-http-bridge"));
        bridge.args(["--log", "debug", "--drain", "0.2"]);
        if !options.contains(&"--listen") {
            bridge.args(["--listen", "127.0.0.1:0"]);
        }
        bridge.args(options).arg("--").args(command);
        bridge
    }

    /// Starts a bridge to any command.
    pub(crate) fn start_with(options: &[&str], command: &[&str]) -> Self {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut bridge = Self::command(options, command);
        let mut process = bridge.stdout(Stdio::piped()).stderr(log.reopen().unwrap()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").and_then(|rest| rest.strip_suffix("/mcp"));
        let address = address.unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Self { process, address, log, _output: output }
    }

    /// Returns the log so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap()
    }

    /// Sends a request. The caller reads the response. `head` ends without a line break.
    pub(crate) fn send(&self, head: &str, body: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let (address, length) = (&self.address, body.len());
        let request = format!(
            "{head}\r\nHost: {address}\r\nAccept: application/json, text/event-stream\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        BufReader::new(stream)
    }

    /// Sends a request. Returns the status, the head, and the body without chunk framing.
    pub(crate) fn request(&self, head: &str, body: &str) -> (u16, String, String) {
        read_response(self.send(head, body))
    }

    /// Sends `initialize` and returns the response.
    pub(crate) fn initialize(&self) -> (u16, String, String) {
        self.request("POST /mcp HTTP/1.1\r\nX-Test: 1", INITIALIZE)
    }

    /// Opens a session.
    pub(crate) fn open(&self) -> Session<'_> {
        let (_, head, body) = self.initialize();
        let id = head.lines().find_map(|line| line.strip_prefix("mcp-session-id: "));
        let id = id.unwrap_or_else(|| panic!("{head}{body}{}", self.log())).trim().to_owned();
        let session = Session { bridge: self, id };
        session.notify(r#""method":"notifications/initialized""#);
        session
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends SIGTERM. Returns `true` if the bridge exited successfully.
    pub(crate) fn stop(mut self) -> bool {
        signal(self.process.id(), "TERM");
        wait_for("the bridge ends", || self.process.try_wait().unwrap()).success()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log: Vec<char> = self.log().chars().collect();
            eprintln!("{}", log.iter().take(4_000).collect::<String>());
            // The end of a longer log.
            eprintln!("{}", log[4_000.min(log.len())..].iter().rev().take(4_000).rev().collect::<String>());
        }
        // SIGTERM, so that no process is left. A failed test may have left the bridge stopped.
        signal(self.process.id(), "TERM");
        signal(self.process.id(), "CONT");
        let begin = Instant::now();
        while begin.elapsed() < TIMEOUT {
            if self.process.try_wait().unwrap().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"sampling":{},"elicitation":{},"roots":{}},"clientInfo":{"name":"t","version":"1"}}}"#;

/// A session of a client.
pub(crate) struct Session<'a> {
    pub(crate) bridge: &'a Bridge,
    pub(crate) id: String,
}

impl Session<'_> {
    fn head(&self, method: &str) -> String {
        format!("{method} /mcp HTTP/1.1\r\nMcp-Session-Id: {}\r\nMCP-Protocol-Version: 2025-11-25", self.id)
    }

    /// Sends a message with these members besides `jsonrpc`. The caller reads the response.
    pub(crate) fn send(&self, members: &str) -> BufReader<TcpStream> {
        self.bridge.send(&self.head("POST"), &format!(r#"{{"jsonrpc":"2.0",{members}}}"#))
    }

    pub(crate) fn notify(&self, members: &str) {
        let (status, _, body) = read_response(self.send(members));
        assert_eq!((status, &*body), (202, ""));
    }

    /// Calls a tool. The caller reads the response.
    pub(crate) fn send_call(&self, id: &str, tool: &str, arguments: &str) -> BufReader<TcpStream> {
        self.send(&tools_call(id, tool, arguments, "{}"))
    }

    /// Calls a tool that answers only when `release` is called with this name.
    pub(crate) fn hold_call(&self, id: &str, name: &str, meta: &str) -> BufReader<TcpStream> {
        let call = self.send(&tools_call(id, "hold", &format!(r#"{{"as":"{name}"}}"#), meta));
        // A later call on another connection could overtake it.
        let name = format!("\"{name}\"");
        wait_for("the process holds the call", || self.text("held_calls", "{}").contains(&name).then_some(()));
        call
    }

    /// Calls a tool. Returns the status and the answer.
    pub(crate) fn call(&self, tool: &str, arguments: &str) -> (u16, String) {
        let (status, _, body) = read_response(self.send_call("1", tool, arguments));
        (status, final_message(&body))
    }

    /// Calls a tool that answers with a text, and returns the text.
    pub(crate) fn text(&self, tool: &str, arguments: &str) -> String {
        text(&self.call(tool, arguments).1)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.text("pid", "{}").parse().unwrap()
    }

    /// Returns what the process received: each method with its parameters.
    pub(crate) fn received(&self) -> Vec<(String, Value)> {
        serde_json::from_str(&self.text("received", "{}")).unwrap()
    }

    /// Opens the GET stream.
    pub(crate) fn open_stream(&self) -> BufReader<TcpStream> {
        let mut stream = self.bridge.send(&self.head("GET"), "");
        let mut line = String::new();
        while !line.contains("event-stream") {
            line.clear();
            assert!(stream.read_line(&mut line).unwrap() > 0);
        }
        stream
    }

    pub(crate) fn delete(&self) -> u16 {
        self.bridge.request(&self.head("DELETE"), "").0
    }
}

pub(crate) fn tools_call(id: &str, tool: &str, arguments: &str, meta: &str) -> String {
    format!(r#""id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments},"_meta":{meta}}}"#)
}

/// Returns the text in a tool's answer.
#[track_caller]
pub(crate) fn text(answer: &str) -> String {
    let value: Value = serde_json::from_str(answer).unwrap_or_else(|_| panic!("{answer}"));
    value["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// Returns the final message of a body: the last event, or the whole body if it is JSON.
pub(crate) fn final_message(body: &str) -> String {
    let event = body.lines().filter_map(|line| line.strip_prefix("data: ")).next_back();
    event.unwrap_or(body).to_owned()
}

/// Reads a whole response. Returns the status, the head, and the body without chunk framing.
pub(crate) fn read_response(mut response: BufReader<TcpStream>) -> (u16, String, String) {
    let mut read = String::new();
    response.read_to_string(&mut read).unwrap();
    let (head, body) = read.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{read:?}"));
    let status = head[9..12].parse().unwrap();
    if !head.contains("transfer-encoding: chunked") {
        return (status, head.to_owned(), body.to_owned());
    }
    let (mut rest, mut whole) = (body, String::new());
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole.push_str(&after[..size]);
        rest = after[size..].trim_start_matches("\r\n");
    }
    (status, head.to_owned(), whole)
}

/// Returns the data of the next event.
#[track_caller]
pub(crate) fn next_event(stream: &mut BufReader<TcpStream>) -> String {
    loop {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).unwrap() > 0, "the stream ended");
        if let Some(data) = line.trim_end().strip_prefix("data: ").filter(|data| !data.is_empty()) {
            return data.to_owned();
        }
    }
}

/// Polls until the closure returns a value.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(begin.elapsed() < TIMEOUT, "{what}: not within {TIMEOUT:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).stderr(Stdio::null()).status();
}

/// Returns `true` if a process exists, even as a zombie.
pub(crate) fn exists(pid: u32) -> bool {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    test_kill_process(pid).is_ok()
}

/// Returns `true` if a process runs. An orphan may stay a zombie, because its new parent may not
/// reap it.
pub(crate) fn is_running(pid: u32) -> bool {
    let state = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().unwrap();
    let state = String::from_utf8(state.stdout).unwrap();
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}

#[track_caller]
pub(crate) fn wait_until_gone(pid: u32) {
    wait_for("the process is wait_until_gone, and reaped", || (!exists(pid)).then_some(()));
}

/// Reads the status line of a response.
pub(crate) fn response_started(mut call: BufReader<TcpStream>) -> BufReader<TcpStream> {
    let mut status = String::new();
    call.read_line(&mut status).unwrap();
    assert_eq!(status, "HTTP/1.1 200 OK\r\n");
    call
}

/// The process that was started final_message, from the log.
pub(crate) fn last_started_pid(bridge: &Bridge) -> u32 {
    let log = bridge.log();
    let line = log.lines().rfind(|line| line.contains("process started")).unwrap();
    // Color codes contain digits.
    let pid = line.rsplit("pid").next().unwrap();
    let plain: String = without_colors(pid);
    plain.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

/// Removes color codes.
fn without_colors(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\x1b') {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    plain + rest
}
