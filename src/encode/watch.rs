//! The watch: cuts response bodies whose clients have stopped reading, or read too slowly.
//!
//! A transport stops polling a body when its client stops reading. Over HTTP/2 that happens when
//! the flow-control windows are used up. The connection itself then has nothing to write, so a
//! write timeout does not apply.
//!
//! 1. The time runs from the moment at which data is ready or was handed out, until the transport
//!    polls again. A body that has data ready all the time must move at least
//!    [`MIN_RATE`](super::signal::MIN_RATE) bytes a second. A quiet stream is never cut.
//! 2. A cut body drops everything it holds at once: its bytes, its reader, and its call in flight.
//!    It ends with an error when the transport polls again. That resets an HTTP/2 stream, and
//!    closes an HTTP/1 connection.
//! 3. A long body is handed out in pieces, so that the transport holds no more of it than it can
//!    send. hyper takes the first piece before it has capacity for it, even on an HTTP/2 stream
//!    with a closed window. So it keeps one piece for each stream, also of a cut body, until the
//!    window opens, the client resets the stream, or the connection ends. With 200 streams, hyper's
//!    default, these are 6.25 MiB for each connection. A smaller first piece would split events of
//!    that size, and some clients take an HTTP chunk for an event.
//! 4. One task for each service checks its bodies, and runs only while there are any. If the
//!    runtime of the task ends, the next body starts another task. A short body is not watched,
//!    because the transport takes it whole.
//! 5. The bytes that all bodies hold together have a [ceiling](super::ceiling).

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use dashmap::DashMap;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::Instant;

use super::ceiling::{Ceiling, Counted};
use super::signal::{Measured, Signal};
use crate::identity::Account;
use crate::panics::call_quietly;
use crate::throttle::Throttle;

/// The watch of one service.
pub(crate) struct Watch {
    /// `None`: bodies wait for their clients without limit.
    timeout: Option<Duration>,
    pub(super) ceiling: Arc<Ceiling>,
    /// Called for each body that is cut.
    on_cut: Box<dyn Fn() + Send + Sync>,
    start: Instant,
    pub(super) bodies: DashMap<usize, Weak<Watched>>,
    /// The task runs.
    looks: AtomicBool,
    lines: Throttle,
}

/// The largest piece of a longer body: two frames.
const PIECE: usize = 32 << 10;

/// The minimum and the maximum interval between two checks.
const POLL_INTERVAL: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

impl Watch {
    /// Makes a watch. `limit` is the maximum of bytes that all bodies hold together.
    pub(crate) fn new(timeout: Option<Duration>, limit: usize, on_cut: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            timeout,
            ceiling: Ceiling::new(limit),
            on_cut: Box::new(on_cut),
            start: Instant::now(),
            bodies: DashMap::new(),
            looks: AtomicBool::new(false),
            lines: Throttle::default(),
        })
    }

    /// Wraps a body so that it is watched and counts for an account. `held` is dropped when the
    /// body has ended or is cut.
    pub(super) fn over(self: &Arc<Self>, body: Body, account: Option<Account>, held: Option<Held>) -> Body {
        let watched = Arc::new_cyclic(|watched| {
            let signal = Arc::new(Signal::new(self.start, Weak::clone(watched) as _));
            let counted = Counted::nothing(&self.ceiling);
            let state = State { body, rest: Bytes::new(), whole: 0, counted, _held: held };
            Watched { signal, account, state: Mutex::new(Some(state)) }
        });
        let waker = Waker::from(Arc::clone(&watched.signal));
        self.bodies.insert(Arc::as_ptr(&watched).addr(), Arc::downgrade(&watched));
        if !self.looks.swap(true, Ordering::AcqRel) {
            self.start_polling();
        }
        watched.measure();
        Body::new(WatchedBody { watched, waker, watch: Arc::clone(self), over: false })
    }

    fn start_polling(self: &Arc<Self>) {
        let (watch, ceiling) = (Arc::downgrade(self), Arc::clone(&self.ceiling));
        let every =
            self.timeout.map_or(POLL_INTERVAL.1, |timeout| (timeout / 4).clamp(POLL_INTERVAL.0, POLL_INTERVAL.1));
        if tokio::runtime::Handle::try_current().is_err() {
            self.looks.store(false, Ordering::Release);
            return;
        }
        let mut looking = Polling { watch, over: false };
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(every) => {}
                    () = ceiling.reached.notified() => {}
                }
                let Some(watch) = looking.watch.upgrade() else { return };
                if !watch.look() {
                    return looking.end();
                }
            }
        });
    }

    /// Cuts the bodies that have waited too long. Returns `false` if no body is left to check.
    fn look(&self) -> bool {
        if let Some(timeout) = self.timeout {
            self.cut_late(timeout);
        }
        self.come_below();
        if !self.bodies.is_empty() {
            return true;
        }
        // Otherwise the map would keep the capacity of its fullest moment.
        self.bodies.shrink_to_fit();
        self.looks.store(false, Ordering::Release);
        // A body may have been added meanwhile that did not start a task, because this one was
        // running.
        !self.bodies.is_empty() && !self.looks.swap(true, Ordering::AcqRel)
    }

    fn cut_late(&self, timeout: Duration) {
        // Collected first: cutting a body may end a call, which must not happen while the map is
        // locked.
        let late: Vec<_> = self.bodies.iter().filter_map(|body| body.upgrade()).collect();
        for body in late.iter().filter(|body| body.signal.is_late(timeout)) {
            if self.cut(body).is_some()
                && let Some(left_out) = self.lines.line()
            {
                tracing::warn!(
                    ?timeout,
                    left_out,
                    "a response was cut: its client does not read, or too slowly (`Streams::write_timeout`)"
                );
            }
        }
    }

    /// Cuts a body. Returns the bytes it counted; `None` if it has ended or is being polled now.
    pub(super) fn cut(&self, body: &Watched) -> Option<usize> {
        let mut cut = None;
        call_quietly("the end of a response that was cut", || {
            cut = body.cut();
            if cut.is_some() {
                (self.on_cut)();
            }
        });
        cut
    }
}

