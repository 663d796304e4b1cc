//! A property test: the memory engine against a model of it, under any sequence of operations.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::MemoryEngine;
use super::tests::{engine, event, is_empty, now, opening, policy};
use crate::error::StoreErrorKind;
use crate::identity::{Principal, SessionId};
use crate::message::{RawJson, RequestId};
use crate::store::engine::{CallStore, SessionStore, StreamStore};
use crate::store::{Append, Attach, Begin, EndReason, Ended, Event, EventKind, NodeId, STANDALONE, StreamNo};

/// An operation on an engine. Sessions and streams are chosen by any number, modulo their count.
#[derive(Debug, Clone)]
enum Op {
    Create { owned: bool },
    End { session: usize },
    Begin { session: usize, calls: usize },
    Append { stream: usize, sizes: Vec<usize>, lasting: bool, close: bool, repeat: bool },
    Publish { session: usize, size: usize },
    Ask { stream: usize },
    Answer { session: usize, taken: bool },
    Finish { stream: usize },
    Attach { stream: usize, back: Option<u64> },
    Read { stream: usize, max_bytes: usize },
    Detach { stream: usize },
    Pass { seconds: u64 },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let which = 0usize..64;
    let sizes = prop::collection::vec(1usize..80, 1..4);
    let op = prop_oneof![
        2 => any::<bool>().prop_map(|owned| Op::Create { owned }),
        1 => which.clone().prop_map(|session| Op::End { session }),
        4 => (which.clone(), 1usize..3).prop_map(|(session, calls)| Op::Begin { session, calls }),
        8 => (which.clone(), sizes, any::<bool>(), prop::bool::weighted(0.2), any::<bool>()).prop_map(
            |(stream, sizes, lasting, close, repeat)| Op::Append { stream, sizes, lasting, close, repeat }
        ),
        3 => (which.clone(), 1usize..80).prop_map(|(session, size)| Op::Publish { session, size }),
        2 => which.clone().prop_map(|stream| Op::Ask { stream }),
        2 => (which.clone(), any::<bool>()).prop_map(|(session, taken)| Op::Answer { session, taken }),
        2 => which.clone().prop_map(|stream| Op::Finish { stream }),
        6 => (which.clone(), prop::option::of(0u64..6)).prop_map(|(stream, back)| Op::Attach { stream, back }),
        8 => (which.clone(), 1usize..200).prop_map(|(stream, max_bytes)| Op::Read { stream, max_bytes }),
        3 => which.prop_map(|stream| Op::Detach { stream }),
        2 => (1u64..80).prop_map(|seconds| Op::Pass { seconds }),
    ];
    prop::collection::vec(op, 0..120)
}

/// The simplest model of the engine.
struct Model {
    engine: MemoryEngine,
    node: NodeId,
    owner: Principal,
    sessions: Vec<Session>,
    calls: i64,
}

#[derive(Default)]
struct Session {
    id: Option<SessionId>,
    owned: bool,
    streams: BTreeMap<StreamNo, Stream>,
    requests: Vec<String>,
    /// The bytes ever written to it.
    ever: usize,
}

#[derive(Default)]
struct Stream {
    calls: usize,
    written: Vec<Written>,
    closed: bool,
    generation: Option<u32>,
    cursor: u64,
    given: u64,
}

struct Written {
    payload: Bytes,
    lasting: bool,
}

impl Session {
    fn calls(&self) -> usize {
        self.streams.values().map(|stream| stream.calls).sum()
    }

    fn readers(&self) -> usize {
        self.streams.values().filter(|stream| stream.generation.is_some()).count()
    }

    fn is_idle(&self) -> bool {
        self.calls() == 0 && self.readers() == 0
    }

    fn id(&self) -> SessionId {
        self.id.expect("a session in the model has an id")
    }
}

impl Model {
    fn new() -> Self {
        let (engine, node) = engine(policy());
        Self { engine, node, owner: Principal::new("owner"), sessions: Vec::new(), calls: 0 }
    }

    fn principal(&self, owned: bool) -> Option<&Principal> {
        owned.then_some(&self.owner)
    }

    /// Returns the session and stream that an operation means.
    fn stream(&self, number: usize) -> Option<(usize, StreamNo)> {
        let all: Vec<_> = (0..self.sessions.len())
            .flat_map(|at| self.sessions[at].streams.keys().map(move |stream| (at, *stream)))
            .collect();
        (!all.is_empty()).then(|| all[number % all.len()])
    }

