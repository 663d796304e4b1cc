//! Helpers for the rules: two nodes on a new engine, signal handlers that record, and assertions
//! that name the rule.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{Backend, Nodes, Rule};
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::{Principal, SessionId, SessionInfo, TaskId};
use crate::message::{ClientCapabilities, Implementation, ProtocolVersion, RawJson, RequestId};
use crate::store::{
    Append, Appended, Attach, Attached, Begin, Create, CreateTask, Ended, Event, EventKind, LoadedTask, NodeId, Page,
    Policy, SessionEngine, Signal, SignalHandler, StoreTask, Stored, StreamNo,
};

type Result<T> = std::result::Result<T, StoreError>;

/// One run of a rule. `a` does the first half, `b` the second. With one node, they are the same.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    rule: Rule,
    pub(super) a: Node,
    pub(super) b: Node,
}

/// A node that joined an engine.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) engine: Arc<dyn SessionEngine>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) id: NodeId,
}

/// What happens to the signals to a node.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Manner {
    /// They arrive.
    #[default]
    Faithful,
    /// None arrives.
    Deaf,
    /// Each arrives three times, at a random position among the others.
    Scrambled,
}

/// A signal handler that records.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    manner: Manner,
    received: Mutex<Vec<Signal>>,
    changed: Notify,
    random: AtomicU32,
}

/// How long the suite waits for a required signal. On a paused clock this takes no time.
const TIMEOUT: Duration = Duration::from_secs(30);

impl SignalHandler for Recorder {
    fn signal(&self, signal: Signal) {
        let mut heard = self.heard();
        match self.manner {
            Manner::Deaf => return,
            Manner::Faithful => heard.push(signal),
            Manner::Scrambled => {
                for _ in 0..3 {
                    let random = self.random.fetch_add(0x9e37_79b9, Ordering::Relaxed).rotate_left(7) as usize;
                    let at = random % (heard.len() + 1);
                    heard.insert(at, signal.clone());
                }
            }
        }
        drop(heard);
        self.changed.notify_one();
    }
}

impl Recorder {
    fn heard(&self) -> MutexGuard<'_, Vec<Signal>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the signals received so far.
    pub(super) fn clear(&self) {
        self.heard().clear();
    }

    /// Returns `true` if a matching signal was received, and forgets it and those before it.
    fn take(&self, wanted: &impl Fn(&Signal) -> bool) -> bool {
        let mut heard = self.heard();
        let at = heard.iter().position(|signal| wanted(signal) || *signal == Signal::Resync);
        at.map(|at| drop(heard.remove(at))).is_some()
    }

    /// Returns `true` if a matching signal was received and not yet taken.
    pub(super) fn has(&self, wanted: impl Fn(&Signal) -> bool) -> bool {
        self.heard().iter().any(wanted)
    }

    /// Waits for a matching signal. Returns `false` if it does not arrive in time.
    pub(super) async fn wait(&self, wanted: impl Fn(&Signal) -> bool) -> bool {
        let heard = async {
            while !self.take(&wanted) {
                self.changed.notified().await;
            }
        };
        tokio::time::timeout(TIMEOUT, heard).await.is_ok()
    }
}

impl Node {
    pub(super) fn join(engine: &Arc<dyn SessionEngine>, manner: Manner, policy: &Policy) -> Self {
        let handler = Arc::new(Recorder { manner, ..Recorder::default() });
        let doorbell = Arc::clone(&handler) as Arc<dyn SignalHandler>;
        Self { engine: Arc::clone(engine), recorder: handler, id: engine.join(doorbell, policy.clone()) }
    }

    /// Tries to create a session.
    pub(super) async fn create(&self, session: SessionId, principal: Option<&Principal>) -> Result<Vec<Ended>> {
        self.engine.create(Create { info: Arc::new(info(session, principal)), epoch: 7 }).await
    }

    /// Tries to begin calls in a session without a principal.
    pub(super) async fn begin(&self, session: SessionId, ids: &[RequestId], unique: bool) -> Result<StreamNo> {
        self.begin_as(session, None, ids, unique).await
    }

    pub(super) async fn begin_as(
        &self,
        session: SessionId,
        principal: Option<&Principal>,
        ids: &[RequestId],
        unique: bool,
    ) -> Result<StreamNo> {
        self.engine.begin(Begin { session, principal, node: self.id, ids, unique }).await.map(|begun| begun.stream)
    }

