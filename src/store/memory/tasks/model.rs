//! A property test: the tasks of the memory engine against a model of them, under any sequence of
//! operations.

use std::mem::take;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;

use crate::error::StoreErrorKind;
use crate::identity::{Principal, TaskId};
use crate::store::engine::{Membership, SessionStore, TaskStore};
use crate::store::memory::tests::{is_empty, now, policy};
use crate::store::{CreateTask, LoadedTask, MemoryEngine, NodeId, Policy, Signal, SignalHandler, StoreTask};

const TASKS: usize = 5;
const TASKS_OF_ONE: usize = 3;
const BYTES: usize = 100;
const BYTES_OF_ONE: usize = 60;

/// An operation on an engine. A task is chosen by any number, modulo the number of tasks that ever
/// existed.
#[derive(Debug, Clone)]
enum Op {
    Create { owner: Option<usize>, ttl: Option<u64>, size: usize, elsewhere: bool },
    Again { task: usize },
    Store { task: usize, back: u64, size: usize, done: bool },
    Pass { seconds: u64 },
    Sweep,
    Leave,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let task = 0usize..64;
    let owner = prop::option::weighted(0.8, 0usize..2);
    let ttl = prop::option::of(0u64..50);
    let op = prop_oneof![
        8 => (owner, ttl, 0usize..40, any::<bool>()).prop_map(
            |(owner, ttl, size, elsewhere)| Op::Create { owner, ttl, size, elsewhere }
        ),
        1 => task.clone().prop_map(|task| Op::Again { task }),
        12 => (task, prop_oneof![4 => Just(0u64), 1 => 1u64..3], 0usize..70, any::<bool>()).prop_map(
            |(task, back, size, done)| Op::Store { task, back, size, done }
        ),
        3 => (1u64..30).prop_map(|seconds| Op::Pass { seconds }),
        2 => Just(Op::Sweep),
        1 => Just(Op::Leave),
    ];
    prop::collection::vec(op, 0..80)
}

/// A signal handler that records the tasks of its signals.
#[derive(Debug, Default)]
struct Recorder(Mutex<Vec<TaskId>>);

impl SignalHandler for Recorder {
    fn signal(&self, signal: Signal) {
        if let Signal::Task { task } = signal {
            self.0.lock().unwrap().push(task);
        }
    }
}

/// The simplest model of the tasks: a list of those that exist, and one of all that ever existed.
struct Model {
    engine: MemoryEngine,
    received: Arc<Recorder>,
    here: NodeId,
    elsewhere: NodeId,
    principals: [Principal; 2],
    seconds: u64,
    /// Orphans by their ids, then finished tasks in the order in which they were done, then running
    /// ones.
    tasks: Vec<Task>,
    ever: Vec<(TaskId, Option<usize>)>,
    /// The tasks whose signals must have arrived.
    signalled: Vec<TaskId>,
}

struct Task {
    id: TaskId,
    owner: Option<usize>,
    node: NodeId,
    ends: Option<u64>,
    size: usize,
    version: u64,
    done: bool,
    orphaned: bool,
}

impl Task {
    /// Returns `true` if no node runs it.
    fn rests(&self) -> bool {
        self.done || self.orphaned
    }
}

fn bounds() -> Policy {
    Policy {
        max_tasks: TASKS,
        max_tasks_per_principal: TASKS_OF_ONE,
        task_bytes: BYTES,
        task_bytes_per_principal: BYTES_OF_ONE,
        ..policy()
    }
}

fn bytes<'a>(tasks: impl IntoIterator<Item = &'a Task>) -> usize {
    tasks.into_iter().map(|task| task.size).sum()
}

impl Model {
    fn new() -> Self {
        let engine = MemoryEngine::new();
        let recorder = Arc::new(Recorder::default());
        let here = engine.join(Arc::clone(&recorder) as _, bounds());
        let elsewhere = engine.join(Arc::new(Recorder::default()), bounds());
        let principals = ["first", "second"].map(Principal::new);
        Self {
            engine,
            received: recorder,
            here,
            elsewhere,
            principals,
            seconds: 0,
            tasks: vec![],
            ever: vec![],
            signalled: vec![],
        }
    }

