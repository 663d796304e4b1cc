//! Rules on the log of a stream: what it contains, and what readers receive.

use super::bench::{Node, Trial, note, numbers, payload, request_event, response, stored};
use super::{Backend, Nodes};
use crate::error::StoreErrorKind;
use crate::store::{Event, Policy, STANDALONE, Stored};

const FENCED: StoreErrorKind = StoreErrorKind::Fenced;
const CONFLICT: StoreErrorKind = StoreErrorKind::Conflict;
const NOT_FOUND: StoreErrorKind = StoreErrorKind::NotFound;

/// Events are numbered from 1 without gaps, with or without a reader.
pub async fn events_are_numbered_from_one(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 12, Policy::default()).await;
    let (session, stream) = t.called().await;
    let alone = t.write(session, stream, 1, &["a", "b"]).await;
    t.same((alone.read, alone.unread, alone.dropped), (false, 6, 0), "what became of the first two");
    let page = t.all(session, stream, 0).await;
    t.same(page.events, stored(1, &["a", "b"]), "the events");
    let read = t.write(session, stream, 3, &["c"]).await;
    t.same((read.read, read.unread), (true, 3), "what became of the third");
    let empty = t.ok(t.a.append(session, stream, 4, Vec::new(), false).await, "append of nothing");
    t.same(empty.unread, 3, "what became of nothing");
    t.close(session, stream, 4).await;
    let page = t.all(session, stream, 0).await;
    t.same((numbers(&page), page.tail, page.closed), (vec![1, 2, 3, 4], 4, true), "numbers, tail and end");

    t.attach(session, STANDALONE, 0).await;
    for (node, text) in [(&t.a, "x"), (&t.b, "y"), (&t.a, "z")] {
        t.ok(node.engine.publish(session, node.id, note(text)).await, "publish");
    }
    t.same(t.all(session, STANDALONE, 0).await.events, stored(1, &["x", "y", "z"]), "the standalone stream");
}

/// A caller that does not know whether its append happened can repeat it.
pub async fn a_repeated_append_is_one_event(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 13, Policy::default()).await;
    let (session, stream) = t.called().await;
    for _ in 0..3 {
        t.write(session, stream, 1, &["a", "b"]).await;
    }
    t.write(session, stream, 3, &["c"]).await;
    t.write(session, stream, 1, &["a", "b"]).await;
    t.same(t.all(session, stream, 0).await.events, stored(1, &["a", "b", "c"]), "the events");
    t.write(session, stream, 3, &["c"]).await;
    t.same(t.all(session, stream, 2).await.events, stored(3, &["c"]), "the events after they were read");
}

/// An append at a wrong number is rejected with a conflict.
pub async fn a_wrong_place_is_a_conflict(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 14, Policy::default()).await;
    let (session, stream) = t.called().await;
    for wrong in [0, 2, 99, u64::MAX] {
        t.rejected(t.a.append(session, stream, wrong, vec![note("x")], false).await, CONFLICT, "append");
    }
    t.write(session, stream, 1, &["a", "b"]).await;
    let partly = vec![note("b"), note("c")];
    t.rejected(t.a.append(session, stream, 2, partly, false).await, CONFLICT, "append over the end");
    t.rejected(t.a.append(session, stream, 4, vec![note("d")], true).await, CONFLICT, "a closing append");
    t.rejected(t.a.append(session, stream, 2, Vec::new(), false).await, CONFLICT, "append of nothing");
    let page = t.all(session, stream, 0).await;
    t.same((page.events, page.closed), (stored(1, &["a", "b"]), false), "the stream");
}

/// Only the node that received the request writes to its stream. The standalone stream has no
/// owner.
pub async fn only_the_owner_appends(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 15, Policy::default()).await;
    let stranger = Node::join(&t.b.engine, super::bench::Manner::Faithful, &Policy::default());
    let (session, stream) = t.called().await;
    t.rejected(stranger.append(session, stream, 1, vec![note("x")], false).await, FENCED, "the first append");
    t.write(session, stream, 1, &["a"]).await;
    t.rejected(stranger.append(session, stream, 2, vec![response("x")], true).await, FENCED, "a closing append");
    t.rejected(stranger.append(session, stream, 1, vec![note("a")], false).await, FENCED, "a repeated append");
    t.close(session, stream, 2).await;
    t.same(t.all(session, stream, 0).await.events, stored(1, &["a", "done"]), "the events");
    t.attach(session, STANDALONE, 0).await;
    t.rejected(
        t.a.append(session, STANDALONE, 1, vec![note("x")], true).await,
        FENCED,
        "append to the standalone stream",
    );
}

