//! A client of a node: calls on a connection that is kept open, and streams on a connection each.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

const VERSION: &str = "2025-11-25";

/// A session, and the connection for its calls.
pub(crate) struct Client {
    pub(crate) node: SocketAddr,
    pub(crate) session: String,
    wire: BufReader<TcpStream>,
}

impl Client {
    pub(crate) async fn open(node: SocketAddr) -> Result<Self> {
        let mut client = Self { node, session: String::new(), wire: connect(node).await? };
        let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": VERSION, "capabilities": {"elicitation": {}, "roots": {"listChanged": true}},
            "clientInfo": {"name": "a client of usual size", "version": "1.0.0"},
        }});
        let (head, _) = client.post(&hello).await?;
        let session = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("mcp-session-id").then(|| value.trim().to_owned())
        });
        client.session = session.context("there is no session")?;
        client.post(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await?;
        Ok(client)
    }

    /// Makes a call that is answered at once.
    pub(crate) async fn call(&mut self, tool: &str, arguments: &Value) -> Result<()> {
        let (_, body) = self.post(&call(tool, arguments)).await?;
        ensure!(body.contains("\"content\""), "no answer: {body}");
        Ok(())
    }

    /// Makes a call whose response is a stream.
    pub(crate) async fn stream(&self, tool: &str, arguments: &Value) -> Result<Stream> {
        Stream::open(self.node, &self.request("1.0", self.node, "POST", None, &call(tool, arguments).to_string())).await
    }

    /// Opens the GET stream of the session at a node, or resumes a stream after an event.
    pub(crate) async fn listen(&self, node: SocketAddr, last: Option<&str>) -> Result<Stream> {
        Stream::open(node, &self.request("1.0", node, "GET", last, "")).await
    }

    /// Posts a message to a node on a new connection.
    pub(crate) async fn post_to(&self, node: SocketAddr, message: &Value) -> Result<()> {
        let mut wire = connect(node).await?;
        wire.write_all(self.request("1.0", node, "POST", None, &message.to_string()).as_bytes()).await?;
        let (head, _) = answer(&mut wire).await?;
        ensure!(head.contains(" 202 "), "{head}");
        Ok(())
    }

    pub(crate) async fn end(mut self) -> Result<()> {
        let request = self.request("1.1", self.node, "DELETE", None, "");
        self.wire.write_all(request.as_bytes()).await?;
        answer(&mut self.wire).await.map(drop)
    }

    async fn post(&mut self, message: &Value) -> Result<(String, String)> {
        let request = self.request("1.1", self.node, "POST", None, &message.to_string());
        self.wire.write_all(request.as_bytes()).await?;
        answer(&mut self.wire).await
    }

    fn request(&self, http: &str, node: SocketAddr, method: &str, last: Option<&str>, body: &str) -> String {
        let accept = if method == "GET" { "text/event-stream" } else { "application/json, text/event-stream" };
        let mut request = format!(
            "{method} /mcp HTTP/{http}\r\nHost: {node}\r\nAccept: {accept}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n",
            body.len()
        );
        if !self.session.is_empty() {
            request += &format!("Mcp-Session-Id: {}\r\nMCP-Protocol-Version: {VERSION}\r\n", self.session);
        }
        if let Some(last) = last {
            request += &format!("Last-Event-ID: {last}\r\n");
        }
        request + "\r\n" + body
    }
}

fn call(tool: &str, arguments: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
}

async fn connect(node: SocketAddr) -> Result<BufReader<TcpStream>> {
    let wire = TcpStream::connect(node).await?;
    wire.set_nodelay(true)?;
    Ok(BufReader::new(wire))
}

async fn head(wire: &mut BufReader<TcpStream>) -> Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        ensure!(wire.read_line(&mut head).await? > 0, "the connection ended: {head}");
    }
    Ok(head)
}

/// Reads a response with a `Content-Length`.
async fn answer(wire: &mut BufReader<TcpStream>) -> Result<(String, String)> {
    let head = head(wire).await?;
    ensure!(head.starts_with("HTTP/1.1 2") || head.starts_with("HTTP/1.0 2"), "{head}");
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
    });
    let mut body = vec![0; length.transpose()?.unwrap_or(0)];
    wire.read_exact(&mut body).await?;
    Ok((head, String::from_utf8(body)?))
}

/// A response of events. The request uses HTTP/1.0, so that no chunk headers separate its lines.
pub(crate) struct Stream {
    wire: BufReader<TcpStream>,
    line: String,
    /// The id of the last event.
    pub(crate) last: Option<String>,
}

impl Stream {
    async fn open(node: SocketAddr, request: &str) -> Result<Self> {
        let mut wire = connect(node).await?;
        wire.write_all(request.as_bytes()).await?;
        let head = head(&mut wire).await?;
        if !head.contains(" 200 ") || !head.contains("text/event-stream") {
            bail!("no stream: {head}");
        }
        Ok(Self { wire, line: String::new(), last: None })
    }

    /// Returns the data of the next event that has any.
    pub(crate) async fn next(&mut self) -> Result<Option<&str>> {
        loop {
            if !self.line().await? {
                return Ok(None);
            }
            if let Some(id) = self.line.strip_prefix("id: ") {
                self.last = Some(id.trim_end().to_owned());
            } else if self.line.starts_with("data: {") {
                return Ok(self.line.strip_prefix("data: ").map(str::trim_end));
            }
        }
    }

    /// Waits for the first event, which may have only an id.
    pub(crate) async fn first_id(&mut self) -> Result<String> {
        while self.last.is_none() {
            ensure!(self.line().await?, "the stream ended before it began");
            self.last = self.line.strip_prefix("id: ").map(|id| id.trim_end().to_owned());
        }
        self.last.clone().context("no id")
    }

    /// Returns the number of events up to the end.
    pub(crate) async fn drain(&mut self) -> Result<usize> {
        let mut events = 0;
        while let Some(data) = self.next().await? {
            events += 1;
            ensure!(!data.contains("\"error\""), "{data}");
        }
        Ok(events)
    }

    async fn line(&mut self) -> Result<bool> {
        self.line.clear();
        Ok(self.wire.read_line(&mut self.line).await? > 0)
    }
}
