//! `pnwatch once` against a cache that is well, and one that fails in every way it can.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pnwatch_core::outcome::Outcome;
use pnwatch_prober::once::{Question, SECOND, check};
use pnwatch_standin::{Fault, Standin, StandinConfig};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::run::{PNWATCH, Ran, pnwatch, program, run};

const BUDGET: Duration = Duration::from_millis(500);

async fn standin() -> (Standin, String) {
    let it = Standin::start(StandinConfig::loopback("acme"))
        .await
        .unwrap();
    let url = format!("http://{}", it.address());
    (it, url)
}

/// The budget, and three times the goal of a tenth of it, on a machine that others use too.
fn within_budget(ran: &Ran) {
    assert!(ran.took >= BUDGET, "{:?}", ran.took);
    let late = ran.took.saturating_sub(BUDGET);
    assert!(late < Duration::from_millis(1_500), "{late:?} late");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_fail_has_its_word() {
    let (it, url) = standin().await;
    for (fault, code, word) in [
        (Fault::None, 0, "reachable: "),
        (Fault::Slow { ms: 200 }, 0, "reachable: "),
        // The cache sheds load or drains: the path is well.
        (Fault::Shed, 0, "reachable: "),
        (Fault::Draining, 0, "reachable: "),
        (Fault::AcceptQueueFull, 1, "no_answer\n"),
        (Fault::Hang, 1, "no_answer\n"),
        (Fault::StallBody, 1, "no_answer\n"),
        (Fault::Slow { ms: 5_000 }, 1, "no_answer\n"),
        (Fault::StopListening, 1, "refused\n"),
        (Fault::WrongTenant, 1, "wrong_tenant\n"),
        (Fault::NotHttp, 1, "not_http\n"),
        (Fault::Http500, 1, "http_5xx\n"),
        (Fault::Eof, 1, "connection_closed\n"),
        (Fault::Reset, 1, "connection_reset\n"),
        // And well again.
        (Fault::None, 0, "reachable: "),
    ] {
        it.set_fault(fault).await;
        let ran = pnwatch(&["once", &url, "--tenant", "acme"]).await;
        assert_eq!(ran.code, code, "{fault:?}: {}{}", ran.out, ran.err);
        assert!(ran.out.starts_with(word), "{fault:?}: {}", ran.out);
        if word == "no_answer\n" {
            within_budget(&ran);
            assert!(ran.err.contains("without the cache"), "{}", ran.err);
        }
    }
    // TLS where there is none.
    let ran = pnwatch(&["once", &url.replace("http:", "https:"), "--budget", "3s"]).await;
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (1, "tls_failed\n"),
        "{}",
        ran.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_endpoint_nothing_was_measured() {
    for (handed, says) in [
        (None, "$TUIST_CACHE_ENDPOINT is unset or empty"),
        (Some(" "), "$TUIST_CACHE_ENDPOINT is unset or empty"),
        (Some("not an endpoint"), "does not read"),
        (Some("http://127.0.0.1:99999"), "its port is none"),
    ] {
        let mut command = program(PNWATCH);
        command.arg("once");
        if let Some(handed) = handed {
            command.env("TUIST_CACHE_ENDPOINT", handed);
        }
        let ran = run(command).await;
        assert_eq!(ran.code, 2, "{handed:?}: {}", ran.err);
        assert!(
            ran.err.starts_with("pnwatch: could not measure: "),
            "{}",
            ran.err
        );
        assert!(ran.err.contains(says), "{handed:?}: {}", ran.err);
    }
    for arguments in [
        &["once", "http://"][..],
        &["once", "127.0.0.1:1", "--budget", "1ms"],
        &["once", "127.0.0.1:1", "--variable", "A B"],
        &[
            "once",
            "127.0.0.1:1",
            "--fallback-env",
            "x",
            "--fallback-url",
            "http://a';id;'",
        ],
    ] {
        let ran = pnwatch(arguments).await;
        assert_eq!(ran.code, 64, "{arguments:?}: {}", ran.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_hands_the_endpoint() {
    let (_it, url) = standin().await;
    let mut command = program(PNWATCH);
    command.arg("once").env("TUIST_CACHE_ENDPOINT", &url);
    assert_eq!(run(command).await.code, 0);
}

/// The first SYN is dropped by a full accept queue that is free again before the second attempt.
#[tokio::test(flavor = "multi_thread")]
async fn one_lost_syn_does_not_cost_the_cache() {
    let (it, url) = standin().await;
    it.set_fault(Fault::AcceptQueueFull).await;
    let question = Question {
        endpoint: url.parse().unwrap(),
        // Below the first retransmit: only the second attempt can win.
        budget: Duration::from_millis(950),
        tenant: Some("acme".into()),
    };
    // Polled first: its SYN leaves before the queue is drained.
    let (answer, ()) = tokio::join!(check(&question), async {
        tokio::time::sleep(SECOND / 3).await;
        it.set_fault(Fault::None).await;
    });
    let answer = answer.unwrap();
    assert_eq!(answer.outcome, Outcome::Reached, "{}", answer.detail);
    assert!(answer.after >= SECOND, "{:?}", answer.after);
}

/// What dash makes of the file: the endpoint after sourcing it.
async fn sourced(file: &std::path::Path) -> String {
    let mut command = program("dash");
    command
        .args([
            "-euc",
            ". \"$0\"; printf '%s' \"${TUIST_CACHE_ENDPOINT-unset}\"",
        ])
        .arg(file)
        .env("TUIST_CACHE_ENDPOINT", "handed");
    let ran = run(command).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    ran.out
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fallback_takes_the_endpoint_away_only_when_it_is_proven_bad() {
    let (it, url) = standin().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("job.sh");
    let name = file.to_str().unwrap();
    it.set_fault(Fault::StopListening).await;
    assert_eq!(
        pnwatch(&["once", &url, "--fallback-env", name]).await.code,
        1
    );
    assert_eq!(sourced(&file).await, "unset");
    let instead = "https://cache.example/x?a=1";
    let arguments = [
        "once",
        &url,
        "--fallback-env",
        name,
        "--fallback-url",
        instead,
    ];
    assert_eq!(pnwatch(&arguments).await.code, 1);
    assert_eq!(sourced(&file).await, "https://cache.example/x?a=1");
    // An old file must not outlive its reason: neither a good answer nor none.
    assert_eq!(pnwatch(&["once", "--fallback-env", name]).await.code, 2);
    assert_eq!(sourced(&file).await, "handed");
    assert_eq!(
        pnwatch(&["once", &url, "--fallback-env", name]).await.code,
        1
    );
    it.set_fault(Fault::None).await;
    assert_eq!(
        pnwatch(&["once", &url, "--fallback-env", name]).await.code,
        0
    );
    assert_eq!(sourced(&file).await, "handed");
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        1,
        "no leftovers"
    );
    // Nowhere to write is nothing measured, and said.
    let ran = pnwatch(&["once", &url, "--fallback-env", "/nonexistent/job.sh"]).await;
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("/nonexistent/job.sh"), "{}", ran.err);
}

/// A relay that keeps what it is told and answers `status`.
async fn relay(status: u16) -> (String, Arc<Mutex<Vec<Value>>>) {
    let heard: Arc<Mutex<Vec<Value>>> = Arc::default();
    let keep = Arc::clone(&heard);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            let told = loop {
                // The whole of it is small; it may still come in pieces.
                stream.read_buf(&mut request).await.unwrap();
                let text = String::from_utf8_lossy(&request);
                assert!(text.starts_with("POST /v1/vm/once HTTP/1.1\r\n"), "{text}");
                let body = text.split_once("\r\n\r\n").map(|(_, body)| body);
                if let Some(Ok(told)) = body.map(serde_json::from_str) {
                    break told;
                }
            };
            keep.lock().unwrap().push(told);
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (at, heard)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_is_told_what_was_handed_and_what_came_of_it() {
    let (it, url) = standin().await;
    let (relay_at, heard) = relay(204).await;
    let at = it.address().to_string();
    for (fault, outcome) in [
        (Fault::None, "reached"),
        (Fault::StopListening, "unreached:refused"),
        (Fault::Hang, "unreached:no_answer"),
    ] {
        it.set_fault(fault).await;
        pnwatch(&["once", &url, "--relay", &relay_at]).await;
        let told = heard.lock().unwrap().pop().expect("told");
        assert_eq!(told, json!({ "version": 1, "at": at, "outcome": outcome }));
    }
    // By the environment; nothing handed is told too, and a name stays here.
    let told = async |endpoint: &str| {
        let mut command = program(PNWATCH);
        command.arg("once").env("PNWATCH_RELAY", &relay_at);
        command.env("TUIST_CACHE_ENDPOINT", endpoint);
        let ran = run(command).await;
        (ran.code, heard.lock().unwrap().pop().expect("told"))
    };
    let none = json!({ "version": 1, "outcome": "not_applicable" });
    assert_eq!(told("").await, (2, none));
    let (_, named) = told("http://localhost:1").await;
    assert_eq!(named.get("at"), None, "{named}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_relay_ever_costs_the_job_its_answer() {
    let (it, url) = standin().await;
    it.set_fault(Fault::None).await;
    let (refuses, _) = relay(500).await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hangs = silent.local_addr().unwrap().to_string();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = gone.local_addr().unwrap().to_string();
    drop(gone);
    for at in [refuses, hangs, nobody] {
        let ran = pnwatch(&["once", &url, "--relay", &at]).await;
        assert_eq!(ran.code, 0, "{at}: {}", ran.err);
        assert!(ran.err.contains("was not told"), "{at}: {}", ran.err);
    }
    let mut command = program(PNWATCH);
    command.args(["once", &url]).env("PNWATCH_RELAY", "mini-1");
    let ran = run(command).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("$PNWATCH_RELAY"), "{}", ran.err);
}
