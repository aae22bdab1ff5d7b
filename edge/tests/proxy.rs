//! Calls through a proxy that makes tunnels: what it sees, and what is said when it refuses.

#![allow(clippy::unwrap_used, reason = "a test ends by failing")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use pnwatch_edge::config::BaseUrl;
use pnwatch_edge::http::{Client, ClientError, ClientSettings, Proxy};
use pnwatch_edge::listen::{Limits, bind, serve_within};
use pnwatch_edge::shutdown::{Shutdown, Trigger};
use pnwatch_edge::tls::{Keypair, ServerTls};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/tls")
        .join(name)
}

/// A proxy that takes `me:secret` and nobody else; gives the head of each request.
async fn proxy() -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (tell, heads) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(forward(stream, tell.clone()));
        }
    });
    (at, heads)
}

async fn forward(mut stream: TcpStream, tell: mpsc::UnboundedSender<String>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else {
            return;
        };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let to = head.split_whitespace().nth(1).unwrap().to_owned();
    // RFC 7617: base64 of me:secret.
    let known = head.contains("Proxy-Authorization: Basic bWU6c2VjcmV0\r\n");
    tell.send(head).unwrap();
    let answer: &[u8] = if known {
        b"HTTP/1.1 200 Connection established\r\n\r\n"
    } else {
        b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"
    };
    stream.write_all(answer).await.unwrap();
    if let (true, Ok(mut server)) = (known, TcpStream::connect(to).await) {
        let _ = copy_bidirectional(&mut stream, &mut server).await;
    }
}

/// A server that says the token that it was shown; with TLS or without.
async fn server(tls: bool) -> (SocketAddr, Trigger) {
    let files = Keypair {
        certificate: kept("one.pem"),
        key: kept("one.key"),
    };
    let tls = tls.then(|| ServerTls::read(&files, None).unwrap());
    let listener = bind("test", "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let at = listener.local_addr().unwrap();
    let said =
        |headers: HeaderMap| async move { headers["authorization"].to_str().unwrap().to_owned() };
    let router = Router::new().route("/", get(said));
    let (trigger, shutdown) = Shutdown::manual();
    let limits = Limits::default();
    tokio::spawn(serve_within((listener, tls), router, shutdown, limits));
    (at, trigger)
}

fn settings(dir: &Path, proxy: SocketAddr, credentials: Option<&str>) -> ClientSettings {
    std::fs::write(dir.join("token"), "of the vantage").unwrap();
    if let Some(text) = credentials {
        std::fs::write(dir.join("credentials"), text).unwrap();
    }
    ClientSettings {
        ca_file: Some(kept("one-ca.pem")),
        token_file: Some(dir.join("token")),
        proxy: Some(Proxy {
            url: BaseUrl::new(&format!("http://{proxy}")).unwrap(),
            credentials_file: credentials.map(|_| dir.join("credentials")),
        }),
        ..ClientSettings::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_shows_the_proxy_where_to_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    for tls in [true, false] {
        let ((at, _serving), (proxy, mut heads)) = (server(tls).await, proxy().await);
        let client = Client::new(settings(dir.path(), proxy, Some("me:secret\n"))).unwrap();
        let scheme = if tls { "https" } else { "http" };
        // A call goes through the tunnel of an earlier one, once that one is back in the pool: on a
        // busy machine the second call may come before that.
        let (mut calls, mut tunnels) = (0, 0);
        while tunnels == calls {
            assert!(calls < 50, "a tunnel for each of {calls} calls");
            let answer = client.get(&format!("{scheme}://{at}/")).await.unwrap();
            assert_eq!(&answer.body[..], b"Bearer of the vantage");
            calls += 1;
            while let Ok(head) = heads.try_recv() {
                tunnels += 1;
                assert!(
                    head.starts_with(&format!("CONNECT {at} HTTP/1.1\r\n")),
                    "{head}"
                );
                assert!(!head.contains("of the vantage"), "{head}");
            }
        }
        assert!(tunnels > 0, "no call went through the proxy");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_refuses_or_is_away_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let ((at, _serving), (proxy, mut heads)) = (server(true).await, proxy().await);
    for credentials in [None, Some("me:wrong")] {
        let client = Client::new(settings(dir.path(), proxy, credentials)).unwrap();
        let said = client.get(&format!("https://{at}/")).await.unwrap_err();
        let said = said.to_string();
        assert!(
            said.contains(&format!("through the proxy http://{proxy}"))
                && said.contains("proxy authorization required")
                && !said.contains("wrong"),
            "{said}"
        );
        heads.recv().await.unwrap();
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = closed.local_addr().unwrap();
    drop(closed);
    let client = Client::new(settings(dir.path(), gone, None)).unwrap();
    let said = client.get(&format!("https://{at}/")).await.unwrap_err();
    let said = said.to_string();
    assert!(
        said.contains(&format!("through the proxy http://{gone}")) && said.contains("refused"),
        "{said}"
    );
}

#[tokio::test]
async fn credentials_that_cannot_be_read_are_told_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let error =
        Client::new(settings(dir.path(), ([127, 0, 0, 1], 1).into(), Some("\n"))).unwrap_err();
    assert!(matches!(error, ClientError::Secret(_)), "{error}");
}
