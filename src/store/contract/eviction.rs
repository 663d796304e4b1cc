//! Rules on what a session gives up when it keeps too much: answers go last.

use std::sync::Arc;

use super::announcements::deliver;
use super::bench::{Trial, info, note, numbers, response};
use super::{Backend, Nodes};
use crate::error::StoreErrorKind;
use crate::identity::{Peer, Principal, SessionId, SessionInfo};
use crate::store::{Attach, Create, Policy, STANDALONE, StreamNo};

/// Text that makes a payload of 300 bytes.
fn text() -> String {
    "x".repeat(298)
}

/// Creates a finished stream with an answer of 300 bytes.
async fn answered(t: &Trial, session: SessionId, id: i64) -> StreamNo {
    let stream = t.call(session, id).await;
    t.ok(t.a.append(session, stream, 1, vec![response(&text())], true).await, "the closing append");
    stream
}

/// A client reads a whole stream and disconnects.
async fn read(t: &Trial, session: SessionId, stream: StreamNo) -> Vec<u64> {
    let reader = t.attach(session, stream, 0).await;
    let page = t.ok(t.b.read(session, stream, reader, 0, usize::MAX).await, "read");
    t.ok(t.b.engine.detach(session, stream, reader.generation).await, "detach");
    numbers(&page)
}

/// Returns `true` if a stream is kept, without reading it.
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

/// The order of eviction: delivered events of open streams, finished streams that were read,
/// undelivered notifications, undelivered answers.
pub async fn delivered_events_are_dropped_first(backend: &dyn Backend, nodes: Nodes) {
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

/// The operation that writes an answer never evicts it, however low the limits are.
pub async fn operations_never_evict_their_own_answer(backend: &dyn Backend, nodes: Nodes) {
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
            // No reader has this one when the next is written.
            if id < 4 {
                let unread = answered(&t, session, 10 + id).await;
                t.holds(is_kept(&t, session, unread).await, "the second answer is not there");
            }
        }
        t.holds(is_kept(&t, session, held).await, "a stream that was read is gone");
    }
}

/// A large answer that waits for its client takes no capacity from the other calls.
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
    // It was read, so it is evicted first from now on.
    t.ok(t.a.append(session, open, 7, vec![note(&text())], false).await, "append");
    t.holds(!is_kept(&t, session, large).await, "an answer that was read stays beyond the bytes");
}

/// The bytes that the streams of all sessions keep are bounded. The largest session loses events
/// first, and loses answers last. If nothing can be evicted, an answer is rejected.
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
    let told = t.ok(t.b.attach(listens, STANDALONE, None).await, "attach").delivered;
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

    // A stream that a reader has cannot be evicted.
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
        let rejected = t.a.append(session, stream, 1, vec![answer()], true).await;
        t.rejected(rejected, StoreErrorKind::Full, "an answer without capacity");
    }
    t.rejected(tell().await, StoreErrorKind::Full, "a delivery without capacity");
    t.close(session, stream, 1).await;
    t.same(read(&t, session, stream).await, [1], "a small answer");
    for (session, stream, reader) in readers {
        t.same(numbers(&t.ok(t.b.read(session, stream, reader, 0, 99).await, "read")), [1], "an answer that is read");
        t.ok(t.b.engine.end_session(session, crate::store::EndReason::Closed).await, "end");
    }
    t.same(give().await.2, 0, "lost answers after sessions ended");
    t.same(t.ok(tell().await, "deliver").up_to, number, "the position, once capacity is free");
    for summary in t.ok(t.a.engine.list().await, "list") {
        t.ok(t.b.engine.end_session(summary.info.id, crate::store::EndReason::Closed).await, "end");
    }
    let (session, stream) = t.called().await;
    let all = response(&"z".repeat(9_998));
    t.ok(t.a.append(session, stream, 1, vec![all], true).await, "an answer as large as everything");
}

/// Creates a session with an owner, and an undelivered answer of the given size in a finished
/// stream.
async fn waiting(t: &Trial, (principal, peer): (Option<&Principal>, Option<Peer>), bytes: usize) -> (SessionId, usize) {
    let session = SessionId::random();
    let info = SessionInfo { peer, ..info(session, principal) };
    t.ok(t.a.engine.create(Create { info: Arc::new(info), epoch: 7 }).await, "create");
    let stream = t.ok(t.a.begin_as(session, principal, &[1.into()], true).await, "begin");
    t.same(stream, FIRST, "the first stream");
    let answer = response(&"y".repeat(bytes - 2));
    let append = t.ok(t.a.append(session, stream, 1, vec![answer], true).await, "the closing append");
    (session, append.lost)
}