/// A closed stream accepts no events, but the owner may repeat the append that closed it.
pub async fn a_closed_stream_takes_nothing(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 16, Policy::default()).await;
    let (session, stream) = t.called().await;
    t.write(session, stream, 1, &["a"]).await;
    for _ in 0..3 {
        t.close(session, stream, 2).await;
    }
    let more = [(3, vec![note("x")], false), (3, vec![response("x")], true), (3, vec![], true), (2, vec![], true)];
    for (first, events, close) in more {
        t.rejected(t.a.append(session, stream, first, events, close).await, FENCED, "append after the end");
    }
    let page = t.all(session, stream, 0).await;
    t.same((page.events, page.closed), (stored(1, &["a", "done"]), true), "the stream");
    t.ok(t.b.begin(session, &[1.into()], true).await, "begin with the id of the answered call");
}

/// A read after any number returns exactly what follows it, however often it is repeated.
pub async fn reading_gives_the_exact_rest(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 17, Policy::default()).await;
    let (session, stream) = t.called().await;
    let texts = ["a", "b", "c", "d", "e"];
    t.write(session, stream, 1, &texts).await;
    let reader = t.attach(session, stream, 0).await;
    for after in (0..=5).chain([2, 0]) {
        let page = t.ok(t.b.read(session, stream, reader, after, usize::MAX).await, "read");
        t.same(page.events, stored(after + 1, &texts[after as usize..]), "the rest");
        t.same((page.tail, page.closed), (5, false), "tail and end");
    }
    for after in 0..=5 {
        let page = t.all(session, stream, after).await;
        t.same(page.events, stored(after + 1, &texts[after as usize..]), "the rest for a new reader");
    }
}

/// A read after the newest event, or far beyond it, returns nothing, and is not an error.
pub async fn nothing_follows_the_tail(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 18, Policy::default()).await;
    let (session, stream) = t.called().await;
    let page = t.all(session, stream, 0).await;
    t.same((page.events, page.tail, page.closed), (Vec::new(), 0, false), "a stream without events");
    t.write(session, stream, 1, &["a"]).await;
    let reader = t.attach(session, stream, 1).await;
    for after in [1, 2, u64::MAX] {
        let page = t.ok(t.b.read(session, stream, reader, after, 10).await, "read");
        t.same((page.events, page.tail), (Vec::new(), 1), "at the tail");
    }
}

/// A reader of one stream never receives events of another.
pub async fn streams_do_not_mix(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 19, Policy::default()).await;
    let session = t.session().await;
    t.attach(session, STANDALONE, 0).await;
    let (first, second) = (t.call(session, 1).await, t.call(session, 2).await);
    for round in 1..=3 {
        t.write(session, first, round, &["first"]).await;
        t.write(session, second, round, &["second"]).await;
        t.ok(t.b.engine.publish(session, t.b.id, note(&format!("none {round}"))).await, "publish");
    }
    t.same(t.all(session, first, 0).await.events, stored(1, &["first"; 3]), "the first stream");
    t.same(t.all(session, second, 0).await.events, stored(1, &["second"; 3]), "the second stream");
    t.same(
        t.all(session, STANDALONE, 0).await.events,
        stored(1, &["none 1", "none 2", "none 3"]),
        "the standalone stream",
    );
    t.rejected(t.b.attach(session, second + 1, Some(0)).await, NOT_FOUND, "attach to a stream that never was");
    t.rejected(t.b.attach(session, u32::MAX, None).await, NOT_FOUND, "attach to the last number");
}

/// The same numbers in another session name other events.
pub async fn sessions_do_not_mix(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 20, Policy::default()).await;
    let (mine, stream) = t.called().await;
    let (other, same) = t.called().await;
    t.write(mine, stream, 1, &["mine", "mine"]).await;
    t.write(other, same, 1, &["other"]).await;
    t.same(t.all(other, same, 0).await.events, stored(1, &["other"]), "the other session");
    let bare = t.session().await;
    t.rejected(t.b.attach(bare, stream, Some(0)).await, NOT_FOUND, "attach to another session's stream");
    let reader = t.attach(mine, stream, 0).await;
    let guessed = t.b.read(bare, stream, reader, 0, 99).await;
    t.rejected(guessed, NOT_FOUND, "read of another session's stream");
    t.rejected(t.a.append(bare, stream, 3, vec![note("x")], false).await, NOT_FOUND, "append across sessions");
    t.same(t.all(mine, stream, 0).await.events, stored(1, &["mine", "mine"]), "the session");
}

