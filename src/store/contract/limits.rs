//! Rules on limits: they are reached exactly, and capacity becomes available again.

use std::sync::Arc;

use super::bench::{Trial, info, response};
use super::{Backend, Nodes};
use crate::error::StoreErrorKind;
use crate::identity::{Peer, Principal, SessionId, SessionInfo};
use crate::store::{Attach, Create, EndReason, Ended, Policy, STANDALONE};

const FULL: StoreErrorKind = StoreErrorKind::Full;
const FULL_FOR_PRINCIPAL: StoreErrorKind = StoreErrorKind::FullForPrincipal;

/// Creates a session, and returns it with the sessions that were evicted for it.
async fn create(t: &Trial, principal: Option<&Principal>) -> (SessionId, Vec<SessionId>) {
    let session = SessionId::random();
    let ended = t.ok(t.b.create(session, principal).await, "create");
    t.holds(ended.iter().all(|ended| ended.reason == EndReason::Evicted), "another reason than eviction");
    (session, ended.into_iter().map(|Ended { info, .. }| info.id).collect())
}

/// The session that has been idle longest is evicted. A session with work in progress is never
/// evicted.
pub async fn the_longest_idle_session_is_evicted(backend: &dyn Backend, nodes: Nodes) {
    let Some(tick) = backend.tick() else { return };
    let t = Trial::new(backend, nodes, 42, Policy { max_sessions: 3, ..Policy::default() }).await;
    let (busy, stream) = t.called().await;
    backend.pass(tick).await;
    let idle = t.session().await;
    backend.pass(tick).await;
    let heard = t.session().await;
    let reader = t.attach(heard, STANDALONE, 0).await;
    backend.pass(tick).await;
    let (second, evicted) = create(&t, None).await;
    t.same(evicted, [idle], "what was evicted");
    backend.pass(tick).await;
    let (third, evicted) = create(&t, None).await;
    t.same(evicted, [second], "what was evicted next");
    t.ok(t.a.begin(third, &[1.into()], true).await, "begin");
    t.rejected(t.b.create(SessionId::random(), None).await, FULL, "create where nothing is idle");

    t.ok(t.a.engine.detach(heard, STANDALONE, reader.generation).await, "detach");
    backend.pass(tick).await;
    t.ok(t.a.engine.finish(busy, stream).await, "finish");
    backend.pass(tick).await;
    let (fourth, evicted) = create(&t, None).await;
    t.same(evicted, [heard], "what was evicted after it was left");
    t.ok(t.b.engine.load(fourth, None).await, "load");
    t.same(create(&t, None).await.1, [busy], "what was evicted after it was answered");
    t.same(t.ok(t.b.engine.count().await, "count"), 3, "sessions");
    t.ok(t.a.engine.load(third, None).await, "load of the session at work");
}

/// Sessions that were never used are evicted before any used one, the oldest first, both at the
/// total limit and at a principal's limit.
pub async fn unused_sessions_are_evicted_first(backend: &dyn Backend, nodes: Nodes) {
    let Some(tick) = backend.tick() else { return };
    let (alice, roomy) = (Principal::new("alice"), Policy { max_sessions: 6, ..Policy::default() });
    for (owner, policy) in [(None, roomy.clone()), (Some(&alice), Policy { max_sessions_per_principal: 6, ..roomy })] {
        let t = Trial::new(backend, nodes, 90, policy).await;
        let mut used = Vec::new();
        for _ in 0..4 {
            used.push(t.session_of(owner).await);
        }
        backend.pass(tick).await;
        t.ok(t.b.engine.load(used[0], owner).await, "load");
        let stream = t.ok(t.a.begin_as(used[1], owner, &[1.into()], true).await, "begin");
        t.ok(t.a.engine.finish(used[1], stream).await, "finish");
        let reader = Attach {
            session: used[2],
            principal: owner,
            stream: STANDALONE,
            node: t.b.id,
            after: None,
            takeover: true,
        };
        let generation = t.ok(t.b.engine.attach(reader).await, "attach").generation;
        t.ok(t.b.engine.detach(used[2], STANDALONE, generation).await, "detach");
        t.holds(!t.ok(t.b.engine.cancel(used[3], &1.into()).await, "cancel"), "cancelled what is not in flight");
        backend.pass(tick).await;
        let mut unused = Vec::new();
        for _ in 0..2 {
            unused.push(t.session_of(owner).await);
            backend.pass(tick).await;
        }
        for round in 0..8 {
            let (new, evicted) = create(&t, owner).await;
            t.same(evicted, [unused.remove(0)], &format!("what was evicted in round {round}"));
            unused.push(new);
            backend.pass(tick).await;
        }
        // A session that is used now counts like any other. If all sessions were used, the longest
        // idle one is evicted.
        for session in &unused {
            t.ok(t.a.engine.load(*session, owner).await, "load of one that is used later");
        }
        t.same(create(&t, owner).await.1.len(), 1, "what was evicted where all were used");
        let left = t.ok(t.a.engine.list().await, "list").into_iter().map(|summary| summary.info.id).collect::<Vec<_>>();
        t.same(used.iter().filter(|session| left.contains(session)).count(), 3, "of those that rested longest");
        t.holds(unused.iter().all(|session| left.contains(session)), "the one used last was evicted");
    }
}

