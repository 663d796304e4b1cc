//! Rules on readers: a stream has one at a time, the latest one.

use std::time::Duration;

use super::bench::{Trial, note, numbers, response, stored};
use super::{Backend, Nodes};
use crate::error::StoreErrorKind;
use crate::identity::SessionId;
use crate::store::{Attach, Page, Policy, STANDALONE, Signal, StreamNo};

const FENCED: StoreErrorKind = StoreErrorKind::Fenced;

/// How many events the race of rule 22 has.
const RACE: u64 = 10_000;

/// A client that moves from node to node while events are written receives each of them once.
pub async fn attach_races_append(backend: &dyn Backend, nodes: Nodes) {
    let wide = usize::MAX >> 1;
    let policy = Policy { stream_events: wide, stream_bytes: wide, session_bytes: wide, ..Policy::default() };
    let t = Trial::new(backend, nodes, 22, policy).await;
    let (session, stream) = t.called().await;
    let (writer, reader) = (t.clone(), t.clone());
    let writer = tokio::spawn(async move { write_race(&writer, session, stream).await });
    let reader = tokio::spawn(async move { hop_along(&reader, session, stream).await });
    t.holds(writer.await.is_ok() && reader.await.is_ok(), "see the panic above");
    let reader = t.attach(session, stream, 0).await;
    let page = t.ok(t.b.read(session, stream, reader, 0, usize::MAX).await, "read");
    t.holds(numbers(&page).into_iter().eq(1..=RACE), "the log itself has a gap or a duplicate");
}

async fn write_race(t: &Trial, session: SessionId, stream: StreamNo) {
    let mut next = 1;
    while next <= RACE {
        let count = (next % 4 + 1).min(RACE + 1 - next);
        let close = next + count > RACE;
        let events: Vec<_> = (next..next + count).map(|number| note(&number.to_string())).collect();
        t.ok(t.a.append(session, stream, next, events, close).await, "append");
        next += count;
        if next % 3 == 0 {
            tokio::task::yield_now().await;
        }
    }
}

async fn hop_along(t: &Trial, session: SessionId, stream: StreamNo) {
    let (mut cursor, mut hop) = (0, 0u64);
    loop {
        hop += 1;
        let node = if hop % 2 == 0 { &t.a } else { &t.b };
        let reader = t.ok(node.attach(session, stream, Some(cursor)).await, "attach");
        t.same(reader.after, cursor, "the place it starts after");
        for _ in 0..hop % 5 {
            let page = t.ok(node.read(session, stream, reader, cursor, 64).await, "read");
            cursor = follow(t, cursor, &page);
            if page.closed && cursor == page.tail {
                t.same(cursor, RACE, "events seen");
                return;
            }
            tokio::task::yield_now().await;
        }
        if hop % 3 == 0 {
            t.ok(node.engine.detach(session, stream, reader.generation).await, "detach");
        }
    }
}

/// Returns the cursor after a page.
fn follow(t: &Trial, cursor: u64, page: &Page) -> u64 {
    page.events.iter().fold(cursor, |cursor, event| {
        if event.seq != cursor + 1 {
            t.broken(format_args!("event {} after {cursor}", event.seq));
        }
        t.same(&event.payload, &note(&event.seq.to_string()).payload, "the event");
        event.seq
    })
}

/// The latest reader takes over. The previous one is signalled, and can read no more.
pub async fn a_second_reader_fences_the_first(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 23, Policy::default()).await;
    let (session, stream) = t.called().await;
    t.write(session, stream, 1, &["a", "b"]).await;
    for stream in [stream, STANDALONE] {
        let first = t.ok(t.a.attach(session, stream, Some(0)).await, "attach");
        let second = t.attach(session, stream, 0).await;
        t.holds(second.generation > first.generation, "the later reader has no larger generation");
        let told = |signal: &Signal| {
            matches!(signal, Signal::Detach { session: of, stream: at, generation, .. }
                if *of == session && *at == stream && *generation == first.generation)
        };
        t.signaled(&t.a, told, "the first reader received no signal").await;
        t.rejected(t.a.read(session, stream, first, 0, 99).await, FENCED, "read by the first");
        t.ok(t.b.read(session, stream, second, 0, 99).await, "read by the second");
    }
}

