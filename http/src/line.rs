//! The socket of one connection: it tells the connection's life what passes, and it is hung up politely.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::life::Life;

/// A stream with an ear.
///
/// Shutting it down closes our half. When the other end may be sending still, what comes is read and thrown away until
/// it closes its half too, or for `linger`: closing a socket with unread octets resets it, and the reset may overtake
/// the answer (RFC 9112, section 9.6).
pub(crate) struct Line<T> {
    stream: T,
    life: Arc<Life>,
    linger: Duration,
    hanging_up: Option<Pin<Box<Sleep>>>,
}

impl<T> Line<T> {
    pub(crate) fn new(stream: T, life: Arc<Life>, linger: Duration) -> Self {
        Self { stream, life, linger, hanging_up: None }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Line<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.life.heard();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Line<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(cx, octets))?;
        self.life.told();
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, octets))?;
        self.life.told();
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        if !this.life.may_be_spoken_to() {
            return Poll::Ready(Ok(()));
        }
        let linger = this.linger;
        let patience = this.hanging_up.get_or_insert_with(|| Box::pin(sleep(linger)));
        let mut bin = [0; 8 * 1024];
        // So many reads at a time and no more, or a fast sender keeps the thread to itself.
        for _ in 0..32 {
            if patience.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut buffer = ReadBuf::new(&mut bin);
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => return Poll::Ready(Ok(())),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
