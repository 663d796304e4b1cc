//! Frames: how an operation is encoded in a segment, and how a damaged segment is read.
//!
//! ```text
//! segment = header frame*
//! frame   = mark(4) length(4) crc32(4) body    numbers little-endian; sum of header, length, body
//! body    = number, settled, first, session?, changes   postcard
//! ```
//!
//! 1. A frame is one operation. Its checksum shows whether it is complete; an incomplete frame does
//!    not count.
//! 2. After a part that cannot be read, the reader searches for the next whole frame. A damaged
//!    byte therefore costs only the operation that contains it.
//! 3. If only zeros follow, the segment ends there: they are space that was prepared but not used.
//! 4. Data of another format contains no frames, even if it looks like one. Frames of an earlier
//!    format that is still read count.
//! 5. A frame states which operations were safe before it was written. If one of those is missing,
//!    it is lost. Other missing operations were never acknowledged. A frame also states the oldest
//!    operation that counts. Operations before that one need not exist.

use memchr::memmem;
use serde::{Deserialize, Serialize};

use crate::identity::SessionId;
use crate::store::journal::Change;

/// The header of a segment, with the number of the format. Another layout of [`Frame`] or of a
/// [`Change`], or a new kind of change, needs another number.
pub(super) const HEADER: &[u8] = b"mcp-http store 4\n";

/// The headers of earlier formats that are still read: this version reads their frames as they are.
/// Format 3 has no announcements.
pub(super) const EARLIER: &[&[u8]] = &[b"mcp-http store 3\n"];

/// The formats that are read, for error messages.
pub(super) const READ: &str = "3 and 4";

/// The beginning of a segment of any format.
const FAMILY: &[u8] = b"mcp-http store ";

/// The beginning of a frame. These bytes do not occur in text.
const MARK: [u8; 4] = [0xf1, 0xc7, 0xb5, 0x0b];

const HEAD: usize = 12;

/// The maximum number of digits in the number of a format.
const MAX_DIGITS: usize = 10;

/// One operation.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Frame {
    /// Counted from 1 by the journal.
    pub(super) number: u64,
    /// Once this frame was written, everything up to this number was as durable as configured.
    pub(super) settled: u64,
    /// Everything from this number on counts.
    pub(super) first: u64,
    /// `None` for tasks, nodes and announcements.
    pub(super) session: Option<SessionId>,
    pub(super) changes: Vec<Change>,
}

/// A part of a segment.
#[derive(Debug, PartialEq)]
pub(super) enum Piece {
    Frame(Frame),
    /// A number of bytes that are not a frame.
    Hole {
        at: usize,
        bytes: usize,
    },
}

/// Appends a frame to a buffer.
///
/// # Errors
///
/// If the frame is too large to be encoded, which no policy allows.
pub(super) fn write(frame: &Frame, buffer: &mut Vec<u8>) -> Result<(), postcard::Error> {
    let body = postcard::to_allocvec(frame)?;
    let length = u32::try_from(body.len()).map_err(|_| postcard::Error::SerializeBufferFull)?.to_le_bytes();
    buffer.extend_from_slice(&MARK);
    buffer.extend_from_slice(&length);
    buffer.extend_from_slice(&sum(HEADER, length, &body).to_le_bytes());
    buffer.extend_from_slice(&body);
    Ok(())
}

fn sum(header: &[u8], length: [u8; 4], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(&length);
    hasher.update(body);
    hasher.finalize()
}

/// The reader of a segment, from its first byte.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let mut headers = std::iter::once(&HEADER).chain(EARLIER);
        let header = headers.find(|header| bytes.starts_with(header));
        Self { bytes, at: header.map_or(0, |header| header.len()) }
    }

    /// Returns `true` for a segment of an earlier format.
    pub(super) fn is_earlier(&self) -> bool {
        EARLIER.iter().any(|header| self.bytes.starts_with(header))
    }

    /// Returns where the next piece begins.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Returns the format of an intact segment whose format is not read.
    pub(super) fn foreign_format(&self) -> Option<u64> {
        let line = self.bytes.strip_prefix(FAMILY)?;
        let digits = line.iter().take(MAX_DIGITS).take_while(|byte| byte.is_ascii_digit()).count();
        let format = std::str::from_utf8(&line[..digits]).ok()?.parse().ok()?;
        // A damaged byte in the header of a segment that has frames of this format does not make it
        // another format.
        let is_foreign = self.at == 0 && line.get(digits) == Some(&b'\n') && self.next_frame(0).is_none();
        is_foreign.then_some(format)
    }

    /// Finds the next whole frame from a position on, and returns where it begins and ends.
    fn next_frame(&self, from: usize) -> Option<(usize, usize, Frame)> {
        memmem::find_iter(&self.bytes[from..], &MARK).find_map(|at| {
            let (end, frame) = self.frame_at(from + at)?;
            Some((from + at, end, frame))
        })
    }

    fn frame_at(&self, at: usize) -> Option<(usize, Frame)> {
        let (head, rest) = self.bytes[at..].split_first_chunk::<HEAD>()?;
        let [m0, m1, m2, m3, l0, l1, l2, l3, s0, s1, s2, s3] = *head;
        let length = [l0, l1, l2, l3];
        let body = rest.get(..u32::from_le_bytes(length) as usize)?;
        let stated = u32::from_le_bytes([s0, s1, s2, s3]);
        let is_known = |header: &[u8]| sum(header, length, body) == stated;
        let whole = [m0, m1, m2, m3] == MARK && (is_known(HEADER) || EARLIER.iter().copied().any(is_known));
        let (frame, rest) = whole.then(|| postcard::take_from_bytes(body).ok()).flatten()?;
        rest.is_empty().then_some(())?;
        Some((at + HEAD + body.len(), frame))
    }
}

