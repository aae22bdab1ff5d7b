//! Which token speaks for which vantage.
//!
//! Files are looked at each second and read again when they changed; one that cannot be read
//! any more keeps its last content, says so once and shows in a metric. Requests only compare:
//! every secret, without an early end, in a time that depends on lengths alone.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use axum::http::{HeaderMap, StatusCode, header};
use pnwatch_core::name::Vantage;
use pnwatch_edge::config::TokenBinding;
use pnwatch_edge::secret::{Secret, SecretError, SecretFile};

use crate::answer::Refusal;
use crate::tally::Tally;

/// Why tokens cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A file cannot be read or holds no token.
    #[error("serve.tokens, {vantage}: {source}")]
    Unusable {
        /// Of which vantage.
        vantage: Vantage,
        /// What is wrong.
        source: SecretError,
    },
    /// Two vantages have one token: nothing could tell them apart.
    #[error("serve.tokens: {one} and {other} have the same token; give each vantage its own")]
    Shared {
        /// The one.
        one: Vantage,
        /// The other.
        other: Vantage,
    },
}

type Files = Vec<(Vantage, SecretFile)>;
type Known = Vec<(Vantage, Secret)>;

/// Every file once; all must be usable, and no two the same.
fn read(bindings: &[TokenBinding]) -> Result<(Files, Known), TokenError> {
    let files: Files = bindings
        .iter()
        .map(|b| (b.vantage.clone(), SecretFile::new(&b.file)))
        .collect();
    let mut known = Known::with_capacity(files.len());
    for (vantage, file) in &files {
        let secret = file.current().map_err(|source| TokenError::Unusable {
            vantage: vantage.clone(),
            source,
        })?;
        known.push((vantage.clone(), secret));
    }
    unshared(&known)?;
    Ok((files, known))
}

/// The bindings and their secrets as read last.
#[derive(Debug)]
pub struct Tokens {
    files: RwLock<Arc<Files>>,
    known: RwLock<Arc<Vec<(Vantage, Secret)>>>,
}

impl Tokens {
    /// Reads every file; all must be usable.
    pub fn read(bindings: &[TokenBinding]) -> Result<Self, TokenError> {
        let (files, known) = read(bindings)?;
        Ok(Self {
            files: RwLock::new(Arc::new(files)),
            known: RwLock::new(Arc::new(known)),
        })
    }

    /// Other bindings from now on; an error changes nothing. Blocks on the disk.
    pub fn rebind(&self, bindings: &[TokenBinding]) -> Result<(), TokenError> {
        let (files, known) = read(bindings)?;
        *self.files.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(files);
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
        Ok(())
    }

    fn known(&self) -> Arc<Vec<(Vantage, Secret)>> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at the files again. Blocks on the disk.
    pub fn refresh(&self, tally: &Tally) {
        let files = Arc::clone(&self.files.read().unwrap_or_else(PoisonError::into_inner));
        let old = self.known();
        let mut unreadable = Vec::new();
        let mut known = Vec::with_capacity(files.len());
        // Same order and number as the files, always.
        for ((vantage, file), (_, last)) in files.iter().zip(old.iter()) {
            let secret = file.current().unwrap_or_else(|error| {
                unreadable.push(error);
                last.clone()
            });
            known.push((vantage.clone(), secret));
        }
        let before = tally.tokens_unreadable();
        tally.set_tokens_unreadable(unreadable.len() as u64);
        if unreadable.len() as u64 != before {
            if let Some(error) = unreadable.first() {
                tracing::error!(
                    files = unreadable.len(),
                    "a vantage's token file cannot be used, its last content stays: {error}"
                );
            } else {
                tracing::info!("all vantages' token files can be read again");
            }
        }
        if known == *old {
            return;
        }
        match unshared(&known) {
            Ok(()) => {
                tracing::info!("vantages' tokens changed");
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
            }
            Err(error) => tracing::error!("tokens stay as they were: {error}"),
        }
    }

    /// The vantage that the request's bearer token speaks for.
    pub fn vantage(&self, headers: &HeaderMap) -> Result<Vantage, Refusal> {
        let refuse =
            |message: &str| Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", message);
        if !headers.contains_key(header::AUTHORIZATION) {
            return Err(refuse(
                "no token came; send `Authorization: Bearer TOKEN` (probe.exporters[].token_file)",
            ));
        }
        let offered = bearer(headers).ok_or_else(|| {
            refuse("the Authorization header is no bearer token; write `Bearer TOKEN`")
        })?;
        let mut found = None;
        for (vantage, secret) in self.known().iter() {
            if secret.matches(offered) {
                found = Some(vantage.clone());
            }
        }
        found.ok_or_else(|| {
            refuse("the token is not known here; compare the prober's token_file with the exporter's serve.tokens")
        })
    }
}

/// The bearer token of a request, if it has one.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .as_bytes()
        .split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}

fn unshared(known: &[(Vantage, Secret)]) -> Result<(), TokenError> {
    let mut owners: BTreeMap<&str, &Vantage> = BTreeMap::new();
    for (vantage, secret) in known {
        if let Some(other) = owners.insert(secret.expose(), vantage)
            && other != vantage
        {
            return Err(TokenError::Shared {
                one: other.clone(),
                other: vantage.clone(),
            });
        }
    }
    Ok(())
}
