//! Rules on the limits of tasks: they are reached exactly. Orphaned and done tasks are evicted,
//! running ones never are.

use super::bench::{Manner, Node, Trial};
use super::{Backend, Nodes};
use crate::error::StoreErrorKind;
use crate::identity::{Peer, Principal, TaskId};
use crate::store::{CreateTask, Policy, Signal};

const FULL: StoreErrorKind = StoreErrorKind::Full;
const FULL_FOR_PRINCIPAL: StoreErrorKind = StoreErrorKind::FullForPrincipal;

/// A document of the given size.
fn bytes(size: usize) -> Vec<u8> {
    vec![b'x'; size]
}

/// The task that has been done longest is evicted first, whenever it was created. Expired tasks do
/// not count.
pub async fn done_tasks_are_evicted(backend: &dyn Backend, nodes: Nodes) {
    let policy = Policy { max_tasks: 3, ..Policy::default() };
    let t = Trial::new(backend, nodes, 75, policy.clone()).await;
    let mut tasks = vec![t.task(None, "0").await, t.task(None, "1").await, t.task(None, "2").await];
    for _ in 0..2 {
        t.rejected(t.b.engine.create_task(t.b.task(None, "x")).await, FULL, "create_task where all run");
    }
    t.end_task(tasks[1], None).await;
    t.end_task(tasks[0], None).await;
    tasks.push(t.task(None, "3").await);
    t.tasks_kept(&tasks, &[0, 2, 3]).await;
    t.signaled(&t.b, |signal| *signal == Signal::Task { task: tasks[1] }, "no signal for an evicted task").await;
    tasks.push(t.task(None, "4").await);
    t.tasks_kept(&tasks, &[2, 3, 4]).await;
    t.rejected(t.b.engine.create_task(t.b.task(None, "x")).await, FULL, "create_task where all run again");
    t.tasks_kept(&tasks, &[2, 3, 4]).await;

    if let Some(tick) = backend.tick() {
        let t = Trial::new(backend, nodes, 75, policy).await;
        let (endless, done) = (t.task(None, "0").await, t.task(None, "1").await);
        let mortal = t.keep(CreateTask { ttl: Some(tick * 10), ..t.a.task(None, "2") }).await;
        t.end_task(done, None).await;
        backend.pass(tick * 14).await;
        let next = t.task(None, "3").await;
        t.tasks_kept(&[endless, done, mortal, next], &[0, 1, 3]).await;
    }
}

