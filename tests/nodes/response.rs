//! A response without the framing of its chunks: a line of several megabytes arrives in many
//! chunks.

use std::io::{BufRead, BufReader, Read, Result};
use std::net::TcpStream;

/// Reads the head unchanged, then the body.
pub(crate) struct Response {
    raw: BufReader<TcpStream>,
    place: Place,
    /// Bytes of the head that were read from the connection but not yet returned.
    head: Vec<u8>,
    is_chunked: bool,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Head,
    Plain,
    /// This many bytes of the chunk are left.
    Chunk(u64),
}

impl Response {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { raw: BufReader::new(stream), place: Place::Head, head: Vec::new(), is_chunked: false }
    }

    fn raw_line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.raw.read_line(&mut line)?;
        Ok(line)
    }

    fn read_head(&mut self) -> Result<()> {
        let line = self.raw_line()?;
        self.is_chunked |= line.eq_ignore_ascii_case("transfer-encoding: chunked\r\n");
        if line == "\r\n" {
            self.place = if self.is_chunked { Place::Chunk(0) } else { Place::Plain };
        }
        self.head = line.into_bytes();
        Ok(())
    }

    /// Reads the size line of the next chunk. Returns `false` at the end of the body.
    fn next_chunk(&mut self) -> Result<bool> {
        let mut line = self.raw_line()?;
        if line == "\r\n" {
            line = self.raw_line()?;
        }
        let size = u64::from_str_radix(line.trim_end(), 16).unwrap_or_default();
        self.place = Place::Chunk(size);
        Ok(size > 0)
    }
}

impl Read for Response {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        if self.head.is_empty() && matches!(self.place, Place::Head) {
            self.read_head()?;
        }
        if !self.head.is_empty() {
            let taken = self.head.as_slice().read(into)?;
            self.head.drain(..taken);
            return Ok(taken);
        }
        if matches!(self.place, Place::Chunk(0)) && !self.next_chunk()? {
            return Ok(0);
        }
        let Place::Chunk(left) = self.place else { return self.raw.read(into) };
        let taken = (&mut self.raw).take(left).read(into)?;
        self.place = Place::Chunk(left - taken as u64);
        Ok(taken)
    }
}
