//! Tests of damaged journals, and of what a crash leaves behind.

use proptest::prelude::*;

use super::super::frame::{self, Piece, Reader};
use super::*;

/// Returns where each operation of a segment ends.
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

/// Opens a damaged folder and checks its contents of a `Life`: all that remains is unchanged.
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
    // The state stays the same, however often it is opened.
    assert_eq!(open(folder).0.count().await.unwrap(), before);
    recovery
}

#[test]
fn truncated_journals_are_read_to_the_cut() {
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
            // Zeros at the end may also be prepared space.
            let torn = whole[last..cut].iter().rposition(|byte| *byte != 0).map_or(0, |at| at as u64 + 1);
            assert_eq!(recovery.unreadable_bytes, torn, "cut at {cut}");
        }
    });
}

/// Writes the segments of a folder, each from the bytes of its frames.
fn lay(folder: &Path, segments: &[&[u8]]) {
    for (number, frames) in (1..).zip(segments) {
        fs::write(folder.join(format!("{number:010}.journal")), [HEADER, frames].concat()).unwrap();
    }
}

#[test]
fn repeated_frames_are_no_damage() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node) = open(folder.path());
        let life = live(&engine, node).await;
        engine.finish(life.session, life.running).await.unwrap();
        let other = opening(None);
        let id = other.info.id;
        engine.create(other).await.unwrap();
        engine.end_session(id, EndReason::Deleted).await.unwrap();
        let whole = fs::read(segment(folder.path())).unwrap();
        let ends = ends(&whole);
        for from in ends.iter().take(ends.len() - 1) {
            let twice = TempDir::new().unwrap();
            lay(twice.path(), &[&whole[HEADER.len()..], &whole[*from..]]);
            let opened = open::open(twice.path()).unwrap();
            assert_eq!((opened.recovery.missing_steps, opened.renew), (0, false), "from {from}");
            assert_eq!((opened.image.sessions.len(), opened.image.tasks.len()), (1, 2));
        }
    });
}

/// The rest of a segment whose beginning is lost.
#[test]
fn missing_oldest_frames_are_noticed() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node) = open(folder.path());
        live(&engine, node).await;
        let whole = fs::read(segment(folder.path())).unwrap();
        for (steps, from) in (1..).zip(&ends(&whole)[1..4]) {
            let rest = TempDir::new().unwrap();
            lay(rest.path(), &[b"", &whole[*from..]]);
            let opened = open::open(rest.path()).unwrap();
            assert_eq!((opened.recovery.missing_steps, opened.renew), (steps, true));
            assert_eq!(opened.recovery.unexplained_changes > 0, steps > 1, "without its opening a session is gone");
        }
    });
}

#[test]
fn folders_named_like_segments_are_skipped() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node) = open(folder.path());
        let life = live(&engine, node).await;
        drop(engine);
        for number in [0, 2] {
            fs::create_dir(folder.path().join(format!("{number:010}.journal"))).unwrap();
        }
        for _ in 0..2 {
            let (engine, node) = open(folder.path());
            assert_eq!((engine.recovery().unreadable_bytes, engine.recovery().missing_steps), (0, 0));
            life.goes_on(&engine, node).await;
        }
    });
}

/// Encodes frames as a renewal that began with the first of them.
fn as_renewed(frames: &[u8]) -> Vec<u8> {
    let mut renewed = Vec::new();
    let mut first = None;
    for piece in Reader::new(&[HEADER, frames].concat()) {
        let Piece::Frame(mut frame) = piece else { panic!("a hole in what was just written") };
        frame.first = *first.get_or_insert(frame.number);
        frame::write(&frame, &mut renewed).unwrap();
    }
    renewed
}

#[test]
fn interrupted_deletions_are_no_damage() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node) = open(folder.path());
        let life = live(&engine, node).await;
        let other = opening(None);
        let id = other.info.id;
        engine.create(other).await.unwrap();
        engine.end_session(id, EndReason::Deleted).await.unwrap();
        let old = fs::read(segment(folder.path())).unwrap();
        let ends = ends(&old);
        engine.inner.shared.write_anew(life.session);
        for task in life.tasks {
            engine.inner.shared.write_task_anew(task);
        }
        let mark = engine.inner.shared.write_nodes_anew();
        engine.inner.queue.written(mark).await.unwrap();
        let whole = fs::read(segment(folder.path())).unwrap();
        for from in ends {
            let rest = TempDir::new().unwrap();
            lay(rest.path(), &[&old[from.max(HEADER.len())..], &as_renewed(&whole[old.len()..])]);
            let opened = open::open(rest.path()).unwrap();
            assert_eq!((opened.recovery.missing_steps, opened.renew), (0, false), "from {from}");
            drop(opened);
            let (engine, node) = open(rest.path());
            assert_eq!(engine.count().await.unwrap(), 1);
            life.goes_on(&engine, node).await;
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn damaged_journals_report_the_hole(
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
