//! Rules on signals, which only wake, and on updates to all nodes.

use super::bench::{Manner, Node, Trial, answer, note, request_event, response, stored};
use super::{Backend, Nodes};
use crate::error::StoreErrorKind;
use crate::identity::SessionId;
use crate::message::RequestId;
use crate::store::{Attached, EventKind, Page, Policy, STANDALONE, SessionUpdate, Signal, StreamNo};

/// How many events a call of these rules has.
const EVENTS: u64 = 300;

/// Without any signal, checking again finds everything.
pub async fn everything_arrives_without_signals(backend: &dyn Backend, nodes: Nodes) {
    conversation(backend, nodes, 37, Manner::Deaf).await;
}

/// Signals that arrive three times and in any order change nothing.
pub async fn signals_may_repeat_and_change_order(backend: &dyn Backend, nodes: Nodes) {
    conversation(backend, nodes, 38, Manner::Scrambled).await;
}

/// Runs a call that sends notifications, a request to the client and a response, read at the other
/// node.
async fn conversation(backend: &dyn Backend, nodes: Nodes, number: u8, manner: Manner) {
    let t = Trial::with_recorders(backend, nodes, number, Policy::default(), manner).await;
    let (session, stream) = t.called().await;
    let reader = t.attach(session, stream, 0).await;
    let (writing, t2) = (t.clone(), t.clone());
    let handler = tokio::spawn(async move { handle(&writing, manner, session, stream).await });
    let client = tokio::spawn(async move { listen(&t2, manner, session, stream, reader).await });
    t.holds(handler.await.is_ok() && client.await.is_ok(), "see the panic above");
}

async fn handle(t: &Trial, manner: Manner, session: SessionId, stream: StreamNo) {
    for number in 1..EVENTS {
        let event = if number == EVENTS / 2 { request_event("q") } else { note(&number.to_string()) };
        let asked = event.kind != EventKind::Notification;
        t.ok(t.a.append(session, stream, number, vec![event], false).await, "append");
        let mut looks = 0;
        while asked && t.ok(t.a.engine.take_answer(session, "q").await, "take").is_none() {
            let wanted = Signal::Answer { session, request: "q".into() };
            next(t, manner, &t.a, |signal| *signal == wanted, &mut looks).await;
        }
        tokio::task::yield_now().await;
    }
    t.ok(t.a.append(session, stream, EVENTS, vec![response("done")], true).await, "the closing append");
}

async fn listen(t: &Trial, manner: Manner, session: SessionId, stream: StreamNo, reader: Attached) {
    let (mut cursor, mut looks) = (0, 0);
    loop {
        let page = t.ok(t.b.read(session, stream, reader, cursor, 100).await, "read");
        for event in &page.events {
            t.same(event.seq, cursor + 1, "the next event");
            cursor = event.seq;
            if cursor == EVENTS / 2 {
                t.same(
                    t.ok(t.b.engine.answer_request(session, "q", answer("a")).await, "answer"),
                    true,
                    "the answer counts",
                );
            }
        }
        if page.closed && cursor == page.tail {
            t.same(cursor, EVENTS, "events that arrived");
            return;
        }
        if page.events.is_empty() {
            next(t, manner, &t.b, |signal| matches!(signal, Signal::Stream { .. }), &mut looks).await;
        }
    }
}

/// Waits for a signal, or yields if there are none.
async fn next(t: &Trial, manner: Manner, node: &Node, wanted: impl Fn(&Signal) -> bool, looks: &mut u32) {
    *looks += 1;
    t.holds(*looks < 1_000_000, "looked a million times and nothing came");
    match manner {
        Manner::Deaf => tokio::task::yield_now().await,
        Manner::Faithful | Manner::Scrambled => t.signaled(node, wanted, "no event and no signal came").await,
    }
}

/// Events that are published before the stream had a reader are not kept.
pub async fn nothing_is_kept_before_the_first_reader(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 50, Policy::default()).await;
    let session = t.session().await;
    for node in [&t.a, &t.b] {
        let appended = t.ok(node.engine.publish(session, node.id, note("early")).await, "publish");
        t.same((appended.read, appended.dropped), (false, 1), "what became of it");
    }
    let page = t.all(session, STANDALONE, 0).await;
    t.same((page.events, page.tail), (Vec::new(), 0), "what the first reader finds");
    let reader = t.attach(session, STANDALONE, 0).await;
    t.ok(t.b.engine.detach(session, STANDALONE, reader.generation).await, "detach");
    let appended = t.ok(t.a.engine.publish(session, t.a.id, note("late")).await, "publish");
    t.same((appended.read, appended.dropped), (false, 0), "its fate once the stream was read");
    t.same(t.all(session, STANDALONE, 0).await.events, stored(1, &["late"]), "what a later reader finds");
}