/// Among sessions of the same age, the idle one is found as soon as it becomes idle, wherever it is
/// in the list.
pub async fn idle_sessions_are_found_among_busy_ones(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 65, Policy { max_sessions: 8, ..Policy::default() }).await;
    let mut streams = Vec::new();
    for _ in 0..7 {
        streams.push(t.called().await);
    }
    let mut idle = t.session().await;
    for (number, (busy, stream)) in streams.into_iter().enumerate() {
        let (new, evicted) = create(&t, None).await;
        t.same(evicted, [idle], "what was evicted");
        t.ok(t.a.begin(new, &[1.into()], true).await, "begin");
        for _ in 0..2 {
            t.rejected(t.b.create(SessionId::random(), None).await, FULL, "create where nothing is idle");
        }
        if number % 2 == 0 {
            t.ok(t.b.engine.finish(busy, stream).await, "finish");
        } else {
            t.close(busy, stream, 1).await;
        }
        idle = busy;
    }
    let (heard, evicted) = create(&t, None).await;
    t.same(evicted, [idle], "what was evicted");
    let reader = t.attach(heard, STANDALONE, 0).await;
    t.rejected(t.b.create(SessionId::random(), None).await, FULL, "create while a reader is attached");
    t.ok(t.a.engine.detach(heard, STANDALONE, reader.generation).await, "detach");
    t.same(create(&t, None).await.1, [heard], "what was evicted after the reader left");
}

/// A principal at its limit evicts its own sessions, and never those of others.
pub async fn a_principal_has_so_many_sessions(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 43, Policy { max_sessions_per_principal: 2, ..Policy::default() }).await;
    let (alice, bob) = (Principal::new("alice"), Principal::new("bob"));
    let (first, second) = (t.session_of(Some(&alice)).await, t.session_of(Some(&alice)).await);
    t.ok(t.a.begin_as(first, Some(&alice), &[1.into()], true).await, "begin");
    for principal in [Some(&bob), None, None, None] {
        t.session_of(principal).await;
    }
    let (third, evicted) = create(&t, Some(&alice)).await;
    t.same(evicted, [second], "what was evicted");
    let reader = Attach {
        session: third,
        principal: Some(&alice),
        stream: STANDALONE,
        node: t.b.id,
        after: None,
        takeover: true,
    };
    t.ok(t.b.engine.attach(reader).await, "attach");
    t.rejected(t.a.create(SessionId::random(), Some(&alice)).await, FULL_FOR_PRINCIPAL, "create where nothing is idle");
    t.ok(t.a.engine.end_session(first, EndReason::Deleted).await, "end");
    t.same(create(&t, Some(&alice)).await.1, [], "evicted sessions after one ended");
    t.same(t.ok(t.a.engine.count().await, "count"), 6, "sessions");
}