/// A reader that was replaced cannot detach the new one.
pub async fn a_stale_detach_changes_nothing(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 24, Policy::default()).await;
    let (session, stream) = t.called().await;
    t.write(session, stream, 1, &["a"]).await;
    let first = t.ok(t.a.attach(session, stream, Some(0)).await, "attach");
    let second = t.attach(session, stream, 0).await;
    t.ok(t.a.engine.detach(session, stream, first.generation).await, "a stale detach");
    let page = t.ok(t.b.read(session, stream, second, 0, 99).await, "read by the second");
    t.same(page.events, stored(1, &["a"]), "the events");
    for _ in 0..2 {
        t.ok(t.b.engine.detach(session, stream, second.generation).await, "detach");
    }
    t.rejected(t.b.read(session, stream, second, 0, 99).await, FENCED, "read after leaving");
    t.same(t.write(session, stream, 2, &["b"]).await.read, false, "a stream without a reader is read");
    t.ok(t.b.engine.detach(session, stream + 1, 1).await, "detach from a stream that never was");
}

/// Of two clients at the same cursor, one continues.
pub async fn of_two_at_one_cursor_one_reads(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 25, Policy::default()).await;
    let (session, stream) = t.called().await;
    t.write(session, stream, 1, &["a", "b"]).await;
    for _ in 0..20 {
        let other = t.clone();
        let first = tokio::spawn(async move { other.a.attach(session, stream, Some(1)).await });
        let second = t.ok(t.b.attach(session, stream, Some(1)).await, "attach");
        let Ok(first) = first.await else { t.broken(format_args!("attach panicked")) };
        let first = t.ok(first, "attach");
        t.holds(first.generation != second.generation, "two readers have one generation");
        let reads = [t.a.read(session, stream, first, 1, 99).await, t.b.read(session, stream, second, 1, 99).await];
        let active = if first.generation > second.generation { [true, false] } else { [false, true] };
        for (read, active) in reads.into_iter().zip(active) {
            if active {
                t.same(t.ok(read, "read by the later one").events, stored(2, &["b"]), "the events");
            } else {
                t.rejected(read, FENCED, "read by the earlier one");
            }
        }
    }
}

/// Each new reader has a larger generation than all before it.
pub async fn generations_only_grow(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 36, Policy::default()).await;
    let (session, stream) = t.called().await;
    for stream in [STANDALONE, stream] {
        let mut last = 0;
        for turn in 0..20 {
            let node = if turn % 2 == 0 { &t.a } else { &t.b };
            let reader = t.ok(node.attach(session, stream, Some(0)).await, "attach");
            t.holds(reader.generation > last, "a generation that is no larger than the one before");
            last = reader.generation;
            if turn % 3 == 0 {
                t.ok(t.b.engine.detach(session, stream, last).await, "detach");
            }
            if turn == 10 && stream != STANDALONE {
                t.close(session, stream, 1).await;
            }
        }
    }
}

/// A cursor beyond the end was never issued by this stream, and is rejected.
pub async fn unknown_cursors_are_rejected(backend: &dyn Backend, nodes: Nodes) {
    const BEYOND: StoreErrorKind = StoreErrorKind::BeyondEnd;
    let t = Trial::new(backend, nodes, 41, Policy::default()).await;
    let (session, stream) = t.called().await;
    t.rejected(t.b.attach(session, stream, Some(1)).await, BEYOND, "attach after the first of no events");
    t.rejected(t.b.attach(session, STANDALONE, Some(1)).await, BEYOND, "attach to the standalone stream");
    t.write(session, stream, 1, &["a", "b"]).await;
    let reader = t.attach(session, stream, 2).await;
    for after in [3, u64::MAX] {
        t.rejected(t.b.attach(session, stream, Some(after)).await, BEYOND, "attach");
    }
    t.ok(t.b.read(session, stream, reader, 2, 99).await, "read by the reader before the rejected one");
    t.close(session, stream, 3).await;
    t.same(t.all(session, stream, 3).await.events, Vec::new(), "the rest of a finished stream");
    t.rejected(t.b.attach(session, stream, Some(4)).await, BEYOND, "attach to a finished stream");
}

