//! Signals: reads them from the wire, and passes them to the nodes of this process.
//!
//! A signal on the wire begins with a node's id if it is for one node. A letter follows, then what
//! the letter needs. Unreadable signals are ignored, because a signal only wakes.

use std::str;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Notify;

use super::pseudonyms::{NAME, Pseudonyms};
use crate::identity::SessionId;
use crate::message::RequestId;
use crate::store::{EndReason, NodeId, SessionUpdate, Signal, SignalHandler, StreamNo};

/// The nodes of this process.
#[derive(Debug)]
pub(super) struct Signals {
    /// The upper part of each node's id.
    process: u64,
    next: AtomicU16,
    nodes: RwLock<Vec<(NodeId, Arc<dyn SignalHandler>)>>,
    /// A reply that may have carried signals was not received.
    reply_lost: AtomicBool,
    /// Notified when the nodes should re-check their state.
    pub(super) doubts: Notify,
}

/// The digits of a node's id, and how many of them identify the process.
const NODE: usize = 16;
const PROCESS: usize = 12;

impl Signals {
    /// Creates the signals of a new process, with a random id.
    pub(super) fn new() -> Self {
        let [a, b, c, d, e, f, ..] = *SessionId::random().as_bytes();
        Self {
            process: u64::from_be_bytes([a, b, c, d, e, f, 0, 0]),
            next: AtomicU16::new(1),
            nodes: RwLock::default(),
            reply_lost: AtomicBool::new(false),
            doubts: Notify::new(),
        }
    }

    pub(super) fn process(&self) -> String {
        text(NodeId(self.process))[..PROCESS].to_owned()
    }

    pub(super) fn join(&self, handler: Arc<dyn SignalHandler>) -> NodeId {
        let node = NodeId(self.process | u64::from(self.next.fetch_add(1, Ordering::Relaxed)));
        self.nodes.write().unwrap_or_else(PoisonError::into_inner).push((node, handler));
        node
    }

    pub(super) fn leave(&self, node: NodeId) {
        self.nodes.write().unwrap_or_else(PoisonError::into_inner).retain(|(id, _)| *id != node);
    }

    /// Notes that signals may have been lost with a reply that was not received.
    pub(super) fn mark_reply_lost(&self) {
        self.reply_lost.store(true, Ordering::Release);
    }

    /// Notes that the server answers. If signals may have been lost before, this requests one
    /// re-check, which covers all earlier losses.
    pub(super) fn pay(&self) {
        if self.reply_lost.load(Ordering::Acquire) && self.reply_lost.swap(false, Ordering::AcqRel) {
            self.doubts.notify_one();
        }
    }

    pub(super) fn signal_all(&self, signal: &Signal) {
        self.signal_others(None, signal);
    }

    /// Signals every node but one.
    fn signal_others(&self, by: Option<NodeId>, signal: &Signal) {
        let signals: Vec<_> = {
            let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
            nodes.iter().filter(|(id, _)| Some(*id) != by).map(|(_, handler)| Arc::clone(handler)).collect()
        };
        signals.iter().for_each(|handler| handler.signal(signal.clone()));
    }

    /// Passes on a signal for one node.
    pub(super) fn receive(&self, pseudonyms: &Pseudonyms, text: &[u8]) {
        let Some((node, said)) = split_node(text) else { return };
        let Some(signal) = read(pseudonyms, said) else { return };
        let handler = {
            let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
            nodes.iter().find(|(id, _)| *id == node).map(|(_, handler)| Arc::clone(handler))
        };
        if let Some(handler) = handler {
            handler.signal(signal);
        }
    }

    /// Passes on a signal for every node, except the sender of a session update.
    pub(super) fn receive_broadcast(&self, pseudonyms: &Pseudonyms, said: &[u8]) {
        let (by, signal) = match said.strip_prefix(b"M").and_then(split_node) {
            Some((node, text)) => (Some(node), read_update(pseudonyms, text)),
            None => (None, read(pseudonyms, said)),
        };
        if let Some(signal) = signal {
            self.signal_others(by, &signal);
        }
    }
}

/// Returns a node's id as scripts know it.
pub(super) fn text(node: NodeId) -> String {
    format!("{:016x}", node.0)
}

fn split_node(text: &[u8]) -> Option<(NodeId, &[u8])> {
    let (node, rest) = text.split_at_checked(NODE)?;
    Some((NodeId(u64::from_str_radix(str::from_utf8(node).ok()?, 16).ok()?), rest))
}