    /// Tries to append.
    pub(super) async fn append(
        &self,
        session: SessionId,
        stream: StreamNo,
        first: u64,
        events: Vec<Event>,
        close: bool,
    ) -> Result<Appended> {
        self.engine.append(Append { session, stream, node: self.id, first, events, close }).await
    }

    /// Tries to attach to a session without a principal, with takeover.
    pub(super) async fn attach(&self, session: SessionId, stream: StreamNo, after: Option<u64>) -> Result<Attached> {
        let attach = Attach { session, principal: None, stream, node: self.id, after, takeover: true };
        self.engine.attach(attach).await
    }

    pub(super) async fn read(
        &self,
        session: SessionId,
        stream: StreamNo,
        reader: Attached,
        after: u64,
        max_bytes: usize,
    ) -> Result<Page> {
        self.engine.read_after(session, stream, reader.generation, after, max_bytes).await
    }

    /// Describes a task that this node runs, without a ttl.
    pub(super) fn task(&self, principal: Option<&Principal>, document: impl Into<Bytes>) -> CreateTask {
        let document = document.into();
        CreateTask {
            id: TaskId::random(),
            principal: principal.cloned(),
            peer: None,
            node: self.id,
            ttl: None,
            document,
        }
    }

    /// Tries to store a task.
    pub(super) async fn store(&self, id: TaskId, version: u64, document: impl Into<Bytes>, done: bool) -> Result<bool> {
        self.engine.store_task(StoreTask { id, version, document: document.into(), done }).await
    }
}

impl Trial {
    /// Creates a new engine with nodes whose signals arrive.
    pub(super) async fn new(backend: &dyn Backend, nodes: Nodes, number: u8, policy: Policy) -> Self {
        Self::with_recorders(backend, nodes, number, policy, Manner::Faithful).await
    }

    pub(super) async fn with_recorders(
        backend: &dyn Backend,
        nodes: Nodes,
        number: u8,
        policy: Policy,
        manner: Manner,
    ) -> Self {
        let rule = Rule::find(number);
        let [first, second] = backend.fresh().await;
        let a = Node::join(&first, manner, &policy);
        let b = match nodes {
            Nodes::One => a.clone(),
            Nodes::Two => Node::join(&second, manner, &policy),
        };
        Self { rule, a, b }
    }

    /// Creates a session without a principal.
    pub(super) async fn session(&self) -> SessionId {
        self.session_of(None).await
    }

    pub(super) async fn session_of(&self, principal: Option<&Principal>) -> SessionId {
        let session = SessionId::random();
        let ended = self.ok(self.a.create(session, principal).await, "create");
        self.same(ended.len(), 0, "evicted sessions");
        session
    }

    /// Begins a call that `a` owns.
    pub(super) async fn call(&self, session: SessionId, id: i64) -> StreamNo {
        self.ok(self.a.begin(session, &[id.into()], true).await, "begin")
    }

    /// Creates a session with a call of `a` in flight.
    pub(super) async fn called(&self) -> (SessionId, StreamNo) {
        let session = self.session().await;
        (session, self.call(session, 1).await)
    }

    /// `a` appends notifications.
    pub(super) async fn write(&self, session: SessionId, stream: StreamNo, first: u64, texts: &[&str]) -> Appended {
        let events = texts.iter().map(|text| note(text)).collect();
        self.ok(self.a.append(session, stream, first, events, false).await, "append")
    }

    /// `a` appends a response and closes the stream.
    pub(super) async fn close(&self, session: SessionId, stream: StreamNo, first: u64) -> Appended {
        self.ok(self.a.append(session, stream, first, vec![response("done")], true).await, "the closing append")
    }

    /// `b` attaches after a number.
    pub(super) async fn attach(&self, session: SessionId, stream: StreamNo, after: u64) -> Attached {
        self.ok(self.b.attach(session, stream, Some(after)).await, "attach")
    }

    /// `b` takes over after a number and reads everything.
    pub(super) async fn all(&self, session: SessionId, stream: StreamNo, after: u64) -> Page {
        let reader = self.attach(session, stream, after).await;
        self.ok(self.b.read(session, stream, reader, after, usize::MAX).await, "read")
    }

    /// `a` creates a task without a ttl.
    pub(super) async fn task(&self, principal: Option<&Principal>, document: impl Into<Bytes>) -> TaskId {
        self.keep(self.a.task(principal, document)).await
    }

