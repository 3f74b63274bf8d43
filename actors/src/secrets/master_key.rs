//! The one secret outside the database: 32 bytes in a file that only its owner and root may read.
//!
//! It seals the key ring. Without it the database is of no use to anybody, the operator included, so a key that was
//! just made is on the disk, name and all, before anything is sealed with it.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use ::ring::rand::{SecureRandom, SystemRandom};
use base64ct::{Base64, Encoding};
use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use crate::secrets::ring::Derived;
use crate::secrets::secret::{Reader, SecretFileError};

/// What 32 bytes are in base64.
const TEXT_LEN: usize = 44;
/// What separates the key file's name from the random part of a half-made key's.
const HALF_MADE: &str = ".half-made-";

/// The key that seals the ring. `Debug` shows dots; its bytes are wiped when it is dropped.
pub struct MasterKey(Zeroizing<[u8; 32]>);

/// Why there is no master key. Each message names the file and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// There is no such file.
    #[error("there is no master key at {0}: make one with `openssl rand -base64 32`, in a file of mode 0600")]
    Missing(PathBuf),
    /// It cannot be read, made or synced.
    #[error("the master key {path} cannot be {what}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried: read, made, synced.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// It is no file, or others may read it.
    #[error("the master key {0}")]
    File(SecretFileError),
    /// It is not one line of base64.
    #[error("the master key {0} is not one line of base64 as `openssl rand -base64 32` writes it")]
    Garbage(PathBuf),
    /// It is base64, but not of 32 bytes.
    #[error("the master key {path} has {bytes} bytes instead of 32")]
    WrongSize {
        /// The file.
        path: PathBuf,
        /// How many bytes it encodes.
        bytes: usize,
    },
    /// The operating system gives no random bytes.
    #[error("no random bytes can be had from the operating system")]
    NoRandomness,
}

