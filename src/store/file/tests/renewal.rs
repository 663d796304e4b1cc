//! Tests of renewals: crashes in the middle of one, and when one begins.

use super::*;

/// Large enough that a few of these fill one part of a renewal.
const SIZE: usize = 300 << 10;

async fn fill(engine: &FileEngine, writer: &mut Writer, node: NodeId) -> (SessionId, StreamNo) {
    let create = opening(None);
    let session = create.info.id;
    acknowledged(engine.create(create), writer).await;
    let begin = Begin { session, principal: None, node, ids: &[1.into()], unique: true };
    let stream = engine.begin(begin).await.unwrap().stream;
    say(engine, writer, node, (session, stream), 1).await;
    (session, stream)
}

async fn say(
    engine: &FileEngine,
    writer: &mut Writer,
    node: NodeId,
    (session, stream): (SessionId, StreamNo),
    first: u64,
) {
    let events = vec![response(vec![b'a' + first as u8; SIZE])];
    acknowledged(engine.append(Append { session, stream, node, first, events, close: false }), writer).await;
}

/// Runs an operation with a writer that has no thread: it writes only when the test calls it.
async fn acknowledged<T: Unpin>(step: EngineFuture<Result<T>>, writer: &mut Writer) -> T {
    writer.step(Duration::ZERO);
    step.await.unwrap()
}

/// Asserts that a process killed now leaves exactly what the engine has.
async fn is_whole(folder: &Path, streams: &[((SessionId, StreamNo), u64)], task: TaskId) {
    let copy = killed(folder);
    let opened = open::open(copy.path()).unwrap();
    assert_eq!((opened.recovery.unreadable_bytes, opened.recovery.missing_steps, opened.renew), (0, 0, false));
    drop(opened);
    let engine = FileEngine::open(copy.path(), Durability::ProcessCrash).unwrap();
    let node = engine.join(Arc::new(Silent), Policy::default());
    assert_eq!(engine.count().await.unwrap(), streams.len());
    for ((session, stream), last) in streams {
        let (events, ..) = everything(&engine, *session, node, *stream).await.unwrap();
        let of_handler = events.iter().take_while(|(_, text)| text.len() == SIZE).count() as u64;
        assert_eq!((of_handler, events.len() as u64), (*last, last + 1), "and the error of its call");
    }
    assert!(engine.load_task(task, None).await.is_ok());
}

#[test]
fn crashes_during_renewals_lose_nothing() {
    run(async {
        let folder = TempDir::new().unwrap();
        let mut opened = open::open(folder.path()).unwrap();
        // Everything is to be written again, but only once there is something.
        opened.renew = false;
        let (engine, mut writer) = FileEngine::assemble(opened, Durability::ProcessCrash);
        let node = engine.join(Arc::new(Silent), Policy::default());
        let task = TaskId::random();
        let create = CreateTask { id: task, principal: None, peer: None, node, ttl: None, document: "working".into() };
        acknowledged(engine.create_task(create), &mut writer).await;
        let mut streams = Vec::new();
        for _ in 0..24 {
            streams.push((fill(&engine, &mut writer, node).await, 1));
        }
        let before = engine.inner.queue.newest();
        writer.renew = true;
        let mut moments = 0;
        while moments == 0 || writer.renewal.is_some() {
            // Operations continue meanwhile, both on what is already written again and on what is
            // not.
            let at = moments % streams.len();
            let (stream, last) = &mut streams[at];
            *last += 1;
            say(&engine, &mut writer, node, *stream, *last).await;
            is_whole(folder.path(), &streams, task).await;
            if moments % 2 == 0 {
                streams.push((fill(&engine, &mut writer, node).await, 1));
                let ((session, _), _) = streams.remove(at);
                acknowledged(engine.end_session(session, EndReason::Deleted), &mut writer).await;
                is_whole(folder.path(), &streams, task).await;
            }
            moments += 1;
        }
        assert!(moments >= 3 && engine.inner.queue.newest() > before + 24, "{moments}");
        assert!(!segment(folder.path()).exists());
        is_whole(folder.path(), &streams, task).await;
    });
}

