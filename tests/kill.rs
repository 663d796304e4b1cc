//! A server that is killed in the middle of its work, and started again on the same folder: what
//! its clients find, in exact bytes.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;

/// `examples/everything` on a folder; killed with this value, without a word.
struct Server {
    process: Child,
    address: String,
    /// Kept open, so that it can write.
    _output: BufReader<ChildStdout>,
}

fn everything() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        // Run alone, this test would meet whatever was built before. With its own features, because
        // those are built already.
        let features = if cfg!(feature = "testing") { "file,testing" } else { "file" };
        let arguments = ["build", "--quiet", "--example", "everything", "--features", features];
        assert!(Command::new(env!("CARGO")).args(arguments).status().unwrap().success());
        let mut path = std::env::current_exe().unwrap();
        path.pop();
        path.pop();
        path.extend(["examples", "everything"]);
        path
    })
}

impl Server {
    fn command(folder: &Path) -> Command {
        let mut command = Command::new(everything());
        command.args(["--port", "0", "--log", "warn", "--store"]).arg(format!("file:{}", folder.display()));
        command.stdout(Stdio::piped());
        command
    }

    fn start(folder: &Path) -> Self {
        let mut process = Self::command(folder).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").and_then(|rest| rest.strip_suffix("/mcp"));
        let address = address.unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Self { process, address, _output: output }
    }

