//! The accept loop: connections are taken, bounded in number and time, and finished when the server stops.
//!
//! It is our own because warp's has neither time-outs nor a bound, and its graceful stop waits for ever. One task a
//! connection drives the HTTP library and, after each turn, looks at which of the connection's deadlines is over.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CONNECTION, HOST};
use http::{HeaderValue, Version};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::connection::{Connection, Connections, Due, InFlight, Owner, Place, Stage};
use crate::limits::Limits;
use crate::load::Load;
use crate::port::{Port, is_of_one_connection};
use crate::request::Peer;
use crate::stream::Stream;

/// How a server's run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Connections that still had a request in flight when `drain_time` was over, and requests that were still running
    /// though their client had gone.
    pub cut: usize,
}

/// Serves `filter` on `port` until `shutdown` resolves; then closes the port, so that who comes later is refused and
/// may go elsewhere, lets requests in flight finish for at most `limits.drain_time`, closes what is idle, and returns.
///
/// A request whose client has hung up runs to its end and is waited for as well. When this future is dropped instead,
/// all its connections are cut and the port stays open: the next call may serve on it. On a port that is closed there is nothing to do. Each request carries its [`Peer`] as an extension.
pub async fn serve(
    port: Port,
    filter: BoxedFilter<(Response,)>,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> Ended {
    let Some(listener) = port.listener() else { return Ended { cut: 0 } };
    let load = Load::new(&limits);
    let connections = Connections::new(Arc::clone(&load));
    let server = Arc::new(Server { connections, load, filter, builder: builder(&limits), limits });
    let mut tasks = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    // Held here and not in the future that waits for room, which is dropped whenever another branch is taken.
    let mut newcomer = None;
    let most = server.limits.connections;
    loop {
        let owner = newcomer.as_ref().map_or(Owner::Proxy, |(_, peer)| server.owner(peer));
        tokio::select! {
            () = &mut shutdown => break,
            accepted = server.accept(&listener), if newcomer.is_none() => newcomer = accepted,
            () = server.connections.room_for_one(owner, &server.limits), if newcomer.is_some() => server.greet(newcomer.take(), &mut tasks),
            Some(ended) = tasks.join_next() => note(&ended),
        }
    }
    server.greet(newcomer, &mut tasks);
    // Who has connected already is served once: the kernel said welcome in our name.
    let queue = port.close(listener);
    while server.connections.count() < most
        && let Some(late) = queue.next()
    {
        server.greet(Some(late), &mut tasks);
    }
    drop(queue);
    server.connections.close();
    let finishing = async {
        while let Some(ended) = tasks.join_next().await {
            note(&ended);
        }
        server.load.idle().await;
    };
    let in_time = tokio::time::timeout(server.limits.drain_time, finishing).await;
    let cut = if in_time.is_ok() { 0 } else { server.connections.count() + server.load.abandoned() };
    tasks.shutdown().await;
    Ended { cut }
}

fn note(ended: &Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection met a defect");
    }
}

/// The HTTP library with bounds at twice ours, so that ours are reached first and answered with problems.
fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    let head = 2 * (limits.target + limits.header_bytes);
    builder
        .http1()
        .timer(TokioTimer::new())
        // `Connection` measures heads and idleness, which are one and the same to the library.
        .header_read_timeout(None)
        .max_buf_size(head.max(8 * 1024))
        .max_headers(2 * limits.header_count)
        // A client may close its half after its request and still wait for the answer.
        .half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX))
        // What the library holds of bodies that nobody has read yet is bounded by these.
        .max_concurrent_streams(32)
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(256 * 1024)
        .max_send_buf_size(64 * 1024)
        .keep_alive_interval(Some(Duration::from_secs(20)))
        .keep_alive_timeout(Duration::from_secs(10));
    builder
}

struct Server {
    connections: Arc<Connections>,
    load: Arc<Load>,
    filter: BoxedFilter<(Response,)>,
    builder: Builder<TokioExecutor>,
    limits: Limits,
}