/// An orphaned task is evicted before any task that is done, and so never takes the capacity of
/// others.
pub async fn orphans_are_evicted_first(backend: &dyn Backend, nodes: Nodes) {
    let policy = Policy { max_tasks: 4, max_tasks_per_principal: 3, task_bytes: 1000, ..Policy::default() };
    let t = Trial::new(backend, nodes, 80, policy.clone()).await;
    let (alice, gone) = (Principal::new("alice"), Node::join(&t.b.engine, Manner::Faithful, &policy));
    let owner = Some(&alice);
    let done = t.task(owner, "done").await;
    t.end_task(done, owner).await;
    let mut tasks = vec![(done, owner)];
    for document in [bytes(400), bytes(500)] {
        let orphan = t.keep(gone.task(owner, document)).await;
        tasks.push((orphan, owner));
    }
    t.ok(t.a.engine.load_task(done, owner).await, "load_task");
    gone.engine.leave(gone.id);
    let is_orphan = |signal: &Signal| tasks[1..].iter().any(|(task, _)| *signal == Signal::Task { task: *task });
    t.signaled(&t.a, is_orphan, "no node received a signal of an orphan").await;

    // An orphan may grow at the expense of the other one, which is evicted first. It stays an
    // orphan.
    let [(first, _), (second, _)] = [tasks[1], tasks[2]];
    t.same(t.ok(t.b.store(second, 1, bytes(900), false).await, "store_task"), true, "a store for an orphan");
    owned(&t, &tasks, &[0, 2]).await;
    t.rejected(t.b.engine.load_task(first, owner).await, StoreErrorKind::NotFound, "load_task of an evicted task");
    tasks.push((t.task(owner, bytes(90)).await, owner));
    owned(&t, &tasks, &[0, 2, 3]).await;
    // At the limit of the principal, the orphan is evicted before the task that is done.
    tasks.push((t.task(owner, bytes(90)).await, owner));
    owned(&t, &tasks, &[0, 3, 4]).await;
    tasks.push((t.task(None, bytes(800)).await, None));
    owned(&t, &tasks, &[0, 3, 4, 5]).await;
    // No node runs this task, but once it is stored as done it counts like any other that is done.
    let gone = Node::join(&t.b.engine, Manner::Faithful, &policy);
    let last = t.keep(gone.task(None, "x")).await;
    tasks.push((last, None));
    owned(&t, &tasks, &[3, 4, 5, 6]).await;
    t.a.recorder.clear();
    gone.engine.leave(gone.id);
    t.signaled(&t.a, |signal| *signal == Signal::Task { task: last }, "no node received a signal of the last orphan")
        .await;
    t.end_task(last, None).await;
    t.rejected(t.b.store(last, 2, "x", true).await, StoreErrorKind::Fenced, "store_task of an orphan that is done");
    tasks.push((t.task(None, "x").await, None));
    owned(&t, &tasks, &[3, 4, 5, 7]).await;
    t.rejected(t.b.engine.create_task(t.b.task(None, "x")).await, FULL, "create_task where all run");
}

/// At its limit, a principal evicts its own tasks, and never those of others.
pub async fn a_principal_has_so_many_tasks(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 76, Policy { max_tasks_per_principal: 3, ..Policy::default() }).await;
    let (alice, bob) = (Principal::new("alice"), Principal::new("bob"));
    let mut tasks = Vec::new();
    for owner in [None, Some(&bob), Some(&alice)] {
        tasks.push((t.task(owner, "x").await, owner));
    }
    let owner = Some(&alice);
    for _ in 0..2 {
        tasks.push((t.task(owner, "x").await, owner));
    }
    let one_more = || t.b.engine.create_task(t.b.task(owner, "x"));
    t.rejected(one_more().await, FULL_FOR_PRINCIPAL, "create_task of a fourth");
    for at in [0, 1, 4, 3] {
        let (task, owner) = tasks[at];
        t.end_task(task, owner).await;
    }
    owned(&t, &tasks, &[0, 1, 2, 3, 4]).await;
    tasks.push((t.task(owner, "x").await, owner));
    owned(&t, &tasks, &[0, 1, 2, 3, 5]).await;
    tasks.push((t.task(owner, "x").await, owner));
    owned(&t, &tasks, &[0, 1, 2, 5, 6]).await;
    t.rejected(one_more().await, FULL_FOR_PRINCIPAL, "create_task of a fourth again");
    owned(&t, &tasks, &[0, 1, 2, 5, 6]).await;
    // Below the limit nothing is evicted. Tasks without a principal have no such limit.
    for owner in [Some(&bob), Some(&bob), None, None, None] {
        tasks.push((t.task(owner, "x").await, owner));
    }
    owned(&t, &tasks, &[0, 1, 2, 5, 6, 7, 8, 9, 10, 11]).await;
}

/// Asserts which of some tasks their owners find, by their index in the list.
async fn owned(t: &Trial, tasks: &[(TaskId, Option<&Principal>)], expected: &[usize]) {
    let mut kept = Vec::new();
    for (at, (task, owner)) in tasks.iter().enumerate() {
        match t.b.engine.load_task(*task, *owner).await {
            Ok(_) => kept.push(at),
            Err(error) => t.same(error.kind(), StoreErrorKind::NotFound, "load of a task that is not kept"),
        }
    }
    t.same(kept, expected, "the tasks that are kept");
}

