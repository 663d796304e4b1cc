//! A running bridge, its sessions in exact bytes, and a look at processes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, test_kill_process};
use serde_json::Value;

/// Longer than anything takes here, on a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A bridge; it is killed with this value, and its children with it.
pub(crate) struct Bridge {
    process: Child,
    address: String,
    log: tempfile::NamedTempFile,
    /// Kept open, so that it can write.
    _output: BufReader<ChildStdout>,
}

impl Bridge {
    /// With the child of these tests behind it.
    pub(crate) fn start(switches: &[&str], child: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bridge/child.py");
        Self::before(switches, &[&["python3", script], child].concat())
    }

    /// The command of a bridge that is not started yet.
    pub(crate) fn command(switches: &[&str], command: &[&str]) -> Command {
        let mut bridge = Command::new(env!("CARGO_BIN_EXE_mcp-http-bridge"));
        bridge.args(["--listen", "127.0.0.1:0", "--log", "debug", "--drain", "0.2"]);
        bridge.args(switches).arg("--").args(command);
        bridge
    }

    /// With any command behind it.
    pub(crate) fn before(switches: &[&str], command: &[&str]) -> Self {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut bridge = Self::command(switches, command);
        let mut process = bridge.stdout(Stdio::piped()).stderr(log.reopen().unwrap()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").and_then(|rest| rest.strip_suffix("/mcp"));
        let address = address.unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Self { process, address, log, _output: output }
    }

    /// What it logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap()
    }

