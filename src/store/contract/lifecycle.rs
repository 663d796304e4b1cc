//! Rules on sessions: how they are created, found by their owner, and ended.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::bench::{Node, Trial, answer, note};
use super::{Backend, Nodes};
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::{Principal, SessionId};
use crate::store::{Attach, EndReason, Ended, Policy, STANDALONE, Signal};

const NOT_FOUND: StoreErrorKind = StoreErrorKind::NotFound;

/// A created session is visible to every node, unchanged.
pub async fn a_created_session_is_loaded_as_it_was(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 1, Policy::default()).await;
    let alice = Principal::new("alice");
    for principal in [None, Some(&alice)] {
        let session = t.session_of(principal).await;
        let loaded = t.ok(t.b.engine.load(session, principal).await, "load");
        let made = super::bench::info(session, principal);
        t.same(loaded.epoch, 7, "the epoch");
        t.same(&loaded.info.id, &session, "the id");
        t.same(&loaded.info.principal, &made.principal, "the principal");
        t.same(loaded.info.version, made.version, "the version");
        t.same(&loaded.info.client, &made.client, "the client");
        t.same(&loaded.info.capabilities, &made.capabilities, "the capabilities");
        t.same(loaded.info.opened_at, made.opened_at, "the moment it was opened");
    }
}

/// An id is used once; a second create changes nothing.
pub async fn existing_ids_are_rejected(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 2, Policy::default()).await;
    let alice = Principal::new("alice");
    let session = t.session_of(Some(&alice)).await;
    for principal in [Some(&alice), None, Some(&Principal::new("mallory"))] {
        t.rejected(t.b.create(session, principal).await, StoreErrorKind::Conflict, "a second create");
    }
    t.ok(t.b.engine.load(session, Some(&alice)).await, "load by the owner");
    t.same(t.ok(t.b.engine.count().await, "count"), 1, "sessions");

    let contested = SessionId::random();
    let (here, there) = (t.a.clone(), t.b.clone());
    let first = tokio::spawn(async move { here.create(contested, None).await });
    let second = there.create(contested, None).await;
    let won = usize::from(second.is_ok()) + usize::from(first.await.is_ok_and(|result| result.is_ok()));
    t.same(won, 1, "creates of one id that succeeded");
}

/// Every operation on a session that does not exist fails with the same error.
pub async fn an_unknown_session_is_not_found(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 3, Policy::default()).await;
    t.session().await;
    for (step, result) in every_operation(&t.b, SessionId::random(), None).await {
        t.rejected(result, NOT_FOUND, step);
    }
}

/// To a caller with another principal, or with none, a session looks exactly like one that does not
/// exist. The same holds for a session without a principal and a caller with one.
pub async fn a_wrong_principal_is_not_found(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 4, Policy::default()).await;
    let (alice, bob) = (Principal::new("alice"), Principal::new("bob"));
    for owner in [None, Some(&alice)] {
        let session = t.session_of(owner).await;
        let stream = t.ok(t.a.begin_as(session, owner, &[1.into()], true).await, "begin by the owner");
        for other in [None, Some(&alice), Some(&bob), Some(&Principal::new(""))] {
            if other == owner {
                continue;
            }
            t.rejected(t.b.engine.load(session, other).await, NOT_FOUND, "load");
            t.rejected(t.b.begin_as(session, other, &[2.into()], true).await, NOT_FOUND, "begin");
            for stream in [STANDALONE, stream, stream + 1] {
                let attach = Attach { session, principal: other, stream, node: t.b.id, after: None, takeover: true };
                t.rejected(t.b.engine.attach(attach).await, NOT_FOUND, "attach");
            }
        }
        t.ok(t.b.engine.load(session, owner).await, "load by the owner");
    }
}