/// Consecutive pages of any size add up to the whole stream.
pub async fn paging_loses_nothing(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 21, Policy::default()).await;
    let (session, stream) = t.called().await;
    let sizes = [0usize, 1, 300, 2, 50, 50, 0, 7];
    let texts: Vec<String> = (0..200).map(|number| "x".repeat(sizes[number % sizes.len()])).collect();
    let whole: Vec<&str> = texts.iter().map(String::as_str).collect();
    t.write(session, stream, 1, &whole).await;
    for max_bytes in [0, 1, 64, 500, 1 << 20] {
        let reader = t.attach(session, stream, 0).await;
        let (mut events, mut after) = (Vec::<Stored>::new(), 0);
        loop {
            let page = t.ok(t.b.read(session, stream, reader, after, max_bytes).await, "read");
            let Some(last) = page.events.last() else { break };
            let bytes: usize = page.events.iter().map(|event| event.payload.len()).sum();
            t.holds(page.events.len() == 1 || bytes <= 2 * max_bytes, "a page is much larger than asked for");
            after = last.seq;
            events.extend(page.events);
        }
        t.same(events, stored(1, &whole), "the pages");
    }
}

/// Dropped events show as gaps in the numbers, at the start and in the middle.
pub async fn dropped_events_leave_gaps(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 26, Policy { stream_events: 3, ..Policy::default() }).await;
    let (session, stream) = t.called().await;
    t.write(session, stream, 1, &["1", "2", "3"]).await;
    let reader = t.attach(session, stream, 0).await;
    let page = t.ok(t.b.read(session, stream, reader, 0, 1).await, "read");
    t.same(numbers(&page), [1], "the first page");
    let appended = t.write(session, stream, 4, &["4", "5"]).await;
    t.same(appended.dropped, 1, "dropped unread events");
    let page = t.ok(t.b.read(session, stream, reader, 1, usize::MAX).await, "read");
    t.same((page.events, page.tail), (stored(3, &["3", "4", "5"]), 5), "after the hole");
    let page = t.all(session, stream, 0).await;
    t.same(numbers(&page), [3, 4, 5], "for a reader that comes back");
    let t = Trial::new(backend, nodes, 26, Policy { stream_bytes: 10, ..Policy::default() }).await;
    let (session, stream) = t.called().await;
    t.write(session, stream, 1, &["aaaa", "bbbb", "a longer one"]).await;
    t.same(numbers(&t.all(session, stream, 0).await), [3], "what is left: the newest, however large");
}

/// Requests to the client and responses are never dropped.
pub async fn client_requests_and_responses_survive_overflow(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 27, Policy { stream_events: 2, ..Policy::default() }).await;
    let session = t.session().await;
    let Ok(stream) = t.a.begin(session, &[1.into(), 2.into()], true).await else { t.broken(format_args!("begin")) };
    let mut first = 1;
    for (round, important) in [request_event("q"), response("one")].into_iter().enumerate() {
        let mut events: Vec<Event> = (0..10).map(|number| note(&format!("{round} {number}"))).collect();
        events.push(important);
        let count = events.len() as u64;
        t.ok(t.a.append(session, stream, first, events, false).await, "append");
        first += count;
    }
    let events = vec![note("a"), note("b"), note("c"), response("two")];
    t.ok(t.a.append(session, stream, first, events, true).await, "the closing append");
    let page = t.all(session, stream, 0).await;
    t.same(numbers(&page), [11, 22, 24, 25, 26], "what is left");
    t.same(&page.events[0].payload, &payload("q"), "the client request");
    t.same(&page.events[1].payload, &payload("one"), "the first response");
    t.same(&page.events[4].payload, &payload("two"), "the last response");
}

/// Payloads of any content and length are returned byte for byte.
pub async fn events_come_out_byte_for_byte(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 39, Policy::default()).await;
    let (session, stream) = t.called().await;
    let odd = "\0 \n \r\n \u{2028} \u{feff} \" \\ é 漢 🦀 \u{10ffff} \u{7f} data: id: {p0} * $1 %s ''";
    let large = odd.repeat((1 << 20) / odd.len());
    let texts = [odd, "", "é漢🦀", &large];
    let mut events: Vec<Event> = texts.iter().map(|text| response(text)).collect();
    // The same text with unescaped instead of escaped letters, and the reverse.
    events.push(Event { payload: "\"\\u00e9\\u0000\\/\"".into(), ..response("") });
    let payloads: Vec<_> = events.iter().map(|event| event.payload.clone()).collect();
    t.ok(t.a.append(session, stream, 1, events, true).await, "append");
    let reader = t.attach(session, stream, 0).await;
    let mut after = 0;
    for payload in payloads {
        let page = t.ok(t.b.read(session, stream, reader, after, 1).await, "read");
        after += 1;
        t.same(numbers(&page), [after], "the number");
        t.holds(page.events[0].payload == payload, "an event was changed on its way");
    }
}
