//! What restarts, crashes and damage must not do to the engine in files.

use std::fs;
use std::future::Future;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;

use super::frame::{HEADER, Piece, Reader};
use super::*;
use crate::identity::SessionInfo;
use crate::message::{ClientCapabilities, Implementation, ProtocolVersion};
use crate::store::{EventKind, MemoryEngine, Ring, STANDALONE};

#[derive(Debug)]
struct Silent;

impl Doorbell for Silent {
    fn ring(&self, _: Ring) {}
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(test)
}

fn opening(principal: Option<&Principal>) -> Create {
    let info = SessionInfo {
        id: SessionId::random(),
        principal: principal.cloned(),
        version: ProtocolVersion::V2025_11_25,
        client: Implementation { name: "client".into(), version: "1".into(), title: Some("A client".into()) },
        capabilities: ClientCapabilities { roots: Some(RawJson::empty_object()), ..ClientCapabilities::default() },
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

/// The folder as a process that was killed at this moment would leave it.
fn killed(folder: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

/// Everything of a stream, by number, and whether it is closed; `None` when it is not kept.
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

/// A session with everything: a finished call, one in flight, a standalone stream, state; and tasks.
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
        *stream = engine.begin(begin).await.unwrap();
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
        let create = CreateTask { id, principal: Some(owner.clone()), node, ttl: None, document: "working".into() };
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
fn a_session_goes_on_after_a_crash_and_after_an_end() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node) = open(folder.path());
        let life = live(&engine, node).await;
        let crashed = killed(folder.path());
        engine.leave(node);
        drop(engine);
        for folder in [folder, crashed] {
            // More than once: what is brought back is kept, too.
            for _ in 0..3 {
                let (engine, node) = open(folder.path());
                let Recovery { sessions, tasks, unreadable_bytes, missing_steps } = engine.recovery();
                assert_eq!((sessions, tasks, unreadable_bytes, missing_steps), (1, 2, 0, 0));
                life.goes_on(&engine, node).await;
            }
        }
    });
}

#[test]
fn a_plain_reader_goes_on_behind_what_an_earlier_one_was_given() {
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
fn numbers_of_streams_and_nodes_are_never_given_out_again() {
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
                let stream = engine.begin(begin).await.unwrap();
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
        engine.end(session, EndReason::Deleted).await.unwrap();
        let copy = killed(folder.path());
        assert_eq!(open(copy.path()).0.count().await.unwrap(), 0);
    });
}

#[test]
fn time_goes_on_while_nobody_runs() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node) = open(folder.path());
        let task = |ttl| CreateTask {
            id: TaskId::random(),
            principal: None,
            node,
            ttl: Some(Duration::from_millis(ttl)),
            document: Bytes::new(),
        };
        let (short, long) = (task(20), task(3_600_000));
        let ids = (short.id, long.id);
        engine.create_task(short).await.unwrap();
        engine.create_task(long).await.unwrap();
        drop(engine);
        // Tokio's clock stands still, that of the machine does not.
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
        let Life { session, finished, .. } = live(&engine, node).await;
        drop(engine);
        let engine = FileEngine::open(folder.path(), Durability::ProcessCrash).unwrap();
        let policy = Policy { lifetime: Some(Duration::from_secs(120)), ..policy() };
        let node = engine.join(Arc::new(Silent), policy);
        assert!(everything(&engine, session, node, finished).await.is_some());
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(engine.sweep(node).await.unwrap().len(), 0);
        assert_eq!(everything(&engine, session, node, finished).await, None);
        tokio::time::advance(Duration::from_secs(60)).await;
        let ended = engine.sweep(node).await.unwrap();
        assert_eq!(ended.iter().map(|ended| ended.reason).collect::<Vec<_>>(), [EndReason::Lifetime]);
        drop(engine);
        let (engine, node) = open(folder.path());
        assert_eq!(engine.count().await.unwrap(), 0);
        let create = opening(None);
        engine.create(create).await.unwrap();
        drop((engine, node));
        let (engine, node) = open(folder.path());
        tokio::time::advance(Duration::from_secs(1801)).await;
        let ended = engine.sweep(node).await.unwrap();
        assert_eq!(ended.iter().map(|ended| ended.reason).collect::<Vec<_>>(), [EndReason::Idle]);
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
fn a_later_format_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("0000000001.journal");
    fs::write(&file, "mcp-http store 2\nsomething else").unwrap();
    let error = FileEngine::open(folder.path(), Durability::ProcessCrash).unwrap_err();
    assert_eq!(error.to_string(), format!("{} has a format this version does not know", file.display()));
    assert_eq!(fs::read(&file).unwrap(), b"mcp-http store 2\nsomething else");
}

