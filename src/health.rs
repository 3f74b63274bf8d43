//! `cairn health`: asks the operations listener whether the server is ready, for containers without an HTTP client.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::output::say;

/// How long the answer may take in all.
const PATIENCE: Duration = Duration::from_secs(5);
/// No answer about health is longer.
const LONGEST: usize = 16 * 1024;

/// Asks and says in one line what was answered.
///
/// # Errors
/// Why the server is not to be sent requests, or could not be asked.
pub(crate) fn check(config: &Config) -> Result<(), String> {
    let at = reachable(config.ops_listen);
    if at.port() == 0 {
        return Err("CAIRN_OPS_LISTEN has port 0, so nobody knows where the operations listener is".to_owned());
    }
    match asked(at).map_err(|why| format!("{at} does not answer: {why}"))? {
        (200, remark) => {
            say(&format!("ready{remark}"));
            Ok(())
        }
        (status, why) => Err(format!("not ready: {at} answers {status}{why}")),
    }
}

/// An address at which this machine reaches a listener: every address of the machine is none to connect to.
pub(crate) fn reachable(at: SocketAddr) -> SocketAddr {
    let ip = match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, at.port())
}

/// The status of `/health/ready`, and its reason or remark where there is one.
fn asked(at: SocketAddr) -> std::io::Result<(u16, String)> {
    let began = Instant::now();
    let mut connection = TcpStream::connect_timeout(&at, PATIENCE)?;
    let left = || PATIENCE.checked_sub(began.elapsed()).filter(|left| !left.is_zero());
    let late = || std::io::Error::from(std::io::ErrorKind::TimedOut);
    connection.set_write_timeout(left())?;
    connection
        .write_all(format!("GET /health/ready HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n\r\n").as_bytes())?;
    let (mut answer, mut part) = (Vec::new(), [0; 1024]);
    while answer.len() < LONGEST {
        connection.set_read_timeout(Some(left().ok_or_else(late)?))?;
        match connection.read(&mut part)? {
            0 => break,
            length => answer.extend_from_slice(part.get(..length).unwrap_or_default()),
        }
    }
    read(&String::from_utf8_lossy(&answer)).ok_or_else(|| std::io::Error::other("what it says is no HTTP"))
}

fn read(answer: &str) -> Option<(u16, String)> {
    let rest = answer.strip_prefix("HTTP/1.1 ")?;
    let status = rest.split([' ', '\r']).next()?.parse().ok()?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let why = body.get("why").or_else(|| body.get("remark"));
    let why = why.and_then(|why| why.as_str()).map(|why| format!(" ({why})")).unwrap_or_default();
    Some((status, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_a_machine_is_reached_on_loopback() {
        for (listening, reached) in [
            ("0.0.0.0:8081", "127.0.0.1:8081"),
            ("[::]:8081", "[::1]:8081"),
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("[::1]:0", "[::1]:0"),
        ] {
            assert_eq!(reachable(listening.parse().unwrap()), reached.parse().unwrap());
        }
    }

    #[test]
    fn an_answer_is_read_by_its_status_and_its_reason() {
        let refused = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\r\n{\"status\":\"unavailable\",\"why\":\"the database is away\"}";
        assert_eq!(read(refused), Some((503, " (the database is away)".to_owned())));
        assert_eq!(read("HTTP/1.1 200 OK\r\n\r\n{\"status\":\"ok\"}"), Some((200, String::new())));
        let remarked = "HTTP/1.1 200 OK\r\n\r\n{\"status\":\"ok\",\"remark\":\"few connections\"}";
        assert_eq!(read(remarked), Some((200, " (few connections)".to_owned())));
        assert_eq!(read("HTTP/1.1 404\r\n\r\nno"), Some((404, String::new())));
        for bad in ["", "SSH-2.0-OpenSSH", "HTTP/1.1 abc\r\n\r\n"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
