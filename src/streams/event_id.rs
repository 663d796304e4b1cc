//! Event ids: the text that names a stream, a position in it, and a session.

use std::fmt;

use crate::store::StreamNo;

/// The id of an event: `<stream>.<seq>.<epoch>`, each in base 36.
///
/// It is unique in the session and names the stream (2025-11-25, Streamable HTTP, "Resumability and
/// redelivery", rules 1 and 4). It is not a secret: it is looked up only in the caller's own
/// session. The epoch is a random number of the session. It prevents ids of another session, or of
/// one that was lost and created again, from being accepted here.
///
/// Position 0 is the priming event: it means "from the beginning" and is never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct EventId {
    pub(crate) stream: StreamNo,
    pub(crate) seq: u64,
    pub(crate) epoch: u32,
}

/// The longest text of an id: 7 + 13 + 7 digits and two dots.
const MAX_LENGTH: usize = 29;

impl EventId {
    /// Parses the exact form that [`Display`](fmt::Display) writes. Returns `None` for anything
    /// else.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > MAX_LENGTH {
            return None;
        }
        let mut parts = text.split(|byte| *byte == b'.');
        let stream = base36(parts.next()?)?;
        let seq = base36(parts.next()?)?;
        let epoch = base36(parts.next()?)?;
        if parts.next().is_some() {
            return None;
        }
        Some(Self { stream: stream.try_into().ok()?, seq, epoch: epoch.try_into().ok()? })
    }

    /// Appends the text to a buffer, without going through the formatter.
    pub(crate) fn write_to(self, out: &mut Vec<u8>) {
        let mut text = [b'.'; MAX_LENGTH];
        // From the end, because digits are computed from the last one.
        let epoch = write_base36(u64::from(self.epoch), &mut text, MAX_LENGTH);
        let seq = write_base36(self.seq, &mut text, epoch - 1);
        let stream = write_base36(u64::from(self.stream), &mut text, seq - 1);
        out.extend_from_slice(&text[stream..]);
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(MAX_LENGTH);
        self.write_to(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

fn base36(digits: &[u8]) -> Option<u64> {
    let canonical = !digits.is_empty() && (digits.len() == 1 || digits[0] != b'0');
    if !canonical {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'z' => digit - b'a' + 10,
            _ => return None,
        };
        value.checked_mul(36)?.checked_add(u64::from(digit))
    })
}

/// Writes a number that ends before `end`, and returns where it starts.
fn write_base36(mut value: u64, text: &mut [u8; MAX_LENGTH], end: usize) -> usize {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut start = end;
    loop {
        start -= 1;
        text[start] = DIGITS[(value % 36) as usize];
        value /= 36;
        if value == 0 {
            return start;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_grammar_is_stable() {
        let id = EventId { stream: 12, seq: 51, epoch: 0x8f3a };
        assert_eq!(id.to_string(), "c.1f.sai");
        assert_eq!(EventId::parse(b"c.1f.sai"), Some(id));
        let largest = EventId { stream: u32::MAX, seq: u64::MAX, epoch: u32::MAX };
        assert_eq!(largest.to_string(), "1z141z3.3w5e11264sgsf.1z141z3");
        assert_eq!(largest.to_string().len(), MAX_LENGTH);
    }

    #[test]
    fn other_spellings_are_no_ids() {
        for text in
            ["", ".", "..", "1.2", "1.2.3.4", "01.2.3", "1.2.03", "A.1.1", "1.-2.3", "1. 2.3", "1z141z4.0.0", "é.1.1"]
        {
            assert_eq!(EventId::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(EventId::parse("1.3w5e11264sgsg.0".as_bytes()), None, "overflow");
    }

    proptest! {
        #[test]
        fn every_id_is_read_back(stream: u32, seq: u64, epoch: u32) {
            let id = EventId { stream, seq, epoch };
            prop_assert_eq!(EventId::parse(id.to_string().as_bytes()), Some(id));
        }

        #[test]
        fn only_canonical_event_ids_parse(text: Vec<u8>) {
            if let Some(id) = EventId::parse(&text) {
                prop_assert_eq!(id.to_string().into_bytes(), text);
            }
        }
    }
}
