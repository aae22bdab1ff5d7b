//! Page, API and events.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends by failing")]

mod common;

use std::time::Duration;

use axum::http::header;
use common::{Setup, healthy};
use pnwatch_edge::http::Request;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_hardened_and_live_and_ready_say_so() {
    let it = Setup::new().start().await;
    for path in [
        "/",
        "/v1/findings",
        "/v1/view",
        "/assets/page.css",
        "/assets/page.js",
        "/livez",
        "/readyz",
        "/nothing",
    ] {
        let answer = it.page(path).await;
        let expected = if path == "/nothing" { 404 } else { 200 };
        assert_eq!(answer.status, expected, "{path}");
        let policy = answer.headers[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap();
        assert!(
            policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
            "{path}"
        );
        assert_eq!(answer.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    }
    for address in [it.at.metrics, it.at.ingest] {
        for path in ["/livez", "/readyz"] {
            let url = format!("http://{address}{path}");
            assert_eq!(it.send(Request::get(url)).await.status, 200);
        }
    }
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebound_name_gets_nothing() {
    let it = Setup::new().start().await;
    let foreign = Request::get(format!("http://{}/v1/findings", it.at.page))
        .header(header::HOST, "evil.example".parse().unwrap());
    let answer = it.send(foreign).await;
    assert_eq!(answer.status, 421);
    assert!(answer.first_line().contains("127.0.0.1"));
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_the_finding_and_the_matrix() {
    let it = Setup::new().start().await;
    it.report(&healthy("host/mini-1", 1)).await;
    it.report(&healthy("host/mini-2", 1)).await;
    let text = async || String::from_utf8(it.page("/").await.body.to_vec()).unwrap();
    let calm = text().await;
    assert!(
        calm.contains("No open finding") && calm.contains("acme · kura-acme-1"),
        "{calm}"
    );
    let found = it.lose_the_node(2).await;
    let alarm = text().await;
    for part in [
        "<header class=\"critical\">",
        "kura-fleet-1",
        found["id"].as_str().unwrap(),
        "class=\"down\"",
    ] {
        assert!(alarm.contains(part), "{part} is not in {alarm}");
    }
    // No inline script or style: the policy would block it.
    assert!(!alarm.contains("<style") && !alarm.contains(" style=") && !alarm.contains("<script>"));
    let view = it.json("/v1/view").await;
    assert_eq!(view["findings_open"], 1);
    assert_eq!(view["targets"][0]["target"]["account"], "acme");
    it.stop().await;
}

/// Reads events off a raw connection; the bounded client reads whole answers only.
struct Events {
    lines: tokio::io::Lines<BufReader<tokio::net::TcpStream>>,
}

impl Events {
    async fn open(address: std::net::SocketAddr) -> Self {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        Self {
            lines: BufReader::new(stream).lines(),
        }
    }

    /// The data of the next event of that name.
    async fn next(&mut self, name: &str) -> serde_json::Value {
        let read = async {
            let mut matches = false;
            loop {
                let line = self
                    .lines
                    .next_line()
                    .await
                    .unwrap()
                    .expect("the stream goes on");
                if let Some(event) = line.strip_prefix("event: ") {
                    matches = event == name;
                } else if let Some(data) = line.strip_prefix("data: ")
                    && matches
                {
                    return serde_json::from_str(data).unwrap();
                }
            }
        };
        tokio::time::timeout(common::DEADLINE, read).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_begin_with_a_snapshot_and_tell_transitions() {
    let it = Setup::new().start().await;
    it.report(&healthy("host/mini-1", 1)).await;
    it.report(&healthy("host/mini-2", 1)).await;
    let mut events = Events::open(it.at.page).await;
    let snapshot = events.next("snapshot").await;
    assert_eq!(snapshot["open"], serde_json::json!([]));
    assert_eq!(snapshot["reporting"], 2);
    assert_eq!(events.next("heartbeat").await["open"], 0);
    let found = it.lose_the_node(2).await;
    let told = events.next("transition").await;
    assert_eq!(told["change"], "opened");
    assert_eq!(told["finding"]["id"], found["id"]);
    let mut late = Events::open(it.at.page).await;
    assert_eq!(late.next("snapshot").await["open"][0]["id"], found["id"]);
    // A stop ends the streams.
    let started = std::time::Instant::now();
    it.stop().await;
    assert!(started.elapsed() < Duration::from_secs(9));
}
