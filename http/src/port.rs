//! The port that a server listens on: it outlives whoever serves on it, and is closed once and for good.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpListener;

/// A listening socket. Clones are the same port.
///
/// While it is open, a serving that broke off may be begun anew on it and no client is turned away meanwhile: the
/// kernel welcomes them in our name. For the same reason it must not stay open when nobody is going to serve.
#[derive(Clone, Debug)]
pub struct Port {
    socket: Arc<Mutex<Option<Arc<TcpListener>>>>,
    address: SocketAddr,
}

impl Port {
    /// Listens from now on.
    ///
    /// # Errors
    /// What the operating system says, such as that the address is in use.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { socket: Arc::new(Mutex::new(Some(Arc::new(listener)))), address })
    }

    /// Where it listens; never with port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The socket, for as long as the port is open.
    pub(crate) fn listener(&self) -> Option<Arc<TcpListener>> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Closes the port for all its clones. Of whoever gave back `listener` as the last, this is the rest of the queue:
    /// with it, the socket is gone and the kernel refuses who comes.
    pub(crate) fn close(&self, listener: Arc<TcpListener>) -> Queue {
        *self.socket.lock().unwrap_or_else(PoisonError::into_inner) = None;
        // Asked past the runtime, which learns of a newcomer a moment after the kernel has said welcome.
        Queue(listener.as_fd().try_clone_to_owned().map(std::net::TcpListener::from).ok())
    }
}

/// Those whom the kernel had welcomed before the port was closed.
pub(crate) struct Queue(Option<std::net::TcpListener>);

impl Queue {
    /// The next of them, at once.
    pub(crate) fn next(&self) -> Option<(tokio::net::TcpStream, SocketAddr)> {
        loop {
            match self.0.as_ref()?.accept() {
                Ok((stream, peer)) => {
                    stream.set_nonblocking(true).ok()?;
                    return Some((tokio::net::TcpStream::from_std(stream).ok()?, peer));
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(_) => return None,
            }
        }
    }
}

/// Errors of `accept` that are about the connection that was to come, not about us.
pub(crate) fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted | Kind::ConnectionReset | Kind::ConnectionRefused | Kind::Interrupted
    )
}
