//! A mail server that speaks TLS, with a certificate of its own making, and asks for a password.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use base64ct::{Base64, Encoding};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::eventually;

/// A key and a certificate that nobody else has signed, made with `openssl`.
pub struct Certificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Certificate {
    /// In this folder, for names as `subjectAltName` has them.
    pub fn make(folder: &Path, names: &str) -> Self {
        Self::with(folder, &["basicConstraints=critical,CA:FALSE", &format!("subjectAltName={names}")])
    }

    /// As `openssl req -x509` makes it when nobody says more: it calls itself an authority.
    pub fn as_made(folder: &Path, names: Option<&str>) -> Self {
        let names = names.map(|names| format!("subjectAltName={names}"));
        Self::with(folder, &names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn with(folder: &Path, extensions: &[&str]) -> Self {
        let (certificate, key) = (folder.join("test-mail-cert.pem"), folder.join("test-mail-key.pem"));
        let output = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=a mail server of the tests"])
            .args(extensions.iter().flat_map(|extension| ["-addext", extension]))
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .expect("openssl makes the certificate; `make test` installs it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { certificate, key }
    }

    fn server(&self) -> Arc<ServerConfig> {
        let certificate = CertificateDer::from_pem_file(&self.certificate).unwrap();
        let key = PrivateKeyDer::from_pem_file(&self.key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap())
    }
}

/// When the server begins to encrypt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    WithTheConnection,
    WhenAsked,
    /// When asked, and somebody between has put a word of his own behind its agreement.
    WhenAskedAndOverheard,
}

/// A letter that arrived whole.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub encrypted: bool,
    /// Who had signed in.
    pub user: Option<String>,
    /// As it came, dots unstuffed.
    pub raw: String,
}

#[derive(Default)]
struct Seen {
    arrivals: Vec<Arrival>,
    failed_handshakes: usize,
    refused_passwords: usize,
}

/// The server; it takes no more connections when dropped.
pub struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    over: Arc<AtomicBool>,
}

struct Rules {
    begin: Begin,
    tls: Arc<ServerConfig>,
    /// `user:password`; without it nothing is taken.
    account: Option<&'static str>,
}

impl Server {
    pub fn start(begin: Begin, certificate: &Certificate, account: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, over) = (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicBool::new(false)));
        let rules = Arc::new(Rules { begin, tls: certificate.server(), account });
        let (shared, ended) = (Arc::clone(&seen), Arc::clone(&over));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let (rules, seen) = (Arc::clone(&rules), Arc::clone(&shared));
                // A conversation that breaks is what some of the tests are about.
                std::thread::spawn(move || _ = converse(stream, &rules, &seen));
            }
        });
        Self { address, seen, over }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn arrivals(&self) -> Vec<Arrival> {
        self.seen.lock().unwrap().arrivals.clone()
    }

    /// Waits for the first letter.
    pub async fn arrival(&self) -> Arrival {
        eventually("a letter", async || self.arrivals().into_iter().next()).await
    }

    /// Waits until a client did not like what it saw of the certificate.
    pub async fn handshake_failed(&self) {
        eventually("a refused certificate", async || (self.seen.lock().unwrap().failed_handshakes > 0).then_some(()))
            .await;
    }

    /// Waits until somebody has come with a wrong password.
    pub async fn password_refused(&self) {
        eventually("a wrong password", async || (self.seen.lock().unwrap().refused_passwords > 0).then_some(())).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn converse(tcp: TcpStream, rules: &Rules, seen: &Mutex<Seen>) -> io::Result<()> {
    let mut plain = tcp.try_clone()?;
    let mut stream: Box<dyn Stream> = Box::new(tcp.try_clone()?);
    let mut tcp = Some(tcp);
    let mut encrypted = false;
    let mut user = None;
    let mut encrypt = |stream: &mut Box<dyn Stream>| -> io::Result<()> {
        let mut connection = ServerConnection::new(Arc::clone(&rules.tls)).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            if let Err(why) = connection.complete_io(&mut plain) {
                seen.lock().unwrap().failed_handshakes += 1;
                return Err(why);
            }
        }
        *stream = Box::new(StreamOwned::new(connection, tcp.take().ok_or(io::ErrorKind::NotConnected)?));
        Ok(())
    };
    if rules.begin == Begin::WithTheConnection {
        encrypt(&mut stream)?;
        encrypted = true;
    }
    say(&mut stream, "220 mail.example.test")?;
    while let Some(command) = line(&mut stream)? {
        let verb = command.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" if !encrypted => say(&mut stream, "250-mail.example.test\r\n250 STARTTLS")?,
            "EHLO" => say(&mut stream, "250-mail.example.test\r\n250 AUTH PLAIN LOGIN")?,
            "STARTTLS" => {
                let more = if rules.begin == Begin::WhenAskedAndOverheard { "\r\n250 words of a stranger" } else { "" };
                say(&mut stream, &format!("220 go on{more}"))?;
                encrypt(&mut stream)?;
                encrypted = true;
            }
            "AUTH" => {
                let given = command.rsplit(' ').next().unwrap_or_default();
                let given = String::from_utf8(Base64::decode_vec(given).unwrap_or_default()).unwrap_or_default();
                let given = given.trim_start_matches('\0').replace('\0', ":");
                if rules.account == Some(given.as_str()) {
                    user = given.split(':').next().map(str::to_owned);
                    say(&mut stream, "235 welcome")?;
                } else {
                    seen.lock().unwrap().refused_passwords += 1;
                    say(&mut stream, "535 5.7.8 wrong user or password")?;
                }
            }
            "MAIL" if rules.account.is_some() && user.is_none() => say(&mut stream, "530 5.7.0 sign in first")?,
            "DATA" => {
                say(&mut stream, "354 go on")?;
                let mut raw = String::new();
                loop {
                    let line = line(&mut stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
                    if line == "." {
                        break;
                    }
                    raw.push_str(line.strip_prefix('.').unwrap_or(&line));
                    raw.push_str("\r\n");
                }
                seen.lock().unwrap().arrivals.push(Arrival { encrypted, user: user.clone(), raw });
                say(&mut stream, "250 taken")?;
            }
            "QUIT" => return say(&mut stream, "221 bye"),
            _ => say(&mut stream, "250 fine")?,
        }
    }
    Ok(())
}

fn say(stream: &mut Box<dyn Stream>, words: &str) -> io::Result<()> {
    stream.write_all(format!("{words}\r\n").as_bytes())?;
    stream.flush()
}

/// A line, read byte by byte: what comes after `STARTTLS` must stay in the socket.
fn line(stream: &mut Box<dyn Stream>) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    loop {
        match stream.read(&mut byte) {
            Ok(0) if bytes.is_empty() => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(why) if why.kind() == io::ErrorKind::UnexpectedEof && bytes.is_empty() => return Ok(None),
            Err(why) => return Err(why),
            Ok(_) if byte == *b"\n" => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                return Ok(Some(text.trim_end_matches('\r').to_owned()));
            }
            Ok(_) => bytes.extend(byte),
        }
    }
}
