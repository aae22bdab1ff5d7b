//! The client against servers that answer, stall, flood, hang up or talk nonsense.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// A server that reads a request's head, sends `answer`, and then holds the connection open if
/// `hold`. Returns its address and, through the channel, each head that it read.
async fn server(
    answer: Vec<u8>,
    hold: bool,
) -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, heads) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else {
                    break;
                };
                head.push(byte);
            }
            let _ = sender.send(String::from_utf8(head).unwrap());
            let _ = stream.write_all(&answer).await;
            if hold {
                tokio::spawn(async move {
                    let mut rest = [0; 1];
                    let _ = stream.read(&mut rest).await;
                });
            }
        }
    });
    (address, heads)
}

fn client(settings: ClientSettings) -> Client {
    Client::new(settings).unwrap()
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";

#[tokio::test]
async fn a_call_carries_its_token_as_the_file_holds_it_now() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "one\n").unwrap();
    let (address, mut heads) = server(OK.to_vec(), false).await;
    let client = client(ClientSettings {
        token_file: Some(token.clone()),
        ..ClientSettings::default()
    });
    let url = format!("http://{address}/v1/plan");
    let response = client.get(&url).await.unwrap();
    assert_eq!((response.status, &response.body[..]), (200, &b"ok"[..]));
    assert!(
        heads
            .recv()
            .await
            .unwrap()
            .contains("authorization: Bearer one\r\n")
    );
    std::fs::write(&token, "second").unwrap();
    client
        .post(
            &url,
            "application/json",
            Some("gzip"),
            Bytes::from_static(b""),
        )
        .await
        .unwrap();
    let head = heads.recv().await.unwrap();
    for line in [
        "authorization: Bearer second",
        "content-encoding: gzip",
        "user-agent: pnwatch/",
    ] {
        assert!(head.contains(line), "{head}");
    }
    std::fs::remove_file(&token).unwrap();
    let error = client.get(&url).await.unwrap_err();
    assert!(matches!(error, CallError::Secret(_)), "{error}");
}

#[tokio::test]
async fn a_flood_is_cut_at_the_limit() {
    for length in ["content-length: 5000\r\n", ""] {
        let mut answer = format!("HTTP/1.1 200 OK\r\n{length}\r\n").into_bytes();
        answer.extend(vec![b'x'; 5000]);
        let (address, _heads) = server(answer, true).await;
        let client = client(ClientSettings {
            body_limit: 1000,
            ..ClientSettings::default()
        });
        let error = client.get(&format!("http://{address}/")).await.unwrap_err();
        assert!(
            matches!(error, CallError::TooLarge { limit: 1000, .. }),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_stalled_head_or_body_ends_in_time() {
    for answer in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
    ] {
        let (address, _heads) = server(answer.to_vec(), true).await;
        let client = client(ClientSettings::default());
        let request = Request::get(format!("http://{address}/")).within(Duration::from_millis(200));
        let error = client.send(request).await.unwrap_err();
        assert!(matches!(error, CallError::Timeout { .. }), "{error}");
        assert!(error.to_string().contains("within 200ms"), "{error}");
    }
}

#[tokio::test]
async fn a_closed_port_and_a_broken_exchange_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let client = client(ClientSettings::default());
    let error = client.get(&format!("http://{closed}/")).await.unwrap_err();
    assert!(matches!(error, CallError::Connect { .. }), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
    for answer in [
        &b"SSH-2.0-nonsense\r\n"[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
    ] {
        let (address, _heads) = server(answer.to_vec(), false).await;
        let error = client.get(&format!("http://{address}/")).await.unwrap_err();
        assert!(matches!(error, CallError::Broken { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_not_an_order() {
    let answer =
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    let (address, _heads) = server(answer.to_vec(), true).await;
    let response = client(ClientSettings::default())
        .get(&format!("http://{address}/"))
        .await
        .unwrap();
    assert_eq!(response.status, 302);
}

#[tokio::test]
async fn errors_show_no_credentials() {
    let client = client(ClientSettings::default());
    for url in [
        "ftp://me:hunter2@127.0.0.1/?token=hunter2",
        "http://me:hunter2@/x",
        "me:hunter2@127.0.0.1",
        "http://me:hunter2@127.0.0.1:1/#hunter2",
        "http://me:hunter2@127.0.0.1 /",
        "",
    ] {
        let line = client.get(url).await.unwrap_err().to_string();
        assert!(!line.contains("hunter2"), "{line}");
    }
}

#[tokio::test]
async fn a_certificate_file_without_certificates_is_refused() {
    let settings = ClientSettings {
        ca_file: Some("tests/config/files/no-certificate.pem".into()),
        ..ClientSettings::default()
    };
    let error = Client::new(settings).unwrap_err();
    assert!(error.to_string().contains("BEGIN CERTIFICATE"), "{error}");
    let settings = ClientSettings {
        ca_file: Some("tests/config/files/ca.pem".into()),
        ..ClientSettings::default()
    };
    assert!(Client::new(settings).is_ok());
}
