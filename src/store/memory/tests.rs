//! Tests of the memory engine with threads, limits and many sessions.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::*;
use crate::error::StoreErrorKind;
use crate::identity::SessionInfo;
use crate::message::ProtocolVersion;
use crate::store::EventKind;

#[derive(Debug)]
struct Silent;

impl SignalHandler for Silent {
    fn signal(&self, _: Signal) {}
}

pub(super) fn policy() -> Policy {
    Policy {
        idle_timeout: Some(Duration::from_secs(100)),
        max_sessions: 3,
        max_sessions_per_principal: 2,
        max_calls: 3,
        max_calls_per_principal: 4,
        max_streams: 2,
        stream_events: 5,
        stream_bytes: 200,
        session_bytes: 400,
        finished_streams: 2,
        finished_for: Duration::from_secs(60),
        ..Policy::default()
    }
}

pub(super) fn engine(policy: Policy) -> (MemoryEngine, NodeId) {
    let engine = MemoryEngine::new();
    let node = engine.join(Arc::new(Silent), policy);
    (engine, node)
}

pub(super) fn opening(principal: Option<&Principal>) -> Create {
    let info = SessionInfo {
        id: SessionId::random(),
        principal: principal.cloned(),
        peer: None,
        version: ProtocolVersion::V2025_11_25,
        client: Arc::default(),
        capabilities: Arc::default(),
        opened_at: SystemTime::UNIX_EPOCH,
    };
    Create { info: Arc::new(info), epoch: 1 }
}

/// Returns the value of an operation of this engine, which never waits.
pub(super) fn now<T>(step: EngineFuture<Result<T>>) -> std::result::Result<T, StoreErrorKind> {
    step.now().expect("a step in memory is ready").map_err(|error| error.kind())
}

pub(super) fn event(kind: EventKind, text: impl Into<Bytes>) -> Event {
    Event { kind, payload: text.into() }
}

/// Returns `true` if nothing is left of ended sessions and tasks.
pub(super) fn is_empty(engine: &MemoryEngine) -> bool {
    let shared = &engine.shared;
    shared.sessions.is_empty()
        && shared.accounts.is_empty()
        && shared.count.load(Ordering::Relaxed) == 0
        && shared.expiry().is_empty()
        && shared.budget.kept() == 0
        && shared.tasks.lock().unwrap().is_empty()
}

#[test]
fn sessions_without_stream_numbers_end() {
    let (engine, node) = engine(policy());
    let create = opening(None);
    let session = create.info.id;
    now(engine.create(create)).unwrap();
    engine.shared.sessions.get_mut(&session).unwrap().spend_streams(u32::MAX - 1);
    let ids = [1.into()];
    let begin = || {
        let begin = Begin { session, principal: None, node, ids: &ids, unique: false };
        now(engine.begin(begin)).map(|begun| begun.stream)
    };
    assert_eq!(begin(), Ok(u32::MAX - 1));
    assert_eq!(begin(), Err(StoreErrorKind::NotFound));
}

#[test]
fn rejected_principals_leave_nothing_behind() {
    let (engine, _) = engine(Policy { max_sessions: 0, ..policy() });
    for number in 0..10 {
        let principal = Principal::new(number.to_string());
        assert_eq!(now(engine.create(opening(Some(&principal)))).err(), Some(StoreErrorKind::Full));
    }
    assert!(is_empty(&engine));
    let (engine, _) = self::engine(Policy { max_sessions_per_principal: 0, ..policy() });
    let rejected = now(engine.create(opening(Some(&Principal::new("p")))));
    assert_eq!(rejected.err(), Some(StoreErrorKind::FullForPrincipal));
    assert!(is_empty(&engine));
}

#[test]
fn a_sweep_ends_where_everything_is_always_due() {
    let (engine, node) = engine(Policy { idle_timeout: Some(Duration::ZERO), ..policy() });
    let create = opening(None);
    let session = create.info.id;
    now(engine.create(create)).unwrap();
    now(engine.begin(Begin { session, principal: None, node, ids: &[1.into()], unique: true })).unwrap();
    assert_eq!(now(engine.expire(node)).unwrap().len(), 0);
    now(engine.finish(session, 1)).unwrap();
    assert_eq!(now(engine.expire(node)).unwrap().len(), 1);
    assert!(is_empty(&engine));
}

#[test]
fn threads_that_do_anything_leave_nothing_behind() {
    const THREADS: usize = 4;
    let (engine, node) = engine(Policy { max_sessions: 6, idle_timeout: Some(Duration::ZERO), ..policy() });
    let handed: usize = std::thread::scope(|scope| {
        let work = |number: usize| {
            let engine = engine.clone();
            scope.spawn(move || {
                let principal = Principal::new((number % 2).to_string());
                (0..2000).map(|round| one_life(&engine, node, &principal, number + round)).sum::<usize>()
            })
        };
        let threads: Vec<_> = (0..THREADS).map(work).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    for summary in now(engine.list()).unwrap() {
        now(engine.end_session(summary.info.id, EndReason::Closed)).unwrap();
    }
    std::thread::sleep(Duration::from_millis(2));
    now(engine.expire(node)).unwrap();
    assert!(is_empty(&engine), "{engine:?} after {handed}");
}

/// Opens a session, uses it, and may end it. Returns the number of sessions that ended.
fn one_life(engine: &MemoryEngine, node: NodeId, principal: &Principal, round: usize) -> usize {
    let create = opening(Some(principal));
    let session = create.info.id;
    let mut ended = now(engine.create(create)).map_or(0, |ended| ended.len());
    let ids = [RequestId::from(1)];
    let begin = Begin { session, principal: Some(principal), node, ids: &ids, unique: true };
    if let Ok(begun) = now(engine.begin(begin)) {
        let stream = begun.stream;
        let events = vec![event(EventKind::Response, "x")];
        let append = Append { session, stream, node, first: 1, events, close: true };
        if round.is_multiple_of(3) {
            let _ = now(engine.append(append));
        } else if round.is_multiple_of(2) {
            let _ = now(engine.finish(session, stream));
        }
    }
    if round.is_multiple_of(5) {
        ended += usize::from(now(engine.end_session(session, EndReason::Deleted)).is_ok());
    }
    if round.is_multiple_of(7) {
        ended += now(engine.expire(node)).map_or(0, |ended| ended.len());
    }
    ended
}
