//! TLS of clients, and of listeners ([`ServerTls`]).
//!
//! Nothing here runs; authorities are read when a client or listener is made, a listener's
//! certificate whenever it is asked to look, a client's at each new connection.

mod client;
mod expiry;
mod keypair;
mod peer;
mod server;

pub(crate) use self::client::client_config;
pub use self::expiry::ChainExpiry;
pub use self::keypair::Keypair;
pub use self::peer::PeerNames;
pub use self::server::ServerTls;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Largest accepted certificate file in bytes: a whole system bundle is a quarter of it.
pub(crate) const MAX_PEM: u64 = 1 << 20;

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
    /// A private key is missing or belongs to another certificate.
    #[error("{path}: {why}; write the private key of the certificate into it, as PEM")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong; never holds the key.
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

/// The system's certificate authorities: macOS keeps those that come with it in a file as well
/// (authorities added to a keychain are not in it: name those by `ca_file`). Reading the
/// keychain would link frameworks that only Apple's own SDK has. Without any, http:// still works
/// and https:// says so.
#[cfg(target_os = "macos")]
pub(crate) fn system_authorities() -> RootCertStore {
    read_authorities(Path::new("/etc/ssl/cert.pem")).unwrap_or_else(|_| RootCertStore::empty())
}

/// The system's certificate authorities. Without any, http:// still works and https:// says so.
#[cfg(not(target_os = "macos"))]
pub(crate) fn system_authorities() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}