    fn session(&self, number: usize) -> Option<usize> {
        (!self.sessions.is_empty()).then(|| number % self.sessions.len())
    }

    fn of(&mut self, at: (usize, StreamNo)) -> &mut Stream {
        self.sessions[at.0].streams.get_mut(&at.1).expect("the stream was picked from the model")
    }

    fn ended(&mut self, ended: Vec<Ended>) {
        for Ended { info, .. } in ended {
            let at = self.sessions.iter().position(|session| session.id == Some(info.id));
            let session = self.sessions.remove(at.expect("a session ended twice, or never was"));
            assert!(session.is_idle(), "a session at work ended");
        }
    }

    fn create(&mut self, owned: bool) {
        let create = opening(self.principal(owned));
        let id = create.info.id;
        let resting = |of_owner: bool| self.sessions.iter().any(|one| one.is_idle() && (!of_owner || one.owned));
        let own = self.sessions.iter().filter(|session| session.owned).count();
        let expected = if owned && own >= 2 {
            if resting(true) { Ok(1) } else { Err(StoreErrorKind::FullForPrincipal) }
        } else if self.sessions.len() >= 3 {
            if resting(false) { Ok(1) } else { Err(StoreErrorKind::Full) }
        } else {
            Ok(0)
        };
        let created = now(self.engine.create(create));
        assert_eq!(created.as_ref().map(Vec::len).map_err(|kind| *kind), expected);
        if let Ok(ended) = created {
            self.ended(ended);
            self.sessions.push(Session { id: Some(id), owned, ..Session::default() });
        }
    }

    fn begin(&mut self, at: usize, calls: usize) {
        let Session { owned, .. } = self.sessions[at];
        let ids: Vec<RequestId> = (0..calls as i64).map(|number| (self.calls + number).into()).collect();
        self.calls += calls as i64;
        let session = self.sessions[at].id();
        let principal = self.principal(owned);
        let begin = Begin { session, principal, node: self.node, ids: &ids, unique: true };
        let begun = now(self.engine.begin(begin)).map(|begun| begun.stream);
        let of_owner: usize = self.sessions.iter().filter(|one| one.owned).map(Session::calls).sum();
        let expected = if self.sessions[at].calls() + calls > 3 {
            Err(StoreErrorKind::Full)
        } else if owned && of_owner + calls > 4 {
            Err(StoreErrorKind::FullForPrincipal)
        } else {
            Ok(())
        };
        assert_eq!(begun.map(drop), expected);
        if let Ok(stream) = begun {
            let new = self.sessions[at].streams.insert(stream, Stream { calls, ..Stream::default() });
            assert!(new.is_none(), "a stream was given out twice");
        }
    }

    fn append(&mut self, at: (usize, StreamNo), events: &[Event], close: bool, repeat: bool) {
        let (session, node) = (self.sessions[at.0].id(), self.node);
        let first = self.of(at).written.len() as u64 + 1;
        self.sessions[at.0].ever += events.iter().map(|event| event.payload.len()).sum::<usize>();
        for _ in 0..=usize::from(repeat) {
            let append = Append { session, stream: at.1, node, first, events: events.to_vec(), close };
            let result = now(self.engine.append(append)).map(drop);
            let stream = self.of(at);
            if at.1 == STANDALONE {
                assert_eq!(result, Err(StoreErrorKind::Fenced));
                return;
            }
            let forgotten = stream.generation.is_none() && result == Err(StoreErrorKind::NotFound);
            if stream.closed && stream.written.len() as u64 >= first {
                assert!(result.is_ok() || forgotten, "{result:?} for the closing append again");
            } else if stream.closed {
                assert!(result == Err(StoreErrorKind::Fenced) || forgotten, "{result:?} after the end");
                return;
            } else {
                assert_eq!(result, Ok(()));
            }
            if stream.written.len() < first as usize {
                let written = events.iter().map(|event| Written {
                    payload: event.payload.clone(),
                    lasting: event.kind != EventKind::Notification,
                });
                stream.written.extend(written);
            }
            if close {
                stream.closed = true;
                stream.calls = 0;
            }
        }
        if close {
            self.sessions[at.0].requests.retain(|id| !id.starts_with(&format!("{} ", at.1)));
        }
    }