/// Sessions without a principal count against the limit of their peer. A peer does not grant access
/// to a session.
pub async fn a_peer_has_so_many_sessions(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 92, Policy { max_sessions_per_peer: 2, ..Policy::default() }).await;
    let [near, far] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(|address| Peer::new(address.into()));
    let alice = Principal::new("alice");
    let create = async |peer: Peer, principal: Option<&Principal>| {
        let id = SessionId::random();
        let info = SessionInfo { peer: Some(peer), ..info(id, principal) };
        let created = t.b.engine.create(Create { info: Arc::new(info), epoch: 7 }).await;
        created.map(|ended| (id, ended.into_iter().map(|ended| ended.info.id).collect::<Vec<_>>()))
    };
    let (first, _) = t.ok(create(near, None).await, "create");
    let (second, _) = t.ok(create(near, None).await, "create");
    t.ok(t.a.begin(first, &[1.into()], true).await, "begin from anywhere");
    // Another peer, no peer, and a principal at the same address are not affected.
    for _ in 0..2 {
        t.same(t.ok(create(far, None).await, "create").1, [], "what was evicted for another peer");
        t.session().await;
        t.same(t.ok(create(near, Some(&alice)).await, "create").1, [], "what was evicted for a principal");
    }
    let (third, evicted) = t.ok(create(near, None).await, "create");
    t.same(evicted, [second], "what was evicted");
    t.ok(t.a.begin(third, &[1.into()], true).await, "begin");
    t.rejected(create(near, None).await, StoreErrorKind::FullForPeer, "create where nothing is idle");
    t.ok(create(near, Some(&alice)).await, "create by a principal");
    let found = t.ok(t.a.engine.load(third, None).await, "load");
    t.same(found.info.peer, Some(near), "the peer");
    t.ok(t.a.engine.end_session(first, EndReason::Deleted).await, "end");
    t.same(t.ok(create(near, None).await, "create").1, [], "what was evicted after one ended");
}

/// If all sessions were used, the account with the most sessions loses the one that has been idle
/// longest. If no account has more than one, the session that has been idle longest of all is
/// evicted.
pub async fn the_account_with_most_sessions_loses_one(backend: &dyn Backend, nodes: Nodes) {
    let Some(tick) = backend.tick() else { return };
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(Principal::new);
    let near = Peer::new([192, 0, 2, 1].into());
    for (owner, peer) in [(Some(&alice), None), (None, Some(near))] {
        let t = Trial::new(backend, nodes, 94, Policy { max_sessions: 6, ..Policy::default() }).await;
        let used = async |owner: Option<&Principal>, peer: Option<Peer>| {
            backend.pass(tick).await;
            let id = SessionId::random();
            let info = SessionInfo { peer, ..info(id, owner) };
            let ended = t.ok(t.a.engine.create(Create { info: Arc::new(info), epoch: 7 }).await, "create");
            t.ok(t.b.engine.load(id, owner).await, "load");
            (id, ended.into_iter().map(|ended| ended.info.id).collect::<Vec<_>>())
        };
        let (first, _) = used(Some(&bob), None).await;
        let (second, _) = used(None, None).await;
        let mut many = Vec::new();
        for _ in 0..3 {
            many.push(used(owner, peer).await.0);
        }
        let stream = t.ok(t.a.begin_as(many[1], owner, &[1.into()], true).await, "begin");
        used(Some(&carol), None).await;
        t.same(used(None, None).await.1, [many[0]], "what was evicted");
        t.same(used(None, None).await.1, [many[2]], "what was evicted next, beside one that works");
        // The account has one session now, which is no more than others have.
        t.same(used(None, None).await.1, [first], "what was evicted of all");
        t.ok(t.a.engine.finish(many[1], stream).await, "finish");
        t.same(used(None, None).await.1, [second], "what was evicted of all next");
        backend.pass(tick).await;
        t.ok(t.b.engine.load(many[1], owner).await, "load of the session at work");
    }
}

