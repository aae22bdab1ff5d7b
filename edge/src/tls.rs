//! TLS settings of clients. Servers and reloading certificates will stand beside them.
//!
//! Nothing here runs; certificates are read when a client is made.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Largest accepted certificate file in bytes: a whole system bundle is a quarter of it.
const MAX_PEM: u64 = 1 << 20;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate file could not be read.
    #[error(
        "cannot read the certificate file {path}: {source}; create it or let this user read it"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A certificate file holds no usable certificate.
    #[error("{path}: {why}; write PEM certificates (-----BEGIN CERTIFICATE-----) into it")]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The system offers no certificate authorities.
    #[error(
        "the system offers no certificate authorities; install ca-certificates or name a ca_file"
    )]
    NoSystemAuthorities,
    /// The crypto provider refused.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// Reads the certificate authorities of a PEM file.
pub fn read_authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let unreadable = |source| TlsError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let wrong = |why: String| TlsError::Certificates {
        path: path.to_owned(),
        why,
    };
    let mut pem = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_PEM + 1).read_to_end(&mut pem))
        .map_err(unreadable)?;
    if pem.len() as u64 > MAX_PEM {
        return Err(wrong("larger than 1 MiB".to_owned()));
    }
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| wrong(format!("broken PEM ({error})")))?;
        roots
            .add(certificate)
            .map_err(|error| wrong(format!("a certificate cannot be used ({error})")))?;
    }
    if roots.is_empty() {
        return Err(wrong("no certificate in it".to_owned()));
    }
    Ok(roots)
}

/// TLS 1.2 and 1.3 by ring, trusting `authorities`.
pub(crate) fn client_config(authorities: RootCertStore) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(authorities)
        .with_no_client_auth())
}
