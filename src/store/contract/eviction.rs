//! What a session gives up where it keeps more than it may, and that an answer goes last.

use super::announcements::deliver;
use super::bench::{Trial, note, numbers, response};
use super::{Backend, Nodes};
use crate::error::StoreErrorKind;
use crate::identity::SessionId;
use crate::store::{Policy, STANDALONE, StreamNo};

/// 300 bytes as a payload.
fn text() -> String {
    "x".repeat(298)
}

/// A finished stream with an answer of 300 bytes.
async fn answered(t: &Trial, session: SessionId, id: i64) -> StreamNo {
    let stream = t.call(session, id).await;
    t.ok(t.a.append(session, stream, 1, vec![response(&text())], true).await, "the closing append");
    stream
}

/// A client reads everything of a stream and leaves.
async fn read(t: &Trial, session: SessionId, stream: StreamNo) -> Vec<u64> {
    let reader = t.attach(session, stream, 0).await;
    let page = t.ok(t.b.read(session, stream, reader, 0, usize::MAX).await, "read");
    t.ok(t.b.engine.detach(session, stream, reader.generation).await, "detach");
    numbers(&page)
}

/// Whether a stream is there, without reading it.
async fn is_kept(t: &Trial, session: SessionId, stream: StreamNo) -> bool {
    match t.b.attach(session, stream, Some(0)).await {
        Ok(reader) => {
            t.ok(t.b.engine.detach(session, stream, reader.generation).await, "detach");
            true
        }
        Err(error) => {
            t.same(error.kind(), StoreErrorKind::NotFound, "attach to a stream that is not kept");
            false
        }
    }
}

/// First what was given of open streams, then finished streams that were read, then notifications that were not
/// given, then answers that were not.
pub async fn what_was_given_goes_first(backend: &dyn Backend, nodes: Nodes) {
    let policy = Policy { session_bytes: 1000, answer_bytes: 0, ..Policy::default() };
    let t = Trial::new(backend, nodes, 100, policy).await;
    let (session, open) = t.called().await;
    t.write(session, open, 1, &[&text()]).await;
    t.same(read(&t, session, open).await, [1], "the open stream");
    t.write(session, open, 2, &[&text()]).await;
    let seen = answered(&t, session, 2).await;
    t.same(read(&t, session, seen).await, [1], "a finished stream");
    let waits = answered(&t, session, 3).await;
    t.same(numbers(&t.all(session, open, 0).await), [2], "what is left of the open stream");

    let other = t.call(session, 4).await;
    t.holds(is_kept(&t, session, seen).await, "a finished stream went before what was given of an open one");
    t.same(t.write(session, other, 1, &[&text()]).await.lost, 0, "lost answers");
    t.same((is_kept(&t, session, seen).await, is_kept(&t, session, waits).await), (false, true), "what is kept");

    let more = t.write(session, other, 2, &[&text()]).await;
    t.same((more.dropped, more.lost), (1, 0), "what a notification pushed out");
    t.holds(is_kept(&t, session, waits).await, "an answer went before a notification");

    let last = t.call(session, 5).await;
    let append = t.ok(t.a.append(session, last, 1, vec![response(&text())], false).await, "append");
    t.same((append.dropped, append.lost), (0, 1), "what an answer pushed out");
    t.holds(!is_kept(&t, session, waits).await, "an older answer stayed where nothing else could go");
}

/// The step that writes an answer does not forget it, however little may be kept.
pub async fn an_answer_outlives_the_step_that_wrote_it(backend: &dyn Backend, nodes: Nodes) {
    for (session_bytes, finished_streams) in [(100, 128), (1 << 20, 1), (100, 1)] {
        let policy = Policy { session_bytes, finished_streams, answer_bytes: 0, ..Policy::default() };
        let t = Trial::new(backend, nodes, 101, policy).await;
        let session = t.session().await;
        let held = answered(&t, session, 1).await;
        t.attach(session, held, 0).await;
        for id in 2..5 {
            let stream = t.call(session, id).await;
            let before = t.write(session, stream, 1, &["before"]).await.lost;
            let append = t.ok(t.a.append(session, stream, 2, vec![response(&text())], true).await, "append");
            t.same(before + append.lost, usize::from(id > 2), "answers that were lost for it");
            t.holds(read(&t, session, stream).await.contains(&2), "the answer is not there");
            // No reader has that one when the next is written.
            if id < 4 {
                let unread = answered(&t, session, 10 + id).await;
                t.holds(is_kept(&t, session, unread).await, "the second answer is not there");
            }
        }
        t.holds(is_kept(&t, session, held).await, "a stream that was read is gone");
    }
}