/// The task that checks bodies. If it is dropped early, as with its runtime, another can start.
struct Polling {
    watch: Weak<Watch>,
    /// The task has recorded its end itself.
    over: bool,
}

impl Polling {
    fn end(&mut self) {
        self.over = true;
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        if let Some(watch) = self.watch.upgrade().filter(|_| !self.over) {
            watch.looks.store(false, Ordering::Release);
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("timeout", &self.timeout)
            .field("bodies", &self.bodies.len())
            .finish_non_exhaustive()
    }
}

impl Measured for Watched {
    fn measure(&self) {
        if let Some(state) = self.state.try_lock().ok().as_deref_mut().and_then(Option::as_mut) {
            state.measure();
        }
    }
}

/// A value that a body holds besides its bytes.
pub(crate) type Held = Box<dyn Any + Send + Sync>;

/// A body that the transport and the watch share.
pub(super) struct Watched {
    pub(super) signal: Arc<Signal>,
    pub(super) account: Option<Account>,
    /// `None` once it has ended or was cut.
    state: Mutex<Option<State>>,
}

struct State {
    body: Body,
    /// The data that the body returned and the transport has not taken yet.
    rest: Bytes,
    /// The size of the memory that contains the rest.
    whole: usize,
    counted: Counted,
    _held: Option<Held>,
}

impl State {
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?.map(Frame::into_data) {
                None => return Poll::Ready(None),
                Some(Ok(data)) if data.len() > PIECE => (self.whole, self.rest) = (data.len(), data),
                Some(Ok(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(Err(other)) => return Poll::Ready(Some(Ok(other))),
            }
        }
        let length = piece_of(&self.rest);
        // A copy, because a slice would keep the whole memory for as long as the transport keeps
        // the piece.
        let piece = Bytes::copy_from_slice(&self.rest.split_to(length));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    /// Counts the bytes that the body holds.
    fn measure(&mut self) {
        let rest = if self.rest.is_empty() { 0 } else { self.whole };
        let ready = usize::try_from(self.body.size_hint().lower()).unwrap_or(usize::MAX);
        self.counted.set(rest.saturating_add(ready));
    }

    fn has_ended(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }
}

/// Returns the length of the next piece. It ends after a whole event if one fits, because some
/// clients take an HTTP chunk for an event.
fn piece_of(ready: &[u8]) -> usize {
    match ready.get(..PIECE) {
        Some(piece) if ready.len() > PIECE => memchr::memmem::rfind(piece, b"\n\n").map_or(PIECE, |end| end + 2),
        _ => ready.len(),
    }
}

impl Watched {
    fn lock(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the bytes that the body counts; zero while it is being polled.
    pub(super) fn bytes(&self) -> usize {
        let state = self.state.try_lock().ok();
        state.as_deref().and_then(Option::as_ref).map_or(0, |state| state.counted.bytes)
    }

    /// Drops the body. Returns the bytes it counted; `None` if it has ended or is being polled now.
    pub(super) fn cut(&self) -> Option<usize> {
        let state = self.state.try_lock().ok().and_then(|mut state| state.take())?;
        let bytes = state.counted.bytes;
        drop(state);
        self.signal.transport.wake();
        Some(bytes)
    }
}

/// The transport's side of a watched body.
struct WatchedBody {
    watched: Arc<Watched>,
    /// Wakes the signal when data is ready.
    waker: Waker,
    watch: Arc<Watch>,
    over: bool,
}

impl http_body::Body for WatchedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.over {
            let ended = this.watched.lock().take();
            drop(ended);
            return Poll::Ready(None);
        }
        let signal = &this.watched.signal;
        signal.is_asked();
        signal.transport.register(cx.waker());
        let mut slot = this.watched.lock();
        let Some(state) = slot.as_mut() else {
            this.over = true;
            return Poll::Ready(Some(Err(axum::Error::new(Stalled))));
        };
        let polled = state.next(&mut Context::from_waker(&this.waker));
        match &polled {
            Poll::Pending => {
                signal.has_no_more();
                state.measure();
            }
            Poll::Ready(Some(Ok(frame))) => {
                signal.gave(frame.data_ref().map_or(0, Bytes::len));
                state.measure();
                if state.has_ended() {
                    signal.has_no_more();
                    // The transport has the last piece, and may keep it for as long as its client
                    // likes. What the body holds counts until the transport drops the body.
                    this.over = true;
                    let ended = std::mem::take(&mut state.body);
                    drop(slot);
                    drop(ended);
                }
            }
            Poll::Ready(_) => {
                this.over = true;
                let ended = slot.take();
                drop(slot);
                drop(ended);
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }

    fn size_hint(&self) -> SizeHint {
        match &*self.watched.lock() {
            Some(state) => {
                let (mut hint, rest) = (state.body.size_hint(), state.rest.len() as u64);
                if let Some(upper) = hint.upper() {
                    hint.set_upper(upper + rest);
                }
                hint.set_lower(hint.lower() + rest);
                hint
            }
            None if self.over => SizeHint::with_exact(0),
            None => SizeHint::new(),
        }
    }
}

impl Drop for WatchedBody {
    fn drop(&mut self) {
        self.watch.bodies.remove(&Arc::as_ptr(&self.watched).addr());
    }
}

/// The error of a body whose client took nothing for too long.
#[derive(Debug)]
struct Stalled;

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client has stopped reading")
    }
}

impl std::error::Error for Stalled {}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::AtomicUsize;