/// A session that is used again before its timeout does not expire.
pub async fn use_extends_life(backend: &dyn Backend, nodes: Nodes) {
    let Some(tick) = backend.tick() else { return };
    let t = Trial::new(backend, nodes, 5, expiring(tick)).await;
    let session = t.session().await;
    for _ in 0..4 {
        backend.pass(tick * 6).await;
        t.ok(t.b.engine.load(session, None).await, "load in time");
        t.same(expire(&t, &t.a).await.len(), 0, "sessions expired");
    }
    for id in 1..4 {
        backend.pass(tick * 6).await;
        let stream = t.call(session, id).await;
        t.ok(t.b.engine.finish(session, stream).await, "finish");
        t.same(expire(&t, &t.b).await.len(), 0, "sessions expired");
    }
    backend.pass(tick * 14).await;
    t.same(expire(&t, &t.a).await.len(), 1, "sessions expired in the end");
}

/// If several nodes sweep at once, each expired session is returned to one of them.
pub async fn an_idle_session_expires_once(backend: &dyn Backend, nodes: Nodes) {
    let Some(tick) = backend.tick() else { return };
    let t = Trial::new(backend, nodes, 6, expiring(tick)).await;
    let mut expected = HashMap::new();
    for _ in 0..20 {
        expected.insert(t.session().await, 0);
    }
    t.same(expire(&t, &t.a).await.len(), 0, "sessions expired at once");
    backend.pass(tick * 14).await;
    let fresh = t.session().await;

    let sweepers = (0..8).map(|number| {
        let (t, node) = (t.clone(), if number % 2 == 0 { t.a.clone() } else { t.b.clone() });
        tokio::spawn(async move { expire(&t, &node).await })
    });
    for sweeper in sweepers.collect::<Vec<_>>() {
        let Ok(ended) = sweeper.await else { t.broken(format_args!("a sweep panicked")) };
        for Ended { info, reason } in ended {
            t.same(reason, EndReason::Idle, "the reason");
            *expected.entry(info.id).or_default() += 1;
        }
    }
    t.holds(!expected.contains_key(&fresh), "a session expired that was just made");
    for (session, times) in expected {
        t.same(times, 1, "times a session was handed out");
        t.rejected(t.b.engine.load(session, None).await, NOT_FOUND, "load after expiry");
    }
    t.signaled(
        &t.b,
        |signal| matches!(signal, Signal::Ended { reason: EndReason::Idle, .. }),
        "no node received a signal",
    )
    .await;
    t.ok(t.b.engine.load(fresh, None).await, "load of the new session");
}

/// A session with a call in flight is not idle. It is idle from the moment the call ends.
pub async fn a_call_prevents_expiry(backend: &dyn Backend, nodes: Nodes) {
    let Some(tick) = backend.tick() else { return };
    let t = Trial::new(backend, nodes, 7, expiring(tick)).await;
    let (session, stream) = t.called().await;
    for _ in 0..3 {
        backend.pass(tick * 14).await;
        t.same(expire(&t, &t.b).await.len(), 0, "sessions expired during a call");
    }
    t.ok(t.b.engine.finish(session, stream).await, "finish");
    t.same(expire(&t, &t.b).await.len(), 0, "sessions expired at the end of a call");
    backend.pass(tick * 14).await;
    t.same(expire(&t, &t.b).await.len(), 1, "sessions expired long after the call");
}

/// A session with a connected client is not idle. It is idle from the moment the client
/// disconnects.
pub async fn a_reader_prevents_expiry(backend: &dyn Backend, nodes: Nodes) {
    let Some(tick) = backend.tick() else { return };
    let t = Trial::new(backend, nodes, 8, expiring(tick)).await;
    let session = t.session().await;
    let reader = t.attach(session, STANDALONE, 0).await;
    for _ in 0..3 {
        backend.pass(tick * 14).await;
        t.same(expire(&t, &t.a).await.len(), 0, "sessions expired while a reader is attached");
    }
    t.ok(t.b.engine.detach(session, STANDALONE, reader.generation).await, "detach");
    t.same(expire(&t, &t.a).await.len(), 0, "sessions expired when the reader leaves");
    backend.pass(tick * 14).await;
    t.same(expire(&t, &t.a).await.len(), 1, "sessions expired long after");
}