/// The bytes of all documents are bounded; only other tasks that are done are evicted.
pub async fn tasks_keep_so_many_bytes(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 77, Policy { task_bytes: 1000, ..Policy::default() }).await;
    let store = async |task, version, size, done| {
        t.ok(t.b.store(task, version, bytes(size), done).await.map(|stored| t.holds(stored, "no store")), "store_task");
    };
    let (first, second) = (t.task(None, bytes(400)).await, t.task(None, bytes(400)).await);
    t.rejected(t.b.engine.create_task(t.b.task(None, bytes(201))).await, FULL, "create_task beyond the bytes");
    t.rejected(t.b.store(first, 1, bytes(601), false).await, FULL, "store_task beyond the bytes");
    t.rejected(t.b.store(first, 1, bytes(601), true).await, FULL, "the last store_task beyond the bytes");
    let loaded = t.ok(t.a.engine.load_task(first, None).await, "load_task");
    t.same((loaded.document.len(), loaded.version, loaded.done), (400, 1, false), "the task that did not grow");
    store(first, 1, 600, false).await;
    t.rejected(t.b.engine.create_task(t.b.task(None, "x")).await, FULL, "create_task where no byte is left");
    t.task(None, "").await;
    store(first, 2, 100, false).await;
    let third = t.task(None, bytes(500)).await;
    t.rejected(t.b.engine.create_task(t.b.task(None, "x")).await, FULL, "create_task where no byte is left again");

    store(third, 1, 500, true).await;
    let fourth = t.task(None, bytes(1)).await;
    let all = [first, second, third, fourth];
    t.tasks_kept(&all, &[0, 1, 3]).await;
    store(fourth, 1, 500, false).await;
    store(second, 1, 400, true).await;
    store(first, 3, 100, false).await;
    t.tasks_kept(&all, &[0, 1, 3]).await;
    // The other task that is done is evicted, though this one becomes done, too.
    store(first, 4, 500, true).await;
    t.tasks_kept(&all, &[0, 3]).await;
    store(fourth, 2, 501, false).await;
    t.tasks_kept(&all, &[3]).await;
}

/// The bytes of a principal's documents are bounded: only its own tasks are evicted for them.
pub async fn a_principal_has_so_many_bytes(backend: &dyn Backend, nodes: Nodes) {
    let policy = Policy { task_bytes: 1000, task_bytes_per_principal: 300, ..Policy::default() };
    let t = Trial::new(backend, nodes, 91, policy).await;
    let (alice, bob) = (Principal::new("alice"), Principal::new("bob"));
    let owner = Some(&alice);
    let store = async |task, version, size, done| t.b.store(task, version, bytes(size), done).await;
    // These have been done longest, and belong to others.
    let mut tasks = vec![(t.task(Some(&bob), bytes(250)).await, Some(&bob)), (t.task(None, bytes(250)).await, None)];
    for (task, owner) in &tasks {
        t.end_task(*task, *owner).await;
    }
    for _ in 0..2 {
        tasks.push((t.task(owner, bytes(100)).await, owner));
        t.end_task(tasks[tasks.len() - 1].0, owner).await;
    }
    tasks.push((t.task(owner, bytes(120)).await, owner));
    owned(&t, &tasks, &[0, 1, 3, 4]).await;
    // A running task counts, but is not evicted.
    let waits = tasks[4].0;
    t.same(t.ok(store(waits, 1, 200, false).await, "store_task"), true, "a store within the share");
    owned(&t, &tasks, &[0, 1, 3, 4]).await;
    t.same(t.ok(store(waits, 2, 201, false).await, "store_task"), true, "a store for which another one goes");
    owned(&t, &tasks, &[0, 1, 4]).await;
    t.rejected(
        t.b.engine.create_task(t.b.task(owner, bytes(100))).await,
        FULL_FOR_PRINCIPAL,
        "create beyond the share",
    );
    for done in [false, true] {
        t.rejected(store(waits, 3, 301, done).await, FULL_FOR_PRINCIPAL, "store_task beyond the share");
    }
    tasks.push((t.task(owner, bytes(99)).await, owner));
    owned(&t, &tasks, &[0, 1, 4, 5]).await;
    // Another principal and tasks without a principal are not locked out.
    tasks.push((t.task(Some(&bob), bytes(50)).await, Some(&bob)));
    owned(&t, &tasks, &[0, 1, 4, 5, 6]).await;
    tasks.push((t.task(None, bytes(400)).await, None));
    owned(&t, &tasks, &[1, 4, 5, 6, 7]).await;
    t.same(t.ok(store(waits, 3, 1, true).await, "store_task"), true, "the last store");
    tasks.push((t.task(owner, bytes(201)).await, owner));
    owned(&t, &tasks, &[1, 5, 6, 7, 8]).await;
}