impl MasterKey {
    /// Reads a key that somebody else made: base64 of 32 bytes on one line, with or without a line break behind it.
    ///
    /// # Errors
    /// See [`MasterKeyError`]. Who else may read the file is judged by [`Reader`].
    pub fn load(path: &Path) -> Result<Self, MasterKeyError> {
        let failed = |what| move |source| MasterKeyError::Io { path: path.to_owned(), what, source };
        let mut file = Reader::of_this_process().open(path).map_err(|why| match why {
            SecretFileError::Missing(path) => MasterKeyError::Missing(path),
            why => MasterKeyError::File(why),
        })?;

        // Room for several times a key: a longer file has shown by then that it is none, and the rest is left unread.
        let mut text = Zeroizing::new([0_u8; TEXT_LEN * 4]);
        let mut length = 0;
        while let Some(room) = text.get_mut(length..).filter(|room| !room.is_empty()) {
            match file.read(room).map_err(failed("read"))? {
                0 => break,
                read => length += read,
            }
        }
        let garbage = || MasterKeyError::Garbage(path.to_owned());
        let text = text.get(..length).and_then(|text| std::str::from_utf8(text).ok()).ok_or_else(garbage)?;
        let line = text.strip_suffix('\n').unwrap_or(text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let mut bytes = Zeroizing::new([0_u8; TEXT_LEN * 3]);
        let decoded = Base64::decode(line, bytes.as_mut_slice()).map_err(|_| garbage())?;
        match <[u8; 32]>::try_from(decoded) {
            Ok(key) => Ok(Self(Zeroizing::new(key))),
            Err(_) => Err(MasterKeyError::WrongSize { path: path.to_owned(), bytes: decoded.len() }),
        }
    }

    /// Reads the key, or makes one when there is none. It returns only when key and name are synced to the disk, and
    /// of several processes that begin at once all get the same key.
    ///
    /// # Errors
    /// See [`MasterKeyError`]. A file that is there and cannot be used is never replaced.
    pub fn create_or_load(path: &Path) -> Result<Self, MasterKeyError> {
        let failed = |what| move |source| MasterKeyError::Io { path: path.to_owned(), what, source };
        let key = match Self::load(path) {
            Err(MasterKeyError::Missing(_)) => {
                make(path)?;
                Self::load(path)
            }
            found => found,
        }?;
        // Also when it was found: the process that made it may not have come to its own sync yet, and what is sealed
        // with a key must not outlive it.
        File::open(path).and_then(|file| file.sync_all()).map_err(failed("synced"))?;
        sweep(path);
        sync_folder(path).map_err(failed("synced"))?;
        Ok(key)
    }

    pub(crate) fn derived(&self) -> Derived {
        Derived::of(&self.0)
    }

    /// A key that follows from `seed`, for tests.
    #[cfg(any(test, feature = "testing"))]
    pub fn pretended(seed: u8) -> Self {
        Self(Zeroizing::new([seed; 32]))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

/// Writes a new key beside its place, syncs it and links it in. A link never replaces: when two processes make a key
/// at once, the second one's link fails and the first one's key stands.
fn make(path: &Path) -> Result<(), MasterKeyError> {
    let failed = |source| MasterKeyError::Io { path: path.to_owned(), what: "made", source };
    let random = SystemRandom::new();
    let mut key = Zeroizing::new([0_u8; 32]);
    let mut nonce = [0_u8; 8];
    random.fill(key.as_mut_slice()).map_err(|_| MasterKeyError::NoRandomness)?;
    random.fill(&mut nonce).map_err(|_| MasterKeyError::NoRandomness)?;
    let mut name = half_made(path);
    name.push_str(&HEXLOWER.encode(&nonce));
    let beside = path.with_file_name(name);

    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside).map_err(failed)?;
    let mut line = Zeroizing::new([b'\n'; TEXT_LEN + 1]);
    Base64::encode(key.as_slice(), line.as_mut_slice()).expect("32 bytes are 44 characters");
    let linked =
        file.write_all(line.as_slice()).and_then(|()| file.sync_all()).and_then(|()| std::fs::hard_link(&beside, path));
    let _ = std::fs::remove_file(&beside);
    match linked {
        // Somebody was faster; or somebody who was faster has swept our half-made key away.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.exists() => Ok(()),
        other => other.map_err(failed),
    }
}

/// Removes half-made keys that a crash left beside the real one: such a file may be a second name of it.
fn sweep(path: &Path) {
    let Ok(entries) = std::fs::read_dir(folder(path)) else { return };
    let ours = half_made(path);
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(&ours)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn half_made(path: &Path) -> String {
    let mut name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.push_str(HALF_MADE);
    name
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::folder::Folder;

    /// What the tests do with a master key's folder.
    trait KeyFolder {
        fn key(&self) -> PathBuf;
        fn names(&self) -> Vec<String>;
        fn holding(&self, text: impl AsRef<[u8]>) -> PathBuf;
    }

    impl KeyFolder for Folder {
        fn key(&self) -> PathBuf {
            self.path().join("master.key")
        }

        fn names(&self) -> Vec<String> {
            fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        }

        fn holding(&self, text: impl AsRef<[u8]>) -> PathBuf {
            self.file("master.key", text, 0o600)
        }
    }

    #[cfg(unix)]
    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }

    #[cfg(not(unix))]
    fn set_mode(_: &Path, _: u32) {}

    const LINE: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn a_key_is_one_line_of_base64_with_or_without_its_line_break() {
        let folder = Folder::new("master-key");
        let expected: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).unwrap());
        for text in [LINE.to_owned(), format!("{LINE}\n"), format!("{LINE}\r\n")] {
            assert_eq!(*MasterKey::load(&folder.holding(&text)).unwrap().0, expected, "{text:?}");
        }
    }

