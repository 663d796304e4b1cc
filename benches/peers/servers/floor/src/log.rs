//! The log of a call on the floor `bytes`: the least that a server stores for a client that
//! resumes. One buffer holds all events, and a reader takes those it has not seen.

use std::io::Write;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use dashmap::DashMap;
use futures_util::stream;
use serde::Serialize;

use crate::message::Progress;

/// The events of a call so far.
#[derive(Default)]
struct Log {
    bytes: Vec<u8>,
    /// The end of each event in `bytes`.
    ends: Vec<usize>,
    ended: bool,
    reader: Option<Waker>,
}

/// The calls whose end has not been read.
#[derive(Clone, Default)]
pub(crate) struct Logs {
    all: Arc<DashMap<u64, Arc<Mutex<Log>>>>,
    next: Arc<AtomicU64>,
}

/// A call that sends `steps` progress notifications, with a pause before each.
pub(crate) struct Steps<R> {
    pub(crate) token: Box<serde_json::value::RawValue>,
    pub(crate) steps: u32,
    pub(crate) pause: Duration,
    pub(crate) result: R,
}

impl Logs {
    /// Starts a call. The call continues when its connection ends.
    pub(crate) fn start<R: Serialize + Send + 'static>(&self, call: Steps<R>) -> Response {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let log = Arc::new(Mutex::new(Log::default()));
        self.all.insert(id, Arc::clone(&log));
        tokio::spawn(run(id, Arc::clone(&log), call));
        self.read(id, log, 0)
    }

    /// Returns the events after the one that the client names.
    pub(crate) fn resume(&self, headers: &HeaderMap) -> Response {
        let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.split_once('-'));
        let found = last.and_then(|(id, event)| {
            let id = id.parse().ok()?;
            let log = Arc::clone(self.all.get(&id)?.value());
            let seen = *log.lock().expect("no panic").ends.get(event.parse::<usize>().ok()?)?;
            Some((id, log, seen))
        });
        found.map_or_else(|| StatusCode::NOT_FOUND.into_response(), |(id, log, seen)| self.read(id, log, seen))
    }

    fn read(&self, id: u64, log: Arc<Mutex<Log>>, mut seen: usize) -> Response {
        let logs = Arc::clone(&self.all);
        let unseen = stream::poll_fn(move |cx| {
            let mut log = log.lock().expect("no panic");
            if seen < log.bytes.len() {
                let piece = Bytes::copy_from_slice(&log.bytes[seen..]);
                seen = log.bytes.len();
                return Poll::Ready(Some(Ok::<_, std::convert::Infallible>(piece)));
            }
            if log.ended {
                logs.remove(&id);
                return Poll::Ready(None);
            }
            log.reader = Some(cx.waker().clone());
            Poll::Pending
        });
        ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(unseen)).into_response()
    }
}

async fn run<R: Serialize>(id: u64, log: Arc<Mutex<Log>>, call: Steps<R>) {
    for step in 1..=call.steps {
        tokio::time::sleep(call.pause).await;
        log.lock().expect("no panic").push(id, &Progress::new(&call.token, step, call.steps));
    }
    let mut log = log.lock().expect("no panic");
    log.ended = true;
    log.push(id, &call.result);
}

impl Log {
    fn push(&mut self, id: u64, message: &impl Serialize) {
        write!(self.bytes, "id: {id}-{}\ndata: ", self.ends.len()).expect("memory");
        serde_json::to_writer(&mut self.bytes, message).expect("JSON");
        self.bytes.extend_from_slice(b"\n\n");
        self.ends.push(self.bytes.len());
        if let Some(reader) = mem::take(&mut self.reader) {
            reader.wake();
        }
    }
}
