//! Tests of power loss, with an engine whose operations reach the disk before they are
//! acknowledged.

use proptest::prelude::*;

use super::super::frame::Reader;
use super::*;

/// The unit that a disk writes completely or not at all.
const SECTOR: usize = 512;

/// Sessions that were acknowledged, and the number of sessions in one batch after them that were
/// not.
const ACKNOWLEDGED: usize = 5;
const UNDER_WAY: usize = 20;

/// Returns how many bytes of a segment are used.
fn used(bytes: &[u8]) -> usize {
    let mut pieces = Reader::new(bytes);
    while pieces.next().is_some() {}
    pieces.at()
}

async fn everybody(engine: &FileEngine) -> Vec<SessionId> {
    engine.list().await.unwrap().into_iter().map(|summary| summary.info.id).collect()
}

#[test]
fn segments_end_after_their_last_frame() {
    run(async {
        let folder = TempDir::new().unwrap();
        let engine = FileEngine::open(folder.path(), Durability::PowerLoss).unwrap();
        let node = engine.join(Arc::new(Silent), policy());
        let life = live(&engine, node).await;
        let running = fs::read(segment(folder.path())).unwrap();
        assert!(running.len() > 1 << 20 && used(&running) < 8_000, "{} of {}", used(&running), running.len());
        let crashed = killed(folder.path());
        engine.leave(node);
        drop(engine);
        let ended = fs::read(segment(folder.path())).unwrap();
        assert_eq!(ended.len(), used(&ended));
        for (folder, before) in [(folder, ended), (crashed, running)] {
            let (engine, node) = open(folder.path());
            let Recovery { unreadable_bytes, missing_steps, .. } = engine.recovery();
            assert_eq!((unreadable_bytes, missing_steps), (0, 0));
            assert_eq!(fs::metadata(segment(folder.path())).unwrap().len() as usize, used(&before));
            life.goes_on(&engine, node).await;
        }
    });
}

/// What an earlier process wrote may exist only in memory.
#[test]
fn old_segments_are_synced_when_opened() {
    run(async {
        let folder = TempDir::new().unwrap();
        let engine = FileEngine::open(folder.path(), Durability::ProcessCrash).unwrap();
        live(&engine, engine.join(Arc::new(Silent), policy())).await;
        drop(engine);
        for (durability, asked) in [(Durability::PowerLoss, true), (Durability::ProcessCrash, false)] {
            let mut opened = open::open(folder.path()).unwrap();
            opened.segments.unsyncable = true;
            let (_engine, mut writer) = FileEngine::assemble(opened, durability);
            assert_eq!(writer.segments.take_unsound(), asked, "and what the disk does not take is written anew");
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// A batch reaches the disk in any order. What is left of it counts up to the first missing
    /// operation, and is not damage. Everything acknowledged before is there.
    #[test]
    fn partial_writes_lose_nothing_acknowledged(
        reached in prop::collection::vec(any::<bool>(), 40),
        acknowledged in 0..ACKNOWLEDGED,
    ) {
        run(async {
            let folder = TempDir::new().unwrap();
            let (engine, mut writer) =
                FileEngine::assemble(open::open(folder.path()).unwrap(), Durability::PowerLoss);
            let mut sessions = Vec::new();
            for _ in 0..acknowledged {
                let create = opening(None);
                sessions.push(create.info.id);
                let step = engine.create(create);
                writer.step(Duration::ZERO);
                step.await.unwrap();
            }
            // There is no file before the first operation.
            let before = fs::read(segment(folder.path())).unwrap_or_default();
            let under_way: Vec<_> = (0..UNDER_WAY).map(|_| {
                let create = opening(None);
                sessions.push(create.info.id);
                engine.create(create)
            }).collect();
            writer.step(Duration::ZERO);
            drop(under_way);

            let mut bytes = fs::read(segment(folder.path())).unwrap();
            let changed = used(&before) / SECTOR..=used(&bytes) / SECTOR;
            prop_assert!(changed.clone().count() > 5);
            for (sector, reached) in changed.zip(reached) {
                let place = sector * SECTOR..((sector + 1) * SECTOR).min(bytes.len());
                if !reached {
                    let old: Vec<u8> = place.clone().map(|at| before.get(at).copied().unwrap_or(0)).collect();
                    bytes[place].copy_from_slice(&old);
                }
            }
            let copy = TempDir::new().unwrap();
            fs::write(segment(copy.path()), bytes).unwrap();

            let (again, mut writer) = FileEngine::assemble(open::open(copy.path()).unwrap(), Durability::PowerLoss);
            let mut found = everybody(&again).await;
            prop_assert_eq!(again.recovery().missing_steps, 0);
            prop_assert!(found.len() >= acknowledged);
            prop_assert!(found.iter().all(|session| sessions[..found.len()].contains(session)));
            for _ in 0..3 {
                let create = opening(None);
                found.push(create.info.id);
                let step = again.create(create);
                writer.step(Duration::ZERO);
                step.await.unwrap();
            }
            // What was given up does not come back, and neither do its numbers, whether the engine
            // is dropped or killed.
            let killed = killed(copy.path());
            drop((again, writer));
            for folder in [killed, copy] {
                let engine = FileEngine::open(folder.path(), Durability::PowerLoss).unwrap();
                let sessions = everybody(&engine).await;
                prop_assert_eq!((engine.recovery().missing_steps, sessions.len()), (0, found.len()));
                prop_assert!(sessions.iter().all(|session| found.contains(session)));
            }
            Ok(())
        })?;
    }
}
