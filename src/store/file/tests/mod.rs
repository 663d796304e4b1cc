//! Tests of the file engine: restarts and crashes.

mod changes;
mod damage;
mod differential;
mod formats;
mod full;
mod power;
mod renewal;

use std::fs;
use std::future::Future;
use std::path::Path;
use std::time::SystemTime;

use bytes::Bytes;
use tempfile::TempDir;

use super::frame::HEADER;
use super::*;
use crate::identity::SessionInfo;
use crate::message::{ClientCapabilities, Implementation, ProtocolVersion};
use crate::store::SessionEngine;
use crate::store::{EventKind, STANDALONE, Signal};

#[derive(Debug)]
struct Silent;

impl SignalHandler for Silent {
    fn signal(&self, _: Signal) {}
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(test)
}

fn opening(principal: Option<&Principal>) -> Create {
    let info = SessionInfo {
        id: SessionId::random(),
        principal: principal.cloned(),
        peer: None,
        version: ProtocolVersion::V2025_11_25,
        client: Implementation { name: "client".into(), version: "1".into(), title: Some("A client".into()) }.into(),
        capabilities: ClientCapabilities { roots: Some(RawJson::empty_object()), ..ClientCapabilities::default() }
            .into(),
        opened_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
    };
    Create { info: Arc::new(info), epoch: 7 }
}

fn note(text: impl Into<Bytes>) -> Event {
    Event { kind: EventKind::Notification, payload: text.into() }
}

fn response(text: impl Into<Bytes>) -> Event {
    Event { kind: EventKind::Response, payload: text.into() }
}

fn open(folder: &Path) -> (FileEngine, NodeId) {
    let engine = FileEngine::open(folder, Durability::ProcessCrash).unwrap();
    let node = engine.join(Arc::new(Silent), policy());
    (engine, node)
}

fn policy() -> Policy {
    Policy {
        stream_events: 5,
        stream_bytes: 200,
        session_bytes: 500,
        finished_streams: 3,
        max_tasks: 6,
        ..Policy::default()
    }
}

/// Copies the folder as a process that was killed at this moment would leave it.
fn killed(folder: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

/// Returns all events of a stream by number, its tail, and whether it is closed. Returns `None` if
/// the stream is not kept.
async fn everything(
    engine: &dyn SessionEngine,
    session: SessionId,
    node: NodeId,
    stream: StreamNo,
) -> Option<(Vec<(u64, Bytes)>, u64, bool)> {
    let info = engine.list().await.unwrap().into_iter().find(|summary| summary.info.id == session)?.info;
    let principal = info.principal.as_ref();
    let attach = Attach { session, principal, stream, node, after: Some(0), takeover: true };
    let attached = engine.attach(attach).await.ok()?;
    let page = engine.read_after(session, stream, attached.generation, 0, usize::MAX).await.unwrap();
    engine.detach(session, stream, attached.generation).await.unwrap();
    Some((page.events.into_iter().map(|event| (event.seq, event.payload)).collect(), page.tail, page.closed))
}

/// A session with a finished call, one in flight, a standalone stream and state; and two tasks.
struct Life {
    session: SessionId,
    owner: Principal,
    finished: StreamNo,
    running: StreamNo,
    tasks: [TaskId; 2],
}

async fn live(engine: &FileEngine, node: NodeId) -> Life {
    let owner = Principal::new("owner");
    let create = opening(Some(&owner));
    let session = create.info.id;
    engine.create(create).await.unwrap();
    let mut streams = [0; 2];
    for (stream, id) in streams.iter_mut().zip([RequestId::from(1), "\"a\"".parse().unwrap()]) {
        let begin = Begin { session, principal: Some(&owner), node, ids: &[id], unique: true };
        *stream = engine.begin(begin).await.unwrap().stream;
    }
    let [finished, running] = streams;
    let append = |stream, first, events, close| Append { session, stream, node, first, events, close };
    engine.append(append(finished, 1, vec![note("half"), response("whole")], true)).await.unwrap();
    engine.append(append(running, 1, vec![note("one")], false)).await.unwrap();
    engine.append(append(running, 2, vec![note("two")], false)).await.unwrap();
    let attach = Attach { session, principal: Some(&owner), stream: STANDALONE, node, after: None, takeover: true };
    let reader = engine.attach(attach).await.unwrap();
    engine.publish(session, node, note("taken")).await.unwrap();
    engine.read_after(session, STANDALONE, reader.generation, 0, 100).await.unwrap();
    engine.publish(session, node, note("untaken")).await.unwrap();
    engine.store_state(session, "cart", RawJson::parse("[1]").unwrap(), 0).await.unwrap();
    let tasks = [TaskId::random(), TaskId::random()];
    for (number, id) in tasks.into_iter().enumerate() {
        let create =
            CreateTask { id, principal: Some(owner.clone()), peer: None, node, ttl: None, document: "working".into() };
        engine.create_task(create).await.unwrap();
        if number == 0 {
            engine.store_task(StoreTask { id, version: 1, document: "done".into(), done: true }).await.unwrap();
        }
    }
    Life { session, owner, finished, running, tasks }
}

const LOST: &str = r#"{"jsonrpc":"2.0","id":"a","error":{"code":-32603,"message":"The server that ran this call is gone","data":{"reason":"node_lost"}}}"#;

impl Life {
    async fn goes_on(&self, engine: &FileEngine, node: NodeId) {
        let loaded = engine.load(self.session, Some(&self.owner)).await.unwrap();
        assert_eq!((loaded.epoch, loaded.info.client.title.as_deref()), (7, Some("A client")));
        assert_eq!(engine.load(self.session, None).await.unwrap_err().kind(), StoreErrorKind::NotFound);
        let all = async |stream| everything(engine, self.session, node, stream).await;
        assert_eq!(all(self.finished).await, Some((vec![(1, "half".into()), (2, "whole".into())], 2, true)));
        let running = vec![(1, "one".into()), (2, "two".into()), (3, LOST.into())];
        assert_eq!(all(self.running).await, Some((running, 3, true)));
        assert_eq!(all(STANDALONE).await, Some((vec![(1, "taken".into()), (2, "untaken".into())], 2, false)));
        let state = engine.load_state(self.session, "cart").await.unwrap();
        assert_eq!(state, (Some(RawJson::parse("[1]").unwrap()), 1));
        let [done, ran] = self.tasks;
        let task = engine.load_task(done, Some(&self.owner)).await.unwrap();
        assert_eq!(task, LoadedTask { document: "done".into(), version: 2, done: true, orphaned: false });
        let task = engine.load_task(ran, Some(&self.owner)).await.unwrap();
        assert_eq!(task, LoadedTask { document: "working".into(), version: 1, done: false, orphaned: true });
    }
}

#[test]
fn sessions_survive_crashes_and_restarts() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node) = open(folder.path());
        let life = live(&engine, node).await;
        let crashed = killed(folder.path());
        engine.leave(node);
        drop(engine);
        for folder in [folder, crashed] {
            // Repeated, because restored data must be kept, too.
            for _ in 0..3 {
                let (engine, node) = open(folder.path());
                assert_eq!(engine.recovery(), Recovery { sessions: 1, tasks: 2, ..Recovery::default() });
                life.goes_on(&engine, node).await;
            }
        }
    });
}

