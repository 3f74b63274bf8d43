//! Postfix as Debian has it: encrypted, with one mailbox, and with addresses that it refuses or puts off.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::server::Certificate;
use super::state;
use crate::support::app::free_port;
use crate::support::folder::{process_begun, process_ended};
use crate::support::letter::Letter;
use crate::support::{App, Kind, Person, eventually, json};

/// A Postfix of this test's own, in a folder that its users may enter; stopped and removed when dropped.
struct Postfix {
    folder: PathBuf,
    port: u16,
    master: Child,
    as_root: bool,
}

const POSTFIX: &str = "/usr/sbin/postfix";

/// Runs something as root: Postfix changes users, and only root may.
fn root(as_root: bool, program: impl AsRef<Path>) -> Command {
    if as_root {
        return Command::new(program.as_ref());
    }
    let mut command = Command::new("sudo");
    command.arg("-n").arg(program.as_ref());
    command
}

fn run(mut command: Command) -> String {
    let output = command.output().unwrap_or_else(|why| {
        panic!("{command:?}: {why}; `make test` installs Postfix, and only root starts it: be root, or have sudo")
    });
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}\nPostfix starts as root only: be root, or let sudo run it");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn id(argument: &str, user: &str) -> String {
    let mut command = Command::new("id");
    command.args([argument, user]);
    run(command)
}

