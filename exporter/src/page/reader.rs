//! Who may read: named readers with a secret each, by HTTP Basic (RFC 7617, what a browser asks
//! for) or as a bearer token (RFC 6750, what programs send). Every answer is a read, so a request
//! that another site makes a browser send changes nothing, and the site cannot read the answer.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pnwatch_edge::config::Reader;
use pnwatch_edge::secret::{SecretError, SecretFile};

use crate::answer::Refusal;

/// Longest Authorization header that is looked at.
const MAX_HEADER: usize = 8 << 10;

/// A reader whose secret cannot be used at the start.
#[derive(Debug, thiserror::Error)]
#[error("serve.readers, {name}: {source}")]
pub struct ReaderError {
    name: String,
    source: SecretError,
}

/// Everybody who may read; nobody named = everybody.
#[derive(Debug, Default)]
pub struct Readers {
    files: Vec<(String, SecretFile)>,
}

impl Readers {
    /// Reads every secret once; all must be usable. A file that changes later is read again.
    pub fn read(readers: &[Reader]) -> Result<Arc<Self>, ReaderError> {
        let mut files = Vec::with_capacity(readers.len());
        for reader in readers {
            let file = SecretFile::new(&reader.file);
            file.current().map_err(|source| ReaderError {
                name: reader.name.clone(),
                source,
            })?;
            files.push((reader.name.clone(), file));
        }
        Ok(Arc::new(Self { files }))
    }

    /// Whether this request may read.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if self.files.is_empty() {
            return Ok(());
        }
        let offered = headers
            .get(header::AUTHORIZATION)
            .map(header::HeaderValue::as_bytes)
            .filter(|value| value.len() <= MAX_HEADER);
        let Some(offered) = offered else {
            return Err(refuse(
                "this page asks for a name and its secret (serve.readers)",
            ));
        };
        let Some((name, secret)) = parsed(offered) else {
            return Err(refuse(
                "the Authorization header is neither `Basic` nor `Bearer`; send a reader's name and secret, or the secret as a bearer token",
            ));
        };
        let mut known = false;
        for (reader, file) in &self.files {
            // A secret that cannot be read any more lets nobody in.
            let matches = file.current().is_ok_and(|own| own.matches(&secret));
            known |= matches && name.as_ref().is_none_or(|name| name == reader.as_bytes());
        }
        if known {
            Ok(())
        } else {
            Err(refuse(
                "name or secret is not known here; compare with the files of serve.readers",
            ))
        }
    }
}

fn refuse(message: &str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
}

/// A name, where one was sent, and a secret.
type Offer = (Option<Vec<u8>>, Vec<u8>);

fn parsed(header: &[u8]) -> Option<Offer> {
    let at = header.iter().position(|b| *b == b' ')?;
    let (scheme, rest) = header.split_at(at);
    let rest = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some((None, rest.to_vec()));
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let pair = STANDARD.decode(rest).ok()?;
    let colon = pair.iter().position(|b| *b == b':')?;
    let (name, secret) = pair.split_at(colon);
    Some((Some(name.to_vec()), secret.get(1..)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, header};
    use pnwatch_edge::config::Reader;

    use super::Readers;

    fn asked(value: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn only_a_known_name_with_its_own_secret_reads() {
        let dir = tempfile::tempdir().unwrap();
        let mut readers = Vec::new();
        for (name, secret) in [("oncall", "s3cret"), ("bot", "0ther")] {
            let file = dir.path().join(name);
            std::fs::write(&file, secret).unwrap();
            readers.push(Reader {
                name: name.to_owned(),
                file,
            });
        }
        let known = Readers::read(&readers).unwrap();
        for (value, may) in [
            (None, false),
            (Some("Bearer s3cret"), true),
            (Some("bearer 0ther"), true),
            (Some("Bearer s3cre"), false),
            (Some("Bearer "), false),
            (Some("Bearer"), false),
            (Some("Basic b25jYWxsOnMzY3JldA=="), true), // oncall:s3cret
            (Some("Basic Ym90OnMzY3JldA=="), false),    // bot:s3cret
            (Some("Basic b25jYWxs"), false),            // no colon
            (Some("Basic ***"), false),
            (Some("Digest b25jYWxsOnMzY3JldA=="), false),
            (Some(""), false),
        ] {
            assert_eq!(known.admit(&asked(value)).is_ok(), may, "{value:?}");
        }
        // Nobody named: everybody reads.
        assert!(Readers::default().admit(&asked(None)).is_ok());
        // A secret that vanished lets nobody in.
        std::fs::remove_file(dir.path().join("oncall")).unwrap();
        assert!(known.admit(&asked(Some("Bearer s3cret"))).is_err());
    }
}