/// An engine on a disk that has no room while the flag is set.
fn open_on_small_disk(folder: &Path, durability: Durability) -> (FileEngine, NodeId, Arc<AtomicBool>) {
    let opened = open::open(folder).unwrap();
    let full = Arc::clone(&opened.segments.full);
    let engine = FileEngine::start(opened, durability).unwrap();
    let node = engine.join(Arc::new(Silent), policy());
    (engine, node, full)
}

/// Waits until the engine knows.
async fn fill_up(engine: &FileEngine, full: &AtomicBool) {
    full.store(true, Ordering::Relaxed);
    engine.create(opening(None)).await.unwrap_err();
    assert!(engine.inner.queue.is_failing());
}

#[test]
fn a_disk_without_room_refuses_steps_and_loses_none() {
    for durability in [Durability::ProcessCrash, Durability::PowerLoss] {
        run(async {
            let folder = TempDir::new().unwrap();
            let (engine, node, full) = open_on_small_disk(folder.path(), durability);
            let life = live(&engine, node).await;
            fill_up(&engine, &full).await;
            for refused in [engine.create(opening(None)).await, engine.create(opening(None)).await] {
                assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::Unavailable);
            }
            // What was there before can still be read.
            assert!(engine.load(life.session, Some(&life.owner)).await.is_ok());
            full.store(false, Ordering::Relaxed);
            let queue = &engine.inner.queue;
            queue.written_at_last(Journal::newest(queue)).await.unwrap();
            engine.create(opening(None)).await.unwrap();
            let count = engine.count().await.unwrap();
            engine.leave(node);
            drop(engine);
            let opened = open::open(folder.path()).unwrap();
            assert_eq!(
                (opened.recovery.unreadable_bytes, opened.recovery.missing_steps, opened.damaged),
                (0, 0, false)
            );
            drop(opened);
            let (engine, node) = open(folder.path());
            assert_eq!(engine.count().await.unwrap(), count);
            life.goes_on(&engine, node).await;
        });
    }
}

#[test]
fn what_a_call_says_while_the_disk_is_full_waits_and_is_not_lost() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node, full) = open_on_small_disk(folder.path(), Durability::ProcessCrash);
        let Life { session, running, .. } = live(&engine, node).await;
        full.store(true, Ordering::Relaxed);
        let append = |first, text: &'static str, close| Append {
            session,
            stream: running,
            node,
            first,
            events: vec![response(text)],
            close,
        };
        // The first one is told of the disk, the other one knows.
        for (first, text, close) in [(3, "three", false), (4, "four", true)] {
            let mut said = Box::pin(engine.append(append(first, text, close)));
            let patience = Instant::now() + Duration::from_millis(700);
            while Instant::now() < patience {
                assert!(futures_util::poll!(&mut said).is_pending(), "{text}");
                std::thread::sleep(Duration::from_millis(10));
            }
            full.store(false, Ordering::Relaxed);
            said.await.unwrap();
            full.store(true, Ordering::Relaxed);
        }
        let copy = killed(folder.path());
        let (engine, node) = open(copy.path());
        let (events, _, closed) = everything(&engine, session, node, running).await.unwrap();
        let texts: Vec<_> = events.iter().map(|(_, text)| text.as_ref()).collect();
        assert_eq!((texts, closed), (vec![&b"one"[..], b"two", b"three", b"four"], true));
        full.store(false, Ordering::Relaxed);
    });
}

