//! The certificate of a listener, followed through its renewals.
//!
//! [`ServerTls::refresh`] is to be called now and then; a file that cannot be used keeps the
//! certificate before it. Connections that stand are not touched.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::TlsAcceptor;

use super::keypair::Stamps;
use super::{Keypair, TlsError, read_authorities};

/// A listener's certificate, and whose certificates of clients it accepts.
#[derive(Debug)]
pub struct ServerTls {
    files: Keypair,
    client_authorities: Option<PathBuf>,
    current: RwLock<Arc<ServerConfig>>,
    seen: Mutex<Stamps>,
}

impl ServerTls {
    /// Reads the files for the first time. With `client_authorities` (PEM), clients may show a
    /// certificate of one of these, and none of any other; who shows none is served, too.
    pub fn read(files: &Keypair, client_authorities: Option<&Path>) -> Result<Arc<Self>, TlsError> {
        let seen = files.stamps();
        let config = load(files, client_authorities)?;
        Ok(Arc::new(Self {
            files: files.clone(),
            client_authorities: client_authorities.map(Path::to_owned),
            current: RwLock::new(Arc::new(config)),
            seen: Mutex::new(seen),
        }))
    }

    /// Reads the files again if one of them changed, or `anyway`. `Ok(true)` = a new certificate
    /// is in use from the next connection on; an error keeps the one before.
    pub fn refresh(&self, anyway: bool) -> Result<bool, TlsError> {
        let now = self.files.stamps();
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == now && !anyway {
                return Ok(false);
            }
            *seen = now;
        }
        let config = load(&self.files, self.client_authorities.as_deref())?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        Ok(true)
    }

    /// For the next connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&current))
    }
}

fn load(files: &Keypair, client_authorities: Option<&Path>) -> Result<ServerConfig, TlsError> {
    let (chain, private) = files.read()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match client_authorities {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let trusted = Arc::new(read_authorities(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(trusted, provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| TlsError::Certificates {
                    path: path.to_owned(),
                    why: error.to_string(),
                })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        // Refuses a key that does not belong to the certificate.
        .with_single_cert(chain, private)
        .map_err(|error| files.mismatch(&error))?;
    if client_authorities.is_some() {
        // Who a client is gets verified with each connection, never remembered.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