/// A large answer that waits for its client takes no room from the calls beside it.
pub async fn an_answer_may_go_beyond_the_bytes(backend: &dyn Backend, nodes: Nodes) {
    let policy = Policy { session_bytes: 1000, answer_bytes: 5000, ..Policy::default() };
    let t = Trial::new(backend, nodes, 102, policy).await;
    let (session, large) = t.called().await;
    let answer = response(&"y".repeat(4000));
    t.ok(t.a.append(session, large, 1, vec![answer], true).await, "the closing append");
    let open = t.call(session, 2).await;
    for number in 1..=6 {
        let append = t.ok(t.a.append(session, open, number, vec![note(&text())], false).await, "append");
        t.same((append.dropped, append.lost), (usize::from(number > 3), 0), "what a notification pushed out");
    }
    let bytes: usize = t.ok(t.b.engine.list().await, "list").iter().map(|summary| summary.bytes).sum();
    t.holds(bytes <= 6000, "more bytes than the limits");
    t.same(numbers(&t.all(session, open, 0).await), [4, 5, 6], "the notifications that are kept");
    t.same(read(&t, session, large).await, [1], "the answer");
    // It was read: now it is the first to go.
    t.ok(t.a.append(session, open, 7, vec![note(&text())], false).await, "append");
    t.holds(!is_kept(&t, session, large).await, "an answer that was read stays beyond the bytes");
}

/// The streams of all sessions keep so many bytes; the largest session makes room, with an answer last, and where nothing
/// can be given up, an answer is refused.
pub async fn all_sessions_keep_so_many_bytes(backend: &dyn Backend, nodes: Nodes) {
    let Some(tick) = backend.tick() else { return };
    let policy = Policy { session_bytes: 4000, answer_bytes: 4000, kept_bytes: 10_000, ..Policy::default() };
    let t = Trial::new(backend, nodes, 103, policy).await;
    let answer = || response(&"y".repeat(2998));
    let bytes = async || {
        let list = t.ok(t.b.engine.list().await, "list");
        list.iter().map(|summary| summary.bytes).sum::<usize>()
    };
    let give = async || {
        backend.pass(tick).await;
        let (session, stream) = t.called().await;
        let append = t.ok(t.a.append(session, stream, 1, vec![answer()], true).await, "the closing append");
        let kept = bytes().await;
        t.holds(kept <= 10_000, "more bytes than the limit");
        (session, stream, append.lost)
    };
    let listens = t.session().await;
    let told = t.ok(t.b.attach(listens, STANDALONE, None).await, "attach").told;
    let number = t.ok(t.a.engine.announce("x", 1).await, "announce");
    let tell = async || t.a.engine.deliver(deliver(&t.a, listens, (told, number), 0, &[&"z".repeat(2998)])).await;
    let (seen, seen_stream, _) = give().await;
    t.same(read(&t, seen, seen_stream).await, [1], "an answer");
    let (noisy, open) = t.called().await;
    for number in 1..=10 {
        t.write(noisy, open, number, &[&text()]).await;
    }
    let first = give().await;
    let second = give().await;
    t.same((first.2, second.2), (0, 0), "lost answers");
    t.holds(!is_kept(&t, seen, seen_stream).await, "what was read stayed");
    let third = give().await;
    t.same(third.2, 0, "lost answers");
    t.same(t.all(noisy, open, 0).await.events.len(), 3, "notifications that are left");
    let fourth = give().await;
    t.same(fourth.2, 1, "lost answers");

    // Nothing of what is read can go.
    let mut readers = Vec::new();
    for (session, stream, _) in [first, second, third, fourth] {
        if let Ok(reader) = t.b.attach(session, stream, Some(0)).await {
            readers.push((session, stream, reader));
        }
    }
    t.same(readers.len(), 3, "answers that are left");
    backend.pass(tick).await;
    let (session, stream) = t.called().await;
    for _ in 0..2 {
        let refused = t.a.append(session, stream, 1, vec![answer()], true).await;
        t.refused(refused, StoreErrorKind::Full, "an answer for which there is no room");
    }
    t.refused(tell().await, StoreErrorKind::Full, "a delivery for which there is no room");
    t.close(session, stream, 1).await;
    t.same(read(&t, session, stream).await, [1], "a small answer");
    for (session, stream, reader) in readers {
        t.same(numbers(&t.ok(t.b.read(session, stream, reader, 0, 99).await, "read")), [1], "an answer that is read");
        t.ok(t.b.engine.end(session, crate::store::EndReason::Closed).await, "end");
    }
    t.same(give().await.2, 0, "lost answers after sessions ended");
    t.same(t.ok(tell().await, "deliver"), number, "up to where the session is told, once there is room");
    for summary in t.ok(t.a.engine.list().await, "list") {
        t.ok(t.b.engine.end(summary.info.id, crate::store::EndReason::Closed).await, "end");
    }
    let (session, stream) = t.called().await;
    let all = response(&"z".repeat(9_998));
    t.ok(t.a.append(session, stream, 1, vec![all], true).await, "an answer as large as everything");
}
