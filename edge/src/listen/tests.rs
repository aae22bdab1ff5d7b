//! Listeners against clients that are slow, many or too large.

use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::shutdown::Trigger;

const GOAL: Duration = Duration::from_secs(10);

async fn start(limits: Limits) -> (SocketAddr, Trigger, tokio::task::JoinHandle<()>) {
    let listener = bind("test", SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    let (trigger, shutdown) = Shutdown::manual();
    let router = Router::new()
        .route(
            "/peer",
            get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }),
        )
        .route(
            "/take",
            post(|body: axum::body::Bytes| async move { body.len().to_string() }),
        )
        .route("/never", get(std::future::pending::<()>));
    let task = tokio::spawn(serve_within((listener, None), router, shutdown, limits));
    (address, trigger, task)
}

/// Sends `request` and reads until the server closes.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(GOAL, stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_port_in_use_names_the_key_and_the_fix() {
    let first = bind("serve.listen.page", SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .unwrap();
    let address = first.local_addr().unwrap();
    let error = bind("serve.listen.page", address).await.unwrap_err();
    assert_eq!(error.exit_code(), 69);
    let line = error.to_string();
    assert!(
        line.starts_with(&format!("serve.listen.page: {address} is in use")),
        "{line}"
    );
    // TEST-NET-1 (RFC 5737) is on no machine; binding sends nothing.
    let error = bind("a", SocketAddr::from(([192, 0, 2, 1], 0)))
        .await
        .unwrap_err();
    assert!(matches!(error, ListenError::NotHere { .. }), "{error}");
}

#[tokio::test]
async fn handlers_know_their_peer() {
    let (address, _trigger, _task) = start(Limits::default()).await;
    let answer = exchange(
        address,
        "GET /peer HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.contains("127.0.0.1:"), "{answer}");
}

#[tokio::test]
async fn a_large_body_is_refused_unread() {
    let limits = Limits {
        body_bytes: 100,
        ..Limits::default()
    };
    let (address, _trigger, _task) = start(limits).await;
    let request =
        "POST /take HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 10000000\r\n\r\n";
    let answer = exchange(address, request).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_slow_head_and_a_slow_handler_are_cut_off() {
    let limits = Limits {
        header_timeout: Duration::from_millis(100),
        request_timeout: Duration::from_millis(100),
        ..Limits::default()
    };
    let (address, _trigger, _task) = start(limits).await;
    let answer = exchange(address, "GET /peer HTTP/1.1\r\nhost:").await;
    assert!(!answer.contains("200"), "{answer}");
    let answer = exchange(
        address,
        "GET /never HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn connections_are_capped_and_the_next_one_waits() {
    let limits = Limits {
        connections: 1,
        header_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let (address, _trigger, _task) = start(limits).await;
    // The idle first connection holds the only place until its head is overdue.
    let _idle = TcpStream::connect(address).await.unwrap();
    let before = tokio::time::Instant::now();
    let answer = exchange(
        address,
        "GET /peer HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(before.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn the_shutdown_ends_it_even_with_a_client_that_hangs_on() {
    let limits = Limits {
        grace: Duration::from_millis(100),
        ..Limits::default()
    };
    let (address, trigger, task) = start(limits).await;
    let mut hanging = TcpStream::connect(address).await.unwrap();
    hanging
        .write_all(b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    trigger.request();
    tokio::time::timeout(GOAL, task).await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}
