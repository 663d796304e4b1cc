//! Rules on tasks: they are kept, updated by version, done once, and removed when their ttl ends.

use bytes::Bytes;

use super::bench::{Manner, Node, Trial};
use super::{Backend, Nodes};
use crate::error::StoreErrorKind;
use crate::identity::{Principal, TaskId};
use crate::store::{CreateTask, EndReason, LoadedTask, Policy, Signal};

const NOT_FOUND: StoreErrorKind = StoreErrorKind::NotFound;
const FENCED: StoreErrorKind = StoreErrorKind::Fenced;

/// A task after its creation.
fn new(document: impl Into<Bytes>) -> LoadedTask {
    LoadedTask { document: document.into(), version: 1, done: false, orphaned: false }
}

/// A created task is visible to every node, byte for byte, and is independent of sessions.
pub async fn a_created_task_is_loaded_as_it_was(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 67, Policy { max_sessions: 1, ..Policy::default() }).await;
    let session = t.session().await;
    let alice = Principal::new("alice");
    let mut made = Vec::new();
    let documents: [&'static [u8]; 5] = [b"", b"{}", b"\0\r\n\xff\xfe", "é\u{2028}".as_bytes(), &[b'x'; 1 << 20]];
    for document in documents {
        for principal in [None, Some(&alice)] {
            let task = t.task(principal, document).await;
            t.same(t.ok(t.b.engine.load_task(task, principal).await, "load_task"), new(document), "the task");
            made.push((task, principal, document));
        }
    }
    t.same(t.ok(t.a.engine.count().await, "count"), 1, "sessions");
    t.same(t.ok(t.b.engine.list().await, "list").len(), 1, "sessions listed");
    t.ok(t.a.engine.end_session(session, EndReason::Deleted).await, "end");
    for (task, principal, document) in made {
        t.same(t.ok(t.b.engine.load_task(task, principal).await, "load_task"), new(document), "the task, later");
    }
    for _ in 0..2 {
        t.rejected(t.b.engine.load_task(TaskId::random(), None).await, NOT_FOUND, "load_task of an unknown task");
        t.rejected(t.b.store(TaskId::random(), 1, "x", false).await, NOT_FOUND, "store_task of an unknown task");
    }
}

/// An id is used once; a second create changes nothing.
pub async fn existing_task_ids_are_rejected(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 68, Policy::default()).await;
    let alice = Principal::new("alice");
    let task = t.task(Some(&alice), "first").await;
    for principal in [Some(&alice), None, Some(&Principal::new("mallory"))] {
        let again = CreateTask { id: task, ..t.b.task(principal, "second") };
        t.rejected(t.b.engine.create_task(again).await, StoreErrorKind::Conflict, "a second create_task");
    }
    t.same(t.ok(t.b.engine.load_task(task, Some(&alice)).await, "load_task"), new("first"), "the task");
    t.rejected(t.b.engine.load_task(task, None).await, NOT_FOUND, "load_task without a principal");

    let (here, there) = (t.a.task(None, "here"), t.b.task(None, "there"));
    let (contested, engine) = (here.id, t.a.engine.clone());
    let first = tokio::spawn(async move { engine.create_task(here).await });
    let second = t.b.engine.create_task(CreateTask { id: contested, ..there }).await;
    let won = [first.await.is_ok_and(|result| result.is_ok()), second.is_ok()];
    t.same(won.iter().filter(|won| **won).count(), 1, "creates of one id that succeeded");
    let document = if won[0] { "here" } else { "there" };
    t.same(t.ok(t.b.engine.load_task(contested, None).await, "load_task"), new(document), "the task of the winner");
}

/// To a caller with another principal, or with none, a task looks exactly like one that does not
/// exist. The same holds for a task without a principal and a caller with one.
pub async fn a_task_of_another_is_not_found(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 69, Policy::default()).await;
    let (alice, bob) = (Principal::new("alice"), Principal::new("bob"));
    for owner in [None, Some(&alice)] {
        let task = t.task(owner, "x").await;
        for done in [false, true] {
            for other in [None, Some(&alice), Some(&bob), Some(&Principal::new(""))] {
                let loaded = t.b.engine.load_task(task, other).await;
                if other == owner {
                    t.same(t.ok(loaded, "load_task by the owner").done, done, "whether it is done");
                } else {
                    t.rejected(loaded, NOT_FOUND, "load_task by another");
                }
            }
            if !done {
                t.end_task(task, owner).await;
            }
        }
    }
}

