//! A connection of the load generator: sends requests, and finds where each response begins and
//! ends.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// More headers than any response has.
const HEADERS: usize = 64;

/// The media type of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    Json,
    Events,
    Other,
}

/// The head of a response.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) session: Option<String>,
    pub(crate) media: Media,
    framing: Framing,
    closes: bool,
}

#[derive(Debug, Clone, Copy)]
enum Framing {
    /// This many bytes are left.
    Length(usize),
    /// This many bytes of the current chunk are left.
    Chunked(usize),
    /// The body ends with the connection.
    ToTheEnd,
    Ended,
}

pub(crate) struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
    /// The peer announced that it closes the connection after this response.
    closes: bool,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        Self::from_socket(TcpSocket::new_v4()?, address).await
    }

    /// Opens a connection with a small receive buffer.
    pub(crate) async fn narrow(address: SocketAddr) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4 << 10)?;
        Self::from_socket(socket, address).await
    }

    async fn from_socket(socket: TcpSocket, address: SocketAddr) -> Result<Self> {
        let stream = socket.connect(address).await.context("no connection")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: BytesMut::with_capacity(8 << 10), closes: false })
    }

    /// Returns `true` if another request may be sent.
    pub(crate) fn is_reusable(&self) -> bool {
        !self.closes
    }

    pub(crate) async fn send(&mut self, request: &[u8]) -> Result<()> {
        self.stream.write_all(request).await.context("the request was not taken")
    }

    /// Reads the head of the next response.
    pub(crate) async fn head(&mut self) -> Result<Head> {
        loop {
            if let Some((head, length)) = parse(&self.buffer)? {
                self.buffer.advance(length);
                self.closes = head.closes;
                return Ok(head);
            }
            ensure!(self.fill().await?, "the connection ended before an answer");
        }
    }

    /// Returns the next piece of a body, or `None` at its end.
    pub(crate) async fn piece(&mut self, head: &mut Head) -> Result<Option<Bytes>> {
        loop {
            let wanted = match head.framing {
                Framing::Ended | Framing::Length(0) => return Ok(None),
                Framing::Chunked(0) => match self.next_chunk()? {
                    Some(0) => {
                        head.framing = Framing::Ended;
                        return Ok(None);
                    }
                    Some(size) => {
                        head.framing = Framing::Chunked(size);
                        continue;
                    }
                    None => 0,
                },
                // A chunk is returned up to its line end or together with it, and never up to the
                // middle of it.
                Framing::Chunked(left) if self.buffer.len() >= left + 2 => {
                    let piece = self.buffer.split_to(left).freeze();
                    self.buffer.advance(2);
                    head.framing = Framing::Chunked(0);
                    return Ok(Some(piece));
                }
                Framing::Chunked(left) => left.saturating_sub(1).min(self.buffer.len()),
                Framing::Length(left) => left.min(self.buffer.len()),
                Framing::ToTheEnd => self.buffer.len(),
            };
            if wanted > 0 {
                if let Framing::Chunked(left) | Framing::Length(left) = &mut head.framing {
                    *left -= wanted;
                }
                return Ok(Some(self.buffer.split_to(wanted).freeze()));
            }
            if !self.fill().await? {
                ensure!(matches!(head.framing, Framing::ToTheEnd), "the connection ended inside an answer");
                head.framing = Framing::Ended;
            }
        }
    }

    /// Returns a whole body. A body with a length is not copied.
    pub(crate) async fn body(&mut self, head: &mut Head) -> Result<Bytes> {
        if let Framing::Length(length) = head.framing {
            while self.buffer.len() < length {
                ensure!(self.fill().await?, "the connection ended inside an answer");
            }
            head.framing = Framing::Ended;
            return Ok(self.buffer.split_to(length).freeze());
        }
        let mut body = BytesMut::new();
        while let Some(piece) = self.piece(head).await? {
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    }

    /// Returns the size of the chunk that begins here, if its line has arrived.
    fn next_chunk(&mut self) -> Result<Option<usize>> {
        let Ok(parsed) = httparse::parse_chunk_size(&self.buffer) else { bail!("no chunk where one must begin") };
        let httparse::Status::Complete((line, size)) = parsed else { return Ok(None) };
        // An empty line follows the last chunk.
        let length = if size == 0 { line + 2 } else { line };
        if self.buffer.len() < length {
            return Ok(None);
        }
        self.buffer.advance(length);
        Ok(Some(usize::try_from(size)?))
    }

    async fn fill(&mut self) -> Result<bool> {
        if self.buffer.capacity() - self.buffer.len() < 4 << 10 {
            self.buffer.reserve(32 << 10);
        }
        Ok(self.stream.read_buf(&mut self.buffer).await.context("the connection broke")? > 0)
    }
}

