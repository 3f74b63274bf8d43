//! How commands ask a server that runs on this machine: over its operations listener, by HTTP/1.1 on one connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::config::Config;

/// No answer is longer, in bytes.
const LONGEST: u64 = 64 << 20;

/// A client of the operations listener that the settings name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OperationsClient {
    at: SocketAddr,
    /// How long an answer may take in all.
    patience: Duration,
}

/// What the listener has answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    at: SocketAddr,
    status: u16,
    /// `null` where the body is no JSON.
    body: Value,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// Nothing listens there: no server runs on this machine, or its operations listener is elsewhere.
    NotListening(String),
    /// Something listens, and did not answer as a server does.
    Failed(String),
}

impl Unanswered {
    /// The reason as a sentence.
    pub(crate) fn why(self) -> String {
        match self {
            Self::NotListening(why) | Self::Failed(why) => why,
        }
    }
}

impl OperationsClient {
    /// The client of the listener at `CAIRN_OPS_LISTEN`.
    ///
    /// # Errors
    /// When the setting does not say where that is.
    pub(crate) fn of(config: &Config, patience: Duration) -> Result<Self, String> {
        let at = reachable(config.ops_listen);
        if at.port() == 0 {
            return Err("CAIRN_OPS_LISTEN has port 0, so nobody knows where the operations listener is".to_owned());
        }
        Ok(Self { at, patience })
    }

    /// Sends a request, with a body of JSON where there is one, and gives the answer whatever its status is.
    ///
    /// # Errors
    /// See [`Unanswered`].
    pub(crate) fn send(self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, Unanswered> {
        let said = |why: std::io::Error| format!("{} does not answer: {why}", self.at);
        let began = Instant::now();
        let mut connection = TcpStream::connect_timeout(&self.at, self.patience).map_err(|why| match why.kind() {
            ErrorKind::ConnectionRefused => Unanswered::NotListening(said(why)),
            _ => Unanswered::Failed(said(why)),
        })?;
        self.exchange(&mut connection, began, method, path, body).map_err(|why| Unanswered::Failed(said(why)))
    }

    fn exchange(
        self,
        connection: &mut TcpStream,
        began: Instant,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> std::io::Result<Answer> {
        let late = || std::io::Error::from(ErrorKind::TimedOut);
        let left = || self.patience.checked_sub(began.elapsed()).filter(|left| !left.is_zero()).ok_or_else(late);
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.at);
        let body = body.map(Value::to_string);
        if let Some(body) = &body {
            request.push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        request.push_str(body.as_deref().unwrap_or_default());
        connection.set_write_timeout(Some(left()?))?;
        connection.write_all(request.as_bytes())?;
        let (mut answer, mut part) = (Vec::new(), [0; 16 * 1024]);
        while (answer.len() as u64) < LONGEST {
            connection.set_read_timeout(Some(left()?))?;
            match connection.read(&mut part)? {
                0 => break,
                length => answer.extend_from_slice(part.get(..length).unwrap_or_default()),
            }
        }
        read(self.at, &String::from_utf8_lossy(&answer)).ok_or_else(|| std::io::Error::other("what it says is no HTTP"))
    }
}

impl Answer {
    /// Its status and its body.
    pub(crate) fn into_parts(self) -> (u16, Value) {
        (self.status, self.body)
    }

    /// The body of a request that was carried out.
    ///
    /// # Errors
    /// The server's reason for refusing it.
    pub(crate) fn accepted(self) -> Result<Value, String> {
        if (200..300).contains(&self.status) {
            return Ok(self.body);
        }
        let text = |member: &str| self.body.get(member).and_then(Value::as_str);
        let reason = text("detail").or_else(|| text("title")).or_else(|| text("why"));
        let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        Err(format!("{} answers {}{reason}", self.at, self.status))
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

/// An answer by its status and its body, whose end is the connection's.
fn read(at: SocketAddr, answer: &str) -> Option<Answer> {
    let rest = answer.strip_prefix("HTTP/1.1 ")?;
    let status = rest.split([' ', '\r']).next()?.parse().ok()?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    Some(Answer { at, status, body: serde_json::from_str(body).unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use std::net::TcpListener;

    use serde_json::json;

    use super::*;

    const AT: &str = "127.0.0.1:8081";

    fn answer(status: u16, body: Value) -> Answer {
        Answer { at: AT.parse().unwrap(), status, body }
    }

    fn client(at: SocketAddr) -> OperationsClient {
        OperationsClient { at, patience: Duration::from_secs(30) }
    }

    /// A server that answers one request with this text, and gives back what it was asked.
    fn answering(answer: &'static str) -> (SocketAddr, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let asked = std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let mut asked = String::new();
            let mut part = [0; 1024];
            while !asked.ends_with("\r\n\r\n") && !asked.ends_with('}') {
                let length = connection.read(&mut part).unwrap();
                asked.push_str(std::str::from_utf8(part.get(..length).unwrap()).unwrap());
            }
            connection.write_all(answer.as_bytes()).unwrap();
            asked
        });
        (at, asked)
    }

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
    fn an_answer_is_read_by_its_status_and_its_body() {
        let refused = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\r\n{\"why\":\"away\"}";
        let read = |text| read(AT.parse().unwrap(), text);
        assert_eq!(read(refused), Some(answer(503, json!({"why": "away"}))));
        assert_eq!(read("HTTP/1.1 404\r\n\r\nno"), Some(answer(404, Value::Null)));
        for bad in ["", "SSH-2.0-OpenSSH", "HTTP/1.1 abc\r\n\r\n"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_refusal_is_told_by_its_reason() {
        let told = |status, body| answer(status, body).accepted();
        assert_eq!(told(201, json!({"a": 1})), Ok(json!({"a": 1})));
        assert_eq!(told(404, Value::Null), Err(format!("{AT} answers 404")));
        let problem = json!({"title": "Values", "detail": "Send an object."});
        assert_eq!(told(422, problem), Err(format!("{AT} answers 422 (Send an object.)")));
        let away = json!({"status": "unavailable", "why": "the database is away"});
        assert_eq!(told(503, away), Err(format!("{AT} answers 503 (the database is away)")));
    }

    #[test]
    fn a_body_is_sent_as_json_and_nobody_there_is_told_apart() {
        let (at, asked) = answering("HTTP/1.1 200 OK\r\n\r\n{\"ok\":true}");
        let answer = client(at).send("POST", "/keys/rotate", Some(&json!({"now": true}))).unwrap();
        assert_eq!(answer.accepted(), Ok(json!({"ok": true})));
        let asked = asked.join().unwrap();
        assert!(asked.starts_with("POST /keys/rotate HTTP/1.1\r\n"), "{asked}");
        assert!(asked.ends_with("content-length: 12\r\n\r\n{\"now\":true}"), "{asked}");
        // Its listener is gone with the thread.
        assert!(matches!(client(at).send("GET", "/keys", None), Err(Unanswered::NotListening(_))));

        let (at, asked) = answering("SSH-2.0-OpenSSH\r\n");
        assert!(matches!(client(at).send("GET", "/keys", None), Err(Unanswered::Failed(_))));
        asked.join().unwrap();
    }
}
