//! `pnwatch demo` keeps its word: it speaks at once, finds what it broke, and nothing else.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

fn demo(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pnwatch"))
        .arg("demo")
        .args(arguments)
        .env_remove("RUST_LOG")
        .output()
        .unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Breaks one thing; expects it to be found as `fault`, kept by that name, and closed.
#[track_caller]
fn one(name: &str, fault: &str, account: &str) {
    let began = Instant::now();
    let output = demo(&["--json", "--fault", name, "--for", "1s"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{name}: {said}");
    // Found within 20 s and closed within 20 s is the demo's own word; the rest is starting.
    assert!(began.elapsed() < Duration::from_secs(90), "{name}");
    let told = lines(&output);
    let of = |event: &str| {
        told.iter()
            .filter(|l| l["event"] == event)
            .collect::<Vec<_>>()
    };
    assert_eq!(of("page").len(), 1, "{told:#?}");
    assert_eq!(of("break")[0]["expected"], fault);
    assert_eq!(of("opened").len(), 1, "{told:#?}");
    assert_eq!(of("closed").len(), 1, "{told:#?}");
    let findings: Vec<&Value> = told.iter().filter(|l| l["finding"].is_object()).collect();
    let named = findings
        .iter()
        .position(|l| l["finding"]["fault"] == fault)
        .unwrap();
    for line in &findings {
        assert_eq!(line["finding"]["account"], account, "{line:#}");
    }
    // Once it is rightly named, nothing renames it: not the mending either.
    for line in &findings[named..] {
        assert_eq!(line["finding"]["fault"], fault, "{line:#}");
    }
}

#[test]
fn a_black_hole_is_found() {
    one("black-hole", "account_unreachable", "acme");
}

#[test]
fn a_wrong_tenant_is_found() {
    one("wrong-tenant", "wrong_tenant", "globex");
}

#[test]
fn a_dead_pod_is_found() {
    one("pod-dead", "pod_dead", "initech");
}

#[test]
fn a_closed_port_is_found() {
    one("refused", "account_unreachable", "acme");
}

#[test]
fn an_error_answer_is_found() {
    one("server-error", "pod_dead", "globex");
}

#[test]
fn another_protocol_is_found() {
    one("not-http", "pod_dead", "initech");
}

#[test]
fn where_nothing_breaks_nothing_is_found() {
    let output = demo(&["--json", "--no-fault", "--for", "10s"]);
    assert!(output.status.success(), "{output:?}");
    let told = lines(&output);
    assert!(told.iter().all(|l| l["finding"].is_null()), "{told:#?}");
    let last = told.last().unwrap()["text"].as_str().unwrap();
    assert_eq!(last, "nothing was broken, and nothing was found");
}

#[test]
fn it_says_what_it_does_within_a_second() {
    let began = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_pnwatch"))
        .args(["demo", "--no-fault", "--for", "1s"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let first = said.next().unwrap();
    // The goal is one second; a busy machine gets three.
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    assert!(first.starts_with("pnwatch demo: four accounts"), "{first}");
    let page = said.find(|line| line.starts_with("page: ")).unwrap();
    assert!(page.starts_with("page: http://127.0.0.1:"), "{page}");
    assert!(said.any(|line| line.contains("not applicable")));
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_cannot_be_told_in_time_is_refused() {
    let output = demo(&["--for", "5s"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(
        said.contains("too short") && said.contains("--fault"),
        "{said}"
    );
}