    fn principal(&self, owner: Option<usize>) -> Option<&Principal> {
        owner.map(|owner| &self.principals[owner])
    }

    /// Removes the tasks that have expired, as each operation does first.
    fn expire(&mut self) {
        let seconds = self.seconds;
        for task in self.tasks.extract_if(.., |task| task.ends.is_some_and(|ends| ends <= seconds)) {
            self.signalled.push(task.id);
        }
    }

    fn forget(&mut self, at: usize) {
        self.signalled.push(self.tasks.remove(at).id);
    }

    fn running(&self, owner: Option<usize>) -> impl Iterator<Item = &Task> {
        self.tasks.iter().filter(move |task| !task.rests() && (owner.is_none() || task.owner == owner))
    }

    fn of(&self, owner: Option<usize>) -> impl Iterator<Item = &Task> {
        self.tasks.iter().filter(move |task| task.owner == owner)
    }

    fn forget_own(&mut self, owner: Option<usize>) {
        let own = self.tasks.iter().position(|task| task.owner == owner && task.rests());
        self.forget(own.expect("one of its own rests"));
    }

    fn create(&mut self, owner: Option<usize>, ttl: Option<u64>, size: usize, elsewhere: bool) {
        self.expire();
        let id = TaskId::random();
        let node = if elsewhere { self.elsewhere } else { self.here };
        let create = CreateTask {
            id,
            principal: self.principal(owner).cloned(),
            peer: None,
            node,
            ttl: ttl.map(Duration::from_secs),
            document: vec![b'x'; size].into(),
        };
        let has_its_share =
            self.running(owner).count() >= TASKS_OF_ONE || bytes(self.running(owner)) + size > BYTES_OF_ONE;
        let expected = if owner.is_some() && has_its_share {
            Err(StoreErrorKind::FullForPrincipal)
        } else if self.running(None).count() >= TASKS || bytes(self.running(None)) + size > BYTES {
            Err(StoreErrorKind::Full)
        } else {
            Ok(())
        };
        assert_eq!(now(self.engine.create_task(create)), expected);
        self.ever.push((id, owner));
        if expected.is_err() {
            return;
        }
        while owner.is_some() && (self.of(owner).count() >= TASKS_OF_ONE || bytes(self.of(owner)) + size > BYTES_OF_ONE)
        {
            self.forget_own(owner);
        }
        while self.tasks.len() >= TASKS || bytes(&self.tasks) + size > BYTES {
            assert!(self.tasks[0].rests(), "what runs made room");
            self.forget(0);
        }
        let ends = ttl.map(|ttl| self.seconds + ttl);
        self.tasks.push(Task { id, owner, node, ends, size, version: 1, done: false, orphaned: false });
    }

    fn store(&mut self, id: TaskId, back: u64, size: usize, done: bool) {
        self.expire();
        let at = self.tasks.iter().position(|task| task.id == id);
        let version = at.map_or(1, |at| self.tasks[at].version).wrapping_sub(back);
        let stored = now(self.engine.store_task(StoreTask { id, version, document: vec![b'x'; size].into(), done }));
        let Some(at) = at else {
            assert_eq!(stored, Err(StoreErrorKind::NotFound));
            return;
        };
        let (owner, running) = (self.tasks[at].owner, if self.tasks[at].rests() { 0 } else { self.tasks[at].size });
        let others = bytes(self.running(None)) - running;
        if self.tasks[at].done {
            assert_eq!(stored, Err(StoreErrorKind::Fenced));
        } else if back > 0 {
            assert_eq!(stored, Ok(false));
        } else if owner.is_some() && bytes(self.running(owner)) - running + size > BYTES_OF_ONE {
            assert_eq!(stored, Err(StoreErrorKind::FullForPrincipal));
        } else if others + size > BYTES {
            assert_eq!(stored, Err(StoreErrorKind::Full));
        } else {
            assert_eq!(stored, Ok(true));
            let mut task = self.tasks.remove(at);
            while owner.is_some() && bytes(self.of(owner)) + size > BYTES_OF_ONE {
                self.forget_own(owner);
            }
            while bytes(&self.tasks) + size > BYTES {
                assert!(self.tasks[0].rests(), "what runs made room");
                self.forget(0);
            }
            self.signalled.push(id);
            (task.size, task.version, task.done) = (size, task.version + 1, done);
            task.orphaned &= !done;
            let behind = |other: &Task| match (task.orphaned, task.done) {
                (true, _) => other.orphaned && other.id < id,
                (false, true) => other.rests(),
                (false, false) => true,
            };
            self.tasks.insert(self.tasks.partition_point(behind), task);
        }
    }