    /// SIGKILL: nothing of the process runs any more.
    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Sends a request; the response is read by the caller.
    fn send(&self, head: &str, body: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (address, length) = (&self.address, body.len());
        let request = format!(
            "{head}\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        BufReader::new(stream)
    }

    /// The status, and the body without what frames its chunks.
    fn all(&self, head: &str, body: &str) -> (u16, String) {
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

    fn open(&self) -> String {
        let mut response = String::new();
        let body = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
        self.send(&format!("POST /mcp HTTP/1.1\r\n{ACCEPT}"), body).read_to_string(&mut response).unwrap();
        let id = response.lines().find_map(|line| line.strip_prefix("mcp-session-id: "));
        id.unwrap_or_else(|| panic!("{response}")).trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const ACCEPT: &str = "Accept: application/json, text/event-stream";

/// Reads a response up to an event; the ids of the events, and their data.
fn read_until(response: &mut BufReader<TcpStream>, last: &str) -> Vec<(String, String)> {
    let (mut events, mut id) = (Vec::new(), String::new());
    loop {
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

fn step(number: u32) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":"p","progress":{number},"total":100000,"message":"step {number} of 100000"}}}}"#
    )
}

#[test]
fn a_call_of_a_killed_server_ends_with_an_error_after_what_it_had_said() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path());
    let session = format!("Mcp-Session-Id: {}", server.open());
    let call = r#"{"jsonrpc":"2.0","id":"the call","method":"tools/call","params":{"name":"progress","arguments":{"steps":100000,"delay_ms":5},"_meta":{"progressToken":"p"}}}"#;
    let mut response = server.send(&format!("POST /mcp HTTP/1.1\r\n{ACCEPT}\r\n{session}"), call);
    let seen = read_until(&mut response, r#""progress":20,"#);
    let texts: Vec<_> = seen.iter().map(|(_, data)| data.as_str()).filter(|data| !data.is_empty()).collect();
    assert_eq!(texts, (1..=20).map(step).collect::<Vec<_>>());
    server.kill();

    // What was seen is there again, from any place on; what was said unseen follows, then the end.
    let server = Server::start(folder.path());
    let at = seen.iter().position(|(_, data)| data.contains(r#""progress":10,"#)).unwrap();
    let resume =
        format!("GET /mcp HTTP/1.1\r\nAccept: text/event-stream\r\n{session}\r\nLast-Event-ID: {}", seen[at].0);
    let (status, body) = server.all(&resume, "");
    assert_eq!(status, 200, "{body}");
    let data: Vec<_> =
        body.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| !data.is_empty()).collect();
    let (end, said) = data.split_last().unwrap();
    assert_eq!(said, (11..11 + said.len() as u32).map(step).collect::<Vec<_>>());
    assert!(said.len() >= 10, "{body}");
    assert_eq!(
        *end,
        r#"{"jsonrpc":"2.0","id":"the call","error":{"code":-32603,"message":"The server that ran this call is gone","data":{"reason":"node_lost"}}}"#
    );
    for (id, text) in &seen[at + 1..] {
        assert!(body.contains(&format!("id: {id}\ndata: {text}\n\n")), "{id} is another event now");
    }

    // The session goes on, and nothing is in flight any more: the same id may be used again.
    let call = r#"{"jsonrpc":"2.0","id":"the call","method":"tools/call","params":{"name":"greet","arguments":{"name":"you"}}}"#;
    let (status, body) = server.all(&format!("POST /mcp HTTP/1.1\r\n{ACCEPT}\r\n{session}"), call);
    assert_eq!(
        (status, &*body),
        (200, r#"{"jsonrpc":"2.0","id":"the call","result":{"content":[{"type":"text","text":"Hello, you!"}]}}"#)
    );
    let (status, _) = server.all(&format!("DELETE /mcp HTTP/1.1\r\n{session}"), "");
    assert_eq!(status, 200);
    server.kill();
    let server = Server::start(folder.path());
    let (status, _) = server.all(&format!("POST /mcp HTTP/1.1\r\n{ACCEPT}\r\n{session}"), call);
    assert_eq!(status, 404, "what was deleted came back");
}

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}"#;

fn modern(method: &str, name: &str) -> String {
    format!(
        "POST /mcp HTTP/1.1\r\n{ACCEPT}\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: {method}\r\nMcp-Name: {name}"
    )
}

/// The text of a member of a flat answer.
fn member<'a>(body: &'a str, name: &str) -> &'a str {
    let begin = body.find(&format!(r#""{name}":""#)).unwrap_or_else(|| panic!("{body}")) + name.len() + 4;
    &body[begin..begin + body[begin..].find('"').unwrap()]
}

#[test]
fn a_task_of_a_killed_server_has_failed_and_one_that_was_done_still_is() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path());
    let begin = |seconds: f64| {
        let call = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"slow_compute","arguments":{{"seconds":{seconds},"label":"it"}},{META}}}}}"#
        );
        let (status, body) = server.all(&modern("tools/call", "slow_compute"), &call);
        assert_eq!(status, 200, "{body}");
        (member(&body, "taskId").to_owned(), member(&body, "createdAt").to_owned())
    };
    let get = |server: &Server, task: &str| {
        let get = format!(r#"{{"jsonrpc":"2.0","id":2,"method":"tasks/get","params":{{"taskId":"{task}",{META}}}}}"#);
        server.all(&modern("tasks/get", task), &get).1
    };
    let ((long, created), (short, _)) = (begin(600.0), begin(0.1));
    let done = (0..200).find_map(|_| {
        std::thread::sleep(Duration::from_millis(25));
        let body = get(&server, &short);
        body.contains(r#""status":"completed""#).then_some(body)
    });
    let done = done.expect("the short task never ends");
    assert!(get(&server, &long).contains(r#""status":"working""#));
    server.kill();

    let server = Server::start(folder.path());
    assert_eq!(get(&server, &short), done);
    let failed = get(&server, &long);
    let updated = member(&failed, "lastUpdatedAt");
    assert_eq!(member(&failed, "createdAt"), created);
    let (head, tail) = failed.split_once(&format!(r#""lastUpdatedAt":"{updated}","#)).unwrap();
    assert!(
        head.contains(&format!(
            r#""taskId":"{long}","status":"failed","statusMessage":"The server stopped while the task ran","#
        )),
        "{failed}"
    );
    assert!(tail.contains(r#""error":{"code":-32603,"message":"The server stopped while the task ran"}"#), "{failed}");
    server.kill();
    assert_eq!(get(&Server::start(folder.path()), &long), failed, "it failed once");
}

#[test]
fn a_second_process_is_told_that_the_folder_is_in_use() {
    let folder = TempDir::new().unwrap();
    let _first = Server::start(folder.path());
    let second = Server::command(folder.path()).stderr(Stdio::piped()).output().unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("is in use by another process"), "{said}");
}
