//! Rules on a node that dies without leaving, and on one that comes back after it was given up.

use super::bench::{Node, Trial, answer, note, payload, request_event, response};
use super::{Backend, Nodes};
use crate::error::StoreErrorKind;
use crate::message::RequestId;
use crate::store::{Policy, STANDALONE, Signal};

const FENCED: StoreErrorKind = StoreErrorKind::Fenced;

/// If a node dies without leaving, its calls end with one error after what they had streamed. Its
/// readers are detached, its tasks are orphaned, and the work of other nodes continues.
pub async fn a_silent_node_is_given_up_once(backend: &dyn Backend, _: Nodes) {
    let t = Trial::new(backend, Nodes::Two, 34, Policy::default()).await;
    let (session, own) = t.called().await;
    let streams = calls_of(&t, &t.b, session).await;
    let quiet = t.ok(t.b.begin(session, &[9.into()], true).await, "begin of a call that says nothing");
    t.ok(t.b.attach(session, STANDALONE, None).await, "attach");
    t.ok(t.b.engine.publish(session, t.b.id, request_event("standalone")).await, "publish of a client request");
    let (orphan, kept) = (t.b.task(None, "orphan"), t.task(None, "kept").await);
    let orphan = t.keep(orphan).await;
    t.a.recorder.clear();
    if !backend.part().await {
        return;
    }
    t.signaled(&t.a, |signal| *signal == Signal::Task { task: orphan }, "no node received a signal of the orphan")
        .await;
    for (id, stream) in streams {
        for _ in 0..2 {
            let reader = t.ok(t.a.attach(session, stream, Some(0)).await, "attach to a call that was given up");
            let page = t.ok(t.a.read(session, stream, reader, 0, usize::MAX).await, "read");
            t.same((page.events.len(), page.tail, page.closed), (3, 3, true), "events of a call that was given up");
            t.same(&page.events[0].payload, &payload("said"), "what it had said");
            let end = String::from_utf8_lossy(&page.events[2].payload).into_owned();
            t.holds(end.contains(&format!(r#""id":{id},"#)), "the last event is no answer to the call");
            t.holds(end.contains(r#""code":-32603"#) && end.contains(r#""reason":"node_lost""#), "it is not the error");
            t.ok(t.a.engine.detach(session, stream, reader.generation).await, "detach");
        }
        t.rejected(
            t.a.engine.answer_request(session, &format!("q{id}"), answer("x")).await,
            StoreErrorKind::NotFound,
            "an answer for the node that is gone",
        );
        t.same(
            t.ok(t.a.engine.cancel(session, &id.into()).await, "cancel"),
            false,
            "a call that was given up was found",
        );
    }
    t.rejected(
        t.a.engine.answer_request(session, "standalone", answer("x")).await,
        StoreErrorKind::NotFound,
        "an answer to what it asked on the standalone stream",
    );
    t.same(t.ok(t.a.engine.cancel(session, &9.into()).await, "cancel"), false, "the quiet call was found");
    t.rejected(t.a.attach(session, quiet, None).await, StoreErrorKind::NotFound, "attach to what was never said");
    for (task, orphaned) in [(orphan, true), (kept, false)] {
        let loaded = t.ok(t.a.engine.load_task(task, None).await, "load_task");
        t.same((loaded.orphaned, loaded.done), (orphaned, false), "an orphan, and done");
    }
    let summaries = t.ok(t.a.engine.list().await, "list");
    t.same((summaries[0].calls, summaries[0].readers), (1, 0), "what is left in use");
    t.ok(t.a.append(session, own, 1, vec![response("done")], true).await, "append by the node that stayed");
    backend.rejoin();
}

/// A node that comes back owns nothing of what it had. What it begins now is treated like that of
/// any node.
pub async fn a_node_that_comes_back_starts_anew(backend: &dyn Backend, _: Nodes) {
    let t = Trial::new(backend, Nodes::Two, 35, Policy::default()).await;
    let session = t.session().await;
    let streams = calls_of(&t, &t.b, session).await;
    let reader = t.ok(t.b.attach(session, STANDALONE, None).await, "attach");
    t.b.recorder.clear();
    if !backend.part().await {
        return;
    }
    backend.rejoin();
    t.signaled(&t.b, |signal| *signal == Signal::Resync, "the node received no request to re-check").await;
    for (_, stream) in streams {
        for (first, close) in [(1, false), (3, false), (3, true)] {
            let late = t.b.append(session, stream, first, vec![response("late")], close).await;
            t.rejected(late, FENCED, "append by the node that was given up");
        }
        let cancelled = t.b.engine.cancelled_calls(session, stream).await;
        t.rejected(cancelled, StoreErrorKind::NotFound, "cancelled of a call that was given up");
        t.ok(t.b.engine.finish(session, stream).await, "finish");
        let page = t.all(session, stream, 0).await;
        t.same((page.events.len(), page.closed), (3, true), "events after the node came back");
    }
    t.rejected(t.b.read(session, STANDALONE, reader, 0, 9).await, FENCED, "read by the reader that was given up");
    t.ok(t.b.attach(session, STANDALONE, None).await, "attach anew");
    let stream = t.ok(t.b.begin(session, &[1.into()], true).await, "begin anew");
    t.ok(t.b.append(session, stream, 1, vec![note("x")], false).await, "append anew");
    let task = t.keep(t.b.task(None, "new")).await;
    t.same(
        t.ok(t.a.engine.load_task(task, None).await, "load_task").orphaned,
        false,
        "whether a new task is an orphan",
    );
    t.ok(t.b.append(session, stream, 2, vec![response("done")], true).await, "the closing append");
}

/// Begins two calls of a node, each with a notification and a request to the client.
async fn calls_of(t: &Trial, node: &Node, session: crate::identity::SessionId) -> [(i64, crate::store::StreamNo); 2] {
    let mut calls = [(21, 0), (22, 0)];
    for (id, stream) in &mut calls {
        let request: RequestId = (*id).into();
        *stream = t.ok(node.begin(session, &[request], true).await, "begin");
        let events = vec![note("said"), request_event(&format!("q{id}"))];
        t.ok(node.append(session, *stream, 1, events, false).await, "append");
    }
    calls
}