#[test]
fn delivered_positions_survive_restarts() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node) = open(folder.path());
        let Life { session, owner, .. } = live(&engine, node).await;
        drop(engine);
        let (engine, node) = open(folder.path());
        let attach = Attach { session, principal: Some(&owner), stream: STANDALONE, node, after: None, takeover: true };
        assert_eq!(engine.attach(attach).await.unwrap().after, 1);
    });
}

#[test]
fn stream_and_node_numbers_are_never_reused() {
    run(async {
        let folder = TempDir::new().unwrap();
        let create = opening(None);
        let session = create.info.id;
        let (mut streams, mut nodes) = (Vec::new(), Vec::new());
        let (engine, _) = open(folder.path());
        engine.create(create).await.unwrap();
        drop(engine);
        for calls in [1, 70, 3] {
            let (engine, node) = open(folder.path());
            nodes.push(node.0);
            for id in 0..calls {
                let begin = Begin { session, principal: None, node, ids: &[id.into()], unique: true };
                let stream = engine.begin(begin).await.unwrap().stream;
                streams.push(stream);
                engine.finish(session, stream).await.unwrap();
            }
        }
        assert!(streams.is_sorted_by(|a, b| a < b) && nodes.is_sorted_by(|a, b| a < b), "{streams:?} {nodes:?}");
    });
}

#[test]
fn what_ended_does_not_come_back() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node) = open(folder.path());
        let Life { session, running, .. } = live(&engine, node).await;
        engine.finish(session, running).await.unwrap();
        let copy = killed(folder.path());
        let (copied, node) = open(copy.path());
        assert_eq!(everything(&copied, session, node, running).await, None);
        engine.end_session(session, EndReason::Deleted).await.unwrap();
        let copy = killed(folder.path());
        assert_eq!(open(copy.path()).0.count().await.unwrap(), 0);
    });
}

#[test]
fn downtime_counts_for_tasks() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node) = open(folder.path());
        let task = |ttl| CreateTask {
            id: TaskId::random(),
            principal: None,
            peer: None,
            node,
            ttl: Some(Duration::from_millis(ttl)),
            document: Bytes::new(),
        };
        let (short, long) = (task(20), task(3_600_000));
        let ids = (short.id, long.id);
        engine.create_task(short).await.unwrap();
        engine.create_task(long).await.unwrap();
        drop(engine);
        // Tokio's clock is paused, that of the machine is not.
        std::thread::sleep(Duration::from_millis(40));
        let (engine, _) = open(folder.path());
        assert_eq!(engine.load_task(ids.0, None).await.unwrap_err().kind(), StoreErrorKind::NotFound);
        assert!(engine.load_task(ids.1, None).await.is_ok());
    });
}

