//! Signals: reads them from the wire, and passes them to the nodes of this process.
//!
//! A signal on the wire begins with a node's id if it is for one node. A letter follows, then what
//! the letter needs. Unreadable signals are ignored, because a signal only wakes.

use std::str;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Notify;

use super::names::{NAME, Names};
use crate::identity::SessionId;
use crate::message::RequestId;
use crate::store::{Doorbell, EndReason, News, NodeId, Ring, StreamNo};

/// The nodes of this process.
#[derive(Debug)]
pub(super) struct Bells {
    /// The upper part of each node's id.
    process: u64,
    next: AtomicU16,
    nodes: RwLock<Vec<(NodeId, Arc<dyn Doorbell>)>>,
    /// A reply that may have carried signals was not received.
    owed: AtomicBool,
    /// Notified when the nodes should re-check their state.
    pub(super) doubts: Notify,
}

/// The digits of a node's id, and how many of them identify the process.
const NODE: usize = 16;
const PROCESS: usize = 12;

impl Bells {
    /// Creates the signals of a new process, with a random id.
    pub(super) fn new() -> Self {
        let [a, b, c, d, e, f, ..] = *SessionId::random().as_bytes();
        Self {
            process: u64::from_be_bytes([a, b, c, d, e, f, 0, 0]),
            next: AtomicU16::new(1),
            nodes: RwLock::default(),
            owed: AtomicBool::new(false),
            doubts: Notify::new(),
        }
    }

    pub(super) fn process(&self) -> String {
        text(NodeId(self.process))[..PROCESS].to_owned()
    }

    pub(super) fn join(&self, bell: Arc<dyn Doorbell>) -> NodeId {
        let node = NodeId(self.process | u64::from(self.next.fetch_add(1, Ordering::Relaxed)));
        self.nodes.write().unwrap_or_else(PoisonError::into_inner).push((node, bell));
        node
    }

    pub(super) fn leave(&self, node: NodeId) {
        self.nodes.write().unwrap_or_else(PoisonError::into_inner).retain(|(id, _)| *id != node);
    }

    /// Notes that signals may have been lost with a reply that was not received.
    pub(super) fn owe(&self) {
        self.owed.store(true, Ordering::Release);
    }

    /// Notes that the server answers. If signals may have been lost before, this requests one
    /// re-check, which covers all earlier losses.
    pub(super) fn pay(&self) {
        if self.owed.load(Ordering::Acquire) && self.owed.swap(false, Ordering::AcqRel) {
            self.doubts.notify_one();
        }
    }

    pub(super) fn ring_all(&self, ring: &Ring) {
        self.ring_others(None, ring);
    }

    /// Signals every node but one.
    fn ring_others(&self, by: Option<NodeId>, ring: &Ring) {
        let bells: Vec<_> = {
            let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
            nodes.iter().filter(|(id, _)| Some(*id) != by).map(|(_, bell)| Arc::clone(bell)).collect()
        };
        bells.iter().for_each(|bell| bell.ring(ring.clone()));
    }

    /// Passes on a signal for one node.
    pub(super) fn ring(&self, names: &Names, text: &[u8]) {
        let Some((node, said)) = split_node(text) else { return };
        let Some(ring) = read(names, said) else { return };
        let bell = {
            let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
            nodes.iter().find(|(id, _)| *id == node).map(|(_, bell)| Arc::clone(bell))
        };
        if let Some(bell) = bell {
            bell.ring(ring);
        }
    }

