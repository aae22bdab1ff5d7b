//! Every fault, as a client sees it on a socket.

#![allow(clippy::unwrap_used)] // a test fails by panicking, in its helpers too

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use pnwatch_standin::{Fault, RouteCount, Standin, StandinConfig};

/// Long enough for any answer that is going to come on loopback.
const PATIENCE: Duration = Duration::from_secs(3);
/// Long enough to call a silence one: an answer takes under a millisecond.
const SILENCE: Duration = Duration::from_millis(300);

async fn standin() -> Standin {
    Standin::start(StandinConfig::loopback("tuist"))
        .await
        .unwrap()
}

/// Sends one GET and reads until the end, the error, or `patience`.
async fn get(address: SocketAddr, path: &str, patience: Duration) -> (String, Option<ErrorKind>) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        stream.set_read_timeout(Some(patience)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        let error = stream
            .read_to_end(&mut bytes)
            .err()
            .map(|error| error.kind());
        (String::from_utf8_lossy(&bytes).into_owned(), error)
    })
    .await
    .unwrap()
}

async fn connect(address: SocketAddr, patience: Duration) -> Result<(), ErrorKind> {
    tokio::task::spawn_blocking(move || {
        TcpStream::connect_timeout(&address, patience)
            .map(drop)
            .map_err(|error| error.kind())
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn healthy_answers_as_the_cache() {
    let standin = standin().await;
    let (up, _) = get(standin.address(), "/up", PATIENCE).await;
    assert!(up.starts_with("HTTP/1.1 200 OK\r\n"), "{up}");
    assert!(up.contains("\"tenant_id\":\"tuist\""), "{up}");
    let (ready, _) = get(standin.address(), "/ready", PATIENCE).await;
    assert!(
        ready.starts_with("HTTP/1.1 200 OK\r\n") && ready.contains("\"draining\":false"),
        "{ready}"
    );
    let (internal, _) = get(standin.address(), "/_internal/status", PATIENCE).await;
    assert!(internal.starts_with("HTTP/1.1 404"), "{internal}");
    let (cache, _) = get(standin.address(), "/api/cache/module/abc", PATIENCE).await;
    assert!(cache.starts_with("HTTP/1.1 200"), "{cache}");
    let (_, _) = get(standin.address(), "/nowhere", PATIENCE).await;
    let (metrics, _) = get(standin.address(), "/metrics", PATIENCE).await;
    for line in [
        "kura_http_requests_total_total{route=\"/up\",status=\"200\"} 1\n",
        "kura_http_requests_total_total{route=\"/_internal/status\",status=\"404\"} 1\n",
        "kura_http_requests_total_total{route=\"/_unmatched\",status=\"404\"} 1\n",
        "kura_public_request_latency_seconds_count{transport=\"http\",route=\"/api/cache/module/{id}\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line} missing in\n{metrics}");
    }
    let counted = standin.requests();
    let key = RouteCount {
        route: "/up".to_owned(),
        status: 200,
    };
    assert_eq!(counted.get(&key), Some(&1));
}

#[tokio::test]
async fn http_faults_change_the_answer() {
    let standin = standin().await;
    let address = standin.address();
    standin.set_fault(Fault::Http500).await;
    assert!(
        get(address, "/up", PATIENCE)
            .await
            .0
            .starts_with("HTTP/1.1 500")
    );
    standin.set_fault(Fault::Shed).await;
    assert!(
        get(address, "/up", PATIENCE)
            .await
            .0
            .starts_with("HTTP/1.1 200")
    );
    assert!(
        get(address, "/api/cache/cas/1", PATIENCE)
            .await
            .0
            .starts_with("HTTP/1.1 503")
    );
    standin.set_fault(Fault::WrongTenant).await;
    let (up, _) = get(address, "/up", PATIENCE).await;
    assert!(up.contains("\"tenant_id\":\"somebody-else\""), "{up}");
    standin.set_fault(Fault::Draining).await;
    let (ready, _) = get(address, "/ready", PATIENCE).await;
    assert!(
        ready.starts_with("HTTP/1.1 503") && ready.contains("\"draining\":true"),
        "{ready}"
    );
    assert!(
        get(address, "/up", PATIENCE)
            .await
            .0
            .starts_with("HTTP/1.1 200")
    );
    standin.set_fault(Fault::Slow { ms: 150 }).await;
    let started = Instant::now();
    assert!(
        get(address, "/up", PATIENCE)
            .await
            .0
            .starts_with("HTTP/1.1 200")
    );
    assert!(started.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn connection_faults_spoil_the_answer() {
    let standin = standin().await;
    let address = standin.address();
    standin.set_fault(Fault::Hang).await;
    let (bytes, error) = get(address, "/up", SILENCE).await;
    assert_eq!((bytes.as_str(), error), ("", Some(ErrorKind::WouldBlock)));
    standin.set_fault(Fault::Eof).await;
    assert_eq!(get(address, "/up", PATIENCE).await, (String::new(), None));
    standin.set_fault(Fault::Reset).await;
    let (bytes, error) = get(address, "/up", PATIENCE).await;
    assert_eq!(
        (bytes.as_str(), error),
        ("", Some(ErrorKind::ConnectionReset))
    );
    standin.set_fault(Fault::NotHttp).await;
    let (bytes, _) = get(address, "/up", PATIENCE).await;
    assert_eq!(bytes, "-ERR unknown command\r\n");
    standin.set_fault(Fault::StallBody).await;
    let (bytes, error) = get(address, "/up", SILENCE).await;
    assert!(bytes.starts_with("HTTP/1.1 200 OK\r\n"), "{bytes}");
    assert_eq!(error, Some(ErrorKind::WouldBlock));
    standin.set_fault(Fault::None).await;
    assert!(
        get(address, "/up", PATIENCE)
            .await
            .0
            .starts_with("HTTP/1.1 200")
    );
}

#[tokio::test]
async fn listener_faults_stop_the_handshake_and_heal() {
    let standin = standin().await;
    let address = standin.address();
    standin.set_fault(Fault::AcceptQueueFull).await;
    assert_eq!(connect(address, SILENCE).await, Err(ErrorKind::TimedOut));
    standin.set_fault(Fault::None).await;
    assert!(
        get(address, "/up", PATIENCE)
            .await
            .0
            .starts_with("HTTP/1.1 200")
    );
    standin.set_fault(Fault::StopListening).await;
    assert_eq!(
        connect(address, PATIENCE).await,
        Err(ErrorKind::ConnectionRefused)
    );
    standin.set_fault(Fault::AcceptQueueFull).await;
    assert_eq!(connect(address, SILENCE).await, Err(ErrorKind::TimedOut));
    standin.set_fault(Fault::None).await;
    assert!(
        get(address, "/up", PATIENCE)
            .await
            .0
            .starts_with("HTTP/1.1 200")
    );
}

/// A client that keeps its connection must not escape the fault.
#[tokio::test]
async fn an_open_connection_is_spoiled_too() {
    let standin = standin().await;
    let address = standin.address();
    let mut stream = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
            .write_all(b"GET /up HTTP/1.1\r\nhost: x\r\n\r\n")
            .unwrap();
        let mut first = [0; 15];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200 OK");
        let mut rest = [0; 4096];
        assert!(stream.read(&mut rest).unwrap() > 0);
        stream
    })
    .await
    .unwrap();
    standin.set_fault(Fault::Eof).await;
    let left = tokio::task::spawn_blocking(move || {
        stream
            .write_all(b"GET /up HTTP/1.1\r\nhost: x\r\n\r\n")
            .unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        bytes
    })
    .await
    .unwrap();
    assert_eq!(String::from_utf8_lossy(&left), "");
}

#[tokio::test]
async fn the_control_port_switches_and_counts() {
    let config = StandinConfig {
        control: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        metrics_bytes: 30_000,
        ..StandinConfig::loopback("acme")
    };
    let standin = Standin::start(config).await.unwrap();
    let control = standin.control_address().unwrap();
    let post = |path: &'static str, body: &'static str| {
        tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(control).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let length = body.len();
            write!(
                stream,
                "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
            )
            .unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        })
    };
    let answer = post("/fault", r#"{"kind":"stop_listening"}"#)
        .await
        .unwrap();
    assert!(answer.ends_with(r#"{"kind":"stop_listening"}"#), "{answer}");
    assert_eq!(
        connect(standin.address(), PATIENCE).await,
        Err(ErrorKind::ConnectionRefused)
    );
    let answer = post("/fault", r#"{"kind":"melt"}"#).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 422") && answer.contains("melt"),
        "{answer}"
    );
    post("/fault", r#"{"kind":"none"}"#).await.unwrap();
    let answer = post(
        "/traffic",
        r#"{"route":"/_internal/replicate/artifact","status":200,"count":50}"#,
    )
    .await
    .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (metrics, _) = get(standin.address(), "/metrics", PATIENCE).await;
    assert!(
        metrics.contains("{route=\"/_internal/replicate/artifact\",status=\"200\"} 50\n"),
        "{metrics}"
    );
    assert!(metrics.len() > 30_000);
    let answer = post("/label", r#"{"route":"path"}"#).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (metrics, _) = get(standin.address(), "/metrics", PATIENCE).await;
    assert!(
        metrics.contains("{path=\"/_internal/replicate/artifact\",status=\"200\"} 50\n"),
        "{metrics}"
    );
    assert!(!metrics.contains("route="), "{metrics}");
    let answer = post("/label", r#"{"route":"x=\"y"}"#).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let (listed, _) = get(control, "/requests", PATIENCE).await;
    assert!(listed.contains("\"count\":50"), "{listed}");
    for (order, status) in [
        (r#"{"bytes":100000}"#, "HTTP/1.1 200"),
        (r#"{"bytes":0}"#, "HTTP/1.1 400"),
        (r#"{"bytes":99999999}"#, "HTTP/1.1 400"),
    ] {
        let answer = post("/artifact", order).await.unwrap();
        assert!(answer.starts_with(status), "{order}: {answer}");
    }
    let (artifact, _) = get(standin.address(), "/api/cache/cas/1", PATIENCE).await;
    let body = artifact.split_once("\r\n\r\n").unwrap().1;
    assert_eq!(body.len(), 100_000);
    let (metrics, _) = get(standin.address(), "/metrics", PATIENCE).await;
    assert!(
        metrics.contains("kura_artifact_egress_bytes_total_total 100000\n"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let first = standin().await;
    let config = StandinConfig {
        listen: first.address(),
        ..StandinConfig::loopback("tuist")
    };
    let error = Standin::start(config).await.unwrap_err().to_string();
    assert!(error.contains(&first.address().to_string()), "{error}");
}