/// A discarded session ends like any other. Discarding it again is no error.
pub async fn a_discarded_session_is_gone(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 108, Policy::default()).await;
    let (session, stream) = t.called().await;
    t.attach(session, stream, 0).await;
    let stays = t.session().await;
    for node in [&t.a, &t.b, &t.a] {
        t.ok(node.engine.discard_session(session).await, "discard");
    }
    t.ok(t.b.engine.discard_session(SessionId::random()).await, "discard of an unknown session");
    for node in [&t.a, &t.b] {
        for (step, result) in every_operation(node, session, None).await {
            t.rejected(result, NOT_FOUND, step);
        }
    }
    t.signaled(&t.b, |signal| matches!(signal, Signal::Ended { session: ended, .. } if *ended == session), "no signal")
        .await;
    t.ok(t.a.engine.load(stays, None).await, "load of another session");
    t.same(t.ok(t.b.engine.count().await, "count"), 1, "sessions left");
}

/// One caller ends the session. All its calls and readers end with it, for every node.
pub async fn an_ended_session_is_not_found(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 9, Policy::default()).await;
    let (session, stream) = t.called().await;
    t.attach(session, STANDALONE, 0).await;
    t.attach(session, stream, 0).await;
    t.write(session, stream, 1, &["a"]).await;

    let (t2, reason) = (t.clone(), EndReason::Deleted);
    let first = tokio::spawn(async move { t2.a.engine.end_session(session, reason).await });
    let second = t.b.engine.end_session(session, reason).await;
    let mut ended: Vec<_> = first.await.into_iter().chain([second]).flatten().collect();
    t.same(ended.len(), 1, "callers that ended the session");
    let ended = ended.remove(0);
    t.same((ended.info.id, ended.reason), (session, reason), "what ended");

    for node in [&t.a, &t.b] {
        for (step, result) in every_operation(node, session, None).await {
            t.rejected(result, NOT_FOUND, step);
        }
    }
    t.signaled(&t.a, |signal| *signal == Signal::Ended { session, reason }, "the first node received no signal").await;
    if nodes == Nodes::Two {
        t.signaled(&t.b, |signal| *signal == Signal::Ended { session, reason }, "the second node received no signal")
            .await;
    }
    t.same(t.ok(t.b.engine.count().await, "count"), 0, "sessions left");
}

/// A call in flight does not extend the lifetime of a session.
pub async fn a_session_ends_at_its_greatest_age(backend: &dyn Backend, nodes: Nodes) {
    let Some(tick) = backend.tick() else { return };
    let policy = Policy { idle_timeout: None, lifetime: Some(tick * 20), ..Policy::default() };
    let t = Trial::new(backend, nodes, 54, policy).await;
    let (session, _) = t.called().await;
    t.attach(session, STANDALONE, 0).await;
    backend.pass(tick * 12).await;
    let young = t.session().await;
    t.same(expire(&t, &t.b).await.len(), 0, "sessions expired in time");
    backend.pass(tick * 12).await;
    let ended = expire(&t, &t.b).await;
    t.same(
        ended.iter().map(|ended| (ended.info.id, ended.reason)).collect::<Vec<_>>(),
        [(session, EndReason::Lifetime)],
        "what ended",
    );
    t.same(expire(&t, &t.a).await.len(), 0, "sessions expired again");
    t.ok(t.a.engine.load(young, None).await, "load of the younger session");
}

