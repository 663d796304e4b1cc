//! The client of either era: its requests and their headers, on one connection.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::time::{sleep, timeout};

use crate::message::{Expected, Received, Refusal, shorten};
use crate::wire::{Connection, Events, Head, Media};

/// Longer than any answer takes that arrives at all.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many notifications the tool `burst` sends.
pub(crate) const BURST: u32 = 50;

/// The revision of the protocol that a client uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    /// 2025-11-25, in a session.
    Legacy,
    /// 2026-07-28, with independent requests.
    Modern,
}

impl Era {
    pub(crate) fn version(self) -> &'static str {
        match self {
            Self::Legacy => "2025-11-25",
            Self::Modern => "2026-07-28",
        }
    }
}

pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) connection: Connection,
    pub(crate) session: Option<String>,
    era: Era,
    /// The revision has been negotiated, so each request names it.
    agreed: bool,
    /// The number of pieces into which request bodies are cut, and the pause before each piece.
    pub(crate) trickle: Option<(usize, Duration)>,
    /// The id of the last request.
    id: u64,
    /// The buffer of the request.
    request: Vec<u8>,
    body: Vec<u8>,
}

/// A tool and its arguments.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tool<'a> {
    Echo(&'a str),
    Burst,
    Slow {
        steps: u32,
        millis: u64,
    },
    /// Steps with a message each, then a text, both with the soak's numbers.
    Chat {
        steps: u32,
        message: &'a str,
        text: &'a str,
    },
}