impl Postfix {
    async fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("cairn-postfix-{}", std::process::id()));
        for part in ["conf", "spool", "data", "mail"] {
            fs::create_dir_all(folder.join(part)).unwrap();
        }
        let as_root = fs::metadata("/proc/self").unwrap().uid() == 0;
        // Whose the mailbox is: it is read here, and Postfix does not deliver to root.
        let owner = if as_root { "postfix".to_owned() } else { std::env::var("USER").unwrap_or_default() };
        let (user, group) = (id("-u", &owner), id("-g", &owner));
        for (part, user) in [("data", "postfix"), ("mail", user.as_str())] {
            let mut command = root(as_root, "chown");
            command.arg(user).arg(folder.join(part));
            run(command);
        }
        let port = free_port();
        let certificate = Certificate::make(&folder.join("conf"), "DNS:localhost,IP:127.0.0.1");
        let here = folder.display();
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {here}/spool\ndata_directory = {here}/data\n\
             maillog_file = {here}/log\nmaillog_file_prefixes = {here}\nmail_owner = postfix\nsetgid_group = postdrop\n\
             inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmyhostname = mail.example.test\nmydestination =\n\
             alias_maps =\nalias_database =\ndisable_dns_lookups = yes\nsmtpd_peername_lookup = no\n\
             virtual_mailbox_domains = example.test\nvirtual_mailbox_base = {here}/mail\n\
             virtual_mailbox_maps = inline:{{ {{nora@example.test = nora/}} {{grey@example.test = grey/}} }}\n\
             virtual_uid_maps = static:{user}\nvirtual_gid_maps = static:{group}\nvirtual_minimum_uid = 1\n\
             smtpd_tls_security_level = encrypt\nsmtpd_tls_chain_files = {}, {}\n\
             smtpd_recipient_restrictions = check_recipient_access inline:{{ {{grey@example.test = 450 4.2.0 Greylisted}} \
             }}, permit_mynetworks, reject\n",
            certificate.key.display(),
            certificate.certificate.display(),
        );
        fs::write(folder.join("conf/main.cf"), main).unwrap();
        let services = [
            format!("127.0.0.1:{port} inet n - n - - smtpd"),
            "cleanup unix n - n - 0 cleanup".to_owned(),
            "qmgr unix n - n 300 1 qmgr".to_owned(),
            "tlsmgr unix - - n 1000? 1 tlsmgr".to_owned(),
            "rewrite unix - - n - - trivial-rewrite".to_owned(),
            "bounce unix - - n - 0 bounce".to_owned(),
            "defer unix - - n - 0 bounce".to_owned(),
            "trace unix - - n - 0 bounce".to_owned(),
            "proxymap unix - - n - - proxymap".to_owned(),
            "error unix - - n - - error".to_owned(),
            "retry unix - - n - - error".to_owned(),
            "virtual unix - n n - - virtual".to_owned(),
            "anvil unix - - n - 1 anvil".to_owned(),
            "postlog unix-dgram n - n - 1 postlogd".to_owned(),
        ];
        fs::write(folder.join("conf/master.cf"), services.join("\n") + "\n").unwrap();
        for owned_by_root in ["conf", "spool"] {
            let mut command = root(as_root, "chown");
            command.args(["-R", "root:root"]).arg(folder.join(owned_by_root));
            run(command);
        }

        let conf = folder.join("conf");
        let mut command = root(as_root, POSTFIX);
        command.arg("-c").arg(&conf).arg("check");
        run(command);
        let mut command = Command::new("/usr/sbin/postconf");
        command.arg("-c").arg(&conf).args(["-h", "daemon_directory"]);
        let daemons = PathBuf::from(run(command));
        // The master itself and not `postfix start`: what it starts ends with it, however these tests end.
        let mut command = root(as_root, daemons.join("master"));
        command.arg("-c").arg(&conf).arg("-s").stdin(Stdio::null());
        let master = command.spawn().unwrap_or_else(|why| panic!("{command:?}: {why}"));
        process_begun(master.id());
        let postfix = Self { folder, port, master, as_root };
        eventually("Postfix to listen", async || TcpStream::connect(("127.0.0.1", port)).ok()).await;
        postfix
    }

    fn certificate(&self) -> PathBuf {
        self.folder.join("conf/test-mail-cert.pem")
    }

    /// The letters in a mailbox.
    fn mailbox(&self, name: &str) -> Vec<Letter> {
        let mut paths: Vec<PathBuf> = fs::read_dir(self.folder.join("mail").join(name).join("new"))
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        let read = |path: &PathBuf| fs::read_to_string(path).unwrap().replace('\n', "\r\n");
        paths.iter().map(|path| Letter::from_mail(&read(path))).collect()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let mut stop = root(self.as_root, POSTFIX);
        let _ = stop.arg("-c").arg(self.folder.join("conf")).arg("abort").output();
        let _ = self.master.wait();
        process_ended(self.master.id());
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        } else {
            let _ = root(self.as_root, "rm").arg("-rf").arg(&self.folder).output();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_registers_through_postfix_and_whom_it_does_not_know_is_told() {
    let postfix = Postfix::start().await;
    let app = App::plan(Kind::Sqlite)
        .named("postfix")
        .set("SMTP_URL", format!("smtp://localhost:{}?tls=required", postfix.port))
        .set("SMTP_CA_FILE", postfix.certificate().display())
        .set("MAIL_FROM", "Cairn <cairn@example.org>")
        .start()
        .await;
    let at = |name: &str| Person { email: format!("{name}@example.test"), ..Person::new(name) };
    let until = async |flow: &str, wanted: &str| {
        eventually(&format!("a letter that is {wanted}"), async || (state(&app, flow).await == wanted).then_some(()))
            .await;
    };

    let nora = at("nora");
    let flow = nora.registers(&app).await;
    until(&flow, "accepted").await;
    let letter = eventually("the letter in the mailbox", async || postfix.mailbox("nora").into_iter().next()).await;
    assert_eq!((letter.kind.as_str(), letter.to.as_str()), ("registration.verify", "nora@example.test"));
    let body = json!({"flow": flow, "code": letter.code()});
    app.client().post("/auth/verify-email", &body).send().await.expect(200);
    let welcome = async || postfix.mailbox("nora").into_iter().find(|letter| letter.kind == "registration.welcome");
    eventually("a welcome in the mailbox", welcome).await;

    until(&at("nobody").registers(&app).await, "failed").await;
    until(&at("grey").registers(&app).await, "retrying").await;
    let log = postfix.log();
    assert!(log.contains("550 5.1.1 <nobody@example.test>") && log.contains("450 4.2.0 <grey@example.test>"), "{log}");
    assert_eq!(postfix.mailbox("nora").len(), 2, "each once");
}