/// Equal consecutive notifications, such as ten times "the list changed", are coalesced until a
/// reader has received them.
pub async fn equal_unread_events_are_merged(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 51, Policy::default()).await;
    let session = t.session().await;
    t.attach(session, STANDALONE, 0).await;
    let publish = async |node: &Node, event| t.ok(node.engine.publish(session, node.id, event).await, "publish");
    for node in [&t.a, &t.b, &t.a] {
        publish(node, note("x")).await;
    }
    publish(&t.b, note("y")).await;
    publish(&t.a, note("x")).await;
    t.same(t.all(session, STANDALONE, 0).await.events, stored(1, &["x", "y", "x"]), "the announcements");
    publish(&t.b, note("x")).await;
    t.same(t.all(session, STANDALONE, 3).await.events, stored(4, &["x"]), "one that was read before");
    publish(&t.b, note("q")).await;
    publish(&t.a, request_event("q")).await;
    let page: Page = t.all(session, STANDALONE, 4).await;
    t.same(page.events, stored(5, &["q", "q"]), "client requests are not merged with equal ones");
}

/// An announcement signals every node.
pub async fn an_announcement_reaches_every_node(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 53, Policy::default()).await;
    for (id, from, topic) in [(1, &t.a, "tools"), (2, &t.b, "file:///é {x}")] {
        let number = t.ok(from.engine.announce(topic, id).await, "announce");
        let told = Signal::Topic { topic: topic.into(), number };
        t.signaled(&t.a, |signal| *signal == told, "the first node received no signal").await;
        if nodes == Nodes::Two {
            t.signaled(&t.b, |signal| *signal == told, "the second node received no signal").await;
        }
    }
}

/// An update about a session signals every other node, but not the node that sends it.
pub async fn updates_reach_every_other_node(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 81, Policy::default()).await;
    let other = Node::join(&t.b.engine, Manner::Faithful, &Policy::default());
    let session = t.session().await;
    for update in [SessionUpdate::State, SessionUpdate::Listens { generation: 3 }] {
        t.ok(t.a.engine.broadcast(session, t.a.id, update).await, "tell");
        t.signaled(&other, |signal| *signal == Signal::Update { session, update }, "another node received no signal")
            .await;
        t.holds(
            !t.a.recorder.has(|signal| matches!(signal, Signal::Update { .. })),
            "the node received its own update",
        );
    }
}

/// A node that left receives no more signals, and the sessions continue without it.
pub async fn left_nodes_receive_no_signals(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 62, Policy::default()).await;
    let gone = Node::join(&t.b.engine, Manner::Faithful, &Policy::default());
    t.holds(gone.id != t.a.id && gone.id != t.b.id, "two nodes have one id");
    let session = t.session().await;
    let reader = t.ok(gone.attach(session, STANDALONE, None).await, "attach");
    gone.engine.leave(gone.id);
    gone.recorder.clear();
    t.ok(t.a.engine.announce("topic", 1).await, "announce");
    t.signaled(&t.a, |signal| matches!(signal, Signal::Topic { .. }), "a node that stays received no signal").await;
    t.attach(session, STANDALONE, 0).await;
    t.holds(!gone.recorder.has(|_| true), "the node that left received a signal");
    t.rejected(gone.read(session, STANDALONE, reader, 0, 9).await, StoreErrorKind::Fenced, "read by the one that left");
    let again = Node::join(&t.a.engine, Manner::Faithful, &Policy::default());
    t.holds(again.id != gone.id, "an id was used twice");
}

/// A node that left holds no readers and no calls. Its calls end with an error after what they had
/// streamed, and its sessions can become idle.
pub async fn left_nodes_hold_nothing(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 66, Policy::default()).await;
    let gone = Node::join(&t.b.engine, Manner::Faithful, &Policy::default());
    let session = t.session().await;
    let id: RequestId = 7.into();
    let stream = t.ok(gone.begin(session, &[id], false).await, "begin");
    t.ok(gone.append(session, stream, 1, vec![note("kept")], false).await, "append");
    t.ok(gone.attach(session, STANDALONE, None).await, "attach");
    gone.engine.leave(gone.id);

    let page = t.all(session, stream, 0).await;
    t.same(page.events.len(), 2, "events of the abandoned call");
    t.same(&page.events[0].payload, &note("kept").payload, "what was streamed before");
    let end = String::from_utf8_lossy(&page.events[1].payload).into_owned();
    t.holds(
        end.contains(r#""id":7"#) && end.contains(r#""reason":"node_lost""#),
        "the call does not end with its error",
    );
    t.holds(page.closed, "the abandoned stream is open");
    let summaries = t.ok(t.a.engine.list().await, "list");
    // The other node's reader is the only one that is left.
    t.same(
        summaries.iter().map(|summary| (summary.calls, summary.readers)).collect::<Vec<_>>(),
        vec![(0, 1)],
        "in use",
    );
}