impl Iterator for Reader<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let at = self.at;
        if let Some((end, frame)) = self.frame_at(at) {
            self.at = end;
            return Some(Piece::Frame(frame));
        }
        // Trailing zeros are not part of the hole: the segment ends where they begin.
        let end = at + self.bytes[at..].iter().rposition(|byte| *byte != 0)? + 1;
        self.at = self.next_frame(at).map_or(end, |(begins, _, _)| begins);
        Some(Piece::Hole { at, bytes: self.at - at })
    }
}

/// Encodes a segment as another format would: with another header, and with more bytes after each
/// frame.
#[cfg(test)]
pub(super) fn written_as(header: &[u8], frames: &[Frame], more: &[u8]) -> Vec<u8> {
    let mut bytes = header.to_vec();
    for frame in frames {
        let body = [&postcard::to_allocvec(frame).unwrap(), more].concat();
        let length = (body.len() as u32).to_le_bytes();
        let sum = sum(header, length, &body).to_le_bytes();
        [&MARK, &length, &sum, &*body].into_iter().for_each(|part| bytes.extend_from_slice(part));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Tick;
    use crate::identity::{Principal, TaskId};

    fn frame(number: u64) -> Frame {
        let payload = Bytes::from(format!("payload of {number}"));
        let changes = vec![Change::Event { stream: 1, seq: number, droppable: true, payload }, Change::Ended];
        Frame { number, settled: number - 1, first: 1, session: Some(SessionId::random()), changes }
    }

    /// Encodes a segment, and returns where each of its frames ends.
    fn segment(frames: &[Frame]) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = HEADER.to_vec();
        let ends = frames.iter().map(|frame| {
            write(frame, &mut bytes).unwrap();
            bytes.len()
        });
        let ends = ends.collect();
        (bytes, ends)
    }

    fn numbers(bytes: &[u8]) -> (Vec<u64>, usize) {
        let mut holes = 0;
        let numbers = Reader::new(bytes).filter_map(|piece| match piece {
            Piece::Frame(frame) => Some(frame.number),
            Piece::Hole { bytes, .. } => {
                holes += bytes;
                None
            }
        });
        let numbers = numbers.collect();
        (numbers, holes)
    }

    #[test]
    fn frames_are_read_back_as_they_were_written() {
        let frames = [frame(1), frame(2)];
        let (bytes, _) = segment(&frames);
        let read: Vec<_> = Reader::new(&bytes).collect();
        assert_eq!(read, frames.map(Piece::Frame));
        assert_eq!(Reader::new(HEADER).next(), None);
    }

    #[test]
    fn cut_at_any_byte_the_frames_before_the_cut_are_there() {
        let frames: Vec<_> = (1..=5).map(frame).collect();
        let (bytes, ends) = segment(&frames);
        for cut in HEADER.len()..=bytes.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count();
            let (read, lost) = numbers(&bytes[..cut]);
            let last = if whole == 0 { HEADER.len() } else { ends[whole - 1] };
            let torn = bytes[last..cut].iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
            assert_eq!((read, lost), ((1..=whole as u64).collect(), torn), "cut at {cut}");
        }
    }

    #[test]
    fn where_nothing_but_zeros_follows_is_the_end() {
        let frames = [frame(1), frame(2)];
        let (mut bytes, ends) = segment(&frames);
        let torn = ends[0] + 20;
        let mut cut = bytes[..torn].to_vec();
        cut.resize(torn + 5_000, 0);
        let torn = cut[..torn].iter().rposition(|byte| *byte != 0).unwrap() + 1 - ends[0];
        assert_eq!(numbers(&cut), (vec![1], torn));
        bytes.resize(bytes.len() + 5_000, 0);
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.by_ref().collect::<Vec<_>>(), frames.map(Piece::Frame));
        assert_eq!((reader.at(), reader.next()), (ends[1], None));
        // If more follows the zeros, they are not the end.
        let gap: Vec<u8> = [&bytes[..ends[0]], &[0; 100], &bytes[ends[0]..]].concat();
        assert_eq!(numbers(&gap), (vec![1, 2], 100));
    }

    #[test]
    fn another_format_is_told_from_a_damaged_header() {
        assert_eq!(Reader::new(b"mcp-http store 1\nwhatever").foreign_format(), Some(1));
        assert_eq!(Reader::new(b"mcp-http store 12345678901\nwhatever").foreign_format(), None);
        let (mut bytes, _) = segment(&[frame(1)]);
        bytes[HEADER.len() - 2] = b'7';
        assert_eq!(Reader::new(&bytes).foreign_format(), None);
        assert_eq!(numbers(&bytes), (vec![1], HEADER.len()));
    }

    #[test]
    fn what_another_format_wrote_is_no_frame_of_ours() {
        assert_eq!(numbers(&written_as(HEADER, &[frame(1)], b"")), (vec![1], 0));
        let later = written_as(b"mcp-http store 9\n", &[frame(1)], b"");
        assert_eq!(Reader::new(&later).foreign_format(), Some(9));
        assert!(numbers(&written_as(HEADER, &[frame(1)], b"more")).0.is_empty());
    }

    #[test]
    fn what_an_earlier_format_wrote_is_read() {
        let earlier = written_as(EARLIER[0], &[frame(1), frame(2)], b"");
        assert_eq!(numbers(&earlier), (vec![1, 2], 0));
        let reader = Reader::new(&earlier);
        assert_eq!((reader.is_earlier(), reader.foreign_format()), (true, None));
        assert!(!Reader::new(HEADER).is_earlier());
    }

    /// If an earlier build takes a file for its own, a new kind of change or another layout in it
    /// would be damage.
    #[test]
    fn another_layout_needs_another_format() {
        let (id, principal) = (SessionId::from_bytes([7; 16]), Some(Principal::new("a")));
        let task = TaskId::from_bytes([8; 16]);
        let changes = vec![
            Change::Session { info: "{}".into(), epoch: 1, opened: Tick::default() },
            Change::Afresh,
            Change::Streams { below: 2 },
            Change::State { key: "k".into(), value: "1".into(), version: 3 },
            Change::Opened { stream: 4, calls: vec!["1".into()] },
            Change::Forgotten { stream: 5 },
            Change::Event { stream: 6, seq: 7, droppable: true, payload: "8".into() },
            Change::Dropped { stream: 9, seq: 10 },
            Change::Closed { stream: 11, first: 12, at: Tick::default() },
            Change::Delivered { stream: 13, seq: 14 },
            Change::Ended,
            Change::Task { id: task, principal, ends: None, version: 15, done: Some(16), document: "17".into() },
            Change::TaskGone { id: task },
            Change::Nodes { below: 18 },
            Change::Announced { topic: "19".into(), number: 20, forgotten: 21 },
            Change::AnnouncedUpTo { number: 22 },
        ];
        for change in &changes {
            use Change::{Afresh, Announced, Closed, Delivered, Dropped, Ended, Event, Forgotten};
            use Change::{AnnouncedUpTo, Nodes, Opened, Session, State, Streams, Task, TaskGone};
            // Add a new kind to the list above, too.
            match change {
                Afresh | Session { .. } | Streams { .. } | Opened { .. } | Event { .. } | Dropped { .. } => {}
                Closed { .. } | Delivered { .. } | Forgotten { .. } | State { .. } | Ended | Task { .. } => {}
                TaskGone { .. } | Nodes { .. } | Announced { .. } | AnnouncedUpTo { .. } => {}
            }
        }
        let frame = Frame { number: 1, settled: 2, first: 3, session: Some(id), changes };
        let layout = crc32fast::hash(&postcard::to_allocvec(&frame).unwrap());
        assert_eq!(
            (HEADER, layout),
            (b"mcp-http store 4\n".as_slice(), 2_113_479_283),
            "give the new layout its own number"
        );
    }

    proptest! {
        /// A damaged byte costs the frame that contains it, and no input causes a panic.
        #[test]
        fn a_damaged_byte_costs_one_frame(at in 0usize..400, flip in 1u8.., noise in prop::collection::vec(any::<u8>(), 0..60)) {
            let frames: Vec<_> = (1..=5).map(frame).collect();
            let (mut bytes, ends) = segment(&frames);
            let at = HEADER.len() + at % (bytes.len() - HEADER.len());
            bytes[at] ^= flip;
            bytes.extend_from_slice(&noise);
            let hit = ends.iter().position(|end| at < *end).unwrap() as u64 + 1;
            prop_assert_eq!(numbers(&bytes).0, (1..=5).filter(|number| *number != hit).collect::<Vec<_>>());
        }
    }
}