/// A task is stored by the caller that knows its version, and no update is lost.
pub async fn no_update_of_a_task_is_lost(backend: &dyn Backend, nodes: Nodes) {
    const WRITERS: u64 = 4;
    const TIMES: u64 = 25;
    let t = Trial::new(backend, nodes, 70, Policy::default()).await;
    let (task, other) = (t.task(None, "0").await, t.task(None, "other").await);
    for version in [0, 2, u64::MAX] {
        for done in [false, true] {
            let wrong = t.b.store(task, version, "wrong", done).await;
            t.same(t.ok(wrong, "store_task"), false, "a store under a version that never was");
        }
    }
    t.same(t.ok(t.a.engine.load_task(task, None).await, "load_task"), new("0"), "the task that was not changed");

    let writers = (0..WRITERS).map(|number| {
        let (t, node) = (t.clone(), if number % 2 == 0 { t.a.clone() } else { t.b.clone() });
        tokio::spawn(async move {
            let mut written = 0;
            while written < TIMES {
                let (count, version) = count(&t, &node, task).await;
                tokio::task::yield_now().await;
                let stored = node.store(task, version, (count + 1).to_string(), false).await;
                written += u64::from(t.ok(stored, "store_task"));
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        t.holds(writer.await.is_ok(), "a writer failed");
    }
    t.same(
        count(&t, &t.b, task).await,
        (WRITERS * TIMES, WRITERS * TIMES + 1),
        "updates that were kept, and the version",
    );
    t.same(t.ok(t.a.engine.load_task(other, None).await, "load_task"), new("other"), "another task");
}

/// Returns the number in a task's document, and its version.
async fn count(t: &Trial, node: &Node, task: TaskId) -> (u64, u64) {
    let loaded = t.ok(node.engine.load_task(task, None).await, "load_task");
    let count = std::str::from_utf8(&loaded.document).ok().and_then(|text| text.parse().ok());
    (count.unwrap_or(0), loaded.version)
}

/// Of several stores that set `done`, one counts, and nothing changes the task after it.
pub async fn tasks_are_done_once(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 71, Policy::default()).await;
    let task = t.task(None, "new").await;
    t.same(t.ok(t.a.store(task, 1, "working", false).await, "store_task"), true, "the store counts");
    let racers = (0..8).map(|number: u64| {
        let (t, node) = (t.clone(), if number.is_multiple_of(2) { t.a.clone() } else { t.b.clone() });
        tokio::spawn(async move {
            match node.store(task, 2, number.to_string(), true).await {
                Err(error) if error.kind() == FENCED => false,
                stored => t.ok(stored, "store_task"),
            }
        })
    });
    let mut winners = Vec::new();
    for (number, racer) in racers.collect::<Vec<_>>().into_iter().enumerate() {
        if racer.await.is_ok_and(|won| won) {
            winners.push(number);
        }
    }
    t.same(winners.len(), 1, "last stores that count");
    let last = LoadedTask { version: 3, done: true, ..new(winners[0].to_string()) };
    for node in [&t.a, &t.b] {
        for version in [0, 1, 2, 3, 4] {
            for done in [false, true] {
                t.rejected(node.store(task, version, "late", done).await, FENCED, "store_task after the last one");
            }
        }
        t.same(t.ok(node.engine.load_task(task, None).await, "load_task"), last.clone(), "the task that is done");
    }
}

/// Storing a task signals every node, including the one that stored it.
pub async fn stores_signal_every_node(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 72, Policy::default()).await;
    let task = t.task(None, "new").await;
    for (version, node, done) in [(1, &t.a, false), (2, &t.b, false), (3, &t.b, true)] {
        t.a.recorder.clear();
        t.b.recorder.clear();
        t.ok(node.store(task, version, "more", done).await, "store_task");
        told(&t, nodes, task).await;
    }
}

/// Asserts that both nodes receive a signal for a task.
async fn told(t: &Trial, nodes: Nodes, task: TaskId) {
    t.signaled(&t.a, |signal| *signal == Signal::Task { task }, "the first node received no signal").await;
    if nodes == Nodes::Two {
        t.signaled(&t.b, |signal| *signal == Signal::Task { task }, "the second node received no signal").await;
    }
}

/// The ttl of a task counts from its creation, however the task is used. Without a ttl it is kept
/// indefinitely.
pub async fn a_task_ends_when_its_ttl_is_over(backend: &dyn Backend, nodes: Nodes) {
    let Some(tick) = backend.tick() else { return };
    let t = Trial::new(backend, nodes, 73, Policy::default()).await;
    let for_ticks = |ticks| CreateTask { ttl: Some(tick * ticks), ..t.a.task(None, "x") };
    let (used, done, left) = (for_ticks(10), for_ticks(10), for_ticks(10));
    let (used, done, left) = (t.keep(used).await, t.keep(done).await, t.keep(left).await);
    let (longer, endless) = (t.keep(for_ticks(20)).await, t.task(None, "x").await);
    let finished = t.task(None, "x").await;
    for task in [done, finished] {
        t.end_task(task, None).await;
    }
    let all = [used, done, left, longer, endless, finished];
    backend.pass(tick * 6).await;
    t.tasks_kept(&all, &[0, 1, 2, 3, 4, 5]).await;
    t.same(t.ok(t.b.store(used, 1, "used", false).await, "store_task"), true, "a store in time");
    t.same(t.ok(t.b.engine.expire(t.b.id).await, "sweep").len(), 0, "sessions expired");
    t.tasks_kept(&all, &[0, 1, 2, 3, 4, 5]).await;
    backend.pass(tick * 8).await;
    // The tasks are gone although no sweep ran.
    t.tasks_kept(&all, &[3, 4, 5]).await;
    t.rejected(t.a.store(used, 2, "late", true).await, NOT_FOUND, "store_task after its time");
    t.rejected(t.a.store(done, 2, "late", true).await, NOT_FOUND, "store_task after its time, when it was done");

    let (swept, young) = (t.keep(for_ticks(10)).await, t.keep(for_ticks(40)).await);
    backend.pass(tick * 14).await;
    t.same(t.ok(t.b.engine.expire(t.b.id).await, "sweep").len(), 0, "sessions expired");
    for task in [used, done, left, swept] {
        told(&t, nodes, task).await;
    }
    t.tasks_kept(&[longer, endless, finished, swept, young], &[1, 2, 4]).await;
    let never = t.keep(CreateTask { ttl: Some(std::time::Duration::MAX), ..t.a.task(None, "x") }).await;
    t.ok(t.b.engine.expire(t.b.id).await, "sweep");
    t.tasks_kept(&[never], &[0]).await;
}

/// A task whose node left is orphaned until it is stored as done, and every node is signalled.
pub async fn a_node_that_left_leaves_orphans(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 74, Policy::default()).await;
    let gone = Node::join(&t.b.engine, Manner::Faithful, &Policy::default());
    let (orphan, finished, own) = (gone.task(None, "orphan"), gone.task(None, "finished"), t.a.task(None, "own"));
    let (orphan, finished, own) = (t.keep(orphan).await, t.keep(finished).await, t.keep(own).await);
    t.end_task(finished, None).await;
    for task in [orphan, finished, own] {
        let loaded = t.ok(t.a.engine.load_task(task, None).await, "load_task");
        t.same(loaded.orphaned, false, "whether its node left while it is there");
    }
    gone.engine.leave(gone.id);
    told(&t, nodes, orphan).await;
    for (task, orphaned) in [(orphan, true), (finished, false), (own, false)] {
        for node in [&t.a, &t.b] {
            let loaded = t.ok(node.engine.load_task(task, None).await, "load_task");
            t.same((loaded.orphaned, loaded.done), (orphaned, task == finished), "an orphan, and done");
        }
    }
    t.same(t.ok(t.b.store(orphan, 1, "found", false).await, "store_task"), true, "a store by another node");
    let found = LoadedTask { version: 2, orphaned: true, ..new("found") };
    t.same(t.ok(t.a.engine.load_task(orphan, None).await, "load_task"), found, "the orphan that was found");
    t.end_task(orphan, None).await;
    let ended = LoadedTask { version: 3, done: true, ..new("found") };
    t.same(t.ok(t.a.engine.load_task(orphan, None).await, "load_task"), ended, "the orphan that was ended");
}
