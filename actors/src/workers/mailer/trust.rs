//! Whom we believe to be the mail server: the public authorities, the operator's own, and the very certificates that the
//! operator has named.
//!
//! What must stay true: a certificate that is named is believed for the one host that it was named for, whatever kind of
//! certificate it is; its time and the names in it are looked at all the same, and its key has to be at the other end.

use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Certificates from a file of the operator's.
///
/// # Errors
/// The end of a sentence that begins with the name of the file.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let number = found.len() + 1;
        let certificate = certificate.map_err(|_| format!("has something that is not PEM at certificate {number}"))?;
        if ParsedCertificate::try_from(&certificate).is_err() {
            return Err(format!("has a certificate that cannot be read (number {number})"));
        }
        found.push(certificate);
    }
    if found.is_empty() { Err("has no certificate in PEM".to_owned()) } else { Ok(found) }
}

/// How to encrypt. `named` are believed besides the public authorities; `anybody` is believed where a check would
/// protect nothing.
///
/// # Errors
/// Half a sentence when the library does not take what it is given.
pub(super) fn client(named: &[CertificateDer<'static>], anybody: bool) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(default_provider());
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    // The library takes each certificate for an authority. One that is none signs nothing that is of use to anybody but
    // the holder of its key; that it is believed as it is, is below.
    roots.add_parsable_certificates(named.iter().cloned());
    let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let authorities = authorities.build().map_err(|why| why.to_string())?;
    let verifier = Arc::new(Verifier { authorities, named: named.to_vec(), anybody });
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|why| why.to_string())?.dangerous().with_custom_certificate_verifier(verifier);
    Ok(Arc::new(config.with_no_client_auth()))
}

