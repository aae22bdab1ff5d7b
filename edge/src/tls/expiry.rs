//! Until when the chains of certificates are valid that servers have shown.
//!
//! The end of a chain is asked of the verifier itself, by verifying at later instants: it counts
//! every certificate on the way to the authority, and nothing here parses a certificate.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pnwatch_core::time::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// How far ahead a chain is followed: longer than any public authority signs for.
const HORIZON: Duration = Duration::from_hours(400 * 24);
/// How exactly its end is found.
const PRECISION: Duration = Duration::from_mins(1);
/// Most servers remembered.
const MAX_SERVERS: usize = 10_000;

/// A chain that a server has shown.
#[derive(Debug)]
struct Shown {
    certificate: CertificateDer<'static>,
    /// `None` = beyond [`HORIZON`].
    valid_until: Option<UnixTime>,
}

/// Until when chains are valid, by the server's name. Clones share what they know.
#[derive(Debug, Clone, Default)]
pub struct ChainExpiry(Arc<Mutex<BTreeMap<String, Shown>>>);

impl ChainExpiry {
    /// How much longer the chain that `server` (its name, as in a URL) showed last is valid, at
    /// most 400 days; `None` = it has shown none that was accepted.
    pub fn left(&self, server: &str, now: Timestamp) -> Option<Duration> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(until) = known.get(server)?.valid_until else {
            return Some(HORIZON);
        };
        let left = until
            .as_secs()
            .saturating_sub(now.as_unix_nanos() / 1_000_000_000);
        Some(Duration::from_secs(left))
    }

    /// Whether this very certificate was judged already and is still good.
    fn knows(&self, server: &str, certificate: &CertificateDer<'_>, now: UnixTime) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(server).is_some_and(|shown| {
            let good = shown
                .valid_until
                .is_some_and(|until| until.as_secs() > now.as_secs());
            good && shown.certificate.as_ref() == certificate.as_ref()
        })
    }

    fn remember(&self, server: String, shown: Shown) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MAX_SERVERS || known.contains_key(&server) {
            known.insert(server, shown);
        }
    }
}

/// The usual verifier, which also notes until when it would say yes.
#[derive(Debug)]
pub(super) struct Noting {
    pub(super) inner: Arc<WebPkiServerVerifier>,
    pub(super) expiry: ChainExpiry,
}

impl ServerCertVerifier for Noting {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let at = |now| {
            self.inner.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            )
        };
        let verified = at(now)?;
        let server = server_name.to_str().into_owned();
        if !self.expiry.knows(&server, end_entity, now) {
            let shown = Shown {
                certificate: end_entity.clone().into_owned(),
                valid_until: last_good(now, |then| at(then).is_ok()),
            };
            self.expiry.remember(server, shown);
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// The last instant at which `good` holds, given that it does `now`; `None` = beyond [`HORIZON`].
fn last_good(now: UnixTime, good: impl Fn(UnixTime) -> bool) -> Option<UnixTime> {
    let after = |seconds: u64| {
        UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs().saturating_add(seconds)))
    };
    let (mut yes, mut no) = (0, HORIZON.as_secs());
    if good(after(no)) {
        return None;
    }
    while no - yes > PRECISION.as_secs() {
        let middle = yes + (no - yes) / 2;
        if good(after(middle)) {
            yes = middle;
        } else {
            no = middle;
        }
    }
    Some(after(yes))
}

#[cfg(test)]
mod tests;