#[test]
fn a_reader_stays_while_the_disk_is_full() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node, full) = open_on_small_disk(folder.path(), Durability::ProcessCrash);
        let create = opening(None);
        let session = create.info.id;
        engine.create(create).await.unwrap();
        let attach = Attach { session, principal: None, stream: STANDALONE, node, after: None, takeover: true };
        let reader = engine.attach(attach).await.unwrap();
        full.store(true, Ordering::Relaxed);
        engine.publish(session, node, note("news")).await.unwrap_err();
        let mut reading = Box::pin(engine.read_after(session, STANDALONE, reader.generation, 0, 100));
        assert!(futures_util::poll!(&mut reading).is_pending());
        full.store(false, Ordering::Relaxed);
        let page = reading.await.unwrap();
        assert_eq!(page.events.iter().map(|event| &*event.payload).collect::<Vec<_>>(), [b"news"]);
    });
}

#[test]
fn an_end_nobody_waited_for_is_told_by_the_next_sweep() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node, full) = open_on_small_disk(folder.path(), Durability::ProcessCrash);
        let Life { session, .. } = live(&engine, node).await;
        full.store(true, Ordering::Relaxed);
        let ending = engine.end(session, EndReason::Deleted).now().unwrap_err();
        drop(ending);
        full.store(false, Ordering::Relaxed);
        let ended = engine.sweep(node).await.unwrap();
        assert_eq!(ended.iter().map(|ended| ended.info.id).collect::<Vec<_>>(), [session]);
    });
}

#[test]
fn that_something_is_gone_is_not_told_before_it_is_written() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node, full) = open_on_small_disk(folder.path(), Durability::ProcessCrash);
        let Life { session, owner, .. } = live(&engine, node).await;
        full.store(true, Ordering::Relaxed);
        let ending = engine.end(session, EndReason::Deleted).now().unwrap_err();
        let looking = engine.load(session, Some(&owner)).now().unwrap_err();
        let again = engine.end(session, EndReason::Deleted).now().unwrap_err();
        assert_eq!(ending.await.unwrap_err().kind(), StoreErrorKind::Unavailable);
        assert_eq!(looking.await.unwrap_err().kind(), StoreErrorKind::Unavailable);
        full.store(false, Ordering::Relaxed);
        let queue = &engine.inner.queue;
        queue.written_at_last(Journal::newest(queue)).await.unwrap();
        assert_eq!(again.await.unwrap_err().kind(), StoreErrorKind::NotFound);
        assert_eq!(engine.load(session, Some(&owner)).await.unwrap_err().kind(), StoreErrorKind::NotFound);
    });
}

#[test]
fn what_waits_for_a_full_disk_is_bounded() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node, full) = open_on_small_disk(folder.path(), Durability::ProcessCrash);
        let create = opening(None);
        let session = create.info.id;
        engine.create(create).await.unwrap();
        fill_up(&engine, &full).await;
        let ids: Vec<RequestId> =
            (100..200).map(|id| format!("\"{id}{}\"", "x".repeat(240)).parse().unwrap()).collect();
        for _ in 0..1000 {
            let begin = Begin { session, principal: None, node, ids: &ids, unique: true };
            let Ok(stream) = engine.inner.shared.begin(&begin).0 else { break };
            let attach = Attach { session, principal: None, stream, node, after: Some(0), takeover: true };
            drop(engine.attach(attach));
            drop(engine.finish(session, stream));
        }
        assert!(engine.inner.queue.weight() < 20 << 20, "{} bytes wait", engine.inner.queue.weight());
        full.store(false, Ordering::Relaxed);
    });
}

#[test]
fn an_engine_that_ends_on_a_full_disk_leaves_no_hole() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node, full) = open_on_small_disk(folder.path(), Durability::ProcessCrash);
        let life = live(&engine, node).await;
        fill_up(&engine, &full).await;
        // Behind what could not be written.
        engine.leave(node);
        let waiting = engine.inner.queue.clone();
        full.store(false, Ordering::Relaxed);
        drop(engine);
        let waits = waiting.written_at_last(Journal::newest(&waiting)).await;
        let opened = open::open(folder.path()).unwrap();
        assert_eq!((opened.recovery.missing_steps, opened.damaged), (0, false), "{waits:?}");
        drop(opened);
        let (engine, node) = open(folder.path());
        life.goes_on(&engine, node).await;
    });
}

#[test]
fn what_the_system_could_not_sync_is_written_anew() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node, full) = open_on_small_disk(folder.path(), Durability::ProcessCrash);
        let life = live(&engine, node).await;
        fill_up(&engine, &full).await;
        std::thread::sleep(Duration::from_millis(600));
        full.store(false, Ordering::Relaxed);
        let renewed = (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            !segment(folder.path()).exists()
        });
        assert!(renewed);
        let copy = killed(folder.path());
        let (engine, node) = open(copy.path());
        life.goes_on(&engine, node).await;
    });
}

