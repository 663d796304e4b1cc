//! Tests of announcements after a crash: what was announced, and what each session had received.

use super::*;

async fn attach(engine: &FileEngine, node: NodeId, session: SessionId) -> Attached {
    let attach = Attach { session, principal: None, stream: STANDALONE, node, after: None, takeover: true };
    engine.attach(attach).await.unwrap()
}

#[test]
fn missed_announcements_survive_crashes() {
    run(async {
        let mut folder = TempDir::new().unwrap();
        let (mut engine, mut node) = open(folder.path());
        let create = opening(None);
        let session = create.info.id;
        engine.create(create).await.unwrap();
        engine.announce("before", 1).await.unwrap();
        let reader = attach(&engine, node, session).await;
        assert_eq!((reader.delivered, reader.newest), (1, 1));
        engine.detach(session, STANDALONE, reader.generation).await.unwrap();
        for (id, topic) in [(2, "a"), (3, "b"), (4, "a")] {
            engine.announce(topic, id).await.unwrap();
        }
        let events = vec![note("b")];
        let deliver = Deliver { session, node, after: 1, up_to: 3, revision: 0, events };
        assert_eq!(engine.deliver(deliver).await.unwrap().up_to, 3);
        for renewed in [false, true] {
            if renewed {
                engine.inner.shared.write_anew(session);
                engine.inner.shared.write_nodes_anew();
                engine.announce("c", 5).await.unwrap();
            }
            let copy = killed(folder.path());
            drop(engine);
            (engine, node) = open(copy.path());
            folder = copy;
            let reader = attach(&engine, node, session).await;
            assert_eq!((reader.delivered, reader.newest), (3, 4 + u64::from(renewed)));
            let missed = engine.announced(reader.delivered, &["a", "b"]).await.unwrap();
            assert_eq!((missed.topics, missed.complete), (vec![(4, "a".into())], true));
        }
    });
}

#[test]
fn forgotten_topics_are_known_after_crashes() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, _) = open(folder.path());
        for number in 1..=1_100 {
            engine.announce(&number.to_string(), number).await.unwrap();
        }
        let copy = killed(folder.path());
        drop(engine);
        let (engine, _) = open(copy.path());
        let all = engine.announced(0, &[]).await.unwrap();
        assert_eq!((all.topics.len(), all.newest, all.complete), (1_024, 1_100, false));
        assert!(engine.announced(76, &["1100"]).await.unwrap().complete);
    });
}
