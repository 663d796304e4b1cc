//! The orderly close: closes the sending half first, then reads and discards what the peer still
//! sends for a moment (RFC 9112, 9.6).
//!
//! If bytes arrive at a socket that is closed, the connection is reset. The reset destroys what the
//! peer has not read yet: the answer.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// A connection on which nothing arrived for this long has nothing in flight, and closes at once. A
/// client needs one round trip to react to an answer by sending, or by stopping to send.
const QUIET: Duration = Duration::from_secs(1);

/// How long a close may take in total. A client that reads sees the end of the answer and closes,
/// too.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum number of bytes to discard: what a fast client has in flight while the answer
/// reaches it.
const MAX_DISCARDED: usize = 16 << 20;

const CHUNK: usize = 16 << 10;

/// How a connection closes.
#[derive(Debug, Default)]
pub(super) struct Linger {
    /// When bytes last arrived.
    came: Option<Instant>,
    /// The peer sends no more.
    ended: bool,
    closing: Option<Closing>,
}

#[derive(Debug)]
struct Closing {
    end: Instant,
    left: usize,
    timer: Pin<Box<Sleep>>,
}

impl Linger {
    /// Records that bytes arrived; zero bytes mean the end of the stream.
    pub(super) fn came(&mut self, bytes: usize) {
        self.ended |= bytes == 0;
        self.came = Some(Instant::now());
    }

    /// Returns `true` if the sending half is already closed.
    pub(super) fn has_begun(&self) -> bool {
        self.closing.is_some()
    }

    /// Polled once the sending half is closed. Ready when the whole connection may be closed.
    pub(super) fn poll<T: AsyncRead + Unpin>(&mut self, io: &mut T, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let quiet_from = self.came.map(|came| came + QUIET);
        let now = Instant::now();
        let Some(quiet_from) = quiet_from.filter(|quiet| !self.ended && *quiet > now) else {
            return Poll::Ready(Ok(()));
        };
        let closing = self.closing.get_or_insert_with(|| Closing {
            end: now + TIMEOUT,
            left: MAX_DISCARDED,
            timer: Box::pin(sleep_until(quiet_from)),
        });
        let mut chunk = [0; CHUNK];
        loop {
            let mut buf = ReadBuf::new(&mut chunk);
            match Pin::new(&mut *io).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() && closing.left > 0 => {
                    closing.left = closing.left.saturating_sub(buf.filled().len());
                    let quiet_from = Instant::now() + QUIET;
                    self.came = Some(Instant::now());
                    closing.timer.as_mut().reset(quiet_from.min(closing.end));
                }
                // An error ends what the peer sends, too.
                Poll::Ready(_) => break,
                Poll::Pending => {
                    ready!(closing.timer.as_mut().poll(cx));
                    break;
                }
            }
        }
        self.ended = true;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::{sleep, timeout};

    use super::super::GuardedStream;
    use super::*;

    fn pair() -> (GuardedStream<DuplexStream>, DuplexStream) {
        let (ours, theirs) = duplex(1 << 10);
        (GuardedStream::new(ours, None), theirs)
    }

    /// The server reads one byte of a request and answers with one.
    async fn exchanged() -> (GuardedStream<DuplexStream>, DuplexStream) {
        let (mut ours, mut theirs) = pair();
        theirs.write_all(b"?").await.unwrap();
        ours.read_u8().await.unwrap();
        ours.write_all(b"!").await.unwrap();
        (ours, theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn input_is_discarded_until_the_peer_closes() {
        let (mut ours, mut theirs) = exchanged().await;
        let client = tokio::spawn(async move {
            for _ in 0..5 {
                sleep(QUIET / 2).await;
                theirs.write_all(&[0; 1 << 10]).await.unwrap();
            }
            let mut answer = String::new();
            theirs.read_to_string(&mut answer).await.unwrap();
            answer
        });
        let start = Instant::now();
        ours.shutdown().await.unwrap();
        assert_eq!(client.await.unwrap(), "!");
        assert_eq!(start.elapsed(), QUIET / 2 * 5, "it closes as soon as the client does");
    }

    #[tokio::test(start_paused = true)]
    async fn lingering_is_bounded_in_time_and_bytes() {
        let (mut ours, theirs) = exchanged().await;
        let start = Instant::now();
        ours.shutdown().await.unwrap();
        assert_eq!(start.elapsed(), QUIET);
        drop((ours, theirs));
        let (mut ours, mut theirs) = exchanged().await;
        let client = tokio::spawn(async move {
            while theirs.write_all(b"x").await.is_ok() {
                sleep(QUIET / 4).await;
            }
        });
        let start = Instant::now();
        ours.shutdown().await.unwrap();
        assert_eq!(start.elapsed(), TIMEOUT);
        drop(ours);
        client.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn lingering_reads_a_bounded_amount() {
        let (mut ours, mut theirs) = exchanged().await;
        let client = tokio::spawn(async move {
            let mut sent = 0;
            while theirs.write_all(&[0; 1 << 10]).await.is_ok() {
                sent += 1 << 10;
            }
            sent
        });
        ours.shutdown().await.unwrap();
        drop(ours);
        let sent = client.await.unwrap();
        assert!((MAX_DISCARDED..=MAX_DISCARDED + CHUNK * 2).contains(&sent), "{sent}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_closes_at_once() {
        let start = Instant::now();
        let (mut ours, _theirs) = pair();
        ours.shutdown().await.unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO, "nothing ever came");
        let (mut ours, _theirs) = exchanged().await;
        assert!(timeout(QUIET * 2, ours.read_u8()).await.is_err());
        let start = Instant::now();
        ours.shutdown().await.unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO, "nothing came for a while");
    }
}
