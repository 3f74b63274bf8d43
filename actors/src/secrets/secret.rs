//! Secrets as operators hand them over: text that is never shown, and files that only we and root may read.
//!
//! Every file with a secret in it (the master key, a key that signs letters, whatever a `…_FILE` setting names) is read
//! through [`Reader`], so that one rule holds for all. It is PostgreSQL's rule for its own keys: a file of ours has mode
//! 0600 or less, a file of root's 0640 or less, because orchestrators that run us as another user than root hand files over
//! by the group. Below `$CREDENTIALS_DIRECTORY` the service manager has seen to it who may read, whatever the mode. Links
//! are followed: what counts is the file at their end.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// No secret is longer than this, an RSA key in PEM included.
const LONGEST: usize = 64 * 1024;

/// A text that is not to be shown. `Debug` shows dots; it is wiped when it is dropped.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a file with a secret in it was not taken. Each message names the file, says what to do, and quotes nothing of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// There is no such file.
    #[error("there is no file {0}")]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("{path} cannot be read: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// It is a directory, a pipe or a device.
    #[error("{0} is not a regular file")]
    NotAFile(PathBuf),
    /// Others than we and root may read or write it, or it is neither ours nor root's, or we may not read it.
    #[error("{path} {}", advice(*.owner, *.mode, *.us))]
    Permissions {
        /// The file.
        path: PathBuf,
        /// The user it belongs to.
        owner: u32,
        /// Its permission bits.
        mode: u32,
        /// The user that we are.
        us: u32,
    },
    /// There is nothing in it.
    #[error("{0} is empty")]
    Empty(PathBuf),
    /// It is not text.
    #[error("{0} is not text in UTF-8")]
    NotText(PathBuf),
    /// It is longer than any secret.
    #[error("{0} is longer than 64 KiB, which no secret is")]
    TooLong(PathBuf),
    /// It was to hold one line.
    #[error("{0} has more than the one line that it should have")]
    ManyLines(PathBuf),
}

/// What to do about a file's owner and mode. The numbers are said, since in a container the names mean little.
fn advice(owner: u32, mode: u32, us: u32) -> String {
    if owner == us && us != 0 {
        return format!(
            "has mode {mode:04o}, so others than its owner may use it: run `chmod 600` on it; what mounts it can give it \
             mode 0400"
        );
    }
    if owner == 0 {
        let beyond = if mode & 0o137 == 0 { "which we may not read" } else { "and 0640 is the most" };
        let mounted = if us == 0 {
            "what mounts it can give it mode 0400".to_owned()
        } else {
            format!(
                "what mounts it can give it to us, user {us}, with mode 0400 (compose and Swarm: `uid` and `mode` of the \
                 secret), or to our group with mode 0440 (Kubernetes: `fsGroup`, `defaultMode`)"
            )
        };
        return format!(
            "is root's with mode {mode:04o}, {beyond}: run `chmod 640` on it and give it to our group; {mounted}"
        );
    }
    format!(
        "belongs to user {owner} with mode {mode:04o}, and we are user {us}: it must be ours with mode 0600 or less, or \
         root's with 0640 or less; run `chown {us}` and `chmod 600` on it"
    )
}

/// Whether a file of this owner and mode is closed enough for a secret.
const fn is_closed(owner: u32, mode: u32, us: u32) -> bool {
    if owner == 0 { mode & 0o137 == 0 } else { owner == us && mode & 0o077 == 0 }
}

/// Who reads, and which files the service manager answers for.
#[derive(Clone, Debug)]
pub struct Reader {
    user: u32,
    credentials: Option<PathBuf>,
}

