//! The bounds within which the server listens: how much a client may send and how long it may take.

use std::time::Duration;

use crate::access::client_address::Network;

/// Every bound of the front in one value, so that tests may use tiny ones.
///
/// The defaults are the contract with clients.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Octets of a request's body; more is answered with 413.
    pub body: usize,
    /// Octets of path and query; more is answered with 414.
    pub target: usize,
    /// Octets of all header lines together, each counted as on the wire; more is answered with 431.
    pub header_bytes: usize,
    /// Number of header lines; more is answered with 431.
    pub header_count: usize,
    /// Depth of arrays and objects in a JSON body; deeper is answered with 400.
    pub nesting: usize,
    /// From the connection, or from a later head's first octet, to the head's end; then the line is cut.
    pub head_time: Duration,
    /// From the head to the end of the body; then 408.
    pub body_time: Duration,
    /// From one octet of a body to the next; then 408.
    pub body_pause: Duration,
    /// Octets of bodies held at once, until their handlers have ended, and of great heads that are coming in; then 503.
    pub bodies: usize,
    /// Of these, what one client's may take: an IPv4 address, or the /64 of an IPv6 address.
    pub bodies_each: usize,
    /// Requests served at once, those included whose client has gone; then 503.
    pub requests: usize,
    /// Of these, what one client may have.
    pub requests_each: usize,
    /// How long a connection may stay without a request.
    pub idle_time: Duration,
    /// Without an octet of an answer that the client takes; then the connection is cut.
    pub answer_pause: Duration,
    /// Connections at once; when one more comes, one of the client with most gives way: its longest idle, else its oldest.
    pub connections: usize,
    /// Of these, what one client may have: an IPv4 address, or the /64 of an IPv6 address. When one more comes, one of its
    /// own gives way.
    pub connections_each: usize,
    /// Peers that carry many clients, and so have no share.
    pub proxies: Vec<Network>,
    /// How long requests in flight may go on after the signal to stop.
    pub drain_time: Duration,
    /// How long a line is still read, and thrown away, after an answer that did not wait for the whole request.
    /// Closing at once would reset the connection and could destroy that answer on its way.
    pub linger_time: Duration,
    /// How long a quiet connection has for saying good-bye before it is cut.
    pub farewell_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 64 * 1024,
            target: 8 * 1024,
            header_bytes: 32 * 1024,
            header_count: 100,
            nesting: 64,
            head_time: Duration::from_secs(10),
            body_time: Duration::from_secs(30),
            body_pause: Duration::from_secs(10),
            bodies: 64 * 1024 * 1024,
            bodies_each: 16 * 1024 * 1024,
            requests: 4_096,
            requests_each: 1_024,
            idle_time: Duration::from_secs(75),
            answer_pause: Duration::from_secs(30),
            connections: 10_000,
            connections_each: 2_500,
            proxies: Vec::new(),
            drain_time: Duration::from_secs(8),
            linger_time: Duration::from_secs(2),
            farewell_time: Duration::from_millis(100),
        }
    }
}
