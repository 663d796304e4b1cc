//! The signal handler of the stateless revision. It has no sessions, so it receives signals of
//! announcements and of its tasks, and ignores others. After lost signals it queries the
//! announcements that it missed, so that each subscription stream receives each of them once.

use std::sync::{Arc, Weak};

use super::Node;
use super::subscriptions::Subscriptions;
use crate::core::{Core, Missed};
use crate::error::StoreErrorKind;
use crate::identity::TaskId;
use crate::server::change::EVERYTHING;
use crate::store::{Backoff, Signal, SignalHandler};

/// Receives signals for the service. Its references are weak, so that an engine that outlives the
/// service does not keep the service alive.
#[derive(Debug)]
struct Signals {
    subscriptions: Weak<Subscriptions>,
    node: Weak<Node>,
}

impl Node {
    /// Joins the engine of a service.
    pub(crate) fn join(core: &Arc<Core>) -> Arc<Self> {
        Self::new(core, |subscriptions, me| Arc::new(Signals::new(subscriptions, Weak::clone(me))))
    }
}

impl Signals {
    fn new(subscriptions: &Arc<Subscriptions>, node: Weak<Node>) -> Self {
        Self { subscriptions: Arc::downgrade(subscriptions), node }
    }

    fn update(&self, update: impl FnOnce(&Subscriptions)) {
        if let Some(subscriptions) = self.subscriptions.upgrade() {
            update(&subscriptions);
        }
    }
}

impl SignalHandler for Signals {
    fn signal(&self, signal: Signal) {
        match signal {
            Signal::Topic { topic, number } => {
                let is_new = self.node.upgrade().is_none_or(|node| node.received.receive(number));
                if is_new {
                    self.update(|subscriptions| tell(subscriptions, &topic));
                }
            }
            Signal::Task { task } => {
                if let Some(node) = self.node.upgrade() {
                    recheck_task(&node, task);
                }
            }
            Signal::Resync => {
                if let Some(node) = self.node.upgrade() {
                    recheck(&node);
                    let running: Vec<TaskId> = node.tasks.iter().map(|task| *task.key()).collect();
                    running.into_iter().for_each(|task| recheck_task(&node, task));
                }
            }
            _ => {}
        }
    }
}

/// Passes an announcement to the subscriptions.
fn tell(subscriptions: &Subscriptions, topic: &str) {
    match serde_json::from_str(topic) {
        Ok(change) => subscriptions.notify(&change),
        Err(_) if topic == EVERYTHING => subscriptions.notify_all_changes(),
        Err(_) => {}
    }
}

/// Queries and passes on missed announcements. If that runs already, it runs once more afterwards.
fn recheck(node: &Arc<Node>) {
    let me = Arc::downgrade(node);
    node.rechecks.check(&node.core, move || catch_up(Weak::clone(&me)));
}

/// Retries until the engine answers or the service is gone.
async fn catch_up(node: Weak<Node>) -> Option<()> {
    loop {
        let (after, request) = {
            let present = node.upgrade()?;
            let after = present.received.low();
            (after, present.query_announcements(after))
        };
        let announced = request.await;
        let present = node.upgrade()?;
        match announced.map(|announced| present.received.missed(after, announced)) {
            Ok(Missed::Topics(topics)) => topics.iter().for_each(|(_, topic)| tell(&present.subscriptions, topic)),
            Err(error) if error.kind() == StoreErrorKind::Unavailable => {
                drop(present);
                Backoff::background().pause().await;
                continue;
            }
            Ok(Missed::Anything { .. }) | Err(_) => present.subscriptions.notify_all_changes(),
        }
        return Some(());
    }
}

/// Re-checks a task that runs here.
fn recheck_task(node: &Node, task: TaskId) {
    let run = node.tasks.get(&task).map(|run| Arc::clone(&run));
    if let Some(run) = run {
        node.core.in_background(Box::pin(async move { run.recheck().await }));
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;
    use crate::message::RawJson;
    use crate::modern::filter::Filter;
    use crate::server::change::Change;
    use crate::settings::Limits;

    #[test]
    fn signals_reach_matching_subscriptions_only() {
        let subscriptions = Subscriptions::new(&Limits::new());
        let signals = Signals::new(&subscriptions, Weak::new());
        let request =
            RawJson::trusted(r#"{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["a:1"]}}"#);
        let subscription = subscriptions.join(Filter::read(Some(&request), || false).unwrap(), None).unwrap();
        let told = |signal: Signal| {
            signals.signal(signal);
            let mut told = Vec::new();
            subscription.take(&mut Context::from_waker(Waker::noop()), |change| told.push(change.clone()));
            told
        };
        let topic = |topic: &str| Signal::Topic { topic: topic.into(), number: 1 };
        let updated = Change::resource("a:1");
        assert_eq!(told(topic("\"Tools\"")), [Change::Tools]);
        assert_eq!(told(topic(&serde_json::to_string(&updated).unwrap())), std::slice::from_ref(&updated));
        for other in ["", "Tools", "\"Prompts\"", r#"{"Resource":"a:2"}"#, r#"{"session":1}"#] {
            assert_eq!(told(topic(other)), [], "{other}");
        }
        assert_eq!(told(topic(EVERYTHING)), [Change::Tools, updated]);
    }

    #[test]
    fn signals_after_the_service_ends_are_ignored() {
        let subscriptions = Subscriptions::new(&Limits::new());
        let signals = Signals::new(&subscriptions, Weak::new());
        drop(subscriptions);
        assert!(signals.subscriptions.upgrade().is_none(), "and kept nothing of it");
        signals.signal(Signal::Resync);
    }
}
