//! The parser of event streams: lines up to an empty one, of which only `id` and `data` are used.

use anyhow::{Result, ensure};

/// Reads events from pieces that end anywhere.
#[derive(Default)]
pub(crate) struct Events {
    /// The beginning of an incomplete line.
    partial: Vec<u8>,
    data: Vec<u8>,
    /// The id of the event being read.
    id: Option<String>,
    /// The id of the last complete event.
    last_id: Option<String>,
}

impl Events {
    /// Reads a piece. Passes the data of each event that it completes to `on_data`.
    pub(crate) fn push(&mut self, piece: &[u8], mut on_data: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut rest = piece;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, behind) = (&rest[..end], &rest[end + 1..]);
            rest = behind;
            if self.partial.is_empty() {
                self.line(line, &mut on_data)?;
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(line);
                self.line(&whole, &mut on_data)?;
            }
        }
        self.partial.extend_from_slice(rest);
        Ok(())
    }

    /// Returns the id with which the client resumes.
    pub(crate) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// Returns `true` if the input ended between two events.
    pub(crate) fn is_between(&self) -> bool {
        self.partial.is_empty() && self.data.is_empty()
    }

    fn line(&mut self, line: &[u8], on_data: &mut impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            if let Some(id) = self.id.take() {
                self.last_id = Some(id);
            }
            let data = std::mem::take(&mut self.data);
            if !data.is_empty() {
                on_data(&data)?;
            }
            // The next event reuses the buffer.
            self.data = data;
            self.data.clear();
        } else if let Some(value) = field(line, b"data:") {
            ensure!(self.data.is_empty() || value.is_empty(), "a message on more than one line");
            self.data.extend_from_slice(value);
        } else if let Some(value) = field(line, b"id:") {
            self.id = Some(String::from_utf8(value.to_vec())?);
        }
        Ok(())
    }
}

fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = line.strip_prefix(name)?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] =
        b": hello\n\nid: 1\nretry: 5\ndata: \n\nevent: message\r\nid: 2\r\ndata:{\"a\":1}\r\n\r\ndata: two\n\n";

    #[test]
    fn split_events_parse_alike() {
        for cut in 0..STREAM.len() {
            let mut events = Events::default();
            let mut data = Vec::new();
            for piece in [&STREAM[..cut], &STREAM[cut..]] {
                let keep = |event: &[u8]| {
                    data.push(String::from_utf8(event.to_vec())?);
                    Ok(())
                };
                events.push(piece, keep).unwrap();
            }
            assert_eq!(data, [r#"{"a":1}"#, "two"], "cut at {cut}");
            assert_eq!(events.last_id(), Some("2"));
            assert!(events.is_between());
        }
    }

    #[test]
    fn an_id_counts_only_with_its_whole_event() {
        let mut events = Events::default();
        events.push(b"id: 1\ndata: x\n\nid: 2\ndata: y\n", |_| Ok(())).unwrap();
        assert_eq!(events.last_id(), Some("1"));
        assert!(!events.is_between());
    }
}
