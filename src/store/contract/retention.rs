//! Rules on finished streams: how long they are kept, and how many.

use std::time::Duration;

use super::bench::{Trial, note, numbers, response};
use super::{Backend, Nodes};
use crate::error::StoreErrorKind;
use crate::store::{Policy, StreamNo};

const NOT_FOUND: StoreErrorKind = StoreErrorKind::NotFound;

/// A client that returns in time finds its answer. A reader keeps a finished stream; without one it
/// expires.
pub async fn a_finished_stream_is_kept_for_a_while(backend: &dyn Backend, nodes: Nodes) {
    let Some(tick) = backend.tick() else { return };
    let t = Trial::new(backend, nodes, 47, Policy { finished_for: tick * 10, ..Policy::default() }).await;
    let (session, first) = t.called().await;
    let (second, open) = (t.call(session, 2).await, t.call(session, 3).await);
    t.write(session, open, 1, &["open"]).await;
    t.close(session, first, 1).await;
    backend.pass(tick * 6).await;
    t.close(session, second, 1).await;
    t.ok(t.a.engine.expire(t.a.id).await, "sweep");
    let page = t.all(session, first, 0).await;
    t.same((numbers(&page), page.closed), (vec![1], true), "a finished stream in time");

    let reader = t.attach(session, first, 0).await;
    backend.pass(tick * 7).await;
    t.ok(t.b.engine.expire(t.b.id).await, "sweep");
    t.ok(t.b.read(session, first, reader, 0, 99).await, "read by one that came in time");
    t.same(numbers(&t.all(session, second, 0).await), [1], "the second stream in time");
    for stream in [first, second] {
        let last = t.attach(session, stream, 0).await;
        t.ok(t.b.engine.detach(session, stream, last.generation).await, "detach");
    }
    backend.pass(tick * 7).await;
    t.ok(t.a.engine.expire(t.a.id).await, "sweep");
    for stream in [first, second] {
        t.rejected(t.b.attach(session, stream, Some(0)).await, NOT_FOUND, "attach too late");
    }
    t.same(numbers(&t.all(session, open, 0).await), [1], "a stream that is not finished");

    // A stream that is not kept, but still has a reader, must not make a sweep loop forever.
    let t = Trial::new(backend, nodes, 47, Policy { finished_for: Duration::ZERO, ..Policy::default() }).await;
    let (session, stream) = t.called().await;
    let reader = t.attach(session, stream, 0).await;
    t.close(session, stream, 1).await;
    t.ok(t.a.engine.expire(t.a.id).await, "sweep");
    t.ok(t.b.read(session, stream, reader, 0, 99).await, "read by one that was there before");
}

/// The oldest finished stream is evicted first, but not while it has a reader.
pub async fn so_many_finished_streams_are_kept(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 48, Policy { finished_streams: 2, ..Policy::default() }).await;
    let session = t.session().await;
    let open = t.call(session, 99).await;
    t.write(session, open, 1, &["open"]).await;
    let mut finished = Vec::new();
    for id in 1..=3 {
        let stream = t.call(session, id).await;
        t.close(session, stream, 1).await;
        finished.push(stream);
    }
    kept(&t, session, &finished, &[1, 2]).await;
    t.attach(session, finished[1], 0).await;
    let stream = t.call(session, 4).await;
    t.close(session, stream, 1).await;
    finished.push(stream);
    let reader = t.attach(session, finished[1], 0).await;
    kept(&t, session, &finished[2..], &[1]).await;
    t.ok(t.b.read(session, finished[1], reader, 0, 99).await, "read of a finished stream");
    t.same(numbers(&t.all(session, open, 0).await), [1], "the open stream");

    // The stream that finished last is forgotten last, whenever it began.
    if let Some(tick) = backend.tick() {
        let t = Trial::new(backend, nodes, 48, Policy { finished_streams: 2, ..Policy::default() }).await;
        let (session, long) = t.called().await;
        let mut streams = vec![long];
        for id in 101..=103 {
            let stream = t.call(session, id).await;
            t.close(session, stream, 1).await;
            streams.push(stream);
        }
        backend.pass(tick).await;
        t.close(session, long, 1).await;
        kept(&t, session, &streams, &[0, 3]).await;
    }

    let t = Trial::new(backend, nodes, 48, Policy { finished_streams: 0, ..Policy::default() }).await;
    let (session, stream) = t.called().await;
    let reader = t.attach(session, stream, 0).await;
    t.close(session, stream, 1).await;
    t.ok(t.b.read(session, stream, reader, 0, 99).await, "read by one that was there before");
}

/// Asserts which of the streams can be attached to, by their index in the list.
async fn kept(t: &Trial, session: crate::identity::SessionId, streams: &[StreamNo], expected: &[usize]) {
    let mut found = Vec::new();
    for (at, stream) in streams.iter().enumerate() {
        match t.b.attach(session, *stream, Some(0)).await {
            Ok(reader) => {
                t.ok(t.b.engine.detach(session, *stream, reader.generation).await, "detach");
                found.push(at);
            }
            Err(error) => t.same(error.kind(), NOT_FOUND, "attach to a stream that is not kept"),
        }
    }
    t.same(found, expected, "the streams that are kept");
}

/// The bytes that a session keeps are bounded; responses are never dropped from open streams.
pub async fn a_session_keeps_so_many_bytes(backend: &dyn Backend, nodes: Nodes) {
    let policy = Policy { session_bytes: 1000, answer_bytes: 0, ..Policy::default() };
    let t = Trial::new(backend, nodes, 49, policy).await;
    let text = "x".repeat(298);
    let session = t.session().await;
    let mut finished = Vec::new();
    for id in 1..=5 {
        let stream = t.call(session, id).await;
        t.ok(t.a.append(session, stream, 1, vec![response(&text)], true).await, "append");
        finished.push(stream);
    }
    kept(&t, session, &finished, &[2, 3, 4]).await;

    let (first, second) = (t.call(session, 10).await, t.call(session, 11).await);
    for number in 1..=3 {
        t.write(session, first, number, &[&text]).await;
    }
    kept(&t, session, &finished, &[3, 4]).await;
    let mut dropped = 0;
    for number in 1..=3 {
        dropped += t.write(session, second, number, &[&text]).await.dropped;
    }
    let bytes = |list: Vec<crate::store::SessionSummary>| list.iter().map(|summary| summary.bytes).sum::<usize>();
    t.holds(bytes(t.ok(t.b.engine.list().await, "list")) <= 1000, "more bytes than the limit");
    let (here, there) = (t.all(session, first, 0).await, t.all(session, second, 0).await);
    t.same(numbers(&here), [3], "what is left of the first open stream");
    t.same(there.events.last().map(|event| event.seq), Some(3), "the newest event");
    t.same(dropped, 3 - there.events.len(), "events of the stream that were reported as dropped");

    let third = t.call(session, 12).await;
    for number in 1..=5 {
        t.ok(t.a.append(session, third, number, vec![response(&text)], false).await, "append");
    }
    t.same(numbers(&t.all(session, third, 0).await), [1, 2, 3, 4, 5], "responses, which are never dropped");
    t.ok(t.a.append(session, third, 6, vec![note("small")], false).await, "append");
}
