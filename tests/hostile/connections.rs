//! Connections that are held for nothing, with few descriptors to go round.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{App, Kind, Person};

/// The preface, settings that leave no room for an answer's body, and GET /health (RFC 7541, appendix A).
const SHUT: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\
\x00\x00\x0e\x01\x05\x00\x00\x00\x01\x82\x86\x04\x07/health\x01\x01x";

#[tokio::test]
async fn a_server_that_is_full_of_one_client_answers_strangers_and_its_probes() {
    let app = App::plan(Kind::Sqlite).named("descriptors").descriptors(160).start().await;
    let body =
        "POST /auth/logout HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 60000\r\n\r\n{";
    let mut held = Vec::new();
    for beginning in [SHUT, body.as_bytes(), b"GET /health HTTP/1.1\r\nhost"] {
        for _ in 0..140 {
            let mut stream = TcpStream::connect(app.client().server()).await.unwrap();
            // Those that had to give way are closed at the other end.
            let _ = stream.write_all(beginning).await;
            held.push(stream);
        }
        for last in [1, 2, 3] {
            app.client().at_loopback(last).get("/health").send().await.expect(200);
            let person = Person::new("stranger");
            app.client().at_loopback(last).post("/auth/register", &person.registration()).send().await.expect(202);
            for probe in ["/health/live", "/health/ready", "/health/db"] {
                app.operations().at_loopback(last).get(probe).send().await.expect(200);
            }
        }
    }
}
