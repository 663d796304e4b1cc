//! A server that is killed and started again on the same folder: what its clients receive, in exact
//! bytes.
#![cfg(unix)]

#[path = "support/everything.rs"]
mod everything;

#[cfg(feature = "rmcp")]
use std::io::BufRead;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;

use everything::{ACCEPT, Server, read_until};

fn start(folder: &Path) -> Server {
    Server::start(&["--store", &store(folder)])
}

fn store(folder: &Path) -> String {
    format!("file:{}", folder.display())
}

fn step(number: u32) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":"p","progress":{number},"total":100000,"message":"step {number} of 100000"}}}}"#
    )
}

#[test]
fn killed_calls_end_with_an_error() {
    let folder = TempDir::new().unwrap();
    let server = start(folder.path());
    let session = format!("Mcp-Session-Id: {}", server.open());
    let call = r#"{"jsonrpc":"2.0","id":"the call","method":"tools/call","params":{"name":"progress","arguments":{"steps":100000,"delay_ms":5},"_meta":{"progressToken":"p"}}}"#;
    let mut response = server.send(&format!("POST /mcp HTTP/1.1\r\n{ACCEPT}\r\n{session}"), call);
    let seen = read_until(&mut response, r#""progress":20,"#);
    let texts: Vec<_> = seen.iter().map(|(_, data)| data.as_str()).filter(|data| !data.is_empty()).collect();
    assert_eq!(texts, (1..=20).map(step).collect::<Vec<_>>());
    server.kill();

    // Every event that was received can be replayed, from any position. Unread messages follow,
    // then the end.
    let server = start(folder.path());
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
        assert!(body.contains(&format!("event: message\nid: {id}\ndata: {text}\n\n")), "{id} is another event now");
    }

    // The session still exists, and no call is in flight: the same id can be used again.
    let call = r#"{"jsonrpc":"2.0","id":"the call","method":"tools/call","params":{"name":"greet","arguments":{"name":"you"}}}"#;
    let (status, body) = server.all(&format!("POST /mcp HTTP/1.1\r\n{ACCEPT}\r\n{session}"), call);
    assert_eq!(
        (status, &*body),
        (200, r#"{"jsonrpc":"2.0","id":"the call","result":{"content":[{"type":"text","text":"Hello, you!"}]}}"#)
    );
    let (status, _) = server.all(&format!("DELETE /mcp HTTP/1.1\r\n{session}"), "");
    assert_eq!(status, 200);
    server.kill();
    let server = start(folder.path());
    let (status, _) = server.all(&format!("POST /mcp HTTP/1.1\r\n{ACCEPT}\r\n{session}"), call);
    assert_eq!(status, 404, "what was deleted came back");
}

/// The state of rmcp's handlers is lost with their process. New handlers receive what the session
/// stores about its client.
#[cfg(feature = "rmcp")]
#[test]
fn a_session_of_rmcps_handlers_outlives_its_server() {
    let folder = TempDir::new().unwrap();
    let start = || Server::start_of("everything_rmcp", &["--store", &store(folder.path())]);
    let server = start();
    let session = format!("Mcp-Session-Id: {}", server.open());
    let post = format!("POST /mcp HTTP/1.1\r\n{ACCEPT}\r\n{session}");
    let subscribe =
        r#"{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"test://watched-resource"}}"#;
    assert_eq!(server.all(&post, subscribe), (200, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#.to_owned()));
    server.kill();

    let server = start();
    let mut listening = server.send(&format!("GET /mcp HTTP/1.1\r\nAccept: text/event-stream\r\n{session}"), "");
    // The server announces changes only to open streams, and the first event shows that the stream
    // is open.
    let mut line = String::new();
    while !line.starts_with("id: ") {
        line.clear();
        assert!(listening.read_line(&mut line).unwrap() > 0);
    }
    let update = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"test_trigger_resource_update"}}"#;
    let (status, body) = server.all(&post, update);
    assert_eq!(
        (status, &*body),
        (
            200,
            r#"{"jsonrpc":"2.0","id":2,"result":{"content":[{"type":"text","text":"announced test://watched-resource"}],"isError":false}}"#
        )
    );
    let heard = read_until(&mut listening, "notifications/resources/updated");
    assert_eq!(
        heard.last().unwrap().1,
        r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"test://watched-resource"}}"#
    );
}

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}"#;

fn modern(method: &str, name: &str) -> String {
    format!(
        "POST /mcp HTTP/1.1\r\n{ACCEPT}\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: {method}\r\nMcp-Name: {name}"
    )
}

/// Returns the text of a member of a flat answer.
fn member<'a>(body: &'a str, name: &str) -> &'a str {
    let begin = body.find(&format!(r#""{name}":""#)).unwrap_or_else(|| panic!("{body}")) + name.len() + 4;
    &body[begin..begin + body[begin..].find('"').unwrap()]
}

#[test]
fn killed_tasks_fail_and_completed_ones_persist() {
    let folder = TempDir::new().unwrap();
    let server = start(folder.path());
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

    let server = start(folder.path());
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
    assert_eq!(get(&start(folder.path()), &long), failed, "it failed once");
}

#[test]
fn a_folder_serves_one_process() {
    let folder = TempDir::new().unwrap();
    let _first = start(folder.path());
    let second = Server::command(&["--store", &store(folder.path())]).stderr(Stdio::piped()).output().unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("is in use by another process"), "{said}");
}
