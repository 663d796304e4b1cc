//! The TCP listener: bounds how long a client can hold a connection that it does not use.
//!
//! A client that stops reading, or that disappears without closing, holds its connection, the
//! stream on it and the bytes buffered for it. [`McpListener`] bounds that time:
//!
//! 1. **Nothing to write**: TCP keep-alive probes the peer and gives up on it after 30 seconds.
//! 2. **Something to write**: the connection fails when the peer has read none of it for the write
//!    timeout. The clock runs only while a write is pending, so an idle connection costs no timer.
//! 3. **Nothing moves**, and the server wrote last: the connection ends after the [idle] timeout,
//!    if one is set.
//! 4. **The close**: the sending half closes first. Bytes that the peer still sends are read and
//!    discarded for a moment, so that the peer can read its answer ([`linger`]).
//!
//! [`McpListener::until`] makes the listener stop accepting connections.

mod accept;
mod idle;
mod linger;

use std::fmt;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::BoxFuture;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream, ToSocketAddrs};
use tokio::time::{Instant, Sleep, timeout_at};

use self::accept::Accepting;
use self::idle::Idle;
use self::linger::Linger;

/// How long a connection is silent before the first keep-alive probe. It is shorter than the usual
/// timeout of a NAT gateway or a load balancer, so these keep the connection open.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(15);

/// The interval between unanswered probes.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);

/// How many probes stay unanswered before the peer counts as gone.
const KEEPALIVE_PROBES: u32 = 3;

/// How long keep-alive takes in total to find that a peer is gone.
const KEEPALIVE_TOTAL: Duration = Duration::from_secs(30);

/// How many connections may wait to be accepted. When a server restarts or a network fails, all
/// clients reconnect at once. A client that finds the queue full (128, the default of tokio and
/// std) is not refused. It tries again after one second, then three, then seven. Linux uses the
/// smaller of this and `net.core.somaxconn`, which is 4,096, too.
const BACKLOG: u32 = 4_096;

/// A TCP listener for [`axum::serve()`] that closes the connections of clients that do not read.
///
/// Each connection has `TCP_NODELAY` set, so an event is sent when it happens and not when a packet
/// is full. It also has TCP keep-alive, which notices a peer that is gone within half a minute, and
/// a [write timeout](Self::write_timeout).
///
/// ```no_run
/// use axum::{Router, routing::get};
/// use mcp_http::McpListener;
///
/// # async fn run() -> std::io::Result<()> {
/// let app = Router::new().route("/", get(|| async { "home" }));
/// axum::serve(McpListener::bind("127.0.0.1:0").await?, app).await
/// # }
/// ```
///
/// For `ConnectInfo<SocketAddr>`, which [`Security::trusted_proxies`] needs, axum requires a
/// listener of its own around this one:
///
/// ```no_run
/// use std::net::SocketAddr;
///
/// use axum::{Router, serve::ListenerExt};
/// use mcp_http::McpListener;
///
/// # async fn run(app: Router) -> std::io::Result<()> {
/// let listener = McpListener::bind("0.0.0.0:3000").await?.tap_io(|_| ());
/// axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await
/// # }
/// ```
///
/// The listener cannot bound a request head that arrives slowly. Only the HTTP parser sees where a
/// head ends, and [`axum::serve()`] gives hyper no timer for it. A server that faces the open
/// internet should be behind a proxy that has such a timer, or run hyper itself with
/// `header_read_timeout`.
///
/// A client that closes its sending half before it has its answer counts as gone, because a client
/// that closes its whole connection looks the same. Its call is treated like that of any
/// disconnected client: it continues in a session, and is cancelled elsewhere. Its answer may be
/// lost even if it is ready.
///
/// [`Security::trusted_proxies`]: crate::Security::trusted_proxies
pub struct McpListener {
    /// `None` if the listener is closed.
    tcp: Option<TcpListener>,
    write_timeout: Option<Duration>,
    idle_timeout: Option<Duration>,
    accepting: Accepting,
    end: End,
}

