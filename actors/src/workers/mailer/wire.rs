//! The bytes between us and a mail server: a connection, encrypted or not yet, and answers as they come.
//!
//! What must stay true: nothing said in clear counts as said under encryption. A stranger in the middle may put words of
//! his own behind the server's agreement to encrypt; whoever has read them already takes them for the first words under
//! encryption (CVE-2021-38371 and its kin). Here they end the connection.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::reply::{Hearing, Nonsense, Reply};

/// How much is read at once.
const AT_ONCE: usize = 2 * 1_024;

/// A connection to a mail server.
pub(super) struct Wire {
    stream: Stream,
    /// What was read and not yet heard.
    ahead: Vec<u8>,
    local: IpAddr,
}

enum Stream {
    Clear(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
    /// A handshake failed: nobody is left to talk to.
    Gone,
}

impl Wire {
    /// Connects to the first address of the host that answers, each within its share of the time.
    pub(super) async fn connect(host: &str, port: u16, share: Duration) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in lookup_host((host, port)).await? {
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true)?;
                    let local = stream.local_addr()?.ip().to_canonical();
                    return Ok(Self { stream: Stream::Clear(stream), ahead: Vec::new(), local });
                }
                Ok(Err(why)) => last = why,
                Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, "nobody answered in time"),
            }
        }
        Err(last)
    }

    /// Our address at this end.
    pub(super) const fn local(&self) -> IpAddr {
        self.local
    }

    /// Whether others can read along.
    pub(super) const fn is_encrypted(&self) -> bool {
        matches!(self.stream, Stream::Encrypted(_))
    }

    /// Encrypts what is said from now on.
    pub(super) async fn encrypt(&mut self, config: &Arc<ClientConfig>, host: ServerName<'static>) -> io::Result<()> {
        if !self.ahead.is_empty() {
            self.ahead.clear();
            self.stream = Stream::Gone;
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "something was said between agreement and handshake",
            ));
        }
        let Stream::Clear(stream) = std::mem::replace(&mut self.stream, Stream::Gone) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let encrypted = TlsConnector::from(Arc::clone(config)).connect(host, stream).await?;
        self.stream = Stream::Encrypted(Box::new(encrypted));
        Ok(())
    }

    /// Says something, in one write where the network lets it. Nothing is said before all that was said has its answer, so
    /// an answer that nobody has waited for is one too many: those that follow would be taken for others.
    pub(super) async fn say(&mut self, words: &[u8]) -> io::Result<()> {
        if !self.ahead.is_empty() {
            self.ahead.clear();
            self.stream = Stream::Gone;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the server answers what was not said"));
        }
        match &mut self.stream {
            Stream::Clear(stream) => stream.write_all(words).await,
            Stream::Encrypted(stream) => {
                stream.write_all(words).await?;
                stream.flush().await
            }
            Stream::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Hears one answer.
    pub(super) async fn hear(&mut self) -> io::Result<Reply> {
        let nonsense = |why| {
            let said = match why {
                Nonsense::NoCode => "the server does not answer as a mail server does",
                Nonsense::Endless => "the server talks without end",
            };
            io::Error::new(io::ErrorKind::InvalidData, said)
        };
        let mut hearing = Hearing::default();
        loop {
            if let Some((reply, used)) = hearing.take(&self.ahead).map_err(nonsense)? {
                self.ahead.drain(..used);
                return Ok(reply);
            }
            self.ahead.clear();
            self.ahead.reserve(AT_ONCE);
            let read = match &mut self.stream {
                Stream::Clear(stream) => stream.read_buf(&mut self.ahead).await,
                Stream::Encrypted(stream) => stream.read_buf(&mut self.ahead).await,
                Stream::Gone => Ok(0),
            };
            let ended = match read {
                Ok(0) => io::Error::new(io::ErrorKind::UnexpectedEof, "the server hung up"),
                // An encrypted connection that ends without a goodbye.
                Err(why) if why.kind() == io::ErrorKind::UnexpectedEof => {
                    io::Error::new(io::ErrorKind::UnexpectedEof, "the server hung up")
                }
                Err(why) => why,
                Ok(_) => continue,
            };
            return hearing.cut().ok_or(ended);
        }
    }

    /// Closes the connection.
    pub(super) async fn close(mut self) {
        let _ = match &mut self.stream {
            Stream::Clear(stream) => stream.shutdown().await,
            Stream::Encrypted(stream) => stream.shutdown().await,
            Stream::Gone => Ok(()),
        };
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::super::trust;
    use super::*;

    const SHARE: Duration = Duration::from_secs(10);

    async fn pair() -> (TcpStream, Wire) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let wire = Wire::connect("127.0.0.1", port, SHARE).await.unwrap();
        (listener.accept().await.unwrap().0, wire)
    }

    #[tokio::test]
    async fn answers_are_heard_one_at_a_time() {
        let (mut server, mut wire) = pair().await;
        assert_eq!((wire.local().to_string().as_str(), wire.is_encrypted()), ("127.0.0.1", false));
        server.write_all(b"220 a\r\n250-b\r\n250 c\r\n55").await.unwrap();
        assert_eq!(wire.hear().await.unwrap().text(), "a");
        assert_eq!(wire.hear().await.unwrap().text(), "b c");
        let later = async {
            server.write_all(b"0 \xe4\r\n").await.unwrap();
            drop(server);
        };
        let (heard, ()) = tokio::join!(wire.hear(), later);
        assert_eq!(heard.unwrap().code, 550);
        assert_eq!(wire.hear().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn an_answer_to_nothing_is_not_taken_for_one_to_what_comes() {
        let (mut server, mut wire) = pair().await;
        server.write_all(b"552 too much\r\n500 what is this\r\n").await.unwrap();
        assert_eq!(wire.hear().await.unwrap().code, 552);
        assert_eq!(wire.say(b"RSET\r\n").await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(wire.hear().await.is_err());
    }

    #[tokio::test]
    async fn a_refusal_without_an_end_of_line_is_heard_before_the_hanging_up() {
        let (mut server, mut wire) = pair().await;
        server.write_all(b"554 not you").await.unwrap();
        drop(server);
        let reply = wire.hear().await.unwrap();
        assert_eq!((reply.code, reply.text().as_str()), (554, "not you"));
    }

    #[tokio::test]
    async fn nothing_behind_an_agreement_is_in_anybodys_hands_when_encryption_begins() {
        let (mut server, mut wire) = pair().await;
        server.write_all(b"220 go on\r\n250 words of a stranger\r\n").await.unwrap();
        assert_eq!(wire.hear().await.unwrap().code, 220);
        let config = trust::client(&[], true).unwrap();
        let why = wire.encrypt(&config, "mail.example".try_into().unwrap()).await.unwrap_err();
        assert_eq!(why.kind(), io::ErrorKind::InvalidData);
        assert!(!wire.is_encrypted() && wire.say(b"AUTH\r\n").await.is_err() && wire.hear().await.is_err());
    }

    #[tokio::test]
    async fn who_talks_without_end_is_heard_no_longer() {
        let (mut server, mut wire) = pair().await;
        let talking = async { while server.write_all(b"250-more and more and more and more\r\n").await.is_ok() {} };
        let hearing = async {
            let why = wire.hear().await.unwrap_err();
            drop(wire);
            why
        };
        let ((), why) = tokio::join!(talking, hearing);
        assert_eq!(why.kind(), io::ErrorKind::InvalidData);
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
