//! Model test: compares the file engine, closed and killed at any moment, with a memory engine that
//! continues.

use proptest::prelude::*;

use super::*;
use crate::store::MemoryEngine;
use crate::store::SessionEngine;

/// What may happen to an engine between two restarts.
#[derive(Debug, Clone)]
enum Op {
    Create { owned: bool },
    End { session: usize },
    Begin { session: usize },
    Append { stream: usize, sizes: Vec<usize>, lasting: bool, close: bool },
    Finish { stream: usize },
    Listen { session: usize },
    Publish { session: usize, size: usize },
    State { session: usize, key: usize },
    CreateTask { size: usize },
    StoreTask { task: usize, done: bool },
    Restart { killed: bool },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let which = 0usize..64;
    let op = prop_oneof![
        2 => any::<bool>().prop_map(|owned| Op::Create { owned }),
        1 => which.clone().prop_map(|session| Op::End { session }),
        4 => which.clone().prop_map(|session| Op::Begin { session }),
        8 => (which.clone(), prop::collection::vec(1usize..120, 1..4), any::<bool>(), prop::bool::weighted(0.3))
            .prop_map(|(stream, sizes, lasting, close)| Op::Append { stream, sizes, lasting, close }),
        1 => which.clone().prop_map(|stream| Op::Finish { stream }),
        2 => which.clone().prop_map(|session| Op::Listen { session }),
        4 => (which.clone(), 1usize..120).prop_map(|(session, size)| Op::Publish { session, size }),
        2 => (which.clone(), 0usize..3).prop_map(|(session, key)| Op::State { session, key }),
        2 => (1usize..50).prop_map(|size| Op::CreateTask { size }),
        2 => (which, any::<bool>()).prop_map(|(task, done)| Op::StoreTask { task, done }),
        1 => any::<bool>().prop_map(|killed| Op::Restart { killed }),
    ];
    prop::collection::vec(op, 0..60)
}

/// The file engine and the memory engine, which is its model. A restart corresponds to a node of
/// the model that left.
struct Twins {
    folder: TempDir,
    file: Option<FileEngine>,
    memory: MemoryEngine,
    nodes: (NodeId, NodeId),
    sessions: Vec<(SessionId, Option<Principal>)>,
    /// Each engine has its own stream numbers, because a restart skips some.
    streams: Vec<(SessionId, StreamNo, StreamNo, u64)>,
    tasks: Vec<TaskId>,
    count: usize,
}

