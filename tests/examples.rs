//! The examples: each runs as a separate process and does what its first line says.

#[path = "support/everything.rs"]
mod everything;
#[cfg(feature = "cors")]
#[path = "examples/todo.rs"]
mod todo;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// A running example. Dropping this value kills it.
struct Example {
    process: Child,
    address: String,
    /// Kept open so that the example can write.
    _output: BufReader<ChildStdout>,
}

impl Example {
    /// Builds it with the features of these tests, whose build is then reused.
    fn start(name: &'static str) -> Self {
        let path = everything::built(name);
        let mut process = Command::new(&path).arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").and_then(|rest| rest.strip_suffix("/mcp"));
        let address = address.unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Self { process, address, _output: output }
    }

    /// Sends a request on its own connection. Returns the whole response.
    fn send(&self, head: &str, body: &str) -> String {
        let mut stream = self.begin(head, body);
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }

    /// Sends a request. Returns the connection, from which the caller reads the response.
    fn begin(&self, head: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let (address, length) = (&self.address, body.len());
        write!(
            stream,
            "{head}\r\nHost: {address}\r\nAccept: application/json, text/event-stream\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .unwrap();
        stream
    }

    /// Opens a session. Each line of `headers` ends with a line break. Returns the header lines
    /// that name the session.
    fn open(&self, headers: &str) -> String {
        let response = self.send(&format!("POST /mcp HTTP/1.1\r\n{headers}X-Test: 1"), INITIALIZE);
        let id = response.lines().find_map(|line| line.strip_prefix("mcp-session-id: "));
        format!("Mcp-Session-Id: {}\r\n{headers}X-Test: 1", id.unwrap_or_else(|| panic!("{response}")).trim())
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;

fn call(tool: &str, arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments},"_meta":{{"progressToken":1}}}}}}"#
    )
}

/// Opens a session under the given host name. Returns the status.
fn opened_for(server: &everything::Server, host: &str, headers: &str) -> u16 {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let length = INITIALIZE.len();
    write!(
        stream,
        "POST /mcp HTTP/1.1\r\nHost: {host}\r\n{headers}{}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{INITIALIZE}",
        everything::ACCEPT
    )
    .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response[9..12].parse().unwrap()
}

#[test]
fn everything_believes_its_trusted_proxies() {
    let forwarded = "X-Forwarded-Host: localhost\r\n";
    let server = everything::Server::start(&[]);
    assert_eq!(opened_for(&server, "proxied.example", forwarded), 403, "no proxy is trusted");
    let server = everything::Server::start(&["--trusted-proxy", "127.0.0.1", "--max-sessions-per-peer", "1"]);
    assert_eq!(opened_for(&server, "proxied.example", forwarded), 200);
    assert_eq!(opened_for(&server, "proxied.example", ""), 403);
    // Each client behind the proxy has its own quota. A request without a forwarded address counts
    // against the proxy.
    let first = server.open();
    let ping = |session: &str| {
        let head = format!("POST /mcp HTTP/1.1\r\n{}\r\nMcp-Session-Id: {session}", everything::ACCEPT);
        server.all(&head, r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).0
    };
    assert_eq!(ping(&first), 200);
    assert_eq!(opened_for(&server, "localhost", "X-Forwarded-For: 192.0.2.7\r\n"), 200);
    assert_eq!(ping(&first), 200, "another client opened one");
    server.open();
    assert_eq!(ping(&first), 404, "the same client did");
}

/// Programs print errors as sentences that name the option to change.
///
/// Acceptance 202.
#[test]
fn programs_print_errors_with_display() {
    let rows: [(&[&str], [&str; 2]); 3] = [
        (&["--idle-timeout", "1", "--retry-interval", "2000"], ["`Sessions::idle_timeout`", "must be longer than"]),
        (&["--allowed-host", "http://a"], ["`Security::allowed_hosts`", "`http://a`"]),
        // An address reserved for documentation, which no machine has.
        (&["--bind", "192.0.2.1"], ["cannot listen on 192.0.2.1", "--bind and --port"]),
    ];
    for (switches, expected) in rows {
        let output = everything::Server::command(switches).stderr(Stdio::piped()).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(expected.iter().all(|part| text.contains(part)), "{text}");
        assert!(text.starts_with("everything: ") && !text.contains("Error {") && !text.contains("Os {"), "{text}");
    }
}

