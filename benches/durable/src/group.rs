//! Group commit for a database, as an engine would use it: one thread writes all waiting operations
//! in one batch, then wakes their callers.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::Error;

/// The events kept of a stream. Each new event removes the oldest one beyond them.
pub(crate) const KEPT: u64 = 1_000;

/// The maximum number of operations in a batch.
const BATCH: usize = 1_024;

pub(crate) type SessionKey = [u8; 16];

/// An operation of an engine.
pub(crate) enum Op {
    Open {
        session: SessionKey,
        info: Bytes,
    },
    Event {
        session: SessionKey,
        seq: u64,
        payload: Bytes,
    },
    /// `events` is the number of events the session had.
    End {
        session: SessionKey,
        events: u64,
    },
}

pub(crate) trait Backend: Send + 'static {
    fn commit(&mut self, ops: &[Op]) -> Result<(), Error>;
}

struct Job {
    op: Op,
    done: oneshot::Sender<()>,
}

#[derive(Debug)]
pub(crate) struct Group {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Group {
    pub(crate) fn start(mut backend: impl Backend) -> Self {
        let (jobs, waiting) = channel();
        let thread = std::thread::spawn(move || {
            while let Some((ops, done)) = next(&waiting) {
                backend.commit(&ops).expect("the database writes");
                done.into_iter().for_each(|done| done.send(()).unwrap_or_default());
            }
        });
        Self { jobs: Some(jobs), thread: Some(thread) }
    }

    pub(crate) async fn written(done: oneshot::Receiver<()>) -> Result<(), Error> {
        done.await.map_err(|_| "the writer is gone".into())
    }

    pub(crate) fn give(&self, op: Op) -> oneshot::Receiver<()> {
        let (done, written) = oneshot::channel();
        let jobs = self.jobs.as_ref().expect("it is open");
        jobs.send(Job { op, done }).expect("the writer runs");
        written
    }
}

fn next(waiting: &Receiver<Job>) -> Option<(Vec<Op>, Vec<oneshot::Sender<()>>)> {
    let first = waiting.recv().ok()?;
    let jobs = std::iter::once(first).chain(waiting.try_iter()).take(BATCH);
    Some(jobs.map(|job| (job.op, job.done)).unzip())
}

impl Drop for Group {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
