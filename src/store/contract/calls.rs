//! Rules on calls in flight, their ids, and the state that they share.

use super::bench::{Manner, Trial, note, response};
use super::{Backend, Nodes};
use crate::error::StoreErrorKind;
use crate::identity::SessionId;
use crate::message::{RawJson, RequestId};
use crate::store::{Policy, STANDALONE, Signal, StateValue};

/// A value is stored by the caller that knows its version, and no update is lost.
pub async fn no_update_of_the_state_is_lost(backend: &dyn Backend, nodes: Nodes) {
    const WRITERS: u64 = 4;
    const TIMES: u64 = 25;
    let t = Trial::new(backend, nodes, 10, Policy::default()).await;
    let session = t.session().await;
    t.same(t.ok(t.b.engine.load_state(session, "n").await, "load_state"), (None, 0), "what was never written");
    let wrong = t.b.engine.store_state(session, "n", RawJson::empty_object(), 3).await;
    t.same(t.ok(wrong, "store_state"), false, "a write under a version that never was");

    let writers = (0..WRITERS).map(|number| {
        let t = t.clone();
        tokio::spawn(async move {
            let node = if number % 2 == 0 { &t.a } else { &t.b };
            let mut written = 0;
            while written < TIMES {
                let (value, version) = t.ok(node.engine.load_state(session, "n").await, "load_state");
                let count: u64 = value.and_then(|value| value.read().ok()).unwrap_or(0);
                tokio::task::yield_now().await;
                let Ok(next) = RawJson::from_value(&(count + 1)) else { continue };
                let stored = node.engine.store_state(session, "n", next, version).await;
                written += u64::from(t.ok(stored, "store_state"));
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        t.holds(writer.await.is_ok(), "a writer failed");
    }
    let (value, version) = t.ok(t.b.engine.load_state(session, "n").await, "load_state");
    t.same(value.map(|value| value.as_str().to_owned()), Some((WRITERS * TIMES).to_string()), "updates that were kept");
    t.same(version, WRITERS * TIMES, "the version");
    t.same(t.ok(t.a.engine.load_state(session, "m").await, "load_state"), (None, 0), "another key");
    let other = t.session().await;
    t.same(t.ok(t.a.engine.load_state(other, "n").await, "load_state"), (None, 0), "another session's key");
}

/// One operation reads all values with a prefix, except those that the caller already knows.
pub async fn values_of_a_prefix_are_read_together(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 85, Policy::default()).await;
    let (session, other) = (t.session().await, t.session().await);
    let load = async |prefix: &str, known: &[(&str, u64)]| {
        let loaded = t.ok(t.b.engine.load_states(session, prefix, known).await, "load_states");
        let text = |value: StateValue| (value.key.into_string(), value.value.as_str().to_owned(), value.version);
        let mut values: Vec<_> = loaded.into_iter().map(text).collect();
        values.sort_unstable();
        values
    };
    let row = |key: &str, value: u64, version| (key.to_owned(), value.to_string(), version);
    t.same(load("", &[]).await, vec![], "the values of a session without any");
    for (of, key, value, version) in [
        (session, "a.1", 1, 0),
        (session, "a.2", 2, 0),
        (session, "b", 3, 0),
        (session, "a.2", 4, 1),
        (session, "a", 5, 0),
        (other, "a.3", 6, 0),
    ] {
        let Ok(value) = RawJson::from_value(&value) else { t.broken(format_args!("no value")) };
        let stored = t.a.engine.store_state(of, key, value, version).await;
        t.holds(t.ok(stored, "store_state"), "the newest version did not count");
    }
    t.same(load("a.", &[]).await, vec![row("a.1", 1, 1), row("a.2", 4, 2)], "the values of a prefix");
    t.same(load("a.", &[("a.1", 1), ("a.2", 1), ("a.3", 1)]).await, vec![row("a.2", 4, 2)], "those that are not known");
    t.same(load("a.", &[("a.1", 1), ("a.2", 2)]).await, vec![], "the values where all are known");
    t.same(load("", &[("b", 7)]).await.len(), 4, "how many values there are");
    let unknown = t.a.engine.load_states(SessionId::random(), "a", &[]).await;
    t.rejected(unknown, StoreErrorKind::NotFound, "load_states of an unknown session");
}

/// A duplicate id is rejected on request, together with all other ids of the call to `begin`; `1`
/// is not `"1"`.
pub async fn duplicate_ids_are_rejected_on_demand(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 11, Policy::default()).await;
    let session = t.session().await;
    let (one, two): (RequestId, RequestId) = (1.into(), 2.into());
    let Ok(text) = "\"1\"".parse::<RequestId>() else { t.broken(format_args!("no id")) };
    let first = t.ok(t.a.begin(session, std::slice::from_ref(&one), true).await, "begin");
    let second = t.ok(t.b.begin(session, &[text], true).await, "begin with the id as a string");
    t.holds(first != second, "two calls have one stream");
    let both = [two.clone(), one.clone()];
    t.rejected(t.b.begin(session, &both, true).await, StoreErrorKind::Conflict, "a batch with an id in flight");
    let third =
        t.ok(t.b.begin(session, std::slice::from_ref(&two), true).await, "begin with the other id of a rejected batch");
    let within = [3.into(), 3.into()];
    t.rejected(t.b.begin(session, &within, true).await, StoreErrorKind::Conflict, "a batch with one id twice");

    let fourth = t.ok(t.b.begin(session, &both, false).await, "begin where duplicates are served");
    t.holds(fourth > third && third > second, "the numbers of streams do not ascend");
    for stream in [first, fourth] {
        t.ok(t.a.engine.finish(session, stream).await, "finish");
    }
    t.ok(t.b.begin(session, &[one], true).await, "begin with an id that is free again");
    let other = t.session().await;
    t.ok(t.b.begin(other, &[two], true).await, "begin with an id another session has in flight");
}

/// A cancellation reaches the owner of a call in flight, and no other call.
pub async fn a_call_in_flight_can_be_cancelled(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 32, Policy::default()).await;
    let (session, stream) = t.called().await;
    let id: RequestId = 1.into();
    t.same(t.ok(t.b.engine.cancel(session, &2.into()).await, "cancel"), false, "a call that never began was found");
    let other = t.session().await;
    t.same(t.ok(t.b.engine.cancel(other, &id).await, "cancel"), false, "another session's call was found");
    t.same(t.ok(t.b.engine.cancel(session, &id).await, "cancel"), true, "the call was found");
    let wanted = Signal::Cancel { session, stream, id: id.clone() };
    t.signaled(&t.a, |signal| *signal == wanted, "the owner received no signal").await;
    t.same(t.ok(t.b.engine.cancel(session, &id).await, "cancel"), true, "the call was found again");

    t.ok(t.a.engine.finish(session, stream).await, "finish");
    t.same(t.ok(t.b.engine.cancel(session, &id).await, "cancel"), false, "a finished call was found");
    let stream = t.call(session, 1).await;
    t.close(session, stream, 1).await;
    t.same(t.ok(t.b.engine.cancel(session, &id).await, "cancel"), false, "an answered call was found");
}

/// An owner that received no signal learns of a cancellation from its next append, and by checking.
pub async fn missed_cancellations_are_found(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::with_recorders(backend, nodes, 33, Policy::default(), Manner::Deaf).await;
    let session = t.session().await;
    let both: [RequestId; 2] = [1.into(), 2.into()];
    let batch = t.ok(t.a.begin(session, &both, true).await, "begin");
    let other = t.call(session, 3).await;
    let append = async |stream, first| {
        t.ok(t.a.append(session, stream, first, vec![note("x")], false).await, "append").cancelled
    };
    let cancelled = async |stream| t.ok(t.a.engine.cancelled_calls(session, stream).await, "cancelled");
    t.same((append(batch, 1).await, append(other, 1).await), (false, false), "cancelled before anything was");
    t.same(cancelled(batch).await, [], "the calls that were cancelled before anything was");
    t.same(t.ok(t.b.engine.cancel(session, &2.into()).await, "cancel"), true, "the call was found");
    t.same(
        (append(batch, 1).await, append(batch, 2).await),
        (true, true),
        "cancelled, by a repeated append and a new one",
    );
    t.same((append(other, 2).await, cancelled(other).await), (false, vec![]), "another stream's call");
    t.same(cancelled(batch).await, [2.into()], "the calls that were cancelled");
    t.ok(t.b.engine.cancel(session, &1.into()).await, "cancel of the other one");
    t.same(cancelled(batch).await.len(), 2, "calls that were cancelled in the end");
    t.close(session, batch, 3).await;
    let over = t.a.engine.cancelled_calls(session, batch).await;
    t.rejected(over, StoreErrorKind::NotFound, "cancelled of a stream that is closed");
    let again = t.call(session, 2).await;
    t.same((append(again, 1).await, cancelled(again).await), (false, vec![]), "a later call with the same id");
    let never = t.a.engine.cancelled_calls(session, again + 7).await;
    t.rejected(never, StoreErrorKind::NotFound, "cancelled of a stream that never was");
}

/// If two calls have the same id, a cancellation cannot tell which one was meant, and cancels none.
pub async fn an_ambiguous_id_cancels_nothing(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 56, Policy::default()).await;
    let (session, stream) = t.called().await;
    t.ok(t.b.begin(session, &[1.into()], false).await, "begin with the same id");
    t.same(t.ok(t.b.engine.cancel(session, &1.into()).await, "cancel"), false, "a call was found");
    t.ok(t.a.engine.finish(session, stream).await, "finish");
    t.same(t.ok(t.b.engine.cancel(session, &1.into()).await, "cancel"), true, "the one left was found");
    t.signaled(&t.b, |signal| matches!(signal, Signal::Cancel { .. }), "the owner received no signal").await;
}

