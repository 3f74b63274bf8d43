//! A mail server that speaks TLS, with a certificate of its own making, and asks for a password.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use base64ct::{Base64, Encoding};
use cairn_actors::testing::mail_server::{Arrival, Encryption, MailServer};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

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

/// The command that signs in as `user:password`.
pub fn sign_in(account: &str) -> String {
    format!("AUTH PLAIN {}", Base64::encode_string(format!("\0{}", account.replacen(':', "\0", 1)).as_bytes()))
}

/// The server.
pub struct Server(MailServer);

impl Server {
    /// Starts one that wants this user and password, if there are any.
    pub fn start(begin: Begin, certificate: &Certificate, account: Option<&str>) -> Self {
        let right = sign_in(account.unwrap_or_default());
        let wrong = if account.is_some() { "535 5.7.8 wrong user or password" } else { "235 welcome" };
        let agreement = match begin {
            Begin::WhenAskedAndOverheard => "220 go on\r\n250 words of a stranger",
            Begin::WithTheConnection | Begin::WhenAsked => "220 go on",
        };
        let script = [
            ("EHLO/tls", "250-mail.example.test\r\n250 AUTH PLAIN LOGIN"),
            ("EHLO", "250-mail.example.test\r\n250 STARTTLS"),
            ("STARTTLS", agreement),
            (&*right, "235 welcome"),
            ("AUTH", wrong),
        ];
        let encryption = if begin == Begin::WithTheConnection { Encryption::AtOnce } else { Encryption::WhenAsked };
        Self(MailServer::encrypting(&script, encryption, certificate.server()))
    }

    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    pub fn arrivals(&self) -> Vec<Arrival> {
        self.0.arrivals()
    }

    /// Waits for the first letter.
    pub async fn arrival(&self) -> Arrival {
        eventually("a letter", async || self.arrivals().into_iter().next()).await
    }

    /// Waits until a client did not like what it saw of the certificate.
    pub async fn handshake_failed(&self) {
        eventually("a refused certificate", async || (self.0.failed_handshakes() > 0).then_some(())).await;
    }

    /// Waits until somebody has come with a password, for tests in which it is wrong.
    pub async fn password_refused(&self) {
        eventually("a wrong password", async || (self.0.heard("AUTH") > 0).then_some(())).await;
    }
}
