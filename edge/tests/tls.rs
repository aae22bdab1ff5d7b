//! A listener over TLS whose certificate is renewed, broken and repaired while it serves.
//!
//! The certificates of `tests/tls` are of two authorities made for this test alone (their keys
//! are gone), for 127.0.0.1, and valid for a hundred years.

#![allow(clippy::unwrap_used, reason = "a test ends by failing")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use pnwatch_edge::http::{Client, ClientSettings};
use pnwatch_edge::listen::{Limits, bind, serve_within};
use pnwatch_edge::shutdown::Shutdown;
use pnwatch_edge::tls::{Keypair, ServerTls, TlsError};
use tokio::io::AsyncReadExt as _;

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/tls")
        .join(name)
}

struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    /// As a renewal does it: a new file each, then a rename.
    fn renew(&self, certificate: &str, key: &str) {
        for (from, to) in [(certificate, "tls.crt"), (key, "tls.key")] {
            let fresh = self.dir.path().join("fresh");
            std::fs::copy(kept(from), &fresh).unwrap();
            std::fs::rename(&fresh, self.dir.path().join(to)).unwrap();
        }
    }

    fn read(&self) -> Result<Arc<ServerTls>, TlsError> {
        let path = |name| self.dir.path().join(name);
        let files = Keypair {
            certificate: path("tls.crt"),
            key: path("tls.key"),
        };
        ServerTls::read(&files, None)
    }
}

/// Whether a new client that trusts `authority` gets its answer.
async fn answered(url: &str, authority: &str) -> bool {
    let client = Client::new(ClientSettings {
        ca_file: Some(kept(authority)),
        timeout: Duration::from_secs(10),
        ..ClientSettings::default()
    });
    let answer = client.unwrap().get(url).await;
    answer.is_ok_and(|answer| &answer.body[..] == b"here")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_used_and_a_broken_one_is_not() {
    let files = Files {
        dir: tempfile::tempdir().unwrap(),
    };
    files.renew("one.pem", "one.key");
    let tls = files.read().unwrap();
    let listener = bind("test", "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let at = listener.local_addr().unwrap();
    let router = Router::new().route("/", get(|| async { "here" }));
    let (trigger, shutdown) = Shutdown::manual();
    let limits = Limits {
        header_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let serving = tokio::spawn(serve_within(
        (listener, Some(Arc::clone(&tls))),
        router,
        shutdown,
        limits,
    ));
    let url = format!("https://{at}/");
    assert!(answered(&url, "one-ca.pem").await);
    assert!(!answered(&url, "two-ca.pem").await);
    assert!(!tls.refresh(false).unwrap(), "nothing changed");

    files.renew("two.pem", "two.key");
    assert!(tls.refresh(false).unwrap());
    assert!(answered(&url, "two-ca.pem").await);
    assert!(!answered(&url, "one-ca.pem").await);

    // A key of another certificate, and no certificate at all: the one before stays.
    for (certificate, key, word) in [
        ("one.pem", "two.key", "does not go with"),
        ("one.key", "one.key", "no certificate"),
        ("one.pem", "one-ca.pem", "no private key"),
    ] {
        files.renew(certificate, key);
        let error = tls.refresh(false).unwrap_err().to_string();
        assert!(
            error.contains(word) && !error.contains("BEGIN EC"),
            "{error}"
        );
        assert!(files.read().is_err());
        assert!(answered(&url, "two-ca.pem").await);
    }
    std::fs::remove_file(files.dir.path().join("tls.key")).unwrap();
    assert!(matches!(
        tls.refresh(false),
        Err(TlsError::Unreadable { .. })
    ));

    // Who never says hello is cut off, and holds nobody up.
    let mut mute = tokio::net::TcpStream::connect(at).await.unwrap();
    assert!(answered(&url, "two-ca.pem").await);
    let mut byte = [0];
    let ended = tokio::time::timeout(Duration::from_secs(10), mute.read(&mut byte));
    assert_eq!(ended.await.unwrap().unwrap_or(0), 0);
    trigger.request();
    serving.await.unwrap();
}
