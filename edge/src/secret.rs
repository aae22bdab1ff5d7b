//! Secrets as files: bounded, trimmed, never shown.
//!
//! A secret is read again whenever its file changes, so that a rotated token needs no restart.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// Longest accepted secret file in bytes.
pub const MAX_SECRET: u64 = 4096;

/// Why a secret cannot be used. Never holds any of its content.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file could not be read.
    #[error("cannot read the secret file {path}: {source}; create it or let this user read it")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file held nothing but white space.
    #[error("the secret file {path} is empty; write the secret into it")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file was longer than [`MAX_SECRET`].
    #[error(
        "the secret file {path} is longer than {MAX_SECRET} bytes; it should hold one secret and nothing else"
    )]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The secret cannot stand in an HTTP header.
    #[error(
        "the secret file {path} must hold one line of visible ASCII; rewrite it without line breaks or binary bytes"
    )]
    Form {
        /// The file.
        path: PathBuf,
    },
}

/// A secret's text. Its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Reads, bounds and trims the file.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let unreadable = |source| SecretError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let mut bytes = Vec::new();
        file.take(MAX_SECRET + 1)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        let path = path.to_owned();
        if bytes.len() as u64 > MAX_SECRET {
            return Err(SecretError::TooLong { path });
        }
        let trimmed = bytes.trim_ascii();
        if trimmed.is_empty() {
            return Err(SecretError::Empty { path });
        }
        match std::str::from_utf8(trimmed) {
            Ok(text) if text.bytes().all(|b| (0x20..0x7f).contains(&b)) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(SecretError::Form { path }),
        }
    }

    /// The secret itself. Take care where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `offered` is this secret, in a time that depends on lengths alone.
    pub fn matches(&self, offered: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let differing = own
            .iter()
            .zip(offered)
            .fold(0u8, |all, (a, b)| all | (a ^ b));
        std::hint::black_box(differing) == 0 && own.len() == offered.len()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A secret that follows its file: read again when the file's time or length changes.
#[derive(Debug)]
pub struct SecretFile {
    path: PathBuf,
    cached: Mutex<Option<(Stamp, Secret)>>,
}

/// What of a file changes when it is rewritten or replaced.
type Stamp = (Option<SystemTime>, u64, u64);

impl SecretFile {
    /// Names the file; nothing is read yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            cached: Mutex::new(None),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The secret as the file holds it now. A local `stat`, and a read only after a change.
    pub fn current(&self) -> Result<Secret, SecretError> {
        let meta = std::fs::metadata(&self.path).map_err(|source| SecretError::Unreadable {
            path: self.path.clone(),
            source,
        })?;
        let stamp = (meta.modified().ok(), meta.len(), inode(&meta));
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((seen, secret)) = cached.as_ref()
            && *seen == stamp
        {
            return Ok(secret.clone());
        }
        let secret = Secret::read(&self.path)?;
        *cached = Some((stamp, secret.clone()));
        Ok(secret)
    }
}

fn inode(meta: &std::fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    meta.ino()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_trimmed_bounded_and_hidden() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "  s3cret\n").unwrap();
        let secret = Secret::read(&path).unwrap();
        assert_eq!(secret.expose(), "s3cret");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert!(secret.matches(b"s3cret"));
        for other in [&b"s3cre"[..], b"s3cretx", b"", b"S3cret"] {
            assert!(!secret.matches(other));
        }
        std::fs::write(&path, vec![b'a'; 4097]).unwrap();
        assert!(matches!(
            Secret::read(&path),
            Err(SecretError::TooLong { .. })
        ));
        std::fs::write(&path, " \n").unwrap();
        assert!(matches!(
            Secret::read(&path),
            Err(SecretError::Empty { .. })
        ));
        std::fs::write(&path, "a\r\nX-Evil: 1").unwrap();
        assert!(matches!(Secret::read(&path), Err(SecretError::Form { .. })));
        let missing = Secret::read(&dir.path().join("none")).unwrap_err();
        assert!(missing.to_string().contains("none"));
    }

    #[test]
    fn a_rotated_secret_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "one").unwrap();
        let file = SecretFile::new(&path);
        assert_eq!(file.current().unwrap().expose(), "one");
        let next = dir.path().join("next");
        std::fs::write(&next, "two").unwrap();
        std::fs::rename(&next, &path).unwrap();
        assert_eq!(file.current().unwrap().expose(), "two");
        std::fs::remove_file(&path).unwrap();
        assert!(file.current().is_err());
    }
}
