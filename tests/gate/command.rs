//! `pnwatch gate`: every exit code, and the wait.

use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;

use crate::exporter::Exporter;
use crate::run::{PNWATCH, pnwatch, program, run};

/// A port of loopback on which nothing listens: bound and never listened on.
fn nothing() -> (std::net::TcpListener, String) {
    // A listener whose port is known; dropped by the caller before it is dialed.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_answer_it_is_never_zero() {
    let (listener, down) = nothing();
    drop(listener);
    let ran = pnwatch(&["gate", "--all", "--url", &down]).await;
    assert_eq!(ran.code, 69, "{}", ran.err);
    assert!(ran.err.contains("no connection"), "{}", ran.err);
    // A monitor that is being restarted is waited for, and then it is 69 all the same.
    let ran = pnwatch(&["gate", "--all", "--url", &down, "--timeout", "1500ms"]).await;
    assert_eq!(ran.code, 69, "{}", ran.err);
    assert!(ran.took >= Duration::from_millis(1500), "{:?}", ran.took);
    assert!(ran.err.contains("0 s of 1 s"), "{}", ran.err);

    // It accepts and says nothing.
    let hangs = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", hangs.local_addr().unwrap());
    let ran = pnwatch(&["gate", "--all", "--url", &url, "--timeout", "1s"]).await;
    assert_eq!(ran.code, 75, "{}", ran.err);
    drop(hangs);

    for (arguments, code, says) in [
        (vec!["gate", "--url", &down], 64, "select something"),
        (vec!["gate", "--all"], 64, "PNWATCH_URL"),
        (
            vec!["gate", "--all", "--url", "x"],
            64,
            "http://pnwatch:9761",
        ),
        (
            vec!["gate", "--all", "--url", &down, "--for", "30"],
            64,
            "for=\"30\" does not read",
        ),
        (
            vec!["gate", "--all", "--url", &down, "--coverage=2"],
            64,
            "coverage",
        ),
        (
            vec!["gate", "--all", "--url", &down, "--timeout=1"],
            64,
            "--timeout",
        ),
        (
            vec!["gate", "--all", "--url", &down, "--override", " "],
            64,
            "1 to 200",
        ),
        (
            vec![
                "gate",
                "--all",
                "--url",
                &down,
                "--token-file",
                "/nonexistent/token",
            ],
            78,
            "/nonexistent/token",
        ),
    ] {
        let ran = pnwatch(&arguments).await;
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(says), "{arguments:?}: {}", ran.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn for_want_of_data_there_is_no_verdict() {
    let started = Exporter::start().await;
    let ran = pnwatch(&["gate", "--all", "--url", &started.url]).await;
    assert_eq!(ran.code, 2, "{}", ran.out);
    assert!(
        ran.out
            .starts_with("gate unknown: all in staging, 0 of 1 targets measured"),
        "{}",
        ran.out
    );
    let mut empty = Exporter::without_accounts().await;
    empty.healthy().await;
    for selection in ["--all", "--account=acme", "--node=kura-fleet-1"] {
        let ran = pnwatch(&["gate", selection, "--url", &empty.url]).await;
        assert_eq!(ran.code, 2, "{selection}: {}", ran.out);
        assert!(ran.out.contains("[selected]"), "{}", ran.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn open_closed_and_the_formats() {
    let mut it = Exporter::start().await;
    it.until("open").await;
    let ran = pnwatch(&[
        "gate",
        "--account=acme",
        "--min-vantages=2",
        "--url",
        &it.url,
    ])
    .await;
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert_eq!(
        ran.out,
        "gate open: account=acme in staging, 1 of 1 targets measured\n"
    );
    assert_eq!(ran.err, "");
    let ran = pnwatch(&["gate", "--account=nobody", "--url", &it.url]).await;
    assert_eq!(ran.code, 2);
    it.until_found().await;
    let dir = tempfile::tempdir().unwrap();
    let (summary, outputs) = (dir.path().join("summary"), dir.path().join("outputs"));
    for format in ["text", "json", "junit", "github"] {
        let mut command = program(PNWATCH);
        command
            .args(["gate", "--all", "--format", format, "--url", &it.url])
            .env("GITHUB_STEP_SUMMARY", &summary)
            .env("GITHUB_OUTPUT", &outputs);
        let ran = run(command).await;
        assert_eq!(ran.code, 1, "{format}: {}{}", ran.out, ran.err);
        assert!(
            ran.err.starts_with("pnwatch: gate: closed, "),
            "{}",
            ran.err
        );
        match format {
            "json" => {
                let said: Value = serde_json::from_str(&ran.out).unwrap();
                assert_eq!(said["exit_code"], 1);
                assert_eq!(said["cluster"], "staging");
            }
            "junit" => assert!(ran.out.contains("<failure message="), "{}", ran.out),
            "github" => {
                assert!(
                    ran.out
                        .starts_with("::error title=pnwatch gate%3A closed::"),
                    "{}",
                    ran.out
                );
                let written = std::fs::read_to_string(&summary).unwrap();
                assert!(written.contains("### ❌ pnwatch gate: closed"), "{written}");
                let outputs = std::fs::read_to_string(&outputs).unwrap();
                assert!(
                    outputs.starts_with("verdict=closed\nok=false\noverridden=false\n"),
                    "{outputs}"
                );
            }
            _ => {
                assert!(ran.out.contains("kura-fleet-1"), "{}", ran.out);
                assert!(!summary.exists());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_opens_soon_after_the_repair() {
    let mut it = Exporter::start().await;
    it.until("open").await;
    it.until("closed").await;
    let mut command = program(PNWATCH);
    command.args([
        "gate",
        "--all",
        "--url",
        &it.url,
        "--for",
        "1s",
        "--timeout",
        "50s",
    ]);
    let waiting = tokio::spawn(run(command));
    // Still broken for a while.
    for _ in 0..10 {
        it.lost().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!waiting.is_finished());
    it.until("open").await;
    let opened = std::time::Instant::now();
    while !waiting.is_finished() {
        it.healthy().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        // for= and three times five seconds.
        assert!(opened.elapsed() < Duration::from_secs(16));
    }
    let ran = waiting.await.unwrap();
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(
        ran.out
            .contains("gate open: all in staging, 1 of 1 targets measured after "),
        "{}",
        ran.out
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_goes_on_with_the_monitor_down_and_says_so() {
    let (listener, down) = nothing();
    drop(listener);
    let dir = tempfile::tempdir().unwrap();
    let summary = dir.path().join("summary");
    for format in ["text", "github"] {
        let mut command = program(PNWATCH);
        command
            .args(["gate", "--all", "--url", &down, "--format", format])
            .args(["--override", "ship the fix of the monitor"])
            .env("GITHUB_STEP_SUMMARY", &summary);
        let ran = run(command).await;
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(
            ran.err
                .contains("OVERRIDDEN, going on: ship the fix of the monitor"),
            "{}",
            ran.err
        );
        assert!(
            ran.out
                .contains("GATE OVERRIDDEN: ship the fix of the monitor"),
            "{}",
            ran.out
        );
    }
    let written = std::fs::read_to_string(&summary).unwrap();
    assert_eq!(
        written.matches("ship the fix of the monitor").count(),
        2,
        "{written}"
    );
    // With the monitor up it is told to it.
    let it = Exporter::start().await;
    let ran = pnwatch(&["gate", "--all", "--url", &it.url, "--override", "drill"]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("the gate said: unknown"), "{}", ran.err);
}