/// The stream of the first call of a session.
const FIRST: StreamNo = 1;

/// The sum of an account counts, not its largest session. A client with many sessions loses events
/// before another client with a larger one.
pub async fn the_account_that_keeps_most_loses_events(backend: &dyn Backend, nodes: Nodes) {
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(Principal::new);
    let [near, far, third] = [1, 2, 3].map(|last| Peer::new([192, 0, 2, last].into()));
    let principals = [(Some(&alice), None), (Some(&bob), None), (Some(&carol), None)];
    let peers = [(None, Some(near)), (None, Some(far)), (None, Some(third))];
    for [many, large, new] in [principals, peers, [peers[0], (None, None), (None, None)]] {
        let policy = Policy { session_bytes: 4_000, answer_bytes: 4_000, kept_bytes: 10_000, ..Policy::default() };
        let t = Trial::new(backend, nodes, 104, policy).await;
        let mut hers = Vec::new();
        for _ in 0..3 {
            hers.push(waiting(&t, many, 2_000).await.0);
        }
        let (one, lost) = waiting(&t, large, 3_000).await;
        t.same(lost, 0, "lost answers");
        let (last, lost) = waiting(&t, new, 3_000).await;
        t.same(lost, 1, "lost answers");
        let kept = async |session: SessionId, principal: Option<&Principal>| {
            let attach = Attach { session, principal, stream: FIRST, node: t.b.id, after: Some(0), takeover: true };
            t.b.engine.attach(attach).await.is_ok()
        };
        t.holds(kept(one, large.0).await && kept(last, new.0).await, "a client that keeps less lost events");
        let mut left = 0;
        for session in hers {
            left += usize::from(kept(session, many.0).await);
        }
        t.same(left, 2, "what is left of the account that keeps most");
    }
}

/// When sessions of an account end, what they kept no longer counts for the account.
pub async fn ended_sessions_no_longer_count(backend: &dyn Backend, nodes: Nodes) {
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(Principal::new);
    let [near, far, third] = [1, 2, 3].map(|last| Peer::new([192, 0, 2, last].into()));
    let principals = [(Some(&alice), None), (Some(&bob), None), (Some(&carol), None)];
    let peers = [(None, Some(near)), (None, Some(far)), (None, Some(third))];
    for [less, most, new] in [principals, peers] {
        let policy = Policy { session_bytes: 4_000, answer_bytes: 4_000, kept_bytes: 10_000, ..Policy::default() };
        let t = Trial::new(backend, nodes, 107, policy).await;
        for _ in 0..2 {
            let (ends, _) = waiting(&t, less, 3_000).await;
            t.ok(t.b.engine.end_session(ends, crate::store::EndReason::Deleted).await, "end");
        }
        let (stays, _) = waiting(&t, less, 2_000).await;
        let mut others = Vec::new();
        for _ in 0..2 {
            let (other, lost) = waiting(&t, most, 2_500).await;
            t.same(lost, 0, "lost answers, while there is capacity");
            others.push(other);
        }
        t.same(waiting(&t, new, 3_500).await.1, 1, "lost answers");
        let kept = async |session: SessionId, principal: Option<&Principal>| {
            let attach = Attach { session, principal, stream: FIRST, node: t.b.id, after: Some(0), takeover: true };
            t.b.engine.attach(attach).await.is_ok()
        };
        t.holds(kept(stays, less.0).await, "an account pays for sessions that ended");
        let left = usize::from(kept(others[0], most.0).await) + usize::from(kept(others[1], most.0).await);
        t.same(left, 1, "what is left of the account that keeps most");
    }
}