/// Reads a session update, which a node sends to the others.
fn read_update(pseudonyms: &Pseudonyms, text: &[u8]) -> Option<Signal> {
    let (name, update) = text.split_at_checked(NAME)?;
    let session = pseudonyms.session_of(name)?;
    let update = match str::from_utf8(update).ok()?.strip_prefix(' ')? {
        "state" => SessionUpdate::State,
        listens => SessionUpdate::Listens { generation: listens.strip_prefix("listens ")?.parse().ok()? },
    };
    Some(Signal::Update { session, update })
}

/// Writes a session update.
pub(super) fn update_text(update: SessionUpdate) -> String {
    match update {
        SessionUpdate::State => "state".to_owned(),
        SessionUpdate::Listens { generation } => format!("listens {generation}"),
    }
}

fn read(pseudonyms: &Pseudonyms, said: &[u8]) -> Option<Signal> {
    let (letter, rest) = said.split_first()?;
    match letter {
        b'T' => return Some(Signal::Task { task: pseudonyms.task_of(rest)? }),
        b'N' => {
            let (number, topic) = str::from_utf8(rest).ok()?.split_once(' ')?;
            return Some(Signal::Topic { topic: topic.into(), number: number.parse().ok()? });
        }
        _ => {}
    }
    let (name, rest) = rest.split_at_checked(NAME)?;
    let session = pseudonyms.session_of(name)?;
    let rest = str::from_utf8(rest).ok()?.strip_prefix(' ')?;
    Some(match letter {
        b'S' => Signal::Stream { session, stream: rest.parse().ok()? },
        b'R' => Signal::Drained { session, stream: rest.parse().ok()? },
        b'A' => Signal::Answer { session, request: rest.into() },
        b'C' => {
            let (stream, id) = rest.split_once(' ')?;
            Signal::Cancel { session, stream: stream.parse().ok()?, id: id.parse::<RequestId>().ok()? }
        }
        b'L' => detach(session, rest)?,
        b'E' => Signal::Ended { session, reason: reason(rest)? },
        _ => return None,
    })
}

fn detach(session: SessionId, rest: &str) -> Option<Signal> {
    let mut parts = rest.splitn(3, ' ');
    let stream: StreamNo = parts.next()?.parse().ok()?;
    let generation = parts.next()?.parse().ok()?;
    let retry = match parts.next()? {
        "" => None,
        millis => Some(Duration::from_millis(millis.parse().ok()?)),
    };
    Some(Signal::Detach { session, stream, generation, retry })
}

const REASONS: [EndReason; 6] = [
    EndReason::Deleted,
    EndReason::Idle,
    EndReason::Lifetime,
    EndReason::Evicted,
    EndReason::Closed,
    EndReason::Shutdown,
];

/// Reads the reason for the end of a session.
pub(super) fn reason(text: &str) -> Option<EndReason> {
    REASONS.into_iter().find(|known| known.as_str() == text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_bell_says_what_its_script_meant() {
        let pseudonyms = Pseudonyms::new(b"x", false);
        let session = SessionId::random();
        let name = pseudonyms.session(session);
        let said = |letter: &str, rest: &str| read(&pseudonyms, format!("{letter}{name}{rest}").as_bytes());
        assert_eq!(said("S", " 7"), Some(Signal::Stream { session, stream: 7 }));
        assert_eq!(said("A", " s1-2 x"), Some(Signal::Answer { session, request: "s1-2 x".into() }));
        let id: RequestId = r#""a b""#.parse().unwrap();
        assert_eq!(said("C", r#" 3 "a b""#), Some(Signal::Cancel { session, stream: 3, id }));
        let retry = Some(Duration::from_millis(1500));
        assert_eq!(said("L", " 0 2 1500"), Some(Signal::Detach { session, stream: 0, generation: 2, retry }));
        assert_eq!(said("L", " 0 2 "), Some(Signal::Detach { session, stream: 0, generation: 2, retry: None }));
        assert_eq!(said("E", " idle"), Some(Signal::Ended { session, reason: EndReason::Idle }));
        for update in [SessionUpdate::State, SessionUpdate::Listens { generation: 7 }] {
            let text = read_update(&pseudonyms, format!("{name} {}", update_text(update)).as_bytes());
            assert_eq!(text, Some(Signal::Update { session, update }));
        }
        let topic = Some(Signal::Topic { topic: "file:///é {x}".into(), number: 12 });
        assert_eq!(read(&pseudonyms, "N12 file:///é {x}".as_bytes()), topic);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(said in proptest::collection::vec(any::<u8>(), 0..60)) {
            let signals = Signals::new();
            signals.receive(&Pseudonyms::new(b"x", false), &said);
            signals.receive_broadcast(&Pseudonyms::new(b"x", false), &said);
        }
    }
}