/// A call can finish twice. A stream without an answer is forgotten, a stream with an answer is
/// kept.
pub async fn finishing_twice_is_no_error(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 58, Policy::default()).await;
    let (session, stream) = t.called().await;
    t.write(session, stream, 1, &["a"]).await;
    for node in [&t.a, &t.b, &t.a] {
        t.ok(node.engine.finish(session, stream).await, "finish");
    }
    t.rejected(t.b.attach(session, stream, Some(0)).await, StoreErrorKind::NotFound, "attach to what was given up");
    t.rejected(
        t.a.append(session, stream, 2, vec![response("late")], true).await,
        StoreErrorKind::NotFound,
        "append to what was given up",
    );

    let stream = t.call(session, 2).await;
    t.close(session, stream, 1).await;
    t.ok(t.b.engine.finish(session, stream).await, "finish after the answer");
    t.same(t.all(session, stream, 0).await.tail, 1, "events of an answered call");
    t.ok(t.b.engine.finish(session, stream + 7).await, "finish of a stream that never was");
    // The standalone stream belongs to no request and does not end with any of them.
    t.attach(session, STANDALONE, 0).await;
    t.ok(t.b.engine.publish(session, t.b.id, response("kept")).await, "publish");
    t.ok(t.a.engine.finish(session, STANDALONE).await, "finish of the standalone stream");
    t.same(t.all(session, STANDALONE, 0).await.tail, 1, "events of the standalone stream");
}
