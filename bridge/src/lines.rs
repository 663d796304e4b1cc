//! Decides what a line is: what stands between two line breaks, of a bounded length.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Room for what is read at once.
const CHUNK: usize = 8 << 10;

/// A line that is longer takes what it was read into along, instead of being copied out of it.
const LONG: usize = 64 << 10;

/// Reads lines. What has not come to a line break is kept, up to the bound, and no further.
pub(crate) struct Lines<R> {
    from: R,
    held: BytesMut,
    /// No line break in this many bytes of what is held.
    searched: usize,
    longest: usize,
    /// The rest of a line that is too long is thrown away.
    skips: bool,
}

/// It holds on to memory of about its own length, and to none of what was read around it.
pub(crate) enum Line {
    Whole(Bytes),
    /// Its beginning; the rest is never given.
    TooLong(Bytes),
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(crate) fn new(from: R, longest: usize) -> Self {
        Self { from, held: BytesMut::new(), searched: 0, longest, skips: false }
    }

    /// The next line; `None` at the end. The last one needs no line break.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            if let Some(line) = self.take() {
                return Ok(Some(line));
            }
            self.held.reserve(CHUNK);
            if self.from.read_buf(&mut self.held).await? == 0 {
                let last = self.cut(self.held.len());
                return Ok((!last.is_empty() && !self.skips).then_some(Line::Whole(last)));
            }
        }
    }

    fn take(&mut self) -> Option<Line> {
        while let Some(at) = memchr::memchr(b'\n', &self.held[self.searched..]) {
            let length = self.searched + at;
            let skipped = std::mem::take(&mut self.skips);
            let line = if skipped { Bytes::new() } else { self.cut(length.min(self.longest)) };
            self.held.advance(length - line.len() + 1);
            self.searched = 0;
            if !skipped {
                return Some(if line.len() == length { Line::Whole(line) } else { Line::TooLong(line) });
            }
        }
        if self.skips {
            self.held.clear();
        }
        self.searched = self.held.len();
        if self.held.len() <= self.longest {
            return None;
        }
        self.skips = true;
        let line = self.cut(self.longest);
        self.held.clear();
        self.searched = 0;
        Some(Line::TooLong(line))
    }

    /// Gives away so much of what is held, from its beginning.
    fn cut(&mut self, length: usize) -> Bytes {
        self.searched = 0;
        if length <= LONG {
            let line = Bytes::copy_from_slice(&self.held[..length]);
            self.held.advance(length);
            return line;
        }
        let rest = BytesMut::from(&self.held[length..]);
        let mut line = std::mem::replace(&mut self.held, rest);
        line.truncate(length);
        line.freeze()
    }

    /// Reads on to the end and keeps nothing, so that whoever writes is not held up.
    pub(crate) async fn drain(&mut self) {
        loop {
            self.held.clear();
            self.held.reserve(CHUNK);
            match self.from.read_buf(&mut self.held).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }
}
