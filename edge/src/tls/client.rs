//! TLS of clients: whom they trust, and the certificate that they show when a server asks.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};

use super::expiry::Noting;
use super::keypair::Stamps;
use super::{ChainExpiry, Keypair, TlsError};

/// TLS 1.2 and 1.3 by ring, trusting `authorities`; the ends of chains are noted in `expiry`, and
/// `identity` is shown to servers that ask.
pub(crate) fn client_config(
    authorities: RootCertStore,
    expiry: Option<ChainExpiry>,
    identity: Option<Keypair>,
) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let anew = expiry.is_some() || identity.is_some();
    let builder = match expiry.filter(|_| !authorities.is_empty()) {
        None => builder.with_root_certificates(authorities),
        Some(expiry) => {
            let trusted = Arc::new(authorities);
            let verifier =
                WebPkiServerVerifier::builder_with_provider(trusted, Arc::clone(&provider));
            let inner = verifier
                .build()
                .map_err(|error| rustls::Error::General(error.to_string()))?;
            let noting = Noting { inner, expiry };
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(noting))
        }
    };
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(files) => builder.with_client_cert_resolver(Arc::new(Shown::read(files, provider)?)),
    };
    if anew {
        // A resumed session shows no certificate, on neither side: renewals would go unseen.
        config.resumption = Resumption::disabled();
    }
    Ok(config)
}

/// The client's certificate, followed through its renewals: the files are looked at with each new
/// connection; if they cannot be used, the certificate before them is shown.
#[derive(Debug)]
struct Shown {
    files: Keypair,
    provider: Arc<CryptoProvider>,
    current: Mutex<(Stamps, Arc<CertifiedKey>)>,
}

impl Shown {
    fn read(files: Keypair, provider: Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let stamps = files.stamps();
        let first = certified(&files, &provider)?;
        Ok(Self {
            files,
            provider,
            current: Mutex::new((stamps, Arc::new(first))),
        })
    }
}

fn certified(files: &Keypair, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let (chain, key) = files.read()?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| files.mismatch(&error))
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = self.files.stamps();
        if current.0 != stamps {
            current.0 = stamps;
            match certified(&self.files, &self.provider) {
                Ok(fresh) => current.1 = Arc::new(fresh),
                Err(error) => tracing::error!("the client certificate stays as it was: {error}"),
            }
        }
        Some(Arc::clone(&current.1))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
