//! Who a client is, by the certificate that it showed.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;

/// Most names read of one certificate.
const MAX_NAMES: usize = 16;

/// The DNS names of the certificate that a client showed and that a listener's authorities
/// vouch for; listeners put it into the extensions of each request of that connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerNames(Arc<[String]>);

impl PeerNames {
    /// Of a chain that was verified already; `None` = no certificate was shown.
    pub(crate) fn of(chain: Option<&[CertificateDer<'_>]>) -> Option<Self> {
        let certificate = webpki::EndEntityCert::try_from(chain?.first()?).ok()?;
        let names = certificate.valid_dns_names().take(MAX_NAMES);
        Some(Self(names.map(str::to_owned).collect()))
    }

    /// The names, in the order of the certificate.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}
