//! PostgreSQL over TLS: what `sslmode` and `sslrootcert` say is done, with the certificates of the documents.

use std::path::{Path, PathBuf};
use std::process::Command;

use cairn_persistence::{Database, OpenError, Options};
use sea_orm::ConnectionTrait;

use crate::support::Place;

fn openssl(folder: &Path, line: &str) {
    let output = Command::new("openssl").args(line.split(' ')).current_dir(folder).output();
    let output = output.expect("openssl runs; `make test` installs it");
    assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
}

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

/// A certificate of its own, as the documents make it (`may_sign`: as `openssl` makes it when it is told nothing).
fn own(folder: &Path, name: &str, may_sign: bool) {
    let leaf = if may_sign { "" } else { " -addext basicConstraints=critical,CA:FALSE" };
    let names = "-addext subjectAltName=IP:127.0.0.1";
    openssl(
        folder,
        &format!("req -x509 {KEY} -days 2 -subj /CN={name} {names}{leaf} -keyout {name}.key -out {name}.pem"),
    );
}

/// A server's certificate that an authority has signed.
fn signed(folder: &Path) {
    openssl(folder, &format!("req -x509 {KEY} -days 2 -subj /CN=authority -keyout authority.key -out authority.pem"));
    std::fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1").unwrap();
    openssl(folder, &format!("req {KEY} -subj /CN=signed -keyout signed.key -out signed.csr"));
    let by = "-CA authority.pem -CAkey authority.key -CAcreateserial";
    openssl(folder, &format!("x509 -req -in signed.csr {by} -days 2 -extfile names -out signed.pem"));
}

/// The server presents this certificate from now on.
async fn presents(place: &Place, name: &str) {
    let data = place.server().folder().join("data");
    for end in ["pem", "key"] {
        let file = data.join(format!("{name}.{end}"));
        std::fs::copy(place.folder().join(format!("{name}.{end}")), &file).unwrap();
        // The server reads a key that is its own and nobody else's.
        for change in [["chmod", "600"], ["chown", &format!("--reference={}", data.display())]] {
            assert!(Command::new(change[0]).arg(change[1]).arg(&file).status().unwrap().success());
        }
    }
    let admin = sea_orm::Database::connect(&place.address).await.unwrap();
    for setting in
        [format!("ssl_cert_file = '{name}.pem'"), format!("ssl_key_file = '{name}.key'"), "ssl = on".to_owned()]
    {
        admin.execute_unprepared(&format!("ALTER SYSTEM SET {setting}")).await.unwrap();
    }
    admin.execute_unprepared("SELECT pg_reload_conf()").await.unwrap();
    admin.close().await.unwrap();
    // It reads them when it comes to that: connections from then on have the new one.
    for _ in 0..2_000 {
        let shown = Command::new("openssl")
            .args(["s_client", "-starttls", "postgres", "-connect", &host(place)])
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        if String::from_utf8_lossy(&shown.stdout).contains(&format!("CN = {name}")) {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the server never presented {name}");
}

fn host(place: &Place) -> String {
    let (_, at) = place.address.rsplit_once('@').unwrap();
    at.split_once('/').unwrap().0.to_owned()
}

fn file(place: &Place, name: &str) -> PathBuf {
    place.folder().join(name)
}

async fn open(place: &Place, query: &str) -> Result<(), OpenError> {
    let address = format!("{}?{query}", place.address);
    Database::open(&address, &Options::default()).await?.close().await.unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_certificate_decides_whom_we_believe() {
    let place = Place::on_own_server().await;
    own(place.folder(), "own", false);
    own(place.folder(), "other", false);
    own(place.folder(), "authoritative", true);
    signed(place.folder());
    let root = |name: &str| format!("sslrootcert={}", file(&place, name).display());

    let refused = open(&place, "sslmode=require").await.unwrap_err();
    assert!(refused.to_string().contains("TLS"), "{refused}");
    presents(&place, "signed").await;
    open(&place, "sslmode=require").await.unwrap();
    for mode in ["require", "verify-ca", "verify-full"] {
        open(&place, &format!("sslmode={mode}&{}", root("authority.pem"))).await.unwrap();
        let refused = open(&place, &format!("sslmode={mode}&{}", root("other.pem"))).await.unwrap_err();
        assert!(matches!(refused, OpenError::Database(_)), "{mode}: {refused:?}");
    }
    presents(&place, "own").await;
    for mode in ["require", "verify-ca", "verify-full"] {
        open(&place, &format!("sslmode={mode}&{}", root("own.pem"))).await.unwrap();
        open(&place, &format!("sslmode={mode}&{}", root("other.pem"))).await.unwrap_err();
    }
    let of_another_name = place.address.replace("@127.0.0.1", "@localhost");
    let query = format!("sslmode=verify-full&{}", root("own.pem"));
    Database::open(&format!("{of_another_name}?{query}"), &Options::default()).await.unwrap_err();

    presents(&place, "authoritative").await;
    let refused = open(&place, &format!("sslmode=verify-full&{}", root("authoritative.pem"))).await.unwrap_err();
    assert!(matches!(refused, OpenError::Authority), "{refused:?}");
    assert!(refused.to_string().contains("basicConstraints=critical,CA:FALSE"), "{refused}");
}