impl Server {
    /// The next connection. `None` when it could not be taken, which ends nothing.
    async fn accept(&self, listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
        match listener.accept().await {
            Ok(newcomer) => Some(newcomer),
            Err(error) if is_of_one_connection(&error) => None,
            Err(error) => {
                // Most likely no file descriptor is left. A connection of the client with most has one to give; and without
                // a pause this loop would spin, since the listener stays readable.
                tracing::warn!(%error, open = self.connections.count(), "cannot accept a connection");
                self.connections.ask_one_to_leave();
                tokio::time::sleep(Duration::from_millis(50)).await;
                None
            }
        }
    }

    fn owner(&self, peer: &SocketAddr) -> Owner {
        Owner::of(peer.ip(), &self.limits)
    }

    fn greet(self: &Arc<Self>, newcomer: Option<(TcpStream, SocketAddr)>, tasks: &mut JoinSet<()>) {
        if let Some((stream, peer)) = newcomer {
            // Small answers must not wait for an acknowledgement; a socket that refuses this works without.
            let _ = stream.set_nodelay(true);
            let place = self.connections.enter(self.owner(&peer));
            tasks.spawn(Arc::clone(self).attend(place, stream, peer));
        }
    }

    async fn attend(self: Arc<Self>, place: Place, stream: TcpStream, peer: SocketAddr) {
        let seen = &place.connection;
        let stream = Stream::new(stream, Arc::clone(seen), self.limits.linger_time);
        let router = TowerToHyperService::new(warp::service(self.filter.clone()));
        let service =
            service_fn(|request: http::Request<Incoming>| self.pass(&router, Arc::clone(seen), request, peer));
        let mut connection = pin!(self.builder.serve_connection(TokioIo::new(stream), service));
        let mut alarm = pin!(sleep_until(Instant::now() + self.limits.head_time));
        let mut farewell = None;
        std::future::poll_fn(|cx| {
            seen.listen(cx.waker());
            loop {
                if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                    if let Err(error) = ended {
                        tracing::debug!(%peer, error, "a connection ended badly");
                    }
                    return Poll::Ready(());
                }
                let now = Instant::now();
                match self.look(seen, &mut farewell, now) {
                    Verdict::GoOn(None) => return Poll::Pending,
                    Verdict::GoOn(Some(deadline)) => {
                        if alarm.deadline() != deadline {
                            alarm.as_mut().reset(deadline);
                        }
                        if alarm.as_mut().poll(cx).is_pending() {
                            return Poll::Pending;
                        }
                    }
                    // Polled once more above: what is idle ends with that.
                    Verdict::SayGoodBye => connection.as_mut().graceful_shutdown(),
                    Verdict::Cut => return Poll::Ready(()),
                }
            }
        })
        .await;
    }

    /// What is to happen with a connection that has nothing to do at this moment.
    fn look(&self, connection: &Connection, farewell: &mut Option<Farewell>, now: Instant) -> Verdict {
        if connection.is_leaving() {
            // Its place is wanted now. It is told, as far as that goes without waiting.
            return match farewell.replace(Farewell::Said { cut_at: now }) {
                Some(Farewell::Said { .. }) => Verdict::Cut,
                _ => Verdict::SayGoodBye,
            };
        }
        let (stage, next) = connection.until(&self.limits);
        if self.connections.is_closing() {
            // A request may be on its way into the socket: it has this long to be seen.
            return match (self.part(farewell, now, self.limits.farewell_time), stage) {
                // What is being answered or asked is waited for; `serve` has the last word.
                (Verdict::Cut, Stage::Serving | Stage::Head) => self.unless_over(next, now),
                (other, _) => other,
            };
        }
        match next {
            Some((end, Due::Idle)) if end <= now => self.part(farewell, now, Duration::ZERO),
            next => {
                *farewell = None;
                self.unless_over(next, now)
            }
        }
    }

    fn unless_over(&self, next: Option<(Instant, Due)>, now: Instant) -> Verdict {
        match next {
            Some((end, due)) if end <= now => {
                metrics::counter!("cairn_http_connections_cut_total", "reason" => due.reason()).increment(1);
                Verdict::Cut
            }
            next => Verdict::GoOn(next.map(|(end, _)| end)),
        }
    }

    /// Waits for `before`, says good-bye, waits for `farewell_time`, and cuts.
    fn part(&self, farewell: &mut Option<Farewell>, now: Instant, before: Duration) -> Verdict {
        match *farewell {
            None if before.is_zero() => {
                *farewell = Some(Farewell::Said { cut_at: now + self.limits.farewell_time });
                Verdict::SayGoodBye
            }
            None => {
                *farewell = Some(Farewell::Planned { at: now + before });
                Verdict::GoOn(Some(now + before))
            }
            Some(Farewell::Planned { at }) if at <= now => {
                *farewell = Some(Farewell::Said { cut_at: now + self.limits.farewell_time });
                Verdict::SayGoodBye
            }
            Some(Farewell::Planned { at }) => Verdict::GoOn(Some(at)),
            Some(Farewell::Said { cut_at }) if cut_at <= now => Verdict::Cut,
            Some(Farewell::Said { cut_at }) => Verdict::GoOn(Some(cut_at)),
        }
    }

    fn pass<S>(
        &self,
        router: &S,
        connection: Arc<Connection>,
        mut request: http::Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Result<http::Response<Answering>, Infallible>> + Send + 'static
    where
        S: Service<http::Request<Asking>, Response = Response, Error = Infallible>,
        S::Future: Send + 'static,
    {
        let http1 = request.version() < Version::HTTP_2;
        let mut in_flight = connection.begin();
        let all = Arc::clone(&self.connections);
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().insert(Arc::clone(&self.load));
        // RFC 9112, section 3.2.2, and RFC 9113, section 8.3.1: the target's authority is the host, whatever `Host` says.
        if let Some(host) = request.uri().authority().and_then(|authority| {
            let host = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, host)| host);
            HeaderValue::from_str(host).ok()
        }) {
            request.headers_mut().insert(HOST, host);
        }
        if request.uri().path_and_query().is_none() {
            // The authority form of CONNECT has no path, and warp's filter of paths panics without one.
            *request.uri_mut() = http::Uri::from_static("/");
        }
        let read = Arc::new(AtomicBool::new(request.body().is_end_stream()));
        let answering = router.call(request.map(|body| Asking { body, read: Arc::clone(&read) }));
        async move {
            let mut response = answering.await?;
            in_flight.answered();
            let whole = read.load(Ordering::SeqCst);
            if !whole {
                connection.answered_early();
            }
            // RFC 9112, section 9.6: the client is told that nothing more will be read.
            if http1 && (!whole || all.is_closing()) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            } else if !http1 {
                response.headers_mut().remove(CONNECTION);
            }
            Ok(response.map(|body| Answering { body: Box::pin(body), _in_flight: in_flight }))
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Farewell {
    Planned { at: Instant },
    Said { cut_at: Instant },
}

enum Verdict {
    GoOn(Option<Instant>),
    SayGoodBye,
    Cut,
}

/// A request's body that notes when it has been read to its end.
struct Asking {
    body: Incoming,
    read: Arc<AtomicBool>,
}

impl Body for Asking {
    type Data = bytes::Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.read.store(true, Ordering::SeqCst);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body that keeps its request in flight until the library has taken the last of it.
struct Answering {
    body: Pin<Box<dyn Body<Data = bytes::Bytes, Error = warp::Error> + Send>>,
    _in_flight: InFlight,
}

impl Body for Answering {
    type Data = bytes::Bytes;
    type Error = warp::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, warp::Error>>> {
        self.body.as_mut().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