/// Tasks without a principal count against the limits of their peer, by number and by bytes.
pub async fn a_peer_has_so_many_tasks(backend: &dyn Backend, nodes: Nodes) {
    let policy = Policy { max_tasks_per_peer: 3, task_bytes_per_peer: 100, ..Policy::default() };
    let t = Trial::new(backend, nodes, 93, policy).await;
    let [near, far] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(|address| Peer::new(address.into()));
    let of = |peer, size: usize| CreateTask { peer: Some(peer), ..t.b.task(None, bytes(size)) };
    let full = StoreErrorKind::FullForPeer;
    let mut tasks = vec![t.task(None, bytes(90)).await, t.keep(of(far, 90)).await];
    for task in tasks.clone() {
        t.end_task(task, None).await;
    }
    for _ in 0..3 {
        tasks.push(t.keep(of(near, 30)).await);
    }
    t.rejected(t.b.engine.create_task(of(near, 0)).await, full, "create_task of a fourth");
    t.rejected(t.b.store(tasks[2], 1, bytes(41), false).await, full, "store_task beyond the bytes");
    t.same(t.ok(t.b.store(tasks[2], 1, bytes(40), false).await, "store_task"), true, "a store within the bytes");
    t.end_task(tasks[3], None).await;
    t.same(t.ok(t.b.store(tasks[2], 2, bytes(41), false).await, "store_task"), true, "a store for which one goes");
    t.tasks_kept(&tasks, &[0, 1, 2, 4]).await;
    t.rejected(t.b.engine.create_task(of(near, 30)).await, full, "create_task beyond the bytes");
    tasks.push(t.keep(of(near, 29)).await);
    // A principal at the same address has limits of its own.
    let alice = Principal::new("alice");
    let hers = CreateTask { peer: Some(near), ..t.b.task(Some(&alice), bytes(200)) };
    t.ok(t.b.engine.create_task(hers).await, "create_task of a principal");
    tasks.push(t.keep(of(far, 10)).await);
    t.tasks_kept(&tasks, &[0, 1, 2, 4, 5, 6]).await;
}