#[test]
fn what_was_brought_back_expires_as_anything_else() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node) = open(folder.path());
        let Life { session, finished, running, .. } = live(&engine, node).await;
        drop(engine);
        let engine = FileEngine::open(folder.path(), Durability::ProcessCrash).unwrap();
        let policy = Policy { lifetime: Some(Duration::from_secs(120)), ..policy() };
        let node = engine.join(Arc::new(Silent), policy);
        for stream in [finished, running] {
            assert!(everything(&engine, session, node, stream).await.is_some());
        }
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(engine.expire(node).await.unwrap().len(), 0);
        for stream in [finished, running] {
            assert_eq!(everything(&engine, session, node, stream).await, None);
        }
        tokio::time::advance(Duration::from_secs(60)).await;
        let ended = engine.expire(node).await.unwrap();
        assert_eq!(ended.iter().map(|ended| ended.reason).collect::<Vec<_>>(), [EndReason::Lifetime]);
        drop(engine);
        let (engine, node) = open(folder.path());
        assert_eq!(engine.count().await.unwrap(), 0);
        let create = opening(None);
        engine.create(create).await.unwrap();
        drop((engine, node));
        let (engine, node) = open(folder.path());
        tokio::time::advance(Duration::from_secs(1801)).await;
        let ended = engine.expire(node).await.unwrap();
        assert_eq!(ended.iter().map(|ended| ended.reason).collect::<Vec<_>>(), [EndReason::Idle]);
    });
}

#[test]
fn downtime_does_not_expire_answers() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node) = open(folder.path());
        let Life { session, finished, .. } = live(&engine, node).await;
        drop(engine);
        // Tokio's clock is paused, that of the machine is not.
        std::thread::sleep(Duration::from_millis(60));
        let engine = FileEngine::open(folder.path(), Durability::ProcessCrash).unwrap();
        let node = engine.join(Arc::new(Silent), Policy { finished_for: Duration::from_millis(50), ..policy() });
        engine.expire(node).await.unwrap();
        assert!(everything(&engine, session, node, finished).await.is_some());
        tokio::time::advance(Duration::from_millis(51)).await;
        engine.expire(node).await.unwrap();
        assert_eq!(everything(&engine, session, node, finished).await, None);
    });
}

#[test]
fn a_folder_has_one_engine_at_a_time() {
    let folder = TempDir::new().unwrap();
    let first = FileEngine::open(folder.path(), Durability::PowerLoss).unwrap();
    let second = FileEngine::open(folder.path(), Durability::PowerLoss).unwrap_err();
    assert!(second.is_in_use());
    assert_eq!(second.to_string(), format!("{} is in use by another process", folder.path().display()));
    drop(first);
    assert!(FileEngine::open(folder.path(), Durability::PowerLoss).is_ok());
}

#[test]
fn a_folder_is_opened_without_writing_to_it() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node) = open(folder.path());
        let life = live(&engine, node).await;
        drop(engine);
        fs::write(folder.path().join("0000000002.journal"), HEADER).unwrap();
        let names = || fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        let before = names();
        for _ in 0..3 {
            drop(FileEngine::open(folder.path(), Durability::PowerLoss).unwrap());
            assert_eq!(names(), before);
        }
        let (engine, node) = open(folder.path());
        life.goes_on(&engine, node).await;
        drop(engine);
        assert_eq!(names(), before, "what was empty was taken");
    });
}

#[cfg(unix)]
#[test]
fn the_folder_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let outer = TempDir::new().unwrap();
    let folder = outer.path().join("a/b");
    drop(open(&folder));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&segment(&folder))), (0o700, 0o600));
}

fn size(folder: &Path) -> u64 {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn space_is_reclaimed() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node) = open(folder.path());
        let life = live(&engine, node).await;
        let create = opening(None);
        let session = create.info.id;
        engine.create(create).await.unwrap();
        for number in 0..60 {
            let begin = Begin { session, principal: None, node, ids: &[number.into()], unique: true };
            let stream = engine.begin(begin).await.unwrap().stream;
            let events = vec![response(vec![b'x'; 1 << 20])];
            engine.append(Append { session, stream, node, first: 1, events, close: true }).await.unwrap();
        }
        engine.end_session(session, EndReason::Deleted).await.unwrap();
        let given_back = || size(folder.path()) < 17 << 20;
        let in_time = (0..400).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            given_back()
        });
        assert!(in_time, "{} bytes", size(folder.path()));
        let copy = killed(folder.path());
        let (engine, node) = open(copy.path());
        life.goes_on(&engine, node).await;
    });
}

/// The path of the only segment with operations in it.
fn segment(folder: &Path) -> std::path::PathBuf {
    folder.join("0000000001.journal")
}

#[test]
fn repeated_reads_are_not_recorded() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node) = open(folder.path());
        let life = live(&engine, node).await;
        assert!(everything(&engine, life.session, node, STANDALONE).await.is_some());
        let before = Journal::newest(&engine.inner.queue);
        assert!(everything(&engine, life.session, node, STANDALONE).await.is_some());
        assert_eq!(Journal::newest(&engine.inner.queue), before);
    });
}