#[cfg(unix)]
#[test]
fn nobody_else_can_read_the_folder() {
    use std::os::unix::fs::PermissionsExt;
    let outer = TempDir::new().unwrap();
    let folder = outer.path().join("a/b");
    drop(FileEngine::open(&folder, Durability::ProcessCrash).unwrap());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&segment(&folder))), (0o700, 0o600));
}

fn size(folder: &Path) -> u64 {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn space_is_given_back() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node) = open(folder.path());
        let life = live(&engine, node).await;
        let create = opening(None);
        let session = create.info.id;
        engine.create(create).await.unwrap();
        for number in 0..60 {
            let begin = Begin { session, principal: None, node, ids: &[number.into()], unique: true };
            let stream = engine.begin(begin).await.unwrap();
            let events = vec![response(vec![b'x'; 1 << 20])];
            engine.append(Append { session, stream, node, first: 1, events, close: true }).await.unwrap();
        }
        engine.end(session, EndReason::Deleted).await.unwrap();
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

/// The only segment with steps in it.
fn segment(folder: &Path) -> std::path::PathBuf {
    folder.join("0000000001.journal")
}

/// Where each step of a segment ends.
fn ends(bytes: &[u8]) -> Vec<usize> {
    let mut ends = vec![HEADER.len()];
    let mut written = HEADER.to_vec();
    for piece in Reader::new(bytes) {
        let Piece::Frame(frame) = piece else { panic!("a hole in what was just written") };
        frame::write(&frame, &mut written).unwrap();
        ends.push(written.len());
    }
    assert_eq!(written, bytes);
    ends
}

/// Opens a damaged folder and looks at everything of a life in it: whatever is there is as it was.
async fn is_part_of(folder: &Path, life: &Life) -> Recovery {
    let (engine, node) = open(folder);
    let known = [("half", 1), ("whole", 2), ("one", 1), ("two", 2), ("taken", 1), ("untaken", 2), (LOST, 0)];
    for stream in [life.finished, life.running, STANDALONE] {
        let Some((events, tail, _)) = everything(&engine, life.session, node, stream).await else { continue };
        assert!(events.is_sorted_by_key(|(seq, _)| *seq) && events.iter().all(|(seq, _)| *seq <= tail));
        for (seq, payload) in events {
            let lost = payload.starts_with(br#"{"jsonrpc":"2.0","id":"#);
            assert!(lost || known.iter().any(|known| *known == (std::str::from_utf8(&payload).unwrap(), seq)));
        }
    }
    for task in life.tasks {
        let _ = engine.load_task(task, Some(&life.owner)).await;
    }
    engine.create(opening(None)).await.unwrap();
    let recovery = engine.recovery();
    let before = engine.count().await.unwrap();
    drop(engine);
    // It goes on from there, as often as it is opened.
    assert_eq!(open(folder).0.count().await.unwrap(), before);
    recovery
}

#[test]
fn cut_anywhere_a_journal_counts_as_far_as_it_is_whole() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node) = open(folder.path());
        let life = live(&engine, node).await;
        let whole = fs::read(segment(folder.path())).unwrap();
        let ends = ends(&whole);
        assert!(ends.len() > 12, "{ends:?}");
        for cut in (0..whole.len()).filter(|cut| ends.contains(cut) || cut % 37 == 0) {
            let copy = killed(folder.path());
            fs::write(segment(copy.path()), &whole[..cut]).unwrap();
            let recovery = is_part_of(copy.path(), &life).await;
            let last = ends.iter().copied().filter(|end| *end <= cut).max().unwrap_or(0);
            assert_eq!(recovery.unreadable_bytes, (cut - last) as u64, "cut at {cut}");
        }
    });
}

/// The segments of a folder: each its frames, as bytes.
fn lay(folder: &Path, segments: &[&[u8]]) {
    for (number, frames) in (1..).zip(segments) {
        fs::write(folder.join(format!("{number:010}.journal")), [HEADER, frames].concat()).unwrap();
    }
}

