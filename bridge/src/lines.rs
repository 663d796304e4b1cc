//! A line reader with a maximum line length.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Buffer capacity reserved for each read.
const READ_CHUNK: usize = 8 << 10;

/// Longer lines take over the read buffer instead of being copied out of it.
const MAX_COPIED_BYTES: usize = 64 << 10;

/// Splits a stream into lines. Buffers an incomplete line up to the maximum length, and no further.
pub(crate) struct Lines<R> {
    source: R,
    buffer: BytesMut,
    /// Bytes at the start of the buffer that contain no line break.
    searched: usize,
    max_line: usize,
    /// The rest of a line that is too long is being skipped.
    skipping: bool,
}

/// A line without its line break. It keeps about its own length in memory, and not the read buffer
/// around it.
pub(crate) enum Line {
    Whole(Bytes),
    /// The start of a line that is too long. The rest is skipped.
    TooLong(Bytes),
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(crate) fn new(source: R, max_line: usize) -> Self {
        Self { source, buffer: BytesMut::new(), searched: 0, max_line, skipping: false }
    }

    /// Returns the next line, or `None` at the end. The last line needs no line break.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            if let Some(line) = self.buffered_line() {
                return Ok(Some(line));
            }
            self.buffer.reserve(READ_CHUNK);
            if self.source.read_buf(&mut self.buffer).await? == 0 {
                let last = self.split_off(self.buffer.len());
                return Ok((!last.is_empty() && !self.skipping).then_some(Line::Whole(last)));
            }
        }
    }

    fn buffered_line(&mut self) -> Option<Line> {
        while let Some(at) = memchr::memchr(b'\n', &self.buffer[self.searched..]) {
            let length = self.searched + at;
            let skipped = std::mem::take(&mut self.skipping);
            let line = if skipped { Bytes::new() } else { self.split_off(length.min(self.max_line)) };
            self.buffer.advance(length - line.len() + 1);
            self.searched = 0;
            if !skipped {
                return Some(if line.len() == length { Line::Whole(line) } else { Line::TooLong(line) });
            }
        }
        if self.skipping {
            self.buffer.clear();
        }
        self.searched = self.buffer.len();
        if self.buffer.len() <= self.max_line {
            return None;
        }
        self.skipping = true;
        let line = self.split_off(self.max_line);
        self.buffer.clear();
        self.searched = 0;
        Some(Line::TooLong(line))
    }

    /// Removes the first `length` bytes from the buffer and returns them.
    fn split_off(&mut self, length: usize) -> Bytes {
        self.searched = 0;
        if length <= MAX_COPIED_BYTES {
            let line = Bytes::copy_from_slice(&self.buffer[..length]);
            self.buffer.advance(length);
            return line;
        }
        let rest = BytesMut::from(&self.buffer[length..]);
        let mut line = std::mem::replace(&mut self.buffer, rest);
        line.truncate(length);
        line.freeze()
    }

    /// Reads and drops everything up to the end, so that the writer is not blocked.
    pub(crate) async fn drain(&mut self) {
        loop {
            self.buffer.clear();
            self.buffer.reserve(READ_CHUNK);
            match self.source.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }
}