/// A rejected task changes nothing.
pub async fn rejected_tasks_change_nothing(backend: &dyn Backend, nodes: Nodes) {
    let policy = Policy { max_tasks: 3, max_tasks_per_principal: 2, task_bytes: 100, ..Policy::default() };
    let t = Trial::new(backend, nodes, 78, policy).await;
    let (alice, bob) = (Principal::new("alice"), Principal::new("bob"));
    let owner = Some(&alice);
    let (runs, done) = (t.task(owner, bytes(10)).await, t.task(owner, bytes(10)).await);
    let anonymous = t.task(None, bytes(10)).await;
    t.end_task(done, owner).await;
    t.end_task(anonymous, None).await;
    let create = async |id: TaskId, principal: Option<&Principal>, size| {
        t.b.engine.create_task(CreateTask { id, ..t.b.task(principal, bytes(size)) }).await
    };
    for size in [0, 10, 1000] {
        for id in [runs, done, anonymous] {
            for principal in [owner, None] {
                t.rejected(create(id, principal, size).await, StoreErrorKind::Conflict, "create_task of what exists");
            }
        }
    }
    for principal in [owner, None, Some(&bob)] {
        t.rejected(create(TaskId::random(), principal, 91).await, FULL, "create_task of too much");
    }
    t.rejected(t.b.store(runs, 1, bytes(101), true).await, FULL, "store_task of too much");
    t.same(t.ok(t.b.store(runs, 2, bytes(90), true).await, "store_task"), false, "a store under a wrong version");
    for (task, principal) in [(runs, owner), (done, owner), (anonymous, None)] {
        t.ok(t.a.engine.load_task(task, principal).await, "load_task after a rejection");
    }

    t.ok(create(TaskId::random(), owner, 10).await, "create_task of another");
    t.rejected(t.a.engine.load_task(done, owner).await, StoreErrorKind::NotFound, "load_task of an evicted task");
    for _ in 0..5 {
        t.rejected(create(TaskId::random(), owner, 10).await, FULL_FOR_PRINCIPAL, "create_task by a principal");
    }
    t.ok(t.a.engine.load_task(anonymous, None).await, "load_task of a task that stayed");
    let last = TaskId::random();
    t.ok(create(last, None, 80).await, "create_task of the last");
    for _ in 0..5 {
        t.rejected(create(TaskId::random(), None, 0).await, FULL, "create_task where all run");
        t.rejected(create(TaskId::random(), Some(&bob), 0).await, FULL, "create_task where all run, by another");
    }
    t.end_task(last, None).await;
    t.ok(create(TaskId::random(), Some(&bob), 80).await, "create_task after one was done");
}

/// Racing creates and stores never exceed the limits, and the counts match the tasks that exist.
pub async fn racing_tasks_keep_the_limits(backend: &dyn Backend, nodes: Nodes) {
    let policy = Policy { max_tasks: 10, max_tasks_per_principal: 4, task_bytes: 100, ..Policy::default() };
    let t = Trial::new(backend, nodes, 79, policy).await;
    let alice = Principal::new("alice");
    let creators = (0..8).map(|number: usize| {
        let (t, alice) = (t.clone(), alice.clone());
        tokio::spawn(async move {
            let mut made = Vec::new();
            for round in 0..25 {
                let (here, there) = if round % 2 == 0 { (&t.a, &t.b) } else { (&t.b, &t.a) };
                let principal = number.is_multiple_of(2).then(|| alice.clone());
                let create = here.task(principal.as_ref(), bytes(round % 20));
                let task = create.id;
                match here.engine.create_task(create).await {
                    Ok(()) => made.push((task, principal)),
                    Err(error) => t.holds(matches!(error.kind(), FULL | FULL_FOR_PRINCIPAL), "another rejection"),
                }
                tokio::task::yield_now().await;
                if round % 3 != 0 {
                    // Rejected if the task is already done, was evicted, or would be too large.
                    let _ = there.store(task, 1, bytes(number), true).await;
                }
            }
            made
        })
    });
    let (mut kept, mut of_alice, mut size) = (Vec::new(), 0, 0);
    for creator in creators.collect::<Vec<_>>() {
        let Ok(made) = creator.await else { t.broken(format_args!("a creator panicked")) };
        for (task, principal) in made {
            if let Ok(loaded) = t.b.engine.load_task(task, principal.as_ref()).await {
                size += loaded.document.len();
                of_alice += usize::from(principal.is_some());
                kept.push((task, principal, loaded.done));
            }
        }
    }
    t.holds(kept.len() <= 10, "more tasks than the limit");
    t.holds(of_alice <= 4, "more tasks of a principal than the limit");
    t.holds(size <= 100, "more bytes than the limit");
    for (task, principal, done) in kept {
        if !done {
            t.end_task(task, principal.as_ref()).await;
        }
    }
    for number in 0..10 {
        let principal = (number < 4).then_some(&alice);
        t.task(principal, bytes(10)).await;
    }
    t.rejected(t.b.engine.create_task(t.b.task(None, "")).await, FULL, "create_task beyond the limit after the race");
}