impl Reader {
    /// This process, with the folder that its service manager names in `$CREDENTIALS_DIRECTORY`.
    pub fn of_this_process() -> Self {
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty());
        Self { user: rustix::process::geteuid().as_raw(), credentials: credentials.map(PathBuf::from) }
    }

    /// Opens a file if its owner and mode are closed enough.
    ///
    /// # Errors
    /// See [`SecretFileError`].
    pub fn open(&self, path: &Path) -> Result<File, SecretFileError> {
        use std::os::unix::fs::MetadataExt;
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => SecretFileError::Missing(path.to_owned()),
            _ => SecretFileError::Io { path: path.to_owned(), source },
        };
        // Asked before it is opened as well: to open a pipe would wait for somebody to write into it.
        let before = std::fs::metadata(path).map_err(failed)?;
        if !before.is_file() {
            return Err(SecretFileError::NotAFile(path.to_owned()));
        }
        let permissions = |metadata: &std::fs::Metadata| SecretFileError::Permissions {
            path: path.to_owned(),
            owner: metadata.uid(),
            mode: metadata.mode() & 0o7777,
            us: self.user,
        };
        let file = File::open(path).map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => permissions(&before),
            _ => failed(source),
        })?;
        // Asked of the open file, not of the path: nobody can swap it in between.
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(SecretFileError::NotAFile(path.to_owned()));
        }
        if is_closed(metadata.uid(), metadata.mode() & 0o7777, self.user) || self.is_credential(path) {
            Ok(file)
        } else {
            Err(permissions(&metadata))
        }
    }

    /// Whether the file lies below the folder of credentials, where links lead as well.
    fn is_credential(&self, path: &Path) -> bool {
        let Some(folder) = self.credentials.as_ref().and_then(|folder| folder.canonicalize().ok()) else {
            return false;
        };
        path.canonicalize().is_ok_and(|path| path.starts_with(folder))
    }

    /// All of a file.
    ///
    /// # Errors
    /// See [`SecretFileError`].
    pub fn bytes(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
        let file = self.open(path)?;
        // Room for all of it from the beginning, so that no half of it stays behind where a smaller buffer was.
        let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
        let most = u64::try_from(LONGEST + 1).unwrap_or(u64::MAX);
        file.take(most)
            .read_to_end(&mut bytes)
            .map_err(|source| SecretFileError::Io { path: path.to_owned(), source })?;
        match bytes.len() {
            0 => Err(SecretFileError::Empty(path.to_owned())),
            length if length > LONGEST => Err(SecretFileError::TooLong(path.to_owned())),
            _ => Ok(bytes),
        }
    }

    /// All of a text.
    ///
    /// # Errors
    /// See [`SecretFileError`].
    pub fn text(&self, path: &Path) -> Result<Zeroizing<String>, SecretFileError> {
        let bytes = self.bytes(path)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| SecretFileError::NotText(path.to_owned()))?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    /// The one line of a file, without its end.
    ///
    /// # Errors
    /// See [`SecretFileError`].
    pub fn line(&self, path: &Path) -> Result<Secret, SecretFileError> {
        let text = self.text(path)?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            return Err(SecretFileError::Empty(path.to_owned()));
        }
        if line.contains(['\n', '\r', '\0']) {
            return Err(SecretFileError::ManyLines(path.to_owned()));
        }
        Ok(Secret::new(line))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::testing::folder::Folder;

    fn us() -> Reader {
        Reader { user: rustix::process::geteuid().as_raw(), credentials: None }
    }

    #[test]
    fn a_file_of_ours_is_closed_at_0600_and_one_of_roots_at_0640() {
        const US: u32 = 999;
        for mode in [0o600, 0o400, 0o200] {
            assert!(is_closed(US, mode, US) && is_closed(0, mode, US) && is_closed(0, mode, 0), "{mode:o}");
            assert!(!is_closed(1_000, mode, US), "of somebody else's user {mode:o}");
        }
        for mode in [0o640, 0o440] {
            assert!(!is_closed(US, mode, US), "{mode:o}");
            assert!(is_closed(0, mode, US) && is_closed(0, mode, 0), "{mode:o}");
        }
        for mode in [0o644, 0o444, 0o604, 0o660, 0o650, 0o601, 0o700, 0o777] {
            assert!(mode == 0o700 || !is_closed(US, mode, US), "{mode:o}");
            assert!(!is_closed(0, mode, US) && !is_closed(0, mode, 0), "{mode:o}");
        }
    }

    #[test]
    fn the_advice_can_be_followed_by_who_gets_it() {
        for (owner, mode, us, says) in [
            (999, 0o644, 999, &["mode 0644", "chmod 600", "0400"][..]),
            (0, 0o444, 999, &["root's with mode 0444", "0640 is the most", "user 999", "`uid` and `mode`", "fsGroup"]),
            (0, 0o400, 999, &["root's with mode 0400", "may not read", "user 999"]),
            (0, 0o644, 0, &["root's with mode 0644", "chmod 640"]),
            (1_000, 0o600, 999, &["user 1000", "we are user 999", "chown 999"]),
        ] {
            let why = SecretFileError::Permissions { path: "/run/secrets/key".into(), owner, mode, us }.to_string();
            assert!(why.starts_with("/run/secrets/key "), "{why}");
            for word in says {
                assert!(why.contains(word), "{word}: {why}");
            }
        }
    }

    #[test]
    fn an_open_file_is_refused_by_name_and_a_closed_one_is_read() {
        let folder = Folder::new("secret");
        for (mode, taken) in [(0o600, true), (0o400, true), (0o644, false), (0o666, false), (0o444, false)] {
            let path = folder.file("secret", "hunter2\n", mode);
            match us().line(&path) {
                Ok(secret) => assert!(taken && secret.expose() == "hunter2", "{mode:o}"),
                Err(why) => {
                    let why = why.to_string();
                    assert!(!taken && why.contains(path.to_str().unwrap()) && !why.contains("hunter2"), "{why}");
                }
            }
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_mode_for_the_group_is_for_files_of_roots() {
        let folder = Folder::new("secret");
        let path = folder.file("secret", "hunter2\n", 0o440);
        let is_root = us().user == 0;
        assert_eq!(us().line(&path).is_ok(), is_root);
        if is_root {
            // Of a user whom we are not; and of the user that we are.
            std::os::unix::fs::chown(&path, Some(999), None).unwrap();
            assert!(matches!(us().line(&path), Err(SecretFileError::Permissions { owner: 999, us: 0, .. })));
            let other = Reader { user: 999, credentials: None };
            assert!(matches!(other.line(&path), Err(SecretFileError::Permissions { owner: 999, us: 999, .. })));
            fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
            assert!(other.line(&path).is_ok());
        }
    }

    #[test]
    fn links_are_followed_to_the_file_that_counts() {
        let folder = Folder::new("secret");
        // As Kubernetes mounts a secret: key → ..data/key, ..data → ..2026_11_30.
        let path = folder.file("..2026_11_30/key", "hunter2", 0o400);
        symlink("..2026_11_30", folder.path().join("..data")).unwrap();
        symlink("..data/key", folder.path().join("key")).unwrap();
        assert_eq!(us().line(&folder.path().join("key")).unwrap().expose(), "hunter2");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(us().line(&folder.path().join("key")).is_err());
    }

    #[test]
    fn below_the_folder_of_credentials_the_service_manager_answers_for_the_mode() {
        let folder = Folder::new("secret");
        let inside = folder.file("credentials/key", "hunter2", 0o444);
        let beside = folder.file("credentials-not/key", "hunter2", 0o444);
        let with = |credentials: PathBuf| Reader { credentials: Some(credentials), ..us() };
        let reader = with(folder.path().join("credentials"));
        assert_eq!(reader.line(&inside).unwrap().expose(), "hunter2");
        assert_eq!(
            with(folder.path().join("credentials-not/../credentials/")).line(&inside).unwrap().expose(),
            "hunter2"
        );
        assert!(reader.line(&beside).is_err());
        assert!(reader.line(&folder.path().join("credentials/../credentials-not/key")).is_err());
        // A link that leads out of the folder leads to what nobody answers for.
        symlink(&beside, folder.path().join("credentials/link")).unwrap();
        assert!(reader.line(&folder.path().join("credentials/link")).is_err());
        assert!(with(folder.path().join("nowhere")).line(&inside).is_err());
        assert!(us().line(&inside).is_err());
    }

    #[test]
    fn what_is_no_line_of_text_is_refused_and_not_quoted() {
        let folder = Folder::new("secret");
        for (text, line) in [("a b \n", "a b "), ("a\r\n", "a"), ("a", "a"), ("wörd\n", "wörd")] {
            assert_eq!(us().line(&folder.file("line", text, 0o600)).unwrap().expose(), line);
        }
        for bad in
            [&b""[..], b"\n", b"\r\n", b"S3cret\nS3cret\n", b"S3cret\n\n", b"S3cret\xff", b"S3cret\0", &[b'S'; 65_537]]
        {
            let path = folder.file("bad", bad, 0o600);
            let why = us().line(&path).unwrap_err().to_string();
            assert!(why.starts_with(path.to_str().unwrap()) && !why.contains("S3cret"), "{why}");
        }
        assert!(us().text(&folder.file("long", [b'x'; 65_536], 0o600)).is_ok());
        assert!(matches!(us().line(folder.path()), Err(SecretFileError::NotAFile(_))));
        assert!(matches!(us().line(&folder.path().join("none")), Err(SecretFileError::Missing(_))));
        assert!(matches!(us().line(&folder.path().join("bad/none")), Err(SecretFileError::Io { .. })));
        assert_eq!(format!("{:?}", Secret::new("S3cret")), "Secret(…)");
    }
}