    use futures_util::stream;
    use http_body_util::{BodyExt, StreamBody};
    use tokio::sync::mpsc;
    use tokio::time::{sleep, timeout};

    use super::*;

    #[test]
    fn a_piece_ends_where_an_event_ends() {
        let event = [b"data: ".as_slice(), &[b'x'; 1_000], b"\n\n"].concat();
        let events = event.repeat(100);
        assert_eq!(piece_of(&events), PIECE / event.len() * event.len());
        assert_eq!(piece_of(&event), event.len());
        assert_eq!(piece_of(&[b'x'; PIECE + 1]), PIECE, "an event longer than a piece");
        assert_eq!(piece_of(&[]), 0);
    }

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn watch() -> (Arc<Watch>, Arc<AtomicUsize>) {
        let cut = Arc::new(AtomicUsize::new(0));
        let counting = Arc::clone(&cut);
        (
            Watch::new(Some(TIMEOUT), PIECE * 100, move || {
                counting.fetch_add(1, Ordering::Relaxed);
            }),
            cut,
        )
    }

    /// Shared bytes, so that a test sees if they are still held.
    struct Shared(Arc<Vec<u8>>);

    impl AsRef<[u8]> for Shared {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_not_polled_is_cut() {
        let (watch, cut) = watch();
        let (bytes, held) = (Arc::new(vec![b'x'; PIECE * 4]), Arc::new(()));
        let body = Body::from(Bytes::from_owner(Shared(Arc::clone(&bytes))));
        let mut body = watch.over(body, None, Some(Box::new(Arc::clone(&held))));
        sleep(TIMEOUT - Duration::from_secs(1)).await;
        assert_eq!(body.size_hint().exact(), Some(PIECE as u64 * 4));
        let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!((piece.len(), body.size_hint().exact()), (PIECE, Some(PIECE as u64 * 3)));
        sleep(TIMEOUT - Duration::from_secs(1)).await;
        assert_eq!((Arc::strong_count(&bytes), Arc::strong_count(&held)), (2, 2));
        sleep(POLL_INTERVAL.1 + Duration::from_secs(1)).await;
        assert_eq!((Arc::strong_count(&bytes), Arc::strong_count(&held), piece.len()), (1, 1, PIECE));
        assert_eq!(cut.load(Ordering::Relaxed), 1);
        assert!(body.frame().await.unwrap().is_err());
        assert!(body.frame().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_piece_counts_until_the_next_poll() {
        let (watch, cut) = watch();
        let held = Arc::new(());
        let mut body = watch.over(Body::from(vec![b'x'; PIECE]), None, Some(Box::new(Arc::clone(&held))));
        // HTTP/2 takes a piece before it knows if there is capacity for it.
        let _piece = body.frame().await.unwrap().unwrap();
        assert!(body.is_end_stream());
        assert_eq!(Arc::strong_count(&held), 2);
        sleep(TIMEOUT + POLL_INTERVAL.1).await;
        assert_eq!((Arc::strong_count(&held), cut.load(Ordering::Relaxed)), (1, 1));
        let mut body = watch.over(Body::from(vec![b'x'; PIECE]), None, Some(Box::new(Arc::clone(&held))));
        body.frame().await.unwrap().unwrap();
        assert!(body.frame().await.is_none());
        assert_eq!(Arc::strong_count(&held), 1, "the transport came back for the end");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_gets_the_whole_body() {
        let (watch, cut) = watch();
        let mut body = watch.over(Body::from(vec![b'x'; PIECE * 3 + 1]), None, None);
        let mut got = 0;
        while let Some(frame) = body.frame().await {
            got += frame.unwrap().into_data().unwrap().len();
            sleep(TIMEOUT / 2).await;
        }
        assert_eq!((got, cut.load(Ordering::Relaxed)), (PIECE * 3 + 1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn only_streams_with_pending_data_are_cut() {
        let (watch, cut) = watch();
        let (sender, mut receiver) = mpsc::unbounded_channel::<Bytes>();
        let frames = stream::poll_fn(move |cx| {
            receiver.poll_recv(cx).map(|data| data.map(|data| Ok::<_, Infallible>(Frame::data(data))))
        });
        let mut body = watch.over(Body::new(StreamBody::new(frames)), None, None);
        for _ in 0..3 {
            assert!(timeout(TIMEOUT * 10, body.frame()).await.is_err(), "nothing is said, and nothing is late");
            sender.send(Bytes::from_static(b"x")).unwrap();
            sleep(TIMEOUT - Duration::from_secs(1)).await;
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "x");
        }
        assert!(timeout(TIMEOUT * 10, body.frame()).await.is_err());
        sender.send(Bytes::from_static(b"x")).unwrap();
        sleep(TIMEOUT + POLL_INTERVAL.1).await;
        assert_eq!(cut.load(Ordering::Relaxed), 1);
        assert!(sender.is_closed(), "its source is dropped");
    }

    #[tokio::test(start_paused = true)]
    async fn the_watch_task_runs_only_with_bodies() {
        let (watch, cut) = watch();
        for round in 1..4 {
            let body = watch.over(Body::from(vec![b'x'; PIECE]), None, None);
            assert!(watch.looks.load(Ordering::Acquire));
            sleep(TIMEOUT * 2).await;
            assert_eq!(cut.load(Ordering::Relaxed), round);
            drop(body);
            assert!(watch.bodies.is_empty());
            sleep(POLL_INTERVAL.1 * 2).await;
            assert!(!watch.looks.load(Ordering::Acquire));
        }
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
    }

    #[test]
    fn another_runtime_continues_the_watch() {
        let (watch, cut) = watch();
        let first = runtime();
        let stalled = first.block_on(async { watch.over(Body::from(vec![b'x'; PIECE]), None, None) });
        drop(first);
        assert!(!watch.looks.load(Ordering::Acquire), "its task is gone");
        let second = runtime();
        let _body = second.block_on(async {
            let body = watch.over(Body::from(vec![b'x'; PIECE]), None, None);
            sleep(TIMEOUT + POLL_INTERVAL.1).await;
            body
        });
        assert!(cut.load(Ordering::Relaxed) >= 1);
        drop(stalled);
    }

    /// Panics when it is dropped.
    struct Trap;

    impl Drop for Trap {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_panicking_body_does_not_stop_the_watch() {
        let (watch, cut) = watch();
        let trapped = watch.over(Body::from(vec![b'x'; PIECE]), None, Some(Box::new(Trap)));
        sleep(TIMEOUT + POLL_INTERVAL.1).await;
        let _late = watch.over(Body::from(vec![b'x'; PIECE]), None, None);
        sleep(TIMEOUT + POLL_INTERVAL.1).await;
        assert_eq!(cut.load(Ordering::Relaxed), 1, "the second one");
        assert!(watch.looks.load(Ordering::Acquire));
        drop(trapped);
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_body_restarts_a_panicked_watch() {
        let cut = Arc::new(AtomicUsize::new(0));
        let counting = Arc::clone(&cut);
        let watch = Watch::new(Some(TIMEOUT), PIECE * 100, move || {
            assert!(counting.fetch_add(1, Ordering::Relaxed) > 0, "the first one panics");
        });
        let bodies = [(); 2].map(|()| watch.over(Body::from(vec![b'x'; PIECE]), None, None));
        sleep(TIMEOUT + POLL_INTERVAL.1).await;
        assert_eq!(cut.load(Ordering::Relaxed), 2);
        drop(bodies);
    }
}