    fn leave(&mut self) {
        self.engine.leave(self.elsewhere);
        self.expire();
        for task in self.tasks.iter_mut().filter(|task| task.node == self.elsewhere && !task.done) {
            task.orphaned = true;
            self.signalled.push(task.id);
        }
        self.tasks.sort_by_key(|task| (!task.orphaned, task.orphaned.then_some(task.id)));
        self.elsewhere = self.engine.join(Arc::new(Recorder::default()), bounds());
    }

    async fn step(&mut self, op: Op) {
        let any = |task: usize| (!self.ever.is_empty()).then(|| self.ever[task % self.ever.len()]);
        match op {
            Op::Create { owner, ttl, size, elsewhere } => self.create(owner, ttl, size, elsewhere),
            Op::Again { task } => {
                let Some((id, _)) = any(task) else { return };
                self.expire();
                if self.tasks.iter().any(|task| task.id == id) {
                    let document = vec![b'x'; 10 * BYTES].into();
                    let create = CreateTask { id, principal: None, peer: None, node: self.here, ttl: None, document };
                    assert_eq!(now(self.engine.create_task(create)), Err(StoreErrorKind::Conflict));
                }
            }
            Op::Store { task, back, size, done } => {
                if let Some((id, _)) = any(task) {
                    self.store(id, back, size, done);
                }
            }
            Op::Pass { seconds } => {
                tokio::time::advance(Duration::from_secs(seconds)).await;
                self.seconds += seconds;
            }
            Op::Sweep => {
                self.expire();
                assert_eq!(now(self.engine.expire(self.here)).map(|ended| ended.len()), Ok(0));
            }
            Op::Leave => self.leave(),
        }
    }

    /// Checks that every task exists if it should, and that the signals arrived.
    fn check(&mut self) {
        self.expire();
        for (id, owner) in &self.ever {
            let expected = match self.tasks.iter().find(|task| task.id == *id) {
                Some(task) => Ok(LoadedTask {
                    document: vec![b'x'; task.size].into(),
                    version: task.version,
                    done: task.done,
                    orphaned: task.orphaned && !task.done,
                }),
                None => Err(StoreErrorKind::NotFound),
            };
            assert_eq!(now(self.engine.load_task(*id, self.principal(*owner))), expected);
            let stranger = if owner.is_some() { None } else { Some(&self.principals[0]) };
            assert_eq!(now(self.engine.load_task(*id, stranger)), Err(StoreErrorKind::NotFound));
        }
        assert!(self.engine.shared.tasks.lock().unwrap().is_whole());
        let mut received = take(&mut *self.received.0.lock().unwrap());
        let mut signalled = take(&mut self.signalled);
        received.sort_unstable();
        signalled.sort_unstable();
        assert_eq!(received, signalled, "the signals that were received");
    }

    /// Evicts tasks without an end by tasks that have one, which then expire.
    async fn end(mut self) {
        let running: Vec<_> = self.running(None).map(|task| task.id).collect();
        running.into_iter().for_each(|task| self.store(task, 0, 0, true));
        for _ in 0..TASKS {
            self.create(None, Some(1), 0, false);
        }
        tokio::time::advance(Duration::from_secs(100)).await;
        now(self.engine.expire(self.here)).unwrap();
        assert!(is_empty(&self.engine));
    }
}

proptest! {
    /// For any sequence of operations, the engine and the model agree. Each signal is sent for what
    /// happened and for nothing else, and finally nothing is left.
    #[test]
    fn the_tasks_do_what_the_model_does(ops in ops()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut model = Model::new();
            for op in ops {
                model.step(op).await;
                model.check();
            }
            model.end().await;
        });
    }
}
