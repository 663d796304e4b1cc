//! The signal handler of a node: finds and wakes the tasks that a signal concerns.

use std::sync::{Arc, Weak};

use super::Node;
use super::session::LiveSession;
use crate::core::Core;
use crate::identity::SessionId;
use crate::store::{Signal, SignalHandler};

/// The handler that the engine calls. It refers to the node weakly, so that an engine that outlives
/// the service does not keep it alive.
#[derive(Debug)]
struct Signals(Weak<Node>);

impl Node {
    /// Joins the engine of a service.
    pub(crate) fn join(core: &Arc<Core>) -> Arc<Self> {
        Self::new(core, |me| Arc::new(Signals(Weak::clone(me))))
    }
}

impl SignalHandler for Signals {
    fn signal(&self, signal: Signal) {
        let Some(node) = self.0.upgrade() else { return };
        let here = |id: SessionId| node.sessions.get(&id).map(|session| Arc::clone(&session));
        match signal {
            Signal::Stream { session, stream } => {
                if let Some(session) = here(session) {
                    session.wake_reader(stream);
                }
            }
            Signal::Detach { session, stream, generation, retry } => {
                if let Some(session) = here(session) {
                    session.release_reader(stream, generation, retry);
                }
            }
            Signal::Drained { session, stream } => {
                if let Some(session) = here(session) {
                    session.reader_took(stream);
                }
            }
            Signal::Cancel { session, stream, id } => {
                if let Some(session) = here(session) {
                    session.cancel(stream, &id);
                }
            }
            Signal::Answer { session, request } => {
                if let Some(session) = here(session) {
                    take_answer(&node, &session, &request);
                }
            }
            Signal::Ended { session, .. } => node.forget(session),
            Signal::Topic { topic, number } => node.announce(&topic, number),
            Signal::Update { session, update } => node.receive(session, update),
            // Sessions have no tasks.
            Signal::Task { .. } => {}
            Signal::Resync => node.recheck(),
        }
    }
}

/// Fetches an answer, if a task on this node waits for it.
fn take_answer(node: &Node, session: &Arc<LiveSession>, request: &str) {
    let Some(look) = session.begin_lookup(request) else { return };
    match node.core.engine.take_answer(session.info.id, request).now() {
        Ok(taken) => look.found(taken),
        Err(step) => drop(node.core.tasks.spawn(async move { look.found(step.await) })),
    }
}