    #[test]
    fn whatever_else_is_in_the_file_is_refused_by_name() {
        let folder = Folder::new("master-key");
        let garbage: &[&[u8]] = &[
            b"hello",
            b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",  // no padding
            b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=", // bits behind the end
            b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\n",
            b" AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            b"\xff\xfe\x00",
            &[b'A'; 100_000],
        ];
        for text in garbage {
            let path = folder.holding(text);
            let error = MasterKey::load(&path).unwrap_err();
            assert!(matches!(error, MasterKeyError::Garbage(_) | MasterKeyError::WrongSize { .. }), "{error}");
            assert!(error.to_string().contains(path.to_str().unwrap()));
        }
        for (text, size) in [("", 0), ("AAAA\n", 3), (&LINE.replace("8=", "8A"), 33)] {
            let error = MasterKey::load(&folder.holding(text)).unwrap_err();
            assert!(matches!(error, MasterKeyError::WrongSize { bytes, .. } if bytes == size), "{error}");
        }
        assert!(matches!(MasterKey::load(folder.path()), Err(MasterKeyError::File(SecretFileError::NotAFile(_)))));
        assert!(matches!(MasterKey::load(&folder.path().join("none")), Err(MasterKeyError::Missing(_))));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_may_read_is_refused_and_left_alone() {
        let folder = Folder::new("master-key");
        let path = folder.holding(LINE);
        // 0640 is allowed to a file of root's, who may run this test.
        for open in [0o604, 0o660, 0o644, 0o601, 0o444] {
            set_mode(&path, open);
            let error = MasterKey::create_or_load(&path).unwrap_err();
            let is_named =
                |why: &SecretFileError| matches!(why, SecretFileError::Permissions { mode, .. } if *mode == open);
            assert!(matches!(&error, MasterKeyError::File(why) if is_named(why)), "{error}");
            assert!(error.to_string().contains("run `chmod 6"), "{error}");
        }
        for closed in [0o600, 0o400] {
            set_mode(&path, closed);
            assert!(MasterKey::load(&path).is_ok());
        }
    }

    #[test]
    fn a_key_is_made_once_and_found_again() {
        let folder = Folder::new("master-key");
        let path = folder.key();
        let made = MasterKey::create_or_load(&path).unwrap();
        let found = MasterKey::create_or_load(&path).unwrap();
        assert_eq!(*made.0, *found.0);
        assert_eq!(*made.0, *MasterKey::load(&path).unwrap().0);
        assert_eq!(folder.names(), ["master.key"]);
        assert_eq!(fs::read_to_string(&path).unwrap().len(), 45);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let other = Folder::new("master-key");
        assert_ne!(*made.0, *MasterKey::create_or_load(&other.key()).unwrap().0);
    }

    #[test]
    fn many_who_begin_at_once_get_one_key() {
        for _ in 0..20 {
            let folder = Folder::new("master-key");
            let path = folder.key();
            let keys: Vec<[u8; 32]> = std::thread::scope(|scope| {
                let begun: Vec<_> =
                    (0..8).map(|_| scope.spawn(|| *MasterKey::create_or_load(&path).unwrap().0)).collect();
                begun.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert!(keys.windows(2).all(|pair| pair.first() == pair.last()));
            assert_eq!(folder.names(), ["master.key"]);
        }
    }

    #[test]
    fn a_damaged_key_is_never_replaced() {
        let folder = Folder::new("master-key");
        let path = folder.holding("half a key");
        assert!(matches!(MasterKey::create_or_load(&path), Err(MasterKeyError::Garbage(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "half a key");
    }

    #[test]
    fn what_a_crash_left_beside_the_key_is_swept_away() {
        let folder = Folder::new("master-key");
        let path = folder.holding(LINE);
        fs::hard_link(&path, folder.path().join("master.key.half-made-00ff")).unwrap();
        fs::write(folder.path().join("master.key.backup"), "not ours").unwrap();
        MasterKey::create_or_load(&path).unwrap();
        let mut names = folder.names();
        names.sort();
        assert_eq!(names, ["master.key", "master.key.backup"]);
    }

    #[test]
    fn a_missing_folder_is_an_error_that_names_the_key() {
        let folder = Folder::new("master-key");
        let path = folder.path().join("none").join("master.key");
        let error = MasterKey::create_or_load(&path).unwrap_err();
        assert!(matches!(error, MasterKeyError::Io { what: "made", .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()));
    }

    #[test]
    fn a_key_prints_as_dots() {
        assert_eq!(format!("{:?}", MasterKey::pretended(1)), "MasterKey(…)");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_bytes_in_the_file_make_loading_panic(bytes: Vec<u8>, base64 in "[A-Za-z0-9+/]{40,48}={0,3}\n{0,2}") {
            let folder = Folder::new("master-key");
            for text in [&bytes[..], base64.as_bytes()] {
                if let Ok(key) = MasterKey::load(&folder.holding(text)) {
                    let line = Base64::encode_string(key.0.as_slice());
                    prop_assert_eq!(line.as_bytes(), text.strip_suffix(b"\n").unwrap_or(text));
                }
            }
        }
    }
}
