//! The bytes between us and a mail server, read so that nothing said in clear counts as said under encryption.
//!
//! A stranger in the middle may put words of his own behind the server's agreement to encrypt. Whoever reads ahead has them
//! in hand already, and takes them for the first words under encryption (CVE-2021-38371 and its kin). Here the words in
//! clear are taken one byte at a time, as long as encryption may still begin: what follows the agreement stays in the
//! socket, and is no handshake.
//!
//! And what is said at once has a measure. A word of a mail server is a few lines of at most 512 octets (RFC 5321 section
//! 4.5.3.1.5); what reads it here would keep any length of it in memory, and look at all of it again with each line.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// The first byte of a handshake (RFC 8446 section 5.1); no word of a mail server begins with it.
const HANDSHAKE: u8 = 22;

/// Octets that are heard at most before we speak again.
const A_WORD: usize = 8 * 1_024;
/// Octets that a handshake, with the certificates in it, may have besides.
const CERTIFICATES: usize = 32 * 1_024;

/// A connection that may yet be encrypted.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    careful: Careful,
    at_line_start: bool,
    /// Octets that may still be heard before we speak again.
    patience: usize,
    /// Octets that may be heard besides, once.
    besides: usize,
}

/// Whether reading ahead could do harm; shared with whoever knows that encryption will not begin any more.
#[derive(Clone, Debug)]
pub(super) struct Careful(Arc<AtomicBool>);

impl Careful {
    /// It will not.
    pub(super) fn end(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Wire {
    /// Connects to the first address of the host that answers, each within its share of the time.
    pub(super) async fn connect(host: &str, port: u16, share: Duration) -> io::Result<(Self, Careful)> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in lookup_host((host, port)).await? {
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true)?;
                    let careful = Careful(Arc::new(AtomicBool::new(true)));
                    let wire =
                        Self { stream, careful: careful.clone(), at_line_start: true, patience: A_WORD, besides: 0 };
                    return Ok((wire, careful));
                }
                Ok(Err(why)) => last = why,
                Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, "nobody answered in time"),
            }
        }
        Err(last)
    }
}

impl Wire {
    /// Counts what was heard.
    fn heard(&mut self, octets: usize) -> io::Result<()> {
        let over = octets.saturating_sub(self.patience);
        self.patience = self.patience.saturating_sub(octets);
        match self.besides.checked_sub(over) {
            Some(left) => self.besides = left,
            None => return Err(io::Error::new(io::ErrorKind::InvalidData, "the server talks without end")),
        }
        Ok(())
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.careful.0.load(Ordering::Relaxed) || into.remaining() == 0 {
            let before = into.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(cx, into))?;
            let octets = into.filled().len().saturating_sub(before);
            return Poll::Ready(self.heard(octets));
        }
        let mut byte = [0];
        let mut one = ReadBuf::new(&mut byte);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut one))?;
        if let [byte] = one.filled() {
            if self.at_line_start && *byte == HANDSHAKE {
                self.careful.end();
                self.besides = CERTIFICATES;
            }
            self.at_line_start = *byte == b'\n';
            self.heard(1)?;
        }
        into.put_slice(one.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        if written > 0 {
            self.patience = A_WORD;
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncTokioStream for Wire {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const SHARE: Duration = Duration::from_secs(10);

    async fn pair() -> (TcpStream, Wire, Careful) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (wire, careful) = Wire::connect("127.0.0.1", port, SHARE).await.unwrap();
        (listener.accept().await.unwrap().0, wire, careful)
    }

    /// What one read gives to somebody with room for more.
    async fn taken(wire: &mut Wire) -> Vec<u8> {
        let mut buffer = [0; 64];
        let count = wire.read(&mut buffer).await.unwrap();
        buffer[..count].to_vec()
    }

    #[tokio::test]
    async fn nothing_behind_a_line_in_clear_is_in_anybodys_hands_when_encryption_begins() {
        let (mut server, mut wire, _careful) = pair().await;
        server.write_all(b"220 go on\r\n250 words of a stranger\r\n").await.unwrap();
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            let more = taken(&mut wire).await;
            assert_eq!(more.len(), 1);
            line.extend(more);
        }
        assert_eq!(line, b"220 go on\r\n");
    }

    #[tokio::test]
    async fn where_encryption_has_begun_or_never_will_it_is_read_as_it_comes() {
        let (mut server, mut wire, careful) = pair().await;
        careful.end();
        server.write_all(b"250 fine\r\n").await.unwrap();
        assert_eq!(taken(&mut wire).await, b"250 fine\r\n");

        let (mut server, mut wire, _careful) = pair().await;
        server.write_all(&[HANDSHAKE, 3, 3, 0, 2, 1, 0]).await.unwrap();
        assert_eq!(taken(&mut wire).await, [HANDSHAKE]);
        assert_eq!(taken(&mut wire).await, [3, 3, 0, 2, 1, 0]);
    }

    /// Everything until the end or the error, and how much that was.
    async fn listen(wire: &mut Wire) -> (usize, io::Result<()>) {
        let (mut heard, mut buffer) = (0, [0; 1_024]);
        loop {
            match wire.read(&mut buffer).await {
                Ok(0) => return (heard, Ok(())),
                Ok(octets) => heard += octets,
                Err(why) => return (heard, Err(why)),
            }
        }
    }

    #[tokio::test]
    async fn who_talks_without_end_is_heard_no_longer() {
        for first in ["250-more\r\n".as_bytes(), &[HANDSHAKE]] {
            let (mut server, mut wire, _careful) = pair().await;
            server.write_all(&[first, &[b'2'; A_WORD + CERTIFICATES]].concat()).await.unwrap();
            drop(server);
            let (heard, end) = listen(&mut wire).await;
            assert_eq!(end.unwrap_err().kind(), io::ErrorKind::InvalidData);
            assert!(heard <= A_WORD + CERTIFICATES, "{heard}");
        }
    }

    #[tokio::test]
    async fn each_word_of_ours_earns_another_of_theirs() {
        let (mut server, mut wire, _careful) = pair().await;
        for _ in 0..10 {
            wire.write_all(b"NOOP\r\n").await.unwrap();
            server.write_all(&[b'2'; A_WORD / 2]).await.unwrap();
            wire.read_exact(&mut [0; A_WORD / 2]).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_host_that_is_not_there_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        assert!(Wire::connect("127.0.0.1", port, SHARE).await.is_err());
        assert!(Wire::connect("nowhere.invalid", port, SHARE).await.is_err());
    }
}