#[test]
fn failing_disks_are_not_filled_with_renewals() {
    run(async {
        let folder = TempDir::new().unwrap();
        let opened = open::open(folder.path()).unwrap();
        let (engine, mut writer) = FileEngine::assemble(opened, Durability::ProcessCrash);
        let node = engine.join(Arc::new(Silent), Policy::default());
        for _ in 0..10 {
            fill(&engine, &mut writer, node).await;
        }
        (writer.segments.unsyncable, writer.renew) = (true, true);
        for _ in 0..50 {
            writer.step(Duration::ZERO);
        }
        assert!(writer.segments.count() < 4 && segment(folder.path()).exists(), "{}", writer.segments.count());
    });
}

/// Lets the writer write what is queued and check repeatedly. Returns how many renewals it began.
fn renewals(writer: &mut Writer) -> usize {
    let mut begun = 0;
    for _ in 0..100 {
        let was = writer.renewal.is_some();
        writer.step(Duration::ZERO);
        begun += usize::from(!was && writer.renewal.is_some());
        // As if the interval between two checks had passed.
        writer.checked.0 = 0;
    }
    begun
}

#[test]
fn what_fills_many_segments_is_renewed_once() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, mut writer) = FileEngine::assemble(open::open(folder.path()).unwrap(), Durability::ProcessCrash);
        writer.segments.full_at = SIZE as u64;
        let node = engine.join(Arc::new(Silent), Policy::default());
        for _ in 0..150 {
            fill(&engine, &mut writer, node).await;
        }
        writer.renew = true;
        assert_eq!(renewals(&mut writer), 1);
        assert!(writer.segments.count() > 33, "{}", writer.segments.count());
    });
}

#[test]
fn many_segments_that_are_not_full_are_renewed() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, mut writer) = FileEngine::assemble(open::open(folder.path()).unwrap(), Durability::ProcessCrash);
        let node = engine.join(Arc::new(Silent), Policy::default());
        fill(&engine, &mut writer, node).await;
        for _ in 0..33 {
            writer.segments.roll().unwrap();
        }
        assert_eq!(renewals(&mut writer), 1);
        assert_eq!(writer.segments.count(), 1);
    });
}

/// What a client states about itself may be as long as a body.
#[test]
fn client_descriptions_count_as_size() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, mut writer) = FileEngine::assemble(open::open(folder.path()).unwrap(), Durability::ProcessCrash);
        engine.join(Arc::new(Silent), Policy::default());
        for _ in 0..6 {
            let Create { info, epoch } = opening(None);
            let experimental = Some(RawJson::parse(format!("\"{}\"", "x".repeat(4 << 20))).unwrap());
            let capabilities = ClientCapabilities { experimental, ..ClientCapabilities::default() }.into();
            let info = Arc::new(SessionInfo { capabilities, ..(*info).clone() });
            acknowledged(engine.create(Create { info, epoch }), &mut writer).await;
        }
        assert_eq!(renewals(&mut writer), 0);
    });
}

/// Each of these letters takes six bytes in the journal, which the estimate does not know.
#[test]
fn wrong_estimates_do_not_repeat_renewals() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, mut writer) = FileEngine::assemble(open::open(folder.path()).unwrap(), Durability::ProcessCrash);
        engine.join(Arc::new(Silent), Policy::default());
        for _ in 0..2 {
            let Create { info, epoch } = opening(None);
            let client = Implementation { name: "\u{1}".repeat(4 << 20), ..(*info.client).clone() }.into();
            let info = Arc::new(SessionInfo { client, ..(*info).clone() });
            acknowledged(engine.create(Create { info, epoch }), &mut writer).await;
        }
        assert!(writer.renewal.is_some(), "it is thought to be less");
        assert_eq!(renewals(&mut writer), 0);
        assert!(writer.renewal.is_none());
    });
}