#[derive(Debug)]
struct Verifier {
    authorities: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
    anybody: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.anybody {
            return Ok(ServerCertVerified::assertion());
        }
        let checked = self.authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let Err(why) = checked else { return checked };
        // What stands for itself needs no signature of an authority, and may be one: `openssl req -x509` says so of each
        // certificate that it makes. Time is the first thing that is checked of a certificate, so that any other
        // complaint says that its time is right.
        if !self.named.iter().any(|named| named.as_ref() == end_entity.as_ref()) || is_of_time(&why) {
            return Err(why);
        }
        match verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name) {
            // It names no host (only `subjectAltName` does, RFC 9525 section 2.1): the operator has named it for this one.
            Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }))
                if presented.is_empty() =>
            {
                Ok(ServerCertVerified::assertion())
            }
            named => named.map(|()| ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

fn is_of_time(why: &Error) -> bool {
    use CertificateError::{BadEncoding, Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    matches!(
        why,
        Error::InvalidCertificate(
            Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. } | BadEncoding
        )
    )
}

/// Why no encryption could be agreed on, for the operator.
pub(super) fn explain(why: &io::Error) -> String {
    use CertificateError::{
        BadSignature, Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet,
        NotValidYetContext, UnknownIssuer,
    };
    let tls = why.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let Some(Error::InvalidCertificate(certificate)) = tls else { return why.to_string() };
    match certificate {
        UnknownIssuer | BadSignature => "its certificate is signed by nobody that is known here; a file with its authority or with the \
                          certificate itself is named by SMTP_CA_FILE"
            .to_owned(),
        Expired | ExpiredContext { .. } => "its certificate has expired".to_owned(),
        NotValidYet | NotValidYetContext { .. } => "its certificate is not valid yet".to_owned(),
        NotValidForName | NotValidForNameContext { .. } => {
            format!("its certificate is for another name than the one in SMTP_URL ({certificate})")
        }
        // The library's word for it is about the library.
        other if other.to_string().contains("CaUsedAsEndEntity") => {
            "its certificate is one of an authority and not of a server; a file with the certificate itself is named by \
             SMTP_CA_FILE"
                .to_owned()
        }
        other => format!("its certificate is not good: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// As `openssl req -x509 -subj /CN=mail.internal` makes it: one of an authority, and with no name in it.
    const AS_MADE: &[u8] = include_bytes!("trust/as-made.pem");
    /// Likewise, with names.
    const NAMED: &[u8] = include_bytes!("trust/named.pem");
    /// Likewise, and none of an authority.
    const SERVER: &[u8] = include_bytes!("trust/server.pem");
    const AUTHORITY: &[u8] = include_bytes!("trust/authority.pem");
    /// Signed by that authority.
    const ISSUED: &[u8] = include_bytes!("trust/issued.pem");

    /// Within the ten years of all of them.
    const NOW: u64 = 1_830_000_000;

    fn verified(named: &[&[u8]], shown: &[u8], host: &str, now: u64) -> Result<(), String> {
        let named: Vec<_> = named.iter().flat_map(|pem| certificates(pem).unwrap()).collect();
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        roots.add_parsable_certificates(named.iter().cloned());
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()));
        let verifier = Verifier { authorities: authorities.build().unwrap(), named, anybody: false };
        let [shown] = &certificates(shown).unwrap()[..] else { panic!("one") };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
        let host = ServerName::try_from(host.to_owned()).unwrap();
        let verified = verifier.verify_server_cert(shown, &[], &host, &[], now);
        verified.map(drop).map_err(|why| explain(&io::Error::new(io::ErrorKind::InvalidData, why)))
    }

    #[test]
    fn a_certificate_that_is_named_is_believed_for_its_host_whatever_kind_it_is() {
        for (named, host) in [
            (AS_MADE, "mail.internal"),
            (AS_MADE, "10.0.0.5"),
            (NAMED, "mail.internal"),
            (NAMED, "10.0.0.5"),
            (SERVER, "mail.internal"),
            (ISSUED, "mail.internal"),
        ] {
            assert_eq!(verified(&[named], named, host, NOW), Ok(()), "{host}");
            assert_eq!(verified(&[AUTHORITY, named], named, host, NOW), Ok(()), "{host}");
        }
        assert_eq!(verified(&[AUTHORITY], ISSUED, "mail.internal", NOW), Ok(()));
    }

    #[test]
    fn another_certificate_is_not_believed() {
        for (named, shown) in [
            (&[] as &[&[u8]], AS_MADE),
            (&[], ISSUED),
            (&[NAMED, SERVER, AUTHORITY], AS_MADE),
            (&[AS_MADE, SERVER, ISSUED], NAMED),
            (&[AS_MADE, NAMED], SERVER),
            (&[AS_MADE, NAMED, SERVER], ISSUED),
        ] {
            let why = verified(named, shown, "mail.internal", NOW).unwrap_err();
            assert!(why.contains("SMTP_CA_FILE"), "{why}");
        }
    }

    #[test]
    fn names_and_time_count_for_the_named_as_well() {
        for (shown, host) in
            [(NAMED, "elsewhere.example"), (NAMED, "10.0.0.6"), (SERVER, "10.0.0.5"), (ISSUED, "other.internal")]
        {
            let why = verified(&[shown, AUTHORITY], shown, host, NOW).unwrap_err();
            assert!(why.contains("for another name") && why.contains("mail.internal"), "{why}");
        }
        for shown in [AS_MADE, NAMED, SERVER, ISSUED] {
            let at = |now| verified(&[shown], shown, "mail.internal", now).unwrap_err();
            assert!(at(NOW + 400_000_000).contains("has expired"));
            assert!(at(1_600_000_000).contains("not valid yet"));
        }
    }

    #[test]
    fn what_is_no_certificate_is_said_without_it() {
        let cut = [SERVER, &SERVER[..200]].concat();
        let not = b"-----BEGIN CERTIFICATE-----\naHVudGVyMg==\n-----END CERTIFICATE-----\n";
        for pem in [b"" as &[u8], b"hunter2", &cut, not, &[SERVER, not].concat()] {
            let why = certificates(pem).unwrap_err();
            assert!(why.starts_with("has ") && !why.contains("hunter"), "{why}");
        }
        assert_eq!(certificates(&[SERVER, AUTHORITY].concat()).unwrap().len(), 2);
    }
}
