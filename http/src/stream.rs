//! The socket of one connection: it tells the connection what passes, and it is closed without destroying an answer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::connection::Connection;

/// Wraps a socket and tells its connection which octets pass.
///
/// Shutting it down closes our half. When the other end may be sending still, what comes is read and thrown away until
/// it closes its half too, or for `linger`: closing a socket with unread octets resets it, and the reset may overtake
/// the answer (RFC 9112, section 9.6).
pub(crate) struct Stream<T> {
    stream: T,
    connection: Arc<Connection>,
    linger: Duration,
    closing: Option<Pin<Box<Sleep>>>,
}

impl<T> Stream<T> {
    pub(crate) fn new(stream: T, connection: Arc<Connection>, linger: Duration) -> Self {
        Self { stream, connection, linger, closing: None }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Stream<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        match buffer.filled().get(before..) {
            Some(octets) if !octets.is_empty() => self.connection.received(octets),
            _ => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, octets);
        match polled {
            Poll::Ready(Ok(count)) => self.connection.sent([octets], count),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.connection.blocked(),
        }
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, octets);
        match polled {
            Poll::Ready(Ok(count)) => self.connection.sent(octets.iter().map(|piece| &**piece), count),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.connection.blocked(),
        }
        polled
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
        if !this.connection.may_be_spoken_to() {
            return Poll::Ready(Ok(()));
        }
        let linger = this.linger;
        let patience = this.closing.get_or_insert_with(|| Box::pin(sleep(linger)));
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