    fn publish(&mut self, at: usize, size: usize) {
        self.calls += 1;
        let payload = Bytes::from(format!("{:>size$}", self.calls));
        let event = event(EventKind::Notification, payload.clone());
        let appended = now(self.engine.publish(self.sessions[at].id(), self.node, event)).unwrap();
        self.sessions[at].ever += size.max(20);
        match self.sessions[at].streams.get_mut(&STANDALONE) {
            Some(stream) => stream.written.push(Written { payload, lasting: false }),
            None => assert_eq!((appended.read, appended.dropped), (false, 1)),
        }
    }

    fn answer(&mut self, at: usize, taken: bool) {
        let session = self.sessions[at].id();
        let answer = || Ok(RawJson::empty_object());
        assert_eq!(now(self.engine.answer_request(session, "nobody's", answer())), Err(StoreErrorKind::NotFound));
        let Some(request) = self.sessions[at].requests.pop() else { return };
        if !taken {
            assert_eq!(now(self.engine.withdraw_request(session, &request)), Ok(()));
        } else {
            assert_eq!(now(self.engine.take_answer(session, &request)), Ok(None));
            assert_eq!(now(self.engine.answer_request(session, &request, answer())), Ok(true));
            assert_eq!(now(self.engine.answer_request(session, &request, answer())), Ok(false));
            assert_eq!(now(self.engine.take_answer(session, &request)), Ok(Some(answer())));
        }
        assert_eq!(now(self.engine.answer_request(session, &request, answer())), Err(StoreErrorKind::NotFound));
        // No caller waits for it any more, so it may be dropped.
        for stream in self.sessions[at].streams.values_mut() {
            stream
                .written
                .iter_mut()
                .filter(|one| *one.payload == *request.as_bytes())
                .for_each(|one| one.lasting = false);
        }
    }

    fn finish(&mut self, at: (usize, StreamNo)) {
        assert_eq!(now(self.engine.finish(self.sessions[at.0].id(), at.1)), Ok(()));
        if at.1 != STANDALONE && !self.of(at).closed {
            self.sessions[at.0].streams.remove(&at.1);
            self.sessions[at.0].requests.retain(|id| !id.starts_with(&format!("{} ", at.1)));
        }
    }

    fn attach(&mut self, at: (usize, StreamNo), back: Option<u64>) {
        let Session { owned, .. } = self.sessions[at.0];
        let (session, readers) = (self.sessions[at.0].id(), self.sessions[at.0].readers());
        let is_new = !self.sessions[at.0].streams.contains_key(&at.1);
        let known = self.sessions[at.0].streams.entry(at.1).or_default();
        let (held, closed, given) = (known.generation.is_some(), known.closed, known.given);
        let after = back.map(|back| known.cursor.saturating_sub(back));
        let principal = self.principal(owned);
        let attach = Attach { session, principal, stream: at.1, node: self.node, after, takeover: true };
        match now(self.engine.attach(attach)) {
            Ok(attached) => {
                assert!(held || readers < 2, "more readers than the limit");
                assert_eq!(attached.after, after.unwrap_or(given));
                let stream = self.of(at);
                (stream.generation, stream.cursor) = (Some(attached.generation), attached.after);
            }
            Err(kind) => {
                let full = kind == StoreErrorKind::Full && !held && readers >= 2;
                assert!(full || (kind == StoreErrorKind::NotFound && closed && !held), "attach: {kind:?}");
                if is_new {
                    self.sessions[at.0].streams.remove(&at.1);
                }
            }
        }
    }

    fn read(&mut self, at: (usize, StreamNo), max_bytes: usize) {
        let session = self.sessions[at.0].id();
        let fits = self.sessions[at.0].ever <= 200;
        let Some(generation) = self.of(at).generation else { return };
        let cursor = self.of(at).cursor;
        let page = now(self.engine.read_after(session, at.1, generation, cursor, max_bytes)).unwrap();
        let stream = self.of(at);
        assert_eq!((page.tail, page.closed), (stream.written.len() as u64, stream.closed));
        assert!(stream.cursor == page.tail || !page.events.is_empty(), "the newest event is missing");
        for event in page.events {
            assert!(event.seq > stream.cursor && event.seq <= page.tail, "twice, or from nowhere");
            let missing = &stream.written[stream.cursor as usize..event.seq as usize - 1];
            assert!(missing.iter().all(|one| !one.lasting), "what must arrive was dropped");
            assert!(missing.is_empty() || !fits || page.tail > 5, "dropped without need");
            assert_eq!(event.payload, stream.written[event.seq as usize - 1].payload);
            stream.cursor = event.seq;
            stream.given = stream.given.max(event.seq);
        }
    }