    /// A request whose response is read by the caller. `head` ends without a line break.
    pub(crate) fn send(&self, head: &str, body: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (address, length) = (&self.address, body.len());
        let request = format!(
            "{head}\r\nHost: {address}\r\nAccept: application/json, text/event-stream\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        BufReader::new(stream)
    }

    /// The status and head, and the body without what frames its chunks.
    pub(crate) fn all(&self, head: &str, body: &str) -> (u16, String, String) {
        all(self.send(head, body))
    }

    /// Sends `initialize`; the response.
    pub(crate) fn initialize(&self) -> (u16, String, String) {
        self.all("POST /mcp HTTP/1.1\r\nX-Test: 1", INITIALIZE)
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

    /// SIGTERM, and whether it ended well.
    pub(crate) fn stop(mut self) -> bool {
        signal(self.process.id(), "TERM");
        soon("the bridge ends", || self.process.try_wait().unwrap()).success()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log: Vec<char> = self.log().chars().collect();
            eprintln!("{}", log.iter().take(4_000).collect::<String>());
            // Its end, where there is more.
            eprintln!("{}", log[4_000.min(log.len())..].iter().rev().take(4_000).rev().collect::<String>());
        }
        // In order, so that nothing of it is left; a test that failed may have stopped it.
        signal(self.process.id(), "TERM");
        signal(self.process.id(), "CONT");
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
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

    /// Sends a message, of which these are the members besides `jsonrpc`; the response is read by the caller.
    pub(crate) fn send(&self, members: &str) -> BufReader<TcpStream> {
        self.bridge.send(&self.head("POST"), &format!(r#"{{"jsonrpc":"2.0",{members}}}"#))
    }

    pub(crate) fn notify(&self, members: &str) {
        let (status, _, body) = all(self.send(members));
        assert_eq!((status, &*body), (202, ""));
    }

    /// Calls a tool; the response is read by the caller.
    pub(crate) fn begin(&self, id: &str, tool: &str, arguments: &str) -> BufReader<TcpStream> {
        self.send(&tools_call(id, tool, arguments, "{}"))
    }

    /// Calls a tool that holds its answer back until it is released, under this name.
    pub(crate) fn hold(&self, id: &str, name: &str, meta: &str) -> BufReader<TcpStream> {
        let call = self.send(&tools_call(id, "hold", &format!(r#"{{"as":"{name}"}}"#), meta));
        // On a connection of its own it may be overtaken.
        let name = format!("\"{name}\"");
        soon("the child holds the call", || self.text("held", "{}").contains(&name).then_some(()));
        call
    }

    /// Calls a tool; the status and the answer, of a stream the last event.
    pub(crate) fn call(&self, tool: &str, arguments: &str) -> (u16, String) {
        let (status, _, body) = all(self.begin("1", tool, arguments));
        (status, last(&body))
    }

    /// Calls a tool that answers with a text; the text.
    pub(crate) fn text(&self, tool: &str, arguments: &str) -> String {
        text(&self.call(tool, arguments).1)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.text("pid", "{}").parse().unwrap()
    }

    /// What the child heard: each method with its parameters.
    pub(crate) fn heard(&self) -> Vec<(String, Value)> {
        serde_json::from_str(&self.text("heard", "{}")).unwrap()
    }

    /// The standalone stream, once it is open.
    pub(crate) fn listen(&self) -> BufReader<TcpStream> {
        let mut stream = self.bridge.send(&self.head("GET"), "");
        let mut line = String::new();
        while !line.contains("event-stream") {
            line.clear();
            assert!(stream.read_line(&mut line).unwrap() > 0);
        }
        stream
    }

    pub(crate) fn delete(&self) -> u16 {
        self.bridge.all(&self.head("DELETE"), "").0
    }
}

pub(crate) fn tools_call(id: &str, tool: &str, arguments: &str, meta: &str) -> String {
    format!(r#""id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments},"_meta":{meta}}}"#)
}

/// The text of a tool's answer.
#[track_caller]
pub(crate) fn text(answer: &str) -> String {
    let value: Value = serde_json::from_str(answer).unwrap_or_else(|_| panic!("{answer}"));
    value["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// The message that is the answer: the body, or the last event of it.
pub(crate) fn last(body: &str) -> String {
    let event = body.lines().filter_map(|line| line.strip_prefix("data: ")).next_back();
    event.unwrap_or(body).to_owned()
}

/// Reads a response to its end.
pub(crate) fn all(mut response: BufReader<TcpStream>) -> (u16, String, String) {
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

/// The next event of a stream.
#[track_caller]
pub(crate) fn event(stream: &mut BufReader<TcpStream>) -> String {
    loop {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).unwrap() > 0, "the stream ended");
        if let Some(data) = line.trim_end().strip_prefix("data: ").filter(|data| !data.is_empty()) {
            return data.to_owned();
        }
    }
}

/// Looks until there is something.
#[track_caller]
pub(crate) fn soon<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begin.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).stderr(Stdio::null()).status();
}

/// Whether a process of the bridge exists, be it as a zombie.
pub(crate) fn exists(pid: u32) -> bool {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    test_kill_process(pid).is_ok()
}

/// Whether a process runs. What has lost its parent is reaped by whoever adopted it, or never.
pub(crate) fn runs(pid: u32) -> bool {
    let state = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().unwrap();
    let state = String::from_utf8(state.stdout).unwrap();
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}

#[track_caller]
pub(crate) fn gone(pid: u32) {
    soon("the process is gone, and reaped", || (!exists(pid)).then_some(()));
}

/// A call that is under way: its response has begun.
pub(crate) fn under_way(mut call: BufReader<TcpStream>) -> BufReader<TcpStream> {
    let mut status = String::new();
    call.read_line(&mut status).unwrap();
    assert_eq!(status, "HTTP/1.1 200 OK\r\n");
    call
}

/// The process that was started last, from the log.
pub(crate) fn started(bridge: &Bridge) -> u32 {
    let log = bridge.log();
    let line = log.lines().rfind(|line| line.contains("a process was started")).unwrap();
    // Without colours: numbers are all that is looked for.
    let pid = line.rsplit("pid").next().unwrap();
    let plain: String = strip(pid);
    plain.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

/// A text without what colours it.
fn strip(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\x1b') {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    plain + rest
}