#[test]
fn steps_that_stand_twice_are_no_damage() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node) = open(folder.path());
        let life = live(&engine, node).await;
        engine.finish(life.session, life.running).await.unwrap();
        let other = opening(None);
        let id = other.info.id;
        engine.create(other).await.unwrap();
        engine.end(id, EndReason::Deleted).await.unwrap();
        let whole = fs::read(segment(folder.path())).unwrap();
        let ends = ends(&whole);
        for from in ends.iter().take(ends.len() - 1) {
            let twice = TempDir::new().unwrap();
            lay(twice.path(), &[&whole[HEADER.len()..], &whole[*from..]]);
            let opened = open::open(twice.path()).unwrap();
            assert_eq!((opened.recovery.missing_steps, opened.damaged), (0, false), "from {from}");
            assert_eq!((opened.image.sessions.len(), opened.image.tasks.len()), (1, 2));
        }
    });
}

#[test]
fn a_renewal_that_was_cut_short_while_it_deleted_is_no_damage() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node) = open(folder.path());
        let life = live(&engine, node).await;
        let other = opening(None);
        let id = other.info.id;
        engine.create(other).await.unwrap();
        engine.end(id, EndReason::Deleted).await.unwrap();
        let old = fs::read(segment(folder.path())).unwrap();
        let ends = ends(&old);
        engine.inner.shared.write_anew(life.session);
        life.tasks.iter().for_each(|task| engine.inner.shared.write_task_anew(*task));
        let mark = engine.inner.shared.write_nodes_anew();
        engine.inner.queue.written(mark).await.unwrap();
        let whole = fs::read(segment(folder.path())).unwrap();
        for from in ends {
            let rest = TempDir::new().unwrap();
            lay(rest.path(), &[&old[from.max(HEADER.len())..], &whole[old.len()..]]);
            let opened = open::open(rest.path()).unwrap();
            assert_eq!((opened.recovery.missing_steps, opened.damaged), (0, false), "from {from}");
            drop(opened);
            let (engine, node) = open(rest.path());
            assert_eq!(engine.count().await.unwrap(), 1);
            life.goes_on(&engine, node).await;
        }
    });
}

#[test]
fn a_page_that_is_read_again_is_not_noted_again() {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn damaged_anywhere_the_rest_of_a_journal_counts_and_the_hole_is_reported(
        places in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..4),
    ) {
        run(async {
            let folder = TempDir::new().unwrap();
            let (engine, node) = open(folder.path());
            let life = live(&engine, node).await;
            drop(engine);
            let mut bytes = fs::read(segment(folder.path())).unwrap();
            let whole = bytes.clone();
            for (at, flip) in &places {
                bytes[at.index(whole.len())] ^= flip;
            }
            if bytes == whole {
                return;
            }
            fs::write(segment(folder.path()), bytes).unwrap();
            assert!(is_part_of(folder.path(), &life).await.unreadable_bytes > 0);
        });
    }
}

/// What may happen to an engine between two restarts.
#[derive(Debug, Clone)]
enum Op {
    Create { owned: bool },
    End { session: usize },
    Begin { session: usize },
    Append { stream: usize, sizes: Vec<usize>, lasting: bool, close: bool },
    Finish { stream: usize },
    Listen { session: usize },
    Publish { session: usize, size: usize },
    State { session: usize, key: usize },
    CreateTask { size: usize },
    StoreTask { task: usize, done: bool },
    Restart { killed: bool },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let which = 0usize..64;
    let op = prop_oneof![
        2 => any::<bool>().prop_map(|owned| Op::Create { owned }),
        1 => which.clone().prop_map(|session| Op::End { session }),
        4 => which.clone().prop_map(|session| Op::Begin { session }),
        8 => (which.clone(), prop::collection::vec(1usize..120, 1..4), any::<bool>(), prop::bool::weighted(0.3))
            .prop_map(|(stream, sizes, lasting, close)| Op::Append { stream, sizes, lasting, close }),
        1 => which.clone().prop_map(|stream| Op::Finish { stream }),
        2 => which.clone().prop_map(|session| Op::Listen { session }),
        4 => (which.clone(), 1usize..120).prop_map(|(session, size)| Op::Publish { session, size }),
        2 => (which.clone(), 0usize..3).prop_map(|(session, key)| Op::State { session, key }),
        2 => (1usize..50).prop_map(|size| Op::CreateTask { size }),
        2 => (which, any::<bool>()).prop_map(|(task, done)| Op::StoreTask { task, done }),
        1 => any::<bool>().prop_map(|killed| Op::Restart { killed }),
    ];
    prop::collection::vec(op, 0..60)
}

