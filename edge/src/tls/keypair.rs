//! A certificate chain with its private key, as two PEM files that are renewed now and then.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{MAX_PEM, TlsError};

/// A certificate chain and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keypair {
    /// The chain, PEM, one's own certificate first.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// What of a file changes when it is rewritten or replaced. A Secret's volume in Kubernetes
/// replaces a symbolic link, which the metadata follow.
type Stamp = Option<(u64, u64, i64, i64)>;

fn stamp(path: &Path) -> Stamp {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}

/// The state of both files.
pub(super) type Stamps = (Stamp, Stamp);

impl Keypair {
    /// Their state now; to be taken before they are read, so that what is written meanwhile is
    /// seen the next time.
    pub(super) fn stamps(&self) -> Stamps {
        (stamp(&self.certificate), stamp(&self.key))
    }

    /// Reads both; whether they belong together is for the caller to find out.
    pub(super) fn read(
        &self,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let wrong = |why: String| TlsError::Certificates {
            path: self.certificate.clone(),
            why,
        };
        let chain = CertificateDer::pem_slice_iter(&pem(&self.certificate)?)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| wrong(format!("broken PEM ({error})")))?;
        if chain.is_empty() {
            return Err(wrong("no certificate in it".to_owned()));
        }
        let private =
            PrivateKeyDer::from_pem_slice(&pem(&self.key)?).map_err(|error| TlsError::Key {
                path: self.key.clone(),
                why: format!("no private key ({error})"),
            })?;
        Ok((chain, private))
    }

    /// Whether both files can be used, together.
    pub fn check(&self) -> Result<(), TlsError> {
        let (chain, key) = self.read()?;
        let provider = rustls::crypto::ring::default_provider();
        CertifiedKey::from_der(chain, key, &provider)
            .map(|_| ())
            .map_err(|error| self.mismatch(&error))
    }

    /// The key is another certificate's, or of no use.
    pub(super) fn mismatch(&self, error: &rustls::Error) -> TlsError {
        TlsError::Key {
            path: self.key.clone(),
            why: format!(
                "it does not go with {} ({error})",
                self.certificate.display()
            ),
        }
    }
}

fn pem(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut pem = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_PEM).read_to_end(&mut pem))
        .map_err(|source| TlsError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
    Ok(pem)
}