    /// Passes on a signal for every node, except the sender of a session update.
    pub(super) fn ring_everybody(&self, names: &Names, said: &[u8]) {
        let (by, ring) = match said.strip_prefix(b"M").and_then(split_node) {
            Some((node, told)) => (Some(node), read_news(names, told)),
            None => (None, read(names, said)),
        };
        if let Some(ring) = ring {
            self.ring_others(by, &ring);
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
fn read_news(names: &Names, told: &[u8]) -> Option<Ring> {
    let (name, news) = told.split_at_checked(NAME)?;
    let session = names.session_of(name)?;
    let news = match str::from_utf8(news).ok()?.strip_prefix(' ')? {
        "state" => News::State,
        listens => News::Listens { generation: listens.strip_prefix("listens ")?.parse().ok()? },
    };
    Some(Ring::News { session, news })
}

/// Writes a session update.
pub(super) fn news_text(news: News) -> String {
    match news {
        News::State => "state".to_owned(),
        News::Listens { generation } => format!("listens {generation}"),
    }
}

fn read(names: &Names, said: &[u8]) -> Option<Ring> {
    let (letter, rest) = said.split_first()?;
    match letter {
        b'T' => return Some(Ring::Task { task: names.task_of(rest)? }),
        b'N' => {
            let (number, topic) = str::from_utf8(rest).ok()?.split_once(' ')?;
            return Some(Ring::Topic { topic: topic.into(), number: number.parse().ok()? });
        }
        _ => {}
    }
    let (name, rest) = rest.split_at_checked(NAME)?;
    let session = names.session_of(name)?;
    let rest = str::from_utf8(rest).ok()?.strip_prefix(' ')?;
    Some(match letter {
        b'S' => Ring::Stream { session, stream: rest.parse().ok()? },
        b'R' => Ring::Drained { session, stream: rest.parse().ok()? },
        b'A' => Ring::Answer { session, question: rest.into() },
        b'C' => {
            let (stream, id) = rest.split_once(' ')?;
            Ring::Cancel { session, stream: stream.parse().ok()?, id: id.parse::<RequestId>().ok()? }
        }
        b'L' => detach(session, rest)?,
        b'E' => Ring::Ended { session, reason: reason(rest)? },
        _ => return None,
    })
}

fn detach(session: SessionId, rest: &str) -> Option<Ring> {
    let mut parts = rest.splitn(3, ' ');
    let stream: StreamNo = parts.next()?.parse().ok()?;
    let generation = parts.next()?.parse().ok()?;
    let retry = match parts.next()? {
        "" => None,
        millis => Some(Duration::from_millis(millis.parse().ok()?)),
    };
    Some(Ring::Detach { session, stream, generation, retry })
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
        let names = Names::new(b"x", false);
        let session = SessionId::random();
        let name = names.session(session);
        let said = |letter: &str, rest: &str| read(&names, format!("{letter}{name}{rest}").as_bytes());
        assert_eq!(said("S", " 7"), Some(Ring::Stream { session, stream: 7 }));
        assert_eq!(said("A", " s1-2 x"), Some(Ring::Answer { session, question: "s1-2 x".into() }));
        let id: RequestId = r#""a b""#.parse().unwrap();
        assert_eq!(said("C", r#" 3 "a b""#), Some(Ring::Cancel { session, stream: 3, id }));
        let retry = Some(Duration::from_millis(1500));
        assert_eq!(said("L", " 0 2 1500"), Some(Ring::Detach { session, stream: 0, generation: 2, retry }));
        assert_eq!(said("L", " 0 2 "), Some(Ring::Detach { session, stream: 0, generation: 2, retry: None }));
        assert_eq!(said("E", " idle"), Some(Ring::Ended { session, reason: EndReason::Idle }));
        for news in [News::State, News::Listens { generation: 7 }] {
            let told = read_news(&names, format!("{name} {}", news_text(news)).as_bytes());
            assert_eq!(told, Some(Ring::News { session, news }));
        }
        let topic = Some(Ring::Topic { topic: "file:///é {x}".into(), number: 12 });
        assert_eq!(read(&names, "N12 file:///é {x}".as_bytes()), topic);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(said in proptest::collection::vec(any::<u8>(), 0..60)) {
            let bells = Bells::new();
            bells.ring(&Names::new(b"x", false), &said);
            bells.ring_everybody(&Names::new(b"x", false), &said);
        }
    }
}