#[test]
fn hello_adds_two_numbers() {
    let hello = Example::start("hello");
    let session = hello.open("");
    let answer = hello.send(&format!("POST /mcp HTTP/1.1\r\n{session}"), &call("add", r#"{"x":1,"y":2}"#));
    assert!(answer.contains(r#""structuredContent":{"total":3}"#), "{answer}");
}

#[cfg(feature = "skills")]
#[test]
fn skills_serves_its_folder() {
    let skills = Example::start("skills");
    let session = skills.open("");
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"skills/list"}"#;
    let answer = skills.send(&format!("POST /mcp HTTP/1.1\r\n{session}"), list);
    assert!(answer.contains(r#""uri":"skill://release-notes/templates/minor.md""#), "{answer}");
}

/// Runs with the feature, as does each test of an example that needs one.
#[cfg(feature = "rmcp")]
#[test]
fn rmcp_adds_two_numbers() {
    let rmcp = Example::start("rmcp");
    let session = rmcp.open("");
    let answer = rmcp.send(&format!("POST /mcp HTTP/1.1\r\n{session}"), &call("add", r#"{"a":1,"b":2}"#));
    assert!(answer.contains(r#""content":[{"type":"text","text":"3"}]"#), "{answer}");
}

#[test]
fn layer_preserves_the_application() {
    let layer = Example::start("layer");
    assert!(layer.send("GET / HTTP/1.1\r\nX-Test: 1", "").contains("The application as it was."));
    let session = layer.open("");
    for note in ["one", "two"] {
        let answer = layer
            .send(&format!("POST /mcp/ HTTP/1.1\r\n{session}"), &call("remember", &format!(r#"{{"text":"{note}"}}"#)));
        assert!(answer.contains("notes"), "{answer}");
    }
    assert!(layer.send(&format!("GET /notes HTTP/1.1\r\n{session}"), "").ends_with("one\ntwo"));
    assert!(layer.send("GET /notes HTTP/1.1\r\nX-Test: 1", "").starts_with("HTTP/1.1 400"));
}

#[cfg(all(feature = "auth", feature = "cors"))]
#[test]
fn auth_separates_users_and_origins() {
    let auth = Example::start("auth");
    let refused = auth.send("POST /mcp HTTP/1.1\r\nX-Test: 1", INITIALIZE);
    let metadata = "/.well-known/oauth-protected-resource/mcp";
    assert!(refused.starts_with("HTTP/1.1 401") && refused.contains(metadata), "{refused}");
    let document = auth.send(&format!("GET {metadata} HTTP/1.1\r\nX-Test: 1"), "");
    assert!(document.contains(r#""authorization_servers":["https://login.example.com"]"#), "{document}");
    let alice = auth.open("Authorization: Bearer alices-secret\r\n");
    let answer = auth.send(&format!("POST /mcp HTTP/1.1\r\n{alice}"), &call("whoami", "{}"));
    assert!(answer.contains("alice"), "{answer}");
    let bob = alice.replace("alices", "bobs");
    assert!(auth.send(&format!("POST /mcp HTTP/1.1\r\n{bob}"), &call("whoami", "{}")).starts_with("HTTP/1.1 404"));
    let bob = auth.open("Authorization: Bearer bobs-secret\r\n");
    let refused = auth.send(&format!("POST /mcp HTTP/1.1\r\n{bob}"), &call("write", "{}"));
    assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("scope=\"files:write\""), "{refused}");

    let preflight = "OPTIONS /mcp HTTP/1.1\r\nAccess-Control-Request-Method: POST\r\nOrigin: https://app.example";
    assert!(auth.send(preflight, "").contains("access-control-allow-origin: https://app.example"));
    let foreign = format!("POST /mcp HTTP/1.1\r\n{alice}\r\nOrigin: https://evil.example");
    assert!(auth.send(&foreign, &call("whoami", "{}")).starts_with("HTTP/1.1 403"));
}

#[cfg(unix)]
#[test]
fn graceful_lets_a_call_finish_before_it_ends() {
    let mut graceful = Example::start("graceful");
    assert!(graceful.send("GET /ready HTTP/1.1\r\nX-Test: 1", "").starts_with("HTTP/1.1 200"));
    let session = graceful.open("");
    let mut stream =
        BufReader::new(graceful.begin(&format!("POST /mcp HTTP/1.1\r\n{session}"), &call("job", r#"{"seconds":3}"#)));
    let mut seen = String::new();
    while !seen.contains(r#""progress":1"#) {
        assert!(stream.read_line(&mut seen).unwrap() > 0, "{seen}");
    }
    let signal = Command::new("kill").args(["-INT", &graceful.process.id().to_string()]).status().unwrap();
    assert!(signal.success());

    stream.read_to_string(&mut seen).unwrap();
    assert!(seen.contains(r#""progress":3"#) && seen.contains(r#""text":"done""#), "{seen}");
    assert!(graceful.process.wait().unwrap().success());
}

#[cfg(unix)]
#[test]
fn graceful_ends_despite_an_unfinished_request() {
    let mut graceful = Example::start("graceful");
    let mut half = TcpStream::connect(&graceful.address).unwrap();
    write!(half, "POST /mcp HTTP/1.1\r\nHost: 127").unwrap();
    // The unfinished connection was accepted before this one.
    assert!(graceful.send("GET /ready HTTP/1.1\r\nX-Test: 1", "").starts_with("HTTP/1.1 200"));
    let signal = Command::new("kill").args(["-INT", &graceful.process.id().to_string()]).status().unwrap();
    assert!(signal.success());
    for _ in 0..300 {
        if let Some(status) = graceful.process.try_wait().unwrap() {
            assert!(status.success());
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("it still runs after half a minute");
}