    fn detach(&mut self, at: (usize, StreamNo)) {
        let session = self.sessions[at.0].id();
        if let Some(generation) = self.of(at).generation {
            assert_eq!(now(self.engine.detach(session, at.1, generation.wrapping_sub(1))), Ok(()));
            assert_eq!(now(self.engine.detach(session, at.1, generation)), Ok(()));
            self.of(at).generation = None;
        }
    }

    async fn step(&mut self, op: Op) {
        match op {
            Op::Create { owned } => self.create(owned),
            Op::Pass { seconds } => {
                tokio::time::advance(Duration::from_secs(seconds)).await;
                let ended = now(self.engine.expire(self.node)).unwrap();
                self.ended(ended);
            }
            Op::End { session } => {
                if let Some(at) = self.session(session) {
                    let session = self.sessions.remove(at);
                    assert!(now(self.engine.end_session(session.id(), EndReason::Deleted)).is_ok());
                }
            }
            Op::Begin { session, calls } => {
                if let Some(at) = self.session(session) {
                    self.begin(at, calls);
                }
            }
            Op::Publish { session, size } => {
                if let Some(at) = self.session(session) {
                    self.publish(at, size);
                }
            }
            Op::Answer { session, taken } => {
                if let Some(at) = self.session(session) {
                    self.answer(at, taken);
                }
            }
            Op::Attach { stream, back } if stream % 4 == 0 => {
                if let Some(at) = self.session(stream) {
                    self.attach((at, STANDALONE), back);
                }
            }
            op => self.step_in_stream(op),
        }
    }

    fn step_in_stream(&mut self, op: Op) {
        let (Op::Append { stream, .. }
        | Op::Ask { stream }
        | Op::Finish { stream }
        | Op::Attach { stream, .. }
        | Op::Read { stream, .. }
        | Op::Detach { stream }) = op
        else {
            return;
        };
        let Some(at) = self.stream(stream) else { return };
        match op {
            Op::Append { sizes, lasting, close, repeat, .. } => {
                let kind = if lasting { EventKind::Response } else { EventKind::Notification };
                let events: Vec<_> = sizes.iter().map(|size| event(kind.clone(), "x".repeat(*size))).collect();
                self.append(at, &events, close, repeat);
            }
            Op::Ask { .. } => {
                let stream = self.of(at);
                let open = at.1 != STANDALONE && !stream.closed;
                let id = format!("{} {}", at.1, stream.written.len());
                self.append(at, &[event(EventKind::Request(id.as_str().into()), id.clone())], false, false);
                if open {
                    self.sessions[at.0].requests.push(id);
                }
            }
            Op::Finish { .. } => self.finish(at),
            Op::Attach { back, .. } => self.attach(at, back),
            Op::Read { max_bytes, .. } => self.read(at, max_bytes),
            _ => self.detach(at),
        }
    }

    fn check(&self) {
        let mut list = now(self.engine.list()).unwrap();
        assert_eq!(list.len(), self.sessions.len());
        let bytes: usize = list.iter().map(|summary| summary.bytes).sum();
        assert_eq!(self.engine.shared.budget.kept(), bytes, "the sum of what is kept");
        assert_eq!(now(self.engine.count()), Ok(list.len()));
        for session in &self.sessions {
            let at = list.iter().position(|summary| Some(summary.info.id) == session.id).unwrap();
            let summary = list.swap_remove(at);
            assert_eq!((summary.calls, summary.readers), (session.calls(), session.readers()));
        }
    }

    async fn end(mut self) {
        for session in std::mem::take(&mut self.sessions) {
            assert!(now(self.engine.end_session(session.id(), EndReason::Shutdown)).is_ok());
        }
        assert!(is_empty(&self.engine));
    }
}

proptest! {
    /// For any sequence of operations, the engine and the model agree. Each cursor sees each event
    /// once, or a gap where one was dropped, and finally nothing is left.
    #[test]
    fn the_engine_does_what_the_model_does(ops in ops()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut model = Model::new();
            for op in ops {
                model.step(op).await;
                model.check();
            }
            model.end().await;
        });
    }
}
