//! Looks at real gateways on loopback: their answers over certificates that fit, ended, or
//! belong to another.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use pnwatch_core::name::{Account, Instance, Node};
use pnwatch_edge::clock::SystemClock;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/kube/gateways/certificates")
        .join(name)
}

/// Answers every request with `status` over the certificate `name`; ends with the test's runtime.
async fn gateway_with(name: &str, status: &'static str) -> u16 {
    let chain = CertificateDer::pem_file_iter(file(&format!("{name}.pem")))
        .unwrap()
        .collect::<Result<Vec<_>, _>>()
        .unwrap();
    let key = PrivateKeyDer::from_pem_file(file(&format!("{name}.key"))).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Who refuses the certificate ends the handshake.
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let _ = stream.read(&mut [0; 4096]).await;
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        }
    });
    port
}

async fn look_at(port: u16) -> Look {
    let clock: SharedClock = Arc::new(SystemClock::new());
    let looker = Looker::new(GatewayLook::Https, Some(file("ca.pem")), clock)
        .unwrap()
        .unwrap();
    let gateway = Gateway {
        account: Account::new("acme").unwrap(),
        instance: Instance::new("kura-acme").unwrap(),
        node: Node::new("n1").unwrap(),
        host: "127.0.0.1".into(),
        port,
        address: Ipv4Addr::LOCALHOST,
    };
    looker.look(&gateway).await
}

#[tokio::test]
async fn answers_over_certificates_that_fit_and_that_do_not() {
    let fits = look_at(gateway_with("good", "200 OK").await).await;
    assert_eq!(fits.name, Resolved::To(vec![Ipv4Addr::LOCALHOST.into()]));
    // It ends in 2125; no more than 400 days are looked ahead.
    let expected = Answer::Status {
        code: 200,
        valid_for: Some(Duration::from_hours(400 * 24)),
    };
    assert_eq!(fits.answer, Some(expected));

    let broken = look_at(gateway_with("good", "502 Bad Gateway").await).await;
    assert!(matches!(
        broken.answer,
        Some(Answer::Status { code: 502, .. })
    ));

    for (name, said) in [("expired", "xpired"), ("other", "not valid for name")] {
        let look = look_at(gateway_with(name, "200 OK").await).await;
        let Some(Answer::Refused(why)) = &look.answer else {
            panic!("{name}: {look:?}");
        };
        assert!(why.contains(said), "{name}: {why}");
    }

    // A port that nobody listens on: held open until it is known to be free of others.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let closed = look_at(port).await;
    assert!(
        matches!(closed.answer, Some(Answer::Silent(_))),
        "{closed:?}"
    );
}

#[test]
fn a_resolver_that_fails_is_not_a_name_that_is_missing() {
    let said = |text: &str| failed(format!("failed to lookup address information: {text}"));
    for text in [
        "Name or service not known",
        "No address associated with hostname",
    ] {
        assert!(matches!(said(text), Resolved::Nothing(_)), "{text}");
    }
    for text in [
        "Temporary failure in name resolution",
        "System error",
        "Try again",
    ] {
        assert!(matches!(said(text), Resolved::Unasked(_)), "{text}");
    }
}