/// The engine in files beside the one in memory, which is its model: a restart is to the model a
/// node that left.
struct Twins {
    folder: TempDir,
    file: Option<FileEngine>,
    memory: MemoryEngine,
    nodes: (NodeId, NodeId),
    sessions: Vec<(SessionId, Option<Principal>)>,
    /// Their numbers are the engines' own: a restart leaves some out.
    streams: Vec<(SessionId, StreamNo, StreamNo, u64)>,
    tasks: Vec<TaskId>,
    count: usize,
}

impl Twins {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let (file, node) = open(folder.path());
        let memory = MemoryEngine::new();
        let nodes = (node, memory.join(Arc::new(Silent), policy()));
        let (sessions, streams, tasks) = Default::default();
        Self { folder, file: Some(file), memory, nodes, sessions, streams, tasks, count: 0 }
    }

    fn file(&self) -> &FileEngine {
        self.file.as_ref().unwrap()
    }

    fn each(&self) -> [(&dyn SessionEngine, NodeId); 2] {
        [(self.file(), self.nodes.0), (&self.memory, self.nodes.1)]
    }

    fn session(&self, number: usize) -> Option<(SessionId, Option<Principal>)> {
        (!self.sessions.is_empty()).then(|| self.sessions[number % self.sessions.len()].clone())
    }

    async fn restart(&mut self, is_killed: bool) {
        if is_killed {
            // What nobody waits for, too: the model has it.
            let queue = &self.file().inner.queue;
            queue.written(Journal::newest(queue)).await.unwrap();
            let copy = killed(self.folder.path());
            self.file = None;
            self.folder = copy;
        } else {
            self.file().leave(self.nodes.0);
            self.file = None;
        }
        let (file, node) = open(self.folder.path());
        assert_eq!((file.recovery().unreadable_bytes, file.recovery().missing_steps), (0, 0));
        self.file = Some(file);
        self.memory.leave(self.nodes.1);
        self.nodes = (node, self.memory.join(Arc::new(Silent), policy()));
    }

    async fn step(&mut self, op: Op) {
        self.count += 1;
        let text = format!("{}", self.count);
        match op {
            Op::Create { owned } => {
                let owner = owned.then(|| Principal::new("owner"));
                let create = opening(owner.as_ref());
                self.sessions.push((create.info.id, owner));
                for (engine, _) in self.each() {
                    engine.create(create.clone()).await.unwrap();
                }
            }
            Op::End { session } => {
                let Some((id, _)) = self.session(session) else { return };
                for (engine, _) in self.each() {
                    engine.end(id, EndReason::Deleted).await.unwrap();
                }
                self.sessions.retain(|(session, _)| *session != id);
                self.streams.retain(|(session, ..)| *session != id);
            }
            Op::Begin { session } => {
                let Some((id, owner)) = self.session(session) else { return };
                let ids = [RequestId::from(self.count as i64)];
                let mut streams = [0; 2];
                for (stream, (engine, node)) in streams.iter_mut().zip(self.each()) {
                    let begin = Begin { session: id, principal: owner.as_ref(), node, ids: &ids, unique: true };
                    *stream = engine.begin(begin).await.unwrap();
                }
                self.streams.push((id, streams[0], streams[1], 1));
            }
            Op::Listen { session } => {
                let Some((session, owner)) = self.session(session) else { return };
                for (engine, node) in self.each() {
                    let principal = owner.as_ref();
                    let attach = Attach { session, principal, stream: STANDALONE, node, after: None, takeover: true };
                    let reader = engine.attach(attach).await.unwrap();
                    engine.read_after(session, STANDALONE, reader.generation, reader.after, 100).await.unwrap();
                    engine.detach(session, STANDALONE, reader.generation).await.unwrap();
                }
            }
            Op::Publish { session, size } => {
                let Some((session, _)) = self.session(session) else { return };
                let event = note(format!("{text:>size$}"));
                let [a, b] = self.each();
                let published = a.0.publish(session, a.1, event.clone()).await.unwrap();
                assert_eq!(published, b.0.publish(session, b.1, event).await.unwrap());
            }
            Op::State { session, key } => {
                let Some((session, _)) = self.session(session) else { return };
                let (key, value) = (key.to_string(), RawJson::parse(text).unwrap());
                for (engine, _) in self.each() {
                    let (_, version) = engine.load_state(session, &key).await.unwrap();
                    assert!(engine.store_state(session, &key, value.clone(), version).await.unwrap());
                }
            }
            Op::Restart { killed } => self.restart(killed).await,
            op => self.step_on_more(op).await,
        }
    }

    async fn step_on_more(&mut self, op: Op) {
        match op {
            Op::Append { stream, sizes, lasting, close } if !self.streams.is_empty() => {
                let at = stream % self.streams.len();
                let (session, in_file, in_memory, first) = self.streams[at];
                let make = |size: &usize| if lasting { response("x".repeat(*size)) } else { note("y".repeat(*size)) };
                let events: Vec<Event> = sizes.iter().map(make).collect();
                let mut results = Vec::new();
                for ((engine, node), stream) in self.each().into_iter().zip([in_file, in_memory]) {
                    let append = Append { session, stream, node, first, events: events.clone(), close };
                    results.push(engine.append(append).await.map_err(|error| error.kind()));
                }
                assert_eq!(results[0], results[1]);
                self.streams[at].3 += if results[0].is_ok() { sizes.len() as u64 } else { 0 };
            }
            Op::Finish { stream } if !self.streams.is_empty() => {
                let (session, in_file, in_memory, _) = self.streams[stream % self.streams.len()];
                self.file().finish(session, in_file).await.unwrap();
                self.memory.finish(session, in_memory).await.unwrap();
            }
            Op::CreateTask { size } => {
                let (id, document) = (TaskId::random(), Bytes::from(vec![b't'; size]));
                let mut results = Vec::new();
                for (engine, node) in self.each() {
                    let create = CreateTask { id, principal: None, node, ttl: None, document: document.clone() };
                    results.push(engine.create_task(create).await.map_err(|error| error.kind()));
                }
                assert_eq!(results[0], results[1]);
                self.tasks.push(id);
            }
            Op::StoreTask { task, done } if !self.tasks.is_empty() => {
                let id = self.tasks[task % self.tasks.len()];
                let mut results = Vec::new();
                for (engine, _) in self.each() {
                    let version = engine.load_task(id, None).await.map_or(1, |task| task.version);
                    let store = StoreTask { id, version, document: Bytes::from(self.count.to_string()), done };
                    results.push(engine.store_task(store).await.map_err(|error| error.kind()));
                }
                assert_eq!(results[0], results[1]);
            }
            _ => {}
        }
    }

    async fn agree(&self) {
        let [file, memory] = self.each();
        assert_eq!(file.0.count().await.unwrap(), self.sessions.len());
        for (session, _) in &self.sessions {
            let streams = self.streams.iter().filter(|(of, ..)| of == session).map(|(_, a, b, _)| (*a, *b));
            for (a, b) in streams.chain([(STANDALONE, STANDALONE)]) {
                let (a, b) =
                    (everything(file.0, *session, file.1, a).await, everything(memory.0, *session, memory.1, b).await);
                assert_eq!(a, b);
            }
            for key in ["0", "1", "2"] {
                let [a, b] = [file.0.load_state(*session, key).await, memory.0.load_state(*session, key).await];
                assert_eq!(a.unwrap(), b.unwrap());
            }
        }
        for task in &self.tasks {
            let [a, b] = [file.0.load_task(*task, None).await, memory.0.load_task(*task, None).await];
            assert_eq!(a.map_err(|error| error.kind()), b.map_err(|error| error.kind()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    /// Wherever it is ended or killed and opened again, it has what an engine in memory has that
    /// went on, and goes on like it.
    #[test]
    fn an_engine_in_files_is_one_in_memory_that_never_ended(ops in ops()) {
        run(async {
            let mut twins = Twins::new();
            for op in ops {
                // Each step at a moment of its own: what is oldest is then the same for both.
                tokio::time::advance(Duration::from_millis(1)).await;
                twins.step(op).await;
            }
            twins.restart(true).await;
            twins.agree().await;
        });
    }
}