/// A session's calls in flight are counted until they end.
pub async fn a_session_has_so_many_calls(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 44, Policy { max_calls: 3, ..Policy::default() }).await;
    let session = t.session().await;
    let first = t.ok(t.a.begin(session, &[1.into(), 2.into()], true).await, "begin of two");
    t.rejected(t.b.begin(session, &[3.into(), 4.into()], true).await, FULL, "begin of two more");
    let second = t.ok(t.b.begin(session, &[3.into()], true).await, "begin of one more");
    t.rejected(t.b.begin(session, &[5.into()], true).await, FULL, "begin of a fourth");
    for _ in 0..2 {
        t.ok(t.a.engine.finish(session, second).await, "finish");
    }
    let third = t.ok(t.b.begin(session, &[3.into()], true).await, "begin after one finished");
    t.rejected(t.b.begin(session, &[5.into()], true).await, FULL, "begin of a fourth");
    for _ in 0..2 {
        t.ok(t.a.append(session, first, 1, vec![response("done")], true).await, "the closing append");
    }
    t.ok(t.b.engine.finish(session, first).await, "finish");
    t.ok(t.b.begin(session, &[5.into(), 6.into()], true).await, "begin after two were answered");
    t.rejected(t.b.begin(session, &[7.into()], true).await, FULL, "begin of a fourth");
    t.ok(t.b.engine.finish(session, third).await, "finish");
    let other = t.session().await;
    t.ok(t.b.begin(other, &[1.into(), 2.into(), 3.into()], true).await, "begin in another session");
}

/// A principal's calls are counted over all its sessions until they end.
pub async fn a_principal_has_so_many_calls(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 45, Policy { max_calls_per_principal: 3, ..Policy::default() }).await;
    let alice = Principal::new("alice");
    let owner = Some(&alice);
    let (here, there) = (t.session_of(owner).await, t.session_of(owner).await);
    for round in 0..4 {
        let first = t.ok(t.a.begin_as(here, owner, &[1.into(), 2.into()], true).await, "begin of two");
        let two = [3.into(), 4.into()];
        t.rejected(t.b.begin_as(there, owner, &two, true).await, FULL_FOR_PRINCIPAL, "begin of two more");
        let second = t.ok(t.b.begin_as(there, owner, &[3.into()], true).await, "begin of one more");
        t.rejected(t.a.begin_as(here, owner, &[5.into()], true).await, FULL_FOR_PRINCIPAL, "begin of a fourth");
        if round % 2 == 0 {
            t.ok(t.b.engine.finish(here, first).await, "finish");
            t.ok(t.b.append(there, second, 1, vec![response("done")], true).await, "the closing append");
        }
        t.ok(t.a.engine.finish(here, first).await, "finish");
        t.ok(t.a.engine.finish(there, second).await, "finish");
    }
    let ending = t.session_of(owner).await;
    t.ok(t.a.begin_as(ending, owner, &[1.into(), 2.into(), 3.into()], true).await, "begin of three");
    t.ok(t.b.engine.end_session(ending, EndReason::Deleted).await, "end");
    t.ok(t.a.begin_as(here, owner, &[1.into(), 2.into(), 3.into()], true).await, "begin after the session ended");
    let other = t.session_of(Some(&Principal::new("bob"))).await;
    t.ok(t.a.begin_as(other, Some(&Principal::new("bob")), &[1.into()], true).await, "begin by another principal");
    let anonymous = t.session().await;
    t.ok(t.a.begin(anonymous, &[1.into(), 2.into(), 3.into(), 4.into()], true).await, "begin without a principal");
}

/// Connected readers are counted until they disconnect. A takeover needs no capacity.
pub async fn a_session_has_so_many_readers(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 46, Policy { max_streams: 2, ..Policy::default() }).await;
    let (session, first) = t.called().await;
    let second = t.call(session, 2).await;
    t.attach(session, first, 0).await;
    let reader = t.attach(session, second, 0).await;
    t.rejected(t.a.attach(session, STANDALONE, None).await, FULL, "a third reader");
    let reader = t.ok(t.a.attach(session, second, Some(0)).await, "taking over").generation.max(reader.generation);
    t.ok(t.a.engine.detach(session, second, reader).await, "detach");
    t.ok(t.a.attach(session, STANDALONE, None).await, "a reader after one left");
    t.rejected(t.b.attach(session, second, None).await, FULL, "a third reader");
    t.ok(t.a.engine.finish(session, first).await, "finish");
    t.ok(t.b.attach(session, second, None).await, "a reader after a stream ended");
}