/// Evicted answers are reported even if the operation then failed, for lack of capacity or for
/// another reason.
pub async fn answers_lost_in_vain_are_reported(backend: &dyn Backend, nodes: Nodes) {
    let Some(tick) = backend.tick() else { return };
    let policy = Policy { session_bytes: 8_000, answer_bytes: 8_000, kept_bytes: 10_000, ..Policy::default() };
    let t = Trial::new(backend, nodes, 105, policy).await;
    let (held, _) = waiting(&t, (None, None), 5_000).await;
    t.attach(held, FIRST, 0).await;
    let (session, stream) = t.called().await;
    for (first, bytes, kind) in [(1, 8_000, StoreErrorKind::Full), (5, 3_000, StoreErrorKind::Fenced)] {
        if kind == StoreErrorKind::Fenced {
            t.close(session, stream, 1).await;
        }
        let (left, _) = waiting(&t, (None, None), 4_000).await;
        backend.pass(tick).await;
        let answer = response(&"z".repeat(bytes));
        match t.a.append(session, stream, first, vec![answer], false).await {
            Err(error) => t.same((error.kind(), error.answers_lost()), (kind, 1), "a rejected append"),
            Ok(appended) => t.broken(format_args!("{appended:?} instead of {kind:?}")),
        }
        t.holds(!is_kept(&t, left, FIRST).await, "what was lost is there");
    }
    let rejected = t.a.append(session, stream, 5, vec![response("small")], false).await;
    t.same(rejected.map_err(|error| error.answers_lost()).err(), Some(0), "answers lost for nothing");

    let listens = t.session().await;
    let told = t.ok(t.b.attach(listens, STANDALONE, None).await, "attach").delivered;
    let number = t.ok(t.a.engine.announce("x", 1).await, "announce");
    let (left, _) = waiting(&t, (None, None), 4_000).await;
    backend.pass(tick).await;
    let silent = t.session().await;
    let none = t.a.engine.deliver(deliver(&t.a, silent, (0, number), 0, &[&"z".repeat(4_000)])).await;
    t.same(t.ok(none, "deliver").lost, 0, "answers lost for a session that never listened");
    t.holds(is_kept(&t, left, FIRST).await, "an answer was evicted for an event that is not stored");
    let delivered = t.a.engine.deliver(deliver(&t.a, listens, (told, number), 0, &[&"z".repeat(3_000)])).await;
    t.same(t.ok(delivered, "deliver").lost, 1, "answers lost for a delivery");
    t.holds(!is_kept(&t, left, FIRST).await, "what was lost is there");
}

/// An operation that found no capacity does not affect the next one, which uses capacity that
/// became available since.
pub async fn freed_capacity_is_used_at_once(backend: &dyn Backend, nodes: Nodes) {
    let policy = Policy { session_bytes: 9_000, answer_bytes: 9_000, kept_bytes: 10_000, ..Policy::default() };
    let t = Trial::new(backend, nodes, 106, policy).await;
    let (held, _) = waiting(&t, (None, None), 9_000).await;
    let reader = t.attach(held, FIRST, 0).await;
    let (session, stream) = t.called().await;
    let answer = || vec![response(&text().repeat(10))];
    for _ in 0..2 {
        t.rejected(t.a.append(session, stream, 1, answer(), false).await, StoreErrorKind::Full, "where nothing can go");
    }
    t.same(numbers(&t.ok(t.b.read(held, FIRST, reader, 0, usize::MAX).await, "read")), [1], "an answer");
    t.ok(t.b.engine.detach(held, FIRST, reader.generation).await, "detach");
    let append = t.ok(t.a.append(session, stream, 1, answer(), false).await, "where an answer was read");
    t.same(append.lost, 0, "lost answers");
    t.holds(!is_kept(&t, held, FIRST).await, "what was read stayed");
    t.ok(t.b.engine.end_session(session, crate::store::EndReason::Closed).await, "end");

    // Three unread answers. After one of them was evicted, another is read, and goes next.
    let mut unread = Vec::new();
    for _ in 0..3 {
        unread.push(waiting(&t, (None, None), 3_000).await.0);
    }
    let (session, stream) = t.called().await;
    let first = t.ok(t.a.append(session, stream, 1, vec![response(&"z".repeat(2_500))], false).await, "append");
    t.same(first.lost, 1, "lost answers, where none was read");
    let mut left = Vec::new();
    for session in unread {
        if is_kept(&t, session, FIRST).await {
            left.push(session);
        }
    }
    t.same(left.len(), 2, "answers that are left");
    t.same(read(&t, left[1], FIRST).await, [1], "an answer");
    let second = t.ok(t.a.append(session, stream, 2, vec![response(&"z".repeat(2_500))], false).await, "append");
    t.same(second.lost, 0, "lost answers, where one was read");
    t.holds(is_kept(&t, left[0], FIRST).await, "an unread answer went before one that was read");
}