impl<'a> Tool<'a> {
    fn name(self) -> &'static str {
        match self {
            Self::Echo(_) => "echo",
            Self::Burst => "burst",
            Self::Slow { .. } => "slow",
            Self::Chat { .. } => "chat",
        }
    }

    /// Returns the expected text of the result.
    fn text(self) -> &'a str {
        match self {
            Self::Echo(text) | Self::Chat { text, .. } => text,
            Self::Burst | Self::Slow { .. } => "done",
        }
    }

    /// Returns the expected message of each step.
    fn message(self) -> Option<&'a str> {
        match self {
            Self::Chat { message, .. } => Some(message),
            Self::Echo(_) | Self::Burst | Self::Slow { .. } => None,
        }
    }
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr, era: Era) -> Result<Self> {
        Ok(Self::on(Connection::open(address).await?, address, era))
    }

    /// Like [`connect`](Self::connect), and opens a session if the era has sessions.
    pub(crate) async fn ready(address: SocketAddr, era: Era) -> Result<Self> {
        let mut client = Self::connect(address, era).await?;
        if era == Era::Legacy {
            client.open().await?;
        }
        Ok(client)
    }

    /// Drops the connection with everything in flight on it, then opens another one.
    pub(crate) async fn reconnected(mut self) -> Result<Self> {
        drop(self.connection);
        self.connection = Connection::open(self.address).await?;
        Ok(self)
    }

    /// Returns a client in a session that another client opened.
    pub(crate) async fn in_session(address: SocketAddr, session: String) -> Result<Self> {
        let client = Self::connect(address, Era::Legacy).await?;
        Ok(Self { session: Some(session), agreed: true, ..client })
    }

    pub(crate) fn on(connection: Connection, address: SocketAddr, era: Era) -> Self {
        let (request, body) = (Vec::with_capacity(20 << 10), Vec::with_capacity(20 << 10));
        Self {
            address,
            connection,
            session: None,
            era,
            agreed: era == Era::Modern,
            trickle: None,
            id: 0,
            request,
            body,
        }
    }

    /// Sends `initialize` and `notifications/initialized`.
    pub(crate) async fn open(&mut self) -> Result<()> {
        self.session = None;
        self.agreed = false;
        self.id += 1;
        self.body.clear();
        let version = self.era.version();
        write!(
            self.body,
            r#"{{"jsonrpc":"2.0","id":{},"method":"initialize","params":{{"protocolVersion":"{version}","capabilities":{{}},"clientInfo":{{"name":"peers","version":"1.0.0"}}}}}}"#,
            self.id
        )?;
        let head = self.post("").await.context("initialize")?;
        let session = head.session.clone();
        let expected = Expected { id: self.id, text: None, message: None, typed: false };
        let received = self.answer(head, expected).await.context("initialize")?;
        ensure!(received.version.as_deref() == Some(version), "initialize: answered with another revision");
        self.session = session;
        self.agreed = true;
        self.body.clear();
        self.body.extend_from_slice(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        let mut head = self.post("").await.context("initialized")?;
        ensure!(matches!(head.status, 200..=204), "initialized: HTTP {}", head.status);
        self.connection.body(&mut head).await?;
        Ok(())
    }

    /// Ends the session.
    pub(crate) async fn delete(&mut self) -> Result<()> {
        let mut head = self.request("DELETE", "").await.context("DELETE")?;
        self.connection.body(&mut head).await?;
        ensure!(matches!(head.status, 200..=204), "DELETE: HTTP {}", head.status);
        self.session = None;
        Ok(())
    }

    /// Calls a tool and checks the whole answer.
    pub(crate) async fn call(&mut self, tool: Tool<'_>) -> Result<Received> {
        let head = self.start(tool).await?;
        let received = self.answer(head, self.expected(tool)).await?;
        let (results, steps) = (received.results, received.steps.len());
        ensure!(results == 1, "it answered with {results} results and {steps} notifications");
        Ok(received)
    }

    /// Calls a tool. Returns the head of the response.
    pub(crate) async fn start(&mut self, tool: Tool<'_>) -> Result<Head> {
        self.id += 1;
        let (id, name) = (self.id, tool.name());
        self.body.clear();
        write!(
            self.body,
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{name}","arguments":"#
        )?;
        match tool {
            Tool::Echo(text) => write!(self.body, r#"{{"text":"{text}"}}"#)?,
            Tool::Burst => write!(self.body, "{{}}")?,
            Tool::Slow { steps, millis } => write!(self.body, r#"{{"steps":{steps},"millis":{millis}}}"#)?,
            Tool::Chat { steps, message, text } => {
                let (bytes, answer) = (message.len(), text.len());
                write!(self.body, r#"{{"steps":{steps},"bytes":{bytes},"answer":{answer}}}"#)?;
            }
        }
        let token = if matches!(tool, Tool::Echo(_)) { None } else { Some(id) };
        match (self.era, token) {
            (Era::Legacy, None) => {}
            (Era::Legacy, Some(token)) => write!(self.body, r#","_meta":{{"progressToken":{token}}}"#)?,
            (Era::Modern, token) => {
                write!(self.body, r#","_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","#)?;
                write!(self.body, r#""io.modelcontextprotocol/clientInfo":{{"name":"peers","version":"1.0.0"}},"#)?;
                write!(self.body, r#""io.modelcontextprotocol/clientCapabilities":{{}}"#)?;
                if let Some(token) = token {
                    write!(self.body, r#","progressToken":{token}"#)?;
                }
                write!(self.body, "}}")?;
            }
        }
        self.body.extend_from_slice(b"}}");
        self.post(name).await
    }

    pub(crate) fn expected<'t>(&self, tool: Tool<'t>) -> Expected<'t> {
        Expected { id: self.id, text: Some(tool.text()), message: tool.message(), typed: self.era == Era::Modern }
    }

    /// Opens the standalone stream. Returns the head of the response on this connection.
    pub(crate) async fn listen(&mut self, last_event_id: Option<&str>) -> Result<Head> {
        self.body.clear();
        let resumed = last_event_id.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let mut head = self.request("GET", &resumed).await.context("GET")?;
        if head.status != 200 || head.media != Media::Events {
            let body = self.connection.body(&mut head).await?;
            bail!("GET: HTTP {} {}", head.status, shorten(&body));
        }
        Ok(head)
    }

    /// Reads a response to its end.
    pub(crate) async fn answer(&mut self, mut head: Head, expected: Expected<'_>) -> Result<Received> {
        let mut received = Received::default();
        if head.media == Media::Events && head.status == 200 {
            let mut events = Events::default();
            while let Some(piece) = self.within(&mut head).await? {
                events.push(&piece, |data| received.take(data, expected))?;
            }
            ensure!(events.is_between(), "the stream ended inside an event");
            return Ok(received);
        }
        let body = timeout(PATIENCE, self.connection.body(&mut head)).await.context("the answer did not end")??;
        let read = received.take(&body, expected);
        if head.status == 200 {
            return read.map(|()| received);
        }
        // The error in the message says more than an unexpected status.
        match read {
            Err(rejected) if rejected.is::<Refusal>() => Err(rejected.context(format!("HTTP {}", head.status))),
            _ => bail!("HTTP {} {}", head.status, shorten(&body)),
        }
    }

    /// Returns the next piece of a response, or an error if it takes too long.
    pub(crate) async fn within(&mut self, head: &mut Head) -> Result<Option<bytes::Bytes>> {
        timeout(PATIENCE, self.connection.piece(head)).await.context("the stream did not end")?
    }

    /// Posts the body in the buffer.
    async fn post(&mut self, name: &str) -> Result<Head> {
        let mut headers = String::new();
        if self.era == Era::Modern {
            headers = format!("Mcp-Method: tools/call\r\nMcp-Name: {name}\r\n");
        }
        self.request("POST", &headers).await
    }

    /// Sends a request and reads the head of its response.
    async fn request(&mut self, method: &str, headers: &str) -> Result<Head> {
        if !self.connection.is_reusable() {
            self.connection = Connection::open(self.address).await?;
        }
        let accept = if method == "GET" { "text/event-stream" } else { "application/json, text/event-stream" };
        let Self { request, body, session, agreed, .. } = self;
        request.clear();
        write!(request, "{method} /mcp HTTP/1.1\r\nHost: {}\r\nAccept: {accept}\r\n", self.address)?;
        if *agreed {
            write!(request, "MCP-Protocol-Version: {}\r\n", self.era.version())?;
        }
        if let Some(session) = session {
            write!(request, "Mcp-Session-Id: {session}\r\n")?;
        }
        request.extend_from_slice(headers.as_bytes());
        if method == "POST" {
            write!(request, "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len())?;
            request.extend_from_slice(body);
        } else {
            request.extend_from_slice(b"\r\n");
        }
        match self.trickle.filter(|_| method == "POST") {
            None => self.connection.send(request).await?,
            // The head is sent at once, then the body piece by piece.
            Some((bits, pause)) => {
                let (head, body) = request.split_at(request.len() - body.len());
                self.connection.send(head).await?;
                for bit in body.chunks(body.len().div_ceil(bits)) {
                    sleep(pause).await;
                    self.connection.send(bit).await?;
                }
            }
        }
        timeout(PATIENCE, self.connection.head()).await.context("no answer")?
    }
}