/// A rejected create changes nothing.
pub async fn rejected_creates_change_nothing(backend: &dyn Backend, nodes: Nodes) {
    let policy = Policy { max_sessions: 3, max_sessions_per_principal: 2, ..Policy::default() };
    let t = Trial::new(backend, nodes, 59, policy).await;
    let alice = Principal::new("alice");
    let mut sessions = Vec::new();
    for principal in [Some(&alice), Some(&alice), None] {
        sessions.push((t.session_of(principal).await, principal));
    }
    for (session, principal) in &sessions {
        for other in [Some(&alice), None] {
            t.rejected(t.b.create(*session, other).await, StoreErrorKind::Conflict, "create of an id that exists");
            t.ok(t.a.engine.load(*session, *principal).await, "load");
        }
    }
    t.same(t.ok(t.a.engine.count().await, "count"), 3, "sessions");
    for (session, principal) in &sessions {
        t.ok(t.a.begin_as(*session, *principal, &[1.into()], true).await, "begin");
    }
    for _ in 0..5 {
        t.rejected(t.b.create(SessionId::random(), Some(&alice)).await, FULL_FOR_PRINCIPAL, "create by a principal");
        t.rejected(t.b.create(SessionId::random(), None).await, FULL, "create");
        t.rejected(t.b.create(SessionId::random(), Some(&Principal::new("bob"))).await, FULL, "create by another");
    }
    for (session, _) in &sessions {
        t.ok(t.b.engine.end_session(*session, EndReason::Closed).await, "end");
    }
    for _ in 0..2 {
        t.same(create(&t, Some(&alice)).await.1, [], "evicted sessions where capacity was free");
    }
    t.same(create(&t, None).await.1, [], "evicted sessions where capacity was free");
}

/// Racing creates never exceed the limit, and each evicted session is returned once.
pub async fn racing_creates_keep_the_limits(backend: &dyn Backend, nodes: Nodes) {
    let policy = Policy { max_sessions: 10, max_sessions_per_principal: 4, ..Policy::default() };
    let t = Trial::new(backend, nodes, 60, policy).await;
    let alice = Principal::new("alice");
    let creators = (0..8).map(|number| {
        let (t, alice) = (t.clone(), alice.clone());
        tokio::spawn(async move {
            let (mut made, mut ended) = (0, 0);
            for round in 0..25 {
                let node = if round % 2 == 0 { &t.a } else { &t.b };
                let principal = (number % 2 == 0).then_some(&alice);
                match node.create(SessionId::random(), principal).await {
                    Ok(evicted) => (made, ended) = (made + 1, ended + evicted.len()),
                    Err(error) => t.holds(matches!(error.kind(), FULL | FULL_FOR_PRINCIPAL), "another rejection"),
                }
                tokio::task::yield_now().await;
            }
            (made, ended)
        })
    });
    let (mut made, mut ended) = (0, 0);
    for creator in creators.collect::<Vec<_>>() {
        let Ok((more, out)) = creator.await else { t.broken(format_args!("a create panicked")) };
        (made, ended) = (made + more, ended + out);
    }
    // Sessions that were evicted for a create that was then rejected are returned by a sweep.
    ended += t.ok(t.a.engine.expire(t.a.id).await, "sweep").len();
    let list = t.ok(t.a.engine.list().await, "list");
    t.same(made - ended, list.len(), "sessions left");
    t.same(t.ok(t.b.engine.count().await, "count"), list.len(), "the count");
    t.holds(list.len() <= 10, "more sessions than the limit");
    let of_alice = list.iter().filter(|summary| summary.info.principal.as_ref() == Some(&alice)).count();
    t.holds(of_alice <= 4, "more sessions of a principal than the limit");
}