    /// `a` creates the given task.
    pub(super) async fn keep(&self, create: CreateTask) -> TaskId {
        let id = create.id;
        self.ok(self.a.engine.create_task(create).await, "create_task");
        id
    }

    /// `b` stores a task unchanged, as done.
    pub(super) async fn end_task(&self, task: TaskId, principal: Option<&Principal>) {
        let LoadedTask { document, version, .. } = self.ok(self.a.engine.load_task(task, principal).await, "load_task");
        let stored = self.ok(self.b.store(task, version, document, true).await, "the last store_task");
        self.holds(stored, "the last store did not count");
    }

    /// Asserts which of some tasks without a principal exist, by their index in the list.
    pub(super) async fn tasks_kept(&self, tasks: &[TaskId], expected: &[usize]) {
        let mut kept = Vec::new();
        for (at, task) in tasks.iter().enumerate() {
            match self.b.engine.load_task(*task, None).await {
                Ok(_) => kept.push(at),
                Err(error) => self.same(error.kind(), StoreErrorKind::NotFound, "load of a task that is not kept"),
            }
        }
        self.same(kept, expected, "the tasks that are kept");
    }

    #[track_caller]
    pub(super) fn ok<T>(&self, result: Result<T>, what: &str) -> T {
        match result {
            Ok(value) => value,
            Err(error) => self.broken(format_args!("{what} failed: {error} ({:?})", error.kind())),
        }
    }

    #[track_caller]
    pub(super) fn rejected<T: Debug>(&self, result: Result<T>, kind: StoreErrorKind, what: &str) {
        match result {
            Err(error) if error.kind() == kind => {}
            other => self.broken(format_args!("{what} gave {other:?} instead of {kind:?}")),
        }
    }

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "what is compared is made in the call")]
    pub(super) fn same<T: PartialEq<U> + Debug, U: Debug>(&self, is: T, should: U, what: &str) {
        if is != should {
            self.broken(format_args!("{what}: {is:?} instead of {should:?}"));
        }
    }

    #[track_caller]
    pub(super) fn holds(&self, condition: bool, what: &str) {
        if !condition {
            self.broken(format_args!("{what}"));
        }
    }

    /// Asserts that a node receives a signal.
    pub(super) async fn signaled(&self, node: &Node, wanted: impl Fn(&Signal) -> bool, what: &str) {
        let came = node.recorder.wait(wanted).await;
        self.holds(came, what);
    }

    #[track_caller]
    pub(super) fn broken(&self, what: std::fmt::Arguments<'_>) -> ! {
        panic!("{}: {what}", self.rule);
    }
}

pub(super) fn info(session: SessionId, principal: Option<&Principal>) -> SessionInfo {
    SessionInfo {
        id: session,
        principal: principal.cloned(),
        peer: None,
        version: ProtocolVersion::V2025_11_25,
        client: Arc::new(Implementation {
            name: "contract".into(),
            version: "1".into(),
            title: Some("The suite".into()),
        }),
        capabilities: Arc::new(ClientCapabilities {
            roots: Some(RawJson::empty_object()),
            ..ClientCapabilities::default()
        }),
        opened_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
    }
}

/// A message that may be dropped.
pub(super) fn note(text: &str) -> Event {
    Event { kind: EventKind::Notification, payload: payload(text) }
}

pub(super) fn response(text: &str) -> Event {
    Event { kind: EventKind::Response, payload: payload(text) }
}

pub(super) fn request_event(id: &str) -> Event {
    Event { kind: EventKind::Request(id.into()), payload: payload(id) }
}

pub(super) fn payload(text: &str) -> Bytes {
    json(text).into_bytes()
}

fn json(text: &str) -> RawJson {
    RawJson::from_value(text).unwrap_or_else(|_| RawJson::empty_object())
}

/// An answer that a client could send.
pub(super) fn answer(text: &str) -> std::result::Result<RawJson, RawJson> {
    Ok(json(text))
}

/// The numbers of the events in a page.
pub(super) fn numbers(page: &Page) -> Vec<u64> {
    page.events.iter().map(|event| event.seq).collect()
}

/// The events that a reader should receive.
pub(super) fn stored(first: u64, texts: &[&str]) -> Vec<Stored> {
    texts.iter().zip(first..).map(|(text, seq)| Stored { seq, payload: payload(text) }).collect()
}