/// When the listener closes.
enum End {
    Never,
    After(BoxFuture<'static, ()>),
    /// As soon as the accept queue is empty, and at this instant at the latest.
    Soon(Instant),
}

/// A queue from which no connection came for this long counts as empty. The system completes
/// connections before they are accepted.
const EMPTY_QUEUE: Duration = Duration::from_millis(5);

/// How long the queue may take to become empty. A client that connects later could have known that
/// this server is stopping.
const LAST_OF_QUEUE: Duration = Duration::from_secs(1);

impl McpListener {
    /// The default write timeout. It is longer than a phone takes to change from one network to
    /// another, and short enough that clients that stopped reading do not accumulate.
    pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

    /// Binds a listener to an address, with a backlog for thousands of clients that connect at
    /// once.
    ///
    /// # Errors
    ///
    /// If the address cannot be resolved or bound.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, an address that was bound is free again.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        let mut failed = None;
        for address in tokio::net::lookup_host(address).await? {
            match listen(address) {
                Ok(tcp) => return Ok(Self::new(tcp)),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the name has no address")))
    }

    /// Wraps a listener of tokio.
    #[must_use]
    pub fn new(tcp: TcpListener) -> Self {
        Self {
            tcp: Some(tcp),
            write_timeout: Some(Self::WRITE_TIMEOUT),
            idle_timeout: None,
            accepting: Accepting::default(),
            end: End::Never,
        }
    }

    /// Sets how long a peer may read nothing of a pending write before its connection fails.
    ///
    /// The default is [`WRITE_TIMEOUT`](Self::WRITE_TIMEOUT); `None` waits indefinitely. A peer
    /// that reads slowly is not disconnected: the time starts again whenever the system's send
    /// buffer has capacity.
    #[must_use]
    pub fn write_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// Sets how long a connection may be idle before it is closed. Default: `None`, no limit.
    ///
    /// A connection is idle if nothing is read or written and the server wrote last. Such a
    /// connection holds a file descriptor and the buffers that hyper has reserved for it, up to
    /// half a MiB after a large request. A connection on which a request has begun, or whose
    /// request head arrives slowly, is not idle.
    ///
    /// A listener does not see requests. A stream without
    /// [`Streams::keep_alive`](crate::Streams::keep_alive) therefore looks idle, and so does an
    /// HTTP/2 connection with a call that is silent for longer. Choose a timeout longer than that
    /// interval and than the longest silence that a client may expect. It must also exceed the time
    /// for which a proxy in front keeps connections for later requests (nginx: 60 s), so that the
    /// proxy never uses one that is just closing. Ten minutes suit most services.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Stops listening when a future completes, such as
    /// [`McpHandle::shutdown_started`](crate::McpHandle::shutdown_started).
    ///
    /// The system then refuses new connections, and a load balancer in front sends them to another
    /// node. Connections that are already in the accept queue are accepted, and open connections
    /// continue. By default the listener accepts indefinitely: with `with_graceful_shutdown` alone,
    /// it closes only when the whole server does.
    #[must_use]
    pub fn until(mut self, end: impl Future<Output = ()> + Send + 'static) -> Self {
        self.end = End::After(Box::pin(end));
        self
    }

    /// Returns the next connection, or `None` if the listener is closed.
    async fn next(&mut self) -> Option<(TcpStream, SocketAddr)> {
        let tcp = self.tcp.as_mut()?;
        if let End::After(end) = &mut self.end {
            tokio::select! {
                biased;
                () = end => self.end = End::Soon(Instant::now() + LAST_OF_QUEUE),
                accepted = self.accepting.next(tcp) => return Some(accepted),
            }
        }
        let accept = self.accepting.next(tcp);
        let accepted = match self.end {
            End::Soon(latest) => timeout_at(latest.min(Instant::now() + EMPTY_QUEUE), accept).await.ok(),
            End::Never | End::After(_) => Some(accept.await),
        };
        if accepted.is_none() {
            self.tcp = None;
        }
        accepted
    }

    /// Returns the address this listener is bound to. If port 0 was requested, it has the port that
    /// the system chose.
    ///
    /// # Errors
    ///
    /// If the system does not report the address, or the listener is closed.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let closed = || io::Error::new(io::ErrorKind::NotConnected, "the listener is closed");
        self.tcp.as_ref().ok_or_else(closed)?.local_addr()
    }
}

impl fmt::Debug for McpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpListener")
            .field("tcp", &self.tcp)
            .field("write_timeout", &self.write_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .finish_non_exhaustive()
    }
}