impl Twins {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let (file, node) = open(folder.path());
        let memory = MemoryEngine::new();
        let nodes = (node, memory.join(Arc::new(Silent), policy()));
        let (sessions, streams, tasks) = Default::default();
        Self { folder, file: Some(file), memory, nodes, sessions, streams, tasks, count: 0 }
    }

    fn file(&self) -> &FileEngine {
        self.file.as_ref().unwrap()
    }

    fn each(&self) -> [(&dyn SessionEngine, NodeId); 2] {
        [(self.file(), self.nodes.0), (&self.memory, self.nodes.1)]
    }

    fn session(&self, number: usize) -> Option<(SessionId, Option<Principal>)> {
        (!self.sessions.is_empty()).then(|| self.sessions[number % self.sessions.len()].clone())
    }

    async fn restart(&mut self, is_killed: bool) {
        if is_killed {
            // Waits also for changes that no caller waits for, because the model has them.
            let queue = &self.file().inner.queue;
            queue.written(Journal::newest(queue)).await.unwrap();
            let copy = killed(self.folder.path());
            self.file = None;
            self.folder = copy;
        } else {
            self.file().leave(self.nodes.0);
            self.file = None;
        }
        let (file, node) = open(self.folder.path());
        assert_eq!((file.recovery().unreadable_bytes, file.recovery().missing_steps), (0, 0));
        self.file = Some(file);
        self.memory.leave(self.nodes.1);
        self.nodes = (node, self.memory.join(Arc::new(Silent), policy()));
    }

    async fn step(&mut self, op: Op) {
        self.count += 1;
        let text = format!("{}", self.count);
        match op {
            Op::Create { owned } => {
                let owner = owned.then(|| Principal::new("owner"));
                let create = opening(owner.as_ref());
                self.sessions.push((create.info.id, owner));
                for (engine, _) in self.each() {
                    engine.create(create.clone()).await.unwrap();
                }
            }
            Op::End { session } => {
                let Some((id, _)) = self.session(session) else { return };
                for (engine, _) in self.each() {
                    engine.end_session(id, EndReason::Deleted).await.unwrap();
                }
                self.sessions.retain(|(session, _)| *session != id);
                self.streams.retain(|(session, ..)| *session != id);
            }
            Op::Begin { session } => {
                let Some((id, owner)) = self.session(session) else { return };
                let ids = [RequestId::from(self.count as i64)];
                let mut streams = [0; 2];
                for (stream, (engine, node)) in streams.iter_mut().zip(self.each()) {
                    let begin = Begin { session: id, principal: owner.as_ref(), node, ids: &ids, unique: true };
                    *stream = engine.begin(begin).await.unwrap().stream;
                }
                self.streams.push((id, streams[0], streams[1], 1));
            }
            Op::Listen { session } => {
                let Some((session, owner)) = self.session(session) else { return };
                for (engine, node) in self.each() {
                    let principal = owner.as_ref();
                    let attach = Attach { session, principal, stream: STANDALONE, node, after: None, takeover: true };
                    let reader = engine.attach(attach).await.unwrap();
                    engine.read_after(session, STANDALONE, reader.generation, reader.after, 100).await.unwrap();
                    engine.detach(session, STANDALONE, reader.generation).await.unwrap();
                }
            }
            Op::Publish { session, size } => {
                let Some((session, _)) = self.session(session) else { return };
                let event = note(format!("{text:>size$}"));
                let [a, b] = self.each();
                let published = a.0.publish(session, a.1, event.clone()).await.unwrap();
                assert_eq!(published, b.0.publish(session, b.1, event).await.unwrap());
            }
            Op::State { session, key } => {
                let Some((session, _)) = self.session(session) else { return };
                let (key, value) = (key.to_string(), RawJson::parse(text).unwrap());
                for (engine, _) in self.each() {
                    let (_, version) = engine.load_state(session, &key).await.unwrap();
                    assert!(engine.store_state(session, &key, value.clone(), version).await.unwrap());
                }
            }
            Op::Restart { killed } => self.restart(killed).await,
            op => self.step_on_more(op).await,
        }
    }

    async fn step_on_more(&mut self, op: Op) {
        match op {
            Op::Append { stream, sizes, lasting, close } if !self.streams.is_empty() => {
                let at = stream % self.streams.len();
                let (session, in_file, in_memory, first) = self.streams[at];
                let make = |size: &usize| if lasting { response("x".repeat(*size)) } else { note("y".repeat(*size)) };
                let events: Vec<Event> = sizes.iter().map(make).collect();
                let mut results = Vec::new();
                for ((engine, node), stream) in self.each().into_iter().zip([in_file, in_memory]) {
                    let append = Append { session, stream, node, first, events: events.clone(), close };
                    results.push(engine.append(append).await.map_err(|error| error.kind()));
                }
                assert_eq!(results[0], results[1]);
                self.streams[at].3 += if results[0].is_ok() { sizes.len() as u64 } else { 0 };
            }
            Op::Finish { stream } if !self.streams.is_empty() => {
                let (session, in_file, in_memory, _) = self.streams[stream % self.streams.len()];
                self.file().finish(session, in_file).await.unwrap();
                self.memory.finish(session, in_memory).await.unwrap();
            }
            Op::CreateTask { size } => {
                let (id, document) = (TaskId::random(), Bytes::from(vec![b't'; size]));
                let mut results = Vec::new();
                for (engine, node) in self.each() {
                    let create =
                        CreateTask { id, principal: None, peer: None, node, ttl: None, document: document.clone() };
                    results.push(engine.create_task(create).await.map_err(|error| error.kind()));
                }
                assert_eq!(results[0], results[1]);
                self.tasks.push(id);
            }
            Op::StoreTask { task, done } if !self.tasks.is_empty() => {
                let id = self.tasks[task % self.tasks.len()];
                let mut results = Vec::new();
                for (engine, _) in self.each() {
                    let version = engine.load_task(id, None).await.map_or(1, |task| task.version);
                    let store = StoreTask { id, version, document: Bytes::from(self.count.to_string()), done };
                    results.push(engine.store_task(store).await.map_err(|error| error.kind()));
                }
                assert_eq!(results[0], results[1]);
            }
            _ => {}
        }
    }

    async fn agree(&self) {
        let [file, memory] = self.each();
        assert_eq!(file.0.count().await.unwrap(), self.sessions.len());
        for (session, _) in &self.sessions {
            let streams = self.streams.iter().filter(|(of, ..)| of == session).map(|(_, a, b, _)| (*a, *b));
            for (a, b) in streams.chain([(STANDALONE, STANDALONE)]) {
                let (a, b) =
                    (everything(file.0, *session, file.1, a).await, everything(memory.0, *session, memory.1, b).await);
                assert_eq!(a, b);
            }
            for key in ["0", "1", "2"] {
                let [a, b] = [file.0.load_state(*session, key).await, memory.0.load_state(*session, key).await];
                assert_eq!(a.unwrap(), b.unwrap());
            }
        }
        for task in &self.tasks {
            let [a, b] = [file.0.load_task(*task, None).await, memory.0.load_task(*task, None).await];
            assert_eq!(a.map_err(|error| error.kind()), b.map_err(|error| error.kind()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    /// Wherever it is closed or killed and opened again, the file engine has what a memory engine
    /// has that was never closed, and behaves like it.
    #[test]
    fn the_file_engine_equals_a_memory_engine(ops in ops()) {
        run(async {
            let mut twins = Twins::new();
            for op in ops {
                // Each operation has a time of its own, so that both engines agree on what is
                // oldest.
                tokio::time::advance(Duration::from_millis(1)).await;
                twins.step(op).await;
            }
            twins.restart(true).await;
            twins.agree().await;
        });
    }
}
