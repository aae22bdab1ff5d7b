//! What can go wrong with a call: which URL, what happened, what to do.

use std::error::Error;
use std::time::Duration;

use super::way::Proxy;
use crate::secret::SecretError;
use crate::tls::TlsError;

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The proxy's credentials could not be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The proxy's URL cannot be called.
    #[error("{0} is no proxy's URL; write it like http://proxy.example:3128")]
    Proxy(String),
}

/// Why a call brought no response. URLs are shown without credentials and query.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The URL cannot be called.
    #[error("{url} cannot be called: {why}; correct the URL")]
    BadUrl {
        /// The URL.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The token could not be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// No connection came about.
    #[error("{url}: no connection ({why}); is it running, and may this machine reach it?")]
    Connect {
        /// The URL.
        url: String,
        /// What the system said.
        why: String,
    },
    /// No complete answer in time.
    #[error("{url}: no complete answer within {}; is it overloaded or filtered?", humantime::format_duration(*after))]
    Timeout {
        /// The URL.
        url: String,
        /// The limit.
        after: Duration,
    },
    /// The body was larger than accepted.
    #[error("{url}: the answer is larger than {limit} bytes; is it the right service?")]
    TooLarge {
        /// The URL.
        url: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// The connection broke or did not speak HTTP.
    #[error("{url}: the exchange broke off ({why}); is it an HTTP service?")]
    Broken {
        /// The URL.
        url: String,
        /// What happened.
        why: String,
    },
}

impl CallError {
    pub(super) fn from_pool(
        url: &str,
        proxy: Option<&Proxy>,
        error: &hyper_util::client::legacy::Error,
    ) -> Self {
        let url = url.to_owned();
        let mut why = chain(error);
        if let Some(proxy) = proxy {
            why = format!("through the proxy {}: {why}", proxy.url);
        }
        if error.is_connect() {
            Self::Connect { url, why }
        } else {
            Self::Broken { url, why }
        }
    }
}

/// The causes of an error without its own title, joined, at most 300 characters.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(current) = next {
        let said = current.to_string();
        if parts.last().is_none_or(|last| !last.contains(&said)) {
            parts.push(said);
        }
        next = current.source();
    }
    // The pool's own title ("client error (Connect)") says nothing more than the variant.
    if parts.len() > 1 {
        parts.remove(0);
    }
    parts.join(": ").chars().take(300).collect()
}

/// A URL as it may be shown: without credentials, query and fragment, at most 200 characters.
pub(super) fn public(url: &str) -> String {
    let bare = url.split(['?', '#']).next().unwrap_or_default();
    let shown = match bare.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = match rest.find('/') {
                Some(at) => rest.split_at(at),
                None => (rest, ""),
            };
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => bare.rsplit('@').next().unwrap_or_default().to_owned(),
    };
    shown.chars().take(200).collect()
}