impl axum::serve::Listener for McpListener {
    type Io = GuardedStream;
    type Addr = SocketAddr;

    /// Returns the next connection. Errors of the listening socket are logged, at most once in ten
    /// seconds, and `accept` is tried again.
    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let Some((stream, peer)) = self.next().await else { return pending().await };
        if let Err(error) = tune(&stream, self.write_timeout) {
            // The peer may be gone already. If it is not, it is served without the options.
            tracing::debug!(%error, "could not set the options of a connection");
        }
        (GuardedStream::new(stream, self.write_timeout).idle_timeout(self.idle_timeout), peer)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Self::local_addr(self)
    }
}

/// Like [`TcpListener::bind`], with a longer backlog.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // On Windows this would let two servers listen on one port.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn tune(stream: &TcpStream, write_timeout: Option<Duration>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER);
    // Other systems have their own interval and count.
    #[cfg(any(target_os = "android", target_os = "linux", target_os = "macos", target_os = "freebsd", windows))]
    let keepalive = keepalive.with_interval(KEEPALIVE_EVERY).with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    // Bytes that were handed to the system but are not acknowledged are beyond the stream's own
    // timer. A time shorter than that of keep-alive would also overrule it, down to one lost probe.
    #[cfg(any(target_os = "android", target_os = "linux"))]
    socket.set_tcp_user_timeout(write_timeout.map(|timeout| timeout.max(KEEPALIVE_TOTAL)))?;
    #[cfg(not(any(target_os = "android", target_os = "linux")))]
    let _ = (write_timeout, KEEPALIVE_TOTAL);
    Ok(())
}

/// A connection that fails with [`io::ErrorKind::TimedOut`] when its peer stops reading, or when it
/// is idle for too long. Created by [`McpListener`].
#[derive(Debug)]
pub struct GuardedStream<T = TcpStream> {
    io: T,
    write_timer: WriteTimer,
    idle: Idle,
    linger: Linger,
}

impl<T> GuardedStream<T> {
    fn new(io: T, write_timeout: Option<Duration>) -> Self {
        Self {
            io,
            write_timer: WriteTimer { limit: write_timeout, waiting: None },
            idle: Idle::new(None),
            linger: Linger::default(),
        }
    }

    fn idle_timeout(self, timeout: Option<Duration>) -> Self {
        Self { idle: Idle::new(timeout), ..self }
    }

    /// Returns a reference to the connection.
    pub fn get_ref(&self) -> &T {
        &self.io
    }
}

/// The timer of a pending write.
#[derive(Debug)]
struct WriteTimer {
    limit: Option<Duration>,
    /// `Some` only while a write or a flush is pending.
    waiting: Option<(PendingIo, Pin<Box<Sleep>>)>,
}

/// The operation that waits for the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PendingIo {
    Write,
    Flush,
}