/// All sessions are listed, with what they do.
pub async fn sessions_are_listed_and_counted(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 55, Policy::default()).await;
    t.same(t.ok(t.b.engine.count().await, "count"), 0, "sessions of a new engine");
    let (busy, stream) = t.called().await;
    t.write(busy, stream, 1, &["text"]).await;
    t.attach(busy, stream, 0).await;
    let idle = t.session().await;
    t.same(t.ok(t.b.engine.count().await, "count"), 2, "sessions");
    let list = t.ok(t.b.engine.list().await, "list");
    t.same(list.len(), 2, "sessions listed");
    for summary in &list {
        let facts = (summary.calls, summary.readers, summary.bytes);
        let expected = if summary.info.id == busy { (1, 1, 6) } else { (0, 0, 0) };
        t.same(facts, expected, "calls, readers and bytes");
    }
    t.holds(list.iter().any(|summary| summary.info.id == idle), "a session is not listed");
    t.ok(t.a.engine.end_session(busy, EndReason::Closed).await, "end");
    t.same(t.ok(t.b.engine.count().await, "count"), 1, "sessions after one ended");
    t.same(t.ok(t.b.engine.list().await, "list").len(), 1, "sessions listed after one ended");

    let (ann, bob) = (Principal::new("ann"), Principal::new("bob"));
    let mut own = Vec::new();
    for _ in 0..3 {
        own.push(t.session_of(Some(&ann)).await);
    }
    t.session_of(Some(&bob)).await;
    let gone = own.swap_remove(1);
    t.ok(t.a.engine.end_session(gone, EndReason::Closed).await, "end");
    let found = t.ok(t.b.engine.sessions_of(&ann).await, "sessions_of");
    t.same(found.len(), 2, "sessions of a principal");
    t.holds(own.iter().all(|session| found.contains(session)), "a session of a principal is not found");
    let none = t.ok(t.b.engine.sessions_of(&Principal::new("carol")).await, "sessions_of");
    t.same(none.len(), 0, "sessions of a principal without any");
    for (session, principal) in [(idle, None), (own[0], Some(ann))] {
        let info = t.ok(t.b.engine.peek(session).await, "find");
        t.same((info.id, &info.principal), (session, &principal), "a session that was found");
    }
    for session in [busy, gone, SessionId::random()] {
        t.rejected(t.b.engine.peek(session).await, StoreErrorKind::NotFound, "find of a session that is gone");
    }
}

fn expiring(tick: Duration) -> Policy {
    Policy { idle_timeout: Some(tick * 10), ..Policy::default() }
}

async fn expire(t: &Trial, node: &Node) -> Vec<Ended> {
    t.ok(node.engine.expire(node.id).await, "sweep")
}

/// Runs every operation on a session, and returns the results.
async fn every_operation(
    node: &Node,
    session: SessionId,
    principal: Option<&Principal>,
) -> Vec<(&'static str, Result<(), StoreError>)> {
    let engine = Arc::clone(&node.engine);
    let mut results = vec![
        ("load", engine.load(session, principal).await.map(drop)),
        ("begin", node.begin_as(session, principal, &[9.into()], true).await.map(drop)),
        ("publish", engine.publish(session, node.id, note("x")).await.map(drop)),
        ("answer", engine.answer_request(session, "q", answer("x")).await.map(drop)),
        ("take", engine.take_answer(session, "q").await.map(drop)),
        ("withdraw", engine.withdraw_request(session, "q").await),
        ("cancel", engine.cancel(session, &1.into()).await.map(drop)),
        ("load_state", engine.load_state(session, "k").await.map(drop)),
        ("load_states", engine.load_states(session, "", &[]).await.map(drop)),
        ("end", engine.end_session(session, EndReason::Closed).await.map(drop)),
    ];
    if let Ok(value) = answer("x") {
        results.push(("store_state", engine.store_state(session, "k", value, 0).await.map(drop)));
    }
    for stream in [STANDALONE, 1, 2] {
        let attach = Attach { session, principal, stream, node: node.id, after: None, takeover: true };
        results.extend([
            ("finish", engine.finish(session, stream).await),
            ("append", node.append(session, stream, 1, vec![note("x")], false).await.map(drop)),
            ("attach", engine.attach(attach).await.map(drop)),
            ("read_after", engine.read_after(session, stream, 1, 0, 99).await.map(drop)),
            ("detach", engine.detach(session, stream, 1).await),
            ("request_detach", engine.request_detach(session, stream, None).await),
        ]);
    }
    results
}