/// Returns the head at the beginning of a buffer and its length, if the head is complete.
fn parse(buffer: &[u8]) -> Result<Option<(Head, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(buffer).context("not an HTTP answer")? else {
        return Ok(None);
    };
    let status = response.code.unwrap_or_default();
    let none = matches!(status, 204 | 304);
    let framing = if none { Framing::Ended } else { Framing::ToTheEnd };
    let mut head = Head { status, session: None, media: Media::Other, framing, closes: false };
    for header in response.headers.iter() {
        let value = std::str::from_utf8(header.value).context("a header that is not text")?;
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("content-length") && !none {
            head.framing = Framing::Length(value.trim().parse().context("a length that is no number")?);
        } else if is("transfer-encoding") {
            head.framing = Framing::Chunked(0);
        } else if is("content-type") {
            head.media = media(value);
        } else if is("mcp-session-id") {
            head.session = Some(value.to_owned());
        } else if is("connection") {
            head.closes = value.eq_ignore_ascii_case("close");
        }
    }
    head.closes |= matches!(head.framing, Framing::ToTheEnd);
    Ok(Some((head, length)))
}

fn media(value: &str) -> Media {
    match value.split(';').next().unwrap_or_default().trim() {
        "application/json" => Media::Json,
        "text/event-stream" => Media::Events,
        _ => Media::Other,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\
        Mcp-Session-Id: abc\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n1\r\ng\r\n0\r\n\r\n";
    const SIZED: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 7\r\n\r\nabcdefg";

    /// Returns what a client reads of two responses that arrive on one connection in two pieces.
    async fn read(cut: usize) -> Vec<(Media, Bytes)> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = async {
            let (mut peer, _) = listener.accept().await.unwrap();
            let both = [CHUNKED, SIZED].concat();
            for piece in [&both.as_bytes()[..cut], &both.as_bytes()[cut..]] {
                peer.write_all(piece).await.unwrap();
                // Lets the client read the first piece before the second one arrives.
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
            }
        };
        let client = async {
            let mut connection = Connection::open(address).await.unwrap();
            let mut answers = Vec::new();
            for _ in 0..2 {
                let mut head = connection.head().await.unwrap();
                answers.push((head.media, connection.body(&mut head).await.unwrap()));
            }
            answers
        };
        tokio::join!(client, server).0
    }

    #[tokio::test]
    async fn split_answers_parse_alike() {
        let whole = Bytes::from_static(b"abcdefg");
        for cut in 0..CHUNKED.len() + SIZED.len() {
            let expected = [(Media::Events, whole.clone()), (Media::Json, whole.clone())];
            assert_eq!(read(cut).await, expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_head_gives_the_form_of_its_body() {
        let (head, length) = parse(CHUNKED.as_bytes()).unwrap().unwrap();
        assert_eq!((head.status, head.session.as_deref(), head.media), (200, Some("abc"), Media::Events));
        assert_eq!(&CHUNKED[length..length + 3], "6\r\n");
        assert!(parse(&CHUNKED.as_bytes()[..length - 1]).unwrap().is_none());
        let (head, _) = parse(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().unwrap();
        assert!(matches!(head.framing, Framing::Ended) && !head.closes);
    }
}