impl WriteTimer {
    fn judge<R>(&mut self, what: PendingIo, cx: &mut Context<'_>, polled: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if polled.is_ready() {
            // A completed flush says nothing about bytes that were not even accepted yet: the flush
            // of a socket is always ready.
            self.waiting.take_if(|(waiting, _)| what == PendingIo::Write || *waiting == PendingIo::Flush);
            return polled;
        }
        let Some(limit) = self.limit else { return Poll::Pending };
        let (_, timer) = self.waiting.get_or_insert_with(|| (what, Box::pin(tokio::time::sleep(limit))));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer has stopped reading")))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for GuardedStream<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, buf) {
            Poll::Ready(Ok(())) if buf.capacity() > before => {
                self.linger.came(buf.filled().len() - before);
                self.idle.moved(true);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(read) => Poll::Ready(read),
            Poll::Pending => self.idle.poll(cx).map(Err),
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for GuardedStream<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Self { io, write_timer: patience, idle, .. } = self.get_mut();
        let polled = Pin::new(io).poll_write(cx, buf);
        if polled.is_ready() {
            idle.moved(false);
        }
        patience.judge(PendingIo::Write, cx, polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { io, write_timer: patience, idle, .. } = self.get_mut();
        let polled = Pin::new(io).poll_write_vectored(cx, bufs);
        if polled.is_ready() {
            idle.moved(false);
        }
        patience.judge(PendingIo::Write, cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, write_timer: patience, .. } = self.get_mut();
        let polled = Pin::new(io).poll_flush(cx);
        patience.judge(PendingIo::Flush, cx, polled)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, write_timer: patience, linger, .. } = self.get_mut();
        if !linger.has_begun() {
            let polled = Pin::new(&mut *io).poll_shutdown(cx);
            ready!(patience.judge(PendingIo::Flush, cx, polled))?;
        }
        linger.poll(io, cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use axum::serve::{Listener as _, ListenerExt};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::{advance, sleep, timeout};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn pair() -> (GuardedStream<DuplexStream>, DuplexStream) {
        let (ours, theirs) = duplex(4);
        (GuardedStream::new(ours, Some(LIMIT)), theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_reads_is_cut() {
        let (mut ours, _theirs) = pair();
        let start = Instant::now();
        let error = ours.write_all(b"12345").await.unwrap_err();
        assert_eq!((error.kind(), start.elapsed()), (io::ErrorKind::TimedOut, LIMIT));
        assert_eq!(ours.write(b"5").await.unwrap_err().kind(), io::ErrorKind::TimedOut, "and stays cut");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_slowly_is_not_cut() {
        let (mut ours, mut theirs) = pair();
        let reader = tokio::spawn(async move {
            let mut got = Vec::new();
            while got.len() < 10 {
                sleep(LIMIT - Duration::from_secs(1)).await;
                got.push(theirs.read_u8().await.unwrap());
            }
            got
        });
        ours.write_all(b"0123456789").await.unwrap();
        assert_eq!(reader.await.unwrap(), b"0123456789");
        assert!(ours.write_timer.waiting.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connections_have_no_write_timer() {
        let (mut ours, mut theirs) = pair();
        assert!(timeout(LIMIT * 100, ours.read_u8()).await.is_err());
        assert!(ours.write_timer.waiting.is_none());
        ours.write_all(b"1234").await.unwrap();
        ours.flush().await.unwrap();
        assert!(ours.write_timer.waiting.is_none());
        advance(LIMIT * 2).await;
        theirs.read_exact(&mut [0; 4]).await.unwrap();
        ours.write_all(b"5").await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn connections_idle_after_a_response_are_closed() {
        let (ours, mut theirs) = pair();
        let mut ours = ours.idle_timeout(Some(LIMIT * 10));
        let idle = async |ours: &mut GuardedStream<DuplexStream>| {
            let start = Instant::now();
            let read = timeout(LIMIT * 100, ours.read_u8()).await;
            (read.map_err(|_| ()).map(|read| read.map_err(|error| error.kind())), start.elapsed())
        };
        theirs.write_u8(b'?').await.unwrap();
        assert_eq!(idle(&mut ours).await, (Ok(Ok(b'?')), Duration::ZERO));
        assert_eq!(idle(&mut ours).await.0, Err(()), "a request is in the works");
        ours.write_u8(b'!').await.unwrap();
        assert!(timeout(LIMIT * 9, ours.read_u8()).await.is_err());
        ours.write_u8(b'!').await.unwrap();
        assert_eq!(idle(&mut ours).await, (Ok(Err(io::ErrorKind::TimedOut)), LIMIT * 10), "it starts anew");
        let (ours, _theirs) = pair();
        let mut silent = ours.idle_timeout(Some(LIMIT));
        assert_eq!(idle(&mut silent).await, (Ok(Err(io::ErrorKind::TimedOut)), LIMIT), "nothing ever came");
    }

    #[tokio::test(start_paused = true)]
    async fn a_flush_does_not_extend_the_write_timeout() {
        let (mut ours, _theirs) = pair();
        ours.write_all(b"1234").await.unwrap();
        let start = Instant::now();
        assert!(timeout(LIMIT / 2, ours.write(b"5")).await.is_err());
        ours.flush().await.unwrap();
        let error = ours.write(b"5").await.unwrap_err();
        assert_eq!((error.kind(), start.elapsed()), (io::ErrorKind::TimedOut, LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_timeout_writes_wait_indefinitely() {
        let (ours, _theirs) = duplex(4);
        let mut ours = GuardedStream::new(ours, None);
        assert!(timeout(LIMIT * 100, ours.write_all(b"12345")).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn vectored_writes_are_forwarded_and_timed() {
        let (mut ours, _theirs) = pair();
        assert!(ours.is_write_vectored());
        let bufs = [io::IoSlice::new(b"12"), io::IoSlice::new(b"345")];
        let mut write = async || poll_fn(|cx| Pin::new(&mut ours).poll_write_vectored(cx, &bufs)).await;
        assert_eq!(write().await.unwrap(), 4);
        assert_eq!(write().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn an_accepted_connection_has_its_options_set() {
        let mut listener = McpListener::bind("127.0.0.1:0").await.unwrap().write_timeout(Some(LIMIT * 2));
        let address = McpListener::local_addr(&listener).unwrap();
        let (_client, (stream, _)) = tokio::join!(TcpStream::connect(address), listener.accept());
        assert!(stream.get_ref().nodelay().unwrap());
        let socket = SockRef::from(stream.get_ref());
        assert!(socket.keepalive().unwrap());
        #[cfg(target_os = "linux")]
        {
            assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_AFTER);
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEPALIVE_EVERY);
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), KEEPALIVE_PROBES);
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(LIMIT * 2));
        }
        assert_eq!(KEEPALIVE_AFTER + KEEPALIVE_EVERY * KEEPALIVE_PROBES, KEEPALIVE_TOTAL);
    }

    #[tokio::test]
    async fn an_ended_listener_accepts_only_queued_connections() {
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let listener = McpListener::bind("127.0.0.1:0").await.unwrap();
        let mut listener = listener.until(async move { ended.await.unwrap_or_default() });
        let address = McpListener::local_addr(&listener).unwrap();
        let (_first, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let _queued = [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
        end.send(()).unwrap();
        for _ in 0..2 {
            listener.accept().await;
        }
        assert!(timeout(Duration::from_millis(100), listener.accept()).await.is_err(), "it stays closed");
        let rejected = TcpStream::connect(address).await.unwrap_err();
        assert_eq!(rejected.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(McpListener::local_addr(&listener).unwrap_err().kind(), io::ErrorKind::NotConnected);
        drop(accepted);
    }

    #[tokio::test]
    async fn served_clients_that_never_read_are_cut() {
        let listener = McpListener::bind("127.0.0.1:0").await.unwrap().write_timeout(Some(Duration::from_millis(50)));
        let address = McpListener::local_addr(&listener).unwrap();
        let (alive, mut ended) = tokio::sync::mpsc::channel::<()>(1);
        let endless = move || {
            let alive = alive.clone();
            let chunk = axum::body::Bytes::from_static(&[b'x'; 64 * 1024]);
            let chunks = futures_util::stream::repeat_with(move || {
                let _held = &alive;
                Ok::<_, io::Error>(chunk.clone())
            });
            std::future::ready(axum::body::Body::from_stream(chunks))
        };
        let app = axum::Router::new().route("/", axum::routing::get(endless));
        let server = tokio::spawn(async move { axum::serve(listener.tap_io(|_| ()), app).await });
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        client.readable().await.unwrap();
        // The router holds one sender and the body another. Once the router is gone, the body holds
        // the last one.
        server.abort();
        assert_eq!(ended.recv().await, None);
        drop(client);
    }
}
