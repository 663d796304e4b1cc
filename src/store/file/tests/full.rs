//! Tests of a full disk.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// Opens an engine on a disk that is full while the flag is set.
fn open_on_small_disk(folder: &Path, durability: Durability) -> (FileEngine, NodeId, Arc<AtomicBool>) {
    let opened = open::open(folder).unwrap();
    let full = Arc::clone(&opened.segments.full);
    let engine = FileEngine::start(opened, durability).unwrap();
    let node = engine.join(Arc::new(Silent), policy());
    (engine, node, full)
}

/// Fills the disk, and waits until the engine has noticed.
async fn fill_up(engine: &FileEngine, full: &AtomicBool) {
    full.store(true, Ordering::Relaxed);
    engine.create(opening(None)).await.unwrap_err();
    assert!(engine.inner.queue.is_failing());
}

#[test]
fn full_disks_reject_operations_and_lose_none() {
    for durability in [Durability::ProcessCrash, Durability::PowerLoss] {
        run(async {
            let folder = TempDir::new().unwrap();
            let (engine, node, full) = open_on_small_disk(folder.path(), durability);
            let life = live(&engine, node).await;
            fill_up(&engine, &full).await;
            for rejected in [engine.create(opening(None)).await, engine.create(opening(None)).await] {
                assert_eq!(rejected.unwrap_err().kind(), StoreErrorKind::Unavailable);
            }
            // What existed before can still be read.
            assert!(engine.load(life.session, Some(&life.owner)).await.is_ok());
            full.store(false, Ordering::Relaxed);
            let queue = &engine.inner.queue;
            queue.written_at_last(Journal::newest(queue)).await.unwrap();
            engine.create(opening(None)).await.unwrap();
            let count = engine.count().await.unwrap();
            engine.leave(node);
            drop(engine);
            let opened = open::open(folder.path()).unwrap();
            assert_eq!((opened.recovery.unreadable_bytes, opened.recovery.missing_steps, opened.renew), (0, 0, false));
            drop(opened);
            let (engine, node) = open(folder.path());
            assert_eq!(engine.count().await.unwrap(), count);
            life.goes_on(&engine, node).await;
        });
    }
}

#[test]
fn messages_wait_for_a_full_disk() {
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
        // The first append finds that the disk is full; for the second one, it is already known.
        for (first, text, close) in [(3, "three", false), (4, "four", true)] {
            let mut said = Box::pin(engine.append(append(first, text, close)));
            // This is longer than the pause before the next attempt.
            for _ in 0..70 {
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
fn unreported_ends_are_returned_by_the_next_expiry() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node, full) = open_on_small_disk(folder.path(), Durability::ProcessCrash);
        let Life { session, .. } = live(&engine, node).await;
        full.store(true, Ordering::Relaxed);
        let ending = engine.end_session(session, EndReason::Deleted).now().unwrap_err();
        drop(ending);
        full.store(false, Ordering::Relaxed);
        let ended = engine.expire(node).await.unwrap();
        assert_eq!(ended.iter().map(|ended| ended.info.id).collect::<Vec<_>>(), [session]);
    });
}

/// Returns how many calls and readers of a session are in flight.
async fn in_flight(engine: &FileEngine, session: SessionId) -> (usize, usize) {
    let found = engine.list().await.unwrap().into_iter().find(|summary| summary.info.id == session).unwrap();
    (found.calls, found.readers)
}

#[test]
fn unconfirmed_calls_and_readers_are_undone() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, writer) = FileEngine::assemble(open::open(folder.path()).unwrap(), Durability::ProcessCrash);
        let node = engine.join(Arc::new(Silent), policy());
        let create = opening(None);
        let session = create.info.id;
        let _creating = engine.create(create);
        let attach = Attach { session, principal: None, stream: STANDALONE, node, after: None, takeover: false };
        let attaching = engine.attach(attach).now().unwrap_err();
        let begin = Begin { session, principal: None, node, ids: &[1.into()], unique: true };
        let beginning = engine.begin(begin).now().unwrap_err();
        assert_eq!(in_flight(&engine, session).await, (1, 1));
        drop((attaching, beginning));
        assert_eq!(in_flight(&engine, session).await, (0, 0));
        drop(writer);
    });
}

#[test]
fn full_disks_undo_rejected_calls() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node, full) = open_on_small_disk(folder.path(), Durability::ProcessCrash);
        let create = opening(None);
        let session = create.info.id;
        engine.create(create).await.unwrap();
        full.store(true, Ordering::Relaxed);
        let state = engine.store_state(session, "key", RawJson::parse("1").unwrap(), 0);
        assert_eq!(state.await.unwrap_err().kind(), StoreErrorKind::Unavailable);
        for id in 0..3 {
            let begin = Begin { session, principal: None, node, ids: &[id.into()], unique: true };
            assert_eq!(engine.begin(begin).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
            let attach = Attach { session, principal: None, stream: STANDALONE, node, after: None, takeover: false };
            assert_eq!(engine.attach(attach).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
        }
        assert_eq!(in_flight(&engine, session).await, (0, 0));
        full.store(false, Ordering::Relaxed);
    });
}

#[test]
fn not_found_waits_until_it_is_written() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node, full) = open_on_small_disk(folder.path(), Durability::ProcessCrash);
        let Life { session, owner, .. } = live(&engine, node).await;
        full.store(true, Ordering::Relaxed);
        let ending = engine.end_session(session, EndReason::Deleted).now().unwrap_err();
        let looking = engine.load(session, Some(&owner)).now().unwrap_err();
        let again = engine.end_session(session, EndReason::Deleted).now().unwrap_err();
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
            let Ok(Begun { stream, .. }) = engine.inner.shared.begin(&begin).0 else { break };
            let attach = Attach { session, principal: None, stream, node, after: Some(0), takeover: true };
            drop(engine.attach(attach));
            drop(engine.finish(session, stream));
        }
        assert!(engine.inner.queue.weight() < 20 << 20, "{} bytes wait", engine.inner.queue.weight());
        full.store(false, Ordering::Relaxed);
    });
}

#[test]
fn engines_on_full_disks_leave_no_hole() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node, full) = open_on_small_disk(folder.path(), Durability::ProcessCrash);
        let life = live(&engine, node).await;
        fill_up(&engine, &full).await;
        // This is queued after what could not be written.
        engine.leave(node);
        let waiting = engine.inner.queue.clone();
        full.store(false, Ordering::Relaxed);
        drop(engine);
        let waits = waiting.written_at_last(Journal::newest(&waiting)).await;
        let opened = open::open(folder.path()).unwrap();
        assert_eq!((opened.recovery.missing_steps, opened.renew), (0, false), "{waits:?}");
        drop(opened);
        let (engine, node) = open(folder.path());
        life.goes_on(&engine, node).await;
    });
}

#[test]
fn unsynced_data_is_written_again() {
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

#[test]
fn small_free_space_is_used_for_operations() {
    run(async {
        let folder = TempDir::new().unwrap();
        let mut opened = open::open(folder.path()).unwrap();
        opened.segments.tight = true;
        let engine = FileEngine::start(opened, Durability::PowerLoss).unwrap();
        let node = engine.join(Arc::new(Silent), policy());
        let life = live(&engine, node).await;
        let written = fs::read(segment(folder.path())).unwrap();
        assert!(written.len() < 8_000, "{}", written.len());
        let copy = killed(folder.path());
        let (engine, node) = open(copy.path());
        life.goes_on(&engine, node).await;
    });
}