/// The reader is asked to disconnect, with the time after which it may return.
pub async fn requested_detaches_signal_the_reader(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 52, Policy::default()).await;
    let (session, stream) = t.called().await;
    for retry in [None, Some(Duration::from_millis(1500))] {
        let reader = t.attach(session, stream, 0).await;
        t.b.recorder.clear();
        t.ok(t.a.engine.request_detach(session, stream, retry).await, "request_detach");
        let wanted = Signal::Detach { session, stream, generation: reader.generation, retry };
        t.signaled(&t.b, |signal| *signal == wanted, "the reader received no signal").await;
        t.ok(t.b.read(session, stream, reader, 0, 9).await, "a last read");
        t.ok(t.b.engine.detach(session, stream, reader.generation).await, "detach");
    }
    t.ok(t.a.engine.request_detach(session, stream, None).await, "request_detach without a reader");
    t.ok(t.a.engine.request_detach(session, stream + 1, None).await, "request_detach of an unknown stream");
}

/// Without takeover, the first reader stays.
pub async fn a_reader_can_keep_its_place(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 57, Policy::default()).await;
    let session = t.session().await;
    let timid = |after| Attach { session, principal: None, stream: STANDALONE, node: t.a.id, after, takeover: false };
    let first = t.ok(t.a.engine.attach(timid(None)).await, "attach without a present reader");
    t.rejected(t.b.engine.attach(timid(Some(0))).await, StoreErrorKind::Conflict, "attach beside a present reader");
    t.ok(t.a.read(session, STANDALONE, first, 0, 9).await, "read by the first");
    t.ok(t.a.engine.detach(session, STANDALONE, first.generation).await, "detach");
    t.ok(t.b.engine.attach(timid(None)).await, "attach after it left");
}

/// A reader without a cursor receives what was not yet delivered to any reader.
pub async fn readers_continue_after_the_last_one(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 61, Policy::default()).await;
    let (session, stream) = t.called().await;
    t.write(session, stream, 1, &["a", "b", "c"]).await;
    let first = t.ok(t.a.attach(session, stream, None).await, "attach");
    t.same(first.after, 0, "the place of the first reader");
    let page = t.ok(t.a.read(session, stream, first, 0, 1).await, "read");
    t.same(numbers(&page), [1], "the first page");
    let second = t.ok(t.b.attach(session, stream, None).await, "attach");
    t.same(second.after, 1, "the place of the second reader");
    let page = t.ok(t.b.read(session, stream, second, second.after, usize::MAX).await, "read");
    t.same(page.events, stored(2, &["b", "c"]), "the events");
    // A second read of old events does not make them undelivered again.
    t.all(session, stream, 0).await;
    let third = t.ok(t.a.attach(session, stream, None).await, "attach");
    t.same(third.after, 3, "the place of the last reader");
    t.same(t.write(session, stream, 4, &["d"]).await.unread, 3, "bytes that no reader received");
}

/// A rejected attach does not count as a reader: nothing is kept for it.
pub async fn rejected_readers_do_not_open_the_stream(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 64, Policy { max_streams: 1, ..Policy::default() }).await;
    let (session, stream) = t.called().await;
    t.rejected(t.b.attach(session, STANDALONE, Some(3)).await, StoreErrorKind::BeyondEnd, "attach");
    t.attach(session, stream, 0).await;
    t.rejected(t.b.attach(session, STANDALONE, None).await, StoreErrorKind::Full, "attach at the limit");
    let appended = t.ok(t.a.engine.publish(session, t.a.id, response("x")).await, "publish");
    t.same((appended.read, appended.dropped), (false, 1), "what became of an announcement");
    t.close(session, stream, 1).await;
    t.ok(t.a.engine.finish(session, stream).await, "finish");
}
