//! The certificate of a listener, followed through its renewals.
//!
//! [`ServerTls::refresh`] is to be called now and then; a file that cannot be used keeps the
//! certificate before it. Connections that stand are not touched.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::{MAX_PEM, TlsError};

/// What of a file changes when it is rewritten or replaced. A Secret's volume in Kubernetes
/// replaces a symbolic link, which the metadata follow.
type Stamp = Option<(u64, u64, i64, i64)>;

fn stamp(path: &Path) -> Stamp {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}

/// A certificate chain with its key, as two PEM files hold them.
#[derive(Debug)]
pub struct ServerTls {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<ServerConfig>>,
    seen: Mutex<(Stamp, Stamp)>,
}

impl ServerTls {
    /// Reads both files for the first time.
    pub fn read(certificate: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        // Before the read: what is written meanwhile is seen at the next refresh.
        let seen = (stamp(certificate), stamp(key));
        let config = load(certificate, key)?;
        Ok(Arc::new(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            current: RwLock::new(Arc::new(config)),
            seen: Mutex::new(seen),
        }))
    }

    /// Reads the files again if one of them changed, or `anyway`. `Ok(true)` = a new certificate
    /// is in use from the next connection on; an error keeps the one before.
    pub fn refresh(&self, anyway: bool) -> Result<bool, TlsError> {
        let now = (stamp(&self.certificate), stamp(&self.key));
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == now && !anyway {
                return Ok(false);
            }
            *seen = now;
        }
        let config = load(&self.certificate, &self.key)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        Ok(true)
    }

    /// For the next connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&current))
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

fn load(certificate: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let wrong = |why: String| TlsError::Certificates {
        path: certificate.to_owned(),
        why,
    };
    let chain = CertificateDer::pem_slice_iter(&pem(certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(format!("broken PEM ({error})")))?;
    if chain.is_empty() {
        return Err(wrong("no certificate in it".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_slice(&pem(key)?).map_err(|error| TlsError::Key {
        path: key.to_owned(),
        why: format!("no private key ({error})"),
    })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        // Refuses a key that does not belong to the certificate.
        .with_single_cert(chain, private)
        .map_err(|error| TlsError::Key {
            path: key.to_owned(),
            why: format!("it does not go with {} ({error})", certificate.display()),
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
