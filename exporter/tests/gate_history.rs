//! The gate's conditions on what was (`budget=`, `baseline=`) and on what a burst shows
//! (`active=1`), over real listeners.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends by failing")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use common::{ACCOUNT, Running, Setup, bearer, healthy, path, report, until};
use pnwatch_core::time::{Now, Tick, Timestamp};
use pnwatch_edge::clock::{Clock as _, ManualClock};
use pnwatch_edge::http::{Request, Response};
use serde_json::{Value, json};

const HOSTS: [&str; 2] = ["host/mini-1", "host/mini-2"];

fn gate(it: &Running, query: &str, token: Option<&str>) -> Request {
    let request = Request::get(format!("http://{}/v1/gate?{query}", it.at.page));
    match token {
        Some(token) => {
            let (name, value) = bearer(token);
            request.header(name, value)
        }
        None => request,
    }
}

fn body(answer: &Response) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

/// One report of each host; the replies.
async fn both(it: &Running, seq: u64) -> Vec<Value> {
    let mut replies = Vec::new();
    for host in HOSTS {
        replies.push(it.report(&healthy(host, seq)).await);
    }
    replies
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_for_who_has_the_token_and_opens_on_newer_evidence_alone() {
    let mut setup = Setup::new();
    let file = setup.dir.path().join("gate-token");
    std::fs::write(&file, "gate-secret\n").unwrap();
    setup.serve().gate.token_file = Some(file);
    let it = Arc::new(setup.start().await);
    both(&it, 1).await;
    for token in [None, Some("wrong"), Some("token-of-mini-1")] {
        let answer = it.send(gate(&it, "all=1&active=1", token)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{token:?}");
        assert!(answer.first_line().contains("--token-file"), "{answer:?}");
    }
    // Not asked for by anybody: nobody is told.
    assert!(
        both(&it, 2)
            .await
            .iter()
            .all(|reply| reply["burst"] == json!([]))
    );

    // Asked at once by three: one burst, and everybody waits for its evidence.
    let asked = Instant::now();
    let questions: Vec<_> = (0..3)
        .map(|_| {
            let it = Arc::clone(&it);
            tokio::spawn(async move {
                let query = "account=acme&active=1&min_vantages=2&wait=20s";
                body(&it.send(gate(&it, query, Some("gate-secret"))).await)
            })
        })
        .collect();
    let mut seq = 3;
    let mut told = [Vec::new(), Vec::new()];
    while told.iter().any(Vec::is_empty) {
        for (told, reply) in told.iter_mut().zip(both(&it, seq).await) {
            told.extend(reply["burst"].as_array().unwrap().clone());
        }
        seq += 1;
        assert!(asked.elapsed() < common::DEADLINE, "nobody is told");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Their reports tell of checks that started after the question.
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        for (told, reply) in told.iter_mut().zip(both(&it, seq).await) {
            told.extend(reply["burst"].as_array().unwrap().clone());
        }
        seq += 1;
    }
    assert_eq!(told, [vec![json!(ACCOUNT)], vec![json!(ACCOUNT)]]);
    for question in questions {
        let answer = question.await.unwrap();
        assert_eq!(answer["data"]["verdict"], "open", "{answer}");
    }
    assert!(asked.elapsed() < common::DEADLINE);

    // Nobody checks any more, though they report: it says so in its own time, and is not open.
    tokio::time::sleep(Duration::from_secs(5).saturating_sub(asked.elapsed())).await;
    both(&it, seq).await;
    let question = {
        let it = Arc::clone(&it);
        let query = "all=1&active=1&fresh=1m";
        tokio::spawn(async move { body(&it.send(gate(&it, query, Some("gate-secret"))).await) })
    };
    while !question.is_finished() {
        tokio::time::sleep(Duration::from_millis(200)).await;
        seq += 1;
        for host in HOSTS {
            it.report(&report(host, seq, &[])).await;
        }
    }
    let answer = question.await.unwrap();
    assert_eq!(answer["data"]["verdict"], "unknown", "{answer}");
    assert_eq!(answer["data"]["reasons"][0]["rule"], "active", "{answer}");
    let it = Arc::into_inner(it).unwrap();
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_file_nobody_may_ask_for_work() {
    let it = Setup::new().start().await;
    let answer = it.send(gate(&it, "all=1&active=1", Some("x"))).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(
        answer.first_line().contains("serve.gate.token_file"),
        "{answer:?}"
    );
    it.stop().await;
}

/// One ten-second slot: of each host's ten checks `bad` fail after the handshake.
async fn slot(it: &Running, clock: &ManualClock, seq: u64, bad: u32) {
    clock.advance(Duration::from_secs(10));
    for host in HOSTS {
        let mut runs = json!([
            { "outcome": "reached", "count": 10 - bad, "first_age_us": 900_000,
              "last_age_us": 10_000, "rtt_us": [300] },
        ]);
        if bad > 0 {
            let run = json!({ "outcome": "unreached:http_5xx", "count": bad,
                "first_age_us": 950_000, "last_age_us": 950_000 });
            runs.as_array_mut().unwrap().insert(0, run);
        }
        let http = json!({ "subject": ACCOUNT, "layer": "http", "runs": runs });
        let mut all = healthy(host, seq);
        let paths = all["paths"].as_array_mut().unwrap();
        paths.retain(|p| p["layer"] != "http");
        paths.push(http);
        it.report(&all).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn budgets_and_baselines_come_from_the_ledger() {
    let clock = ManualClock::new(Now {
        tick: Tick::from_millis(1_000_000_000),
        wall: Timestamp::from_unix_seconds(1_780_000_000),
    });
    let it = Setup::new().start_at(Arc::new(clock.clone())).await;
    let ask = async |query: &str| body(&it.send(gate(&it, query, None)).await);
    let rules = |answer: &Value| -> Vec<String> {
        let reasons = answer["data"]["reasons"].as_array().unwrap().iter();
        reasons
            .map(|r| r["rule"].as_str().unwrap().to_owned())
            .collect()
    };
    let now = || clock.now().wall;

    // Nothing was ever counted.
    let answer = ask("all=1&budget=0.5").await;
    assert!(rules(&answer).contains(&"budget".to_owned()), "{answer}");
    for seq in 1..=6 {
        slot(&it, &clock, seq, 0).await;
    }
    let deploy = now();
    let baseline = format!("all=1&fresh=1m&baseline={deploy}");
    let answer = ask(&baseline).await;
    assert_eq!(
        answer["data"]["verdict"], "unknown",
        "too few since: {answer}"
    );
    for seq in 7..=12 {
        slot(&it, &clock, seq, 0).await;
    }
    until("as good as before", async || {
        let answer = ask(&baseline).await;
        (answer["data"]["verdict"] == "open").then_some(())
    })
    .await;
    until("the budget is stated and whole", async || {
        clock.advance(Duration::from_millis(100));
        let answer = ask("all=1&fresh=1m&budget=0.99").await;
        (answer["data"]["verdict"] == "open").then_some(())
    })
    .await;

    // After a second deploy one check of ten fails: up, and worse.
    let worse = now();
    for seq in 13..=22 {
        slot(&it, &clock, seq, 1).await;
    }
    slot(&it, &clock, 23, 0).await;
    let query = format!("all=1&fresh=1m&baseline={worse}");
    let answer = until("it is worse than before", async || {
        let answer = ask(&query).await;
        rules(&answer)
            .contains(&"baseline".to_owned())
            .then_some(answer)
    })
    .await;
    assert_eq!(answer["data"]["verdict"], "closed", "{answer}");
    let text = answer["data"]["reasons"].to_string();
    assert!(text.contains("reachability fails for"), "{text}");
    // Against a baseline in which it failed as often it is no worse.
    until("ten seconds of failures show in the budget", async || {
        clock.advance(Duration::from_secs(1));
        let answer = ask("all=1&fresh=5m&budget=0.9999").await;
        rules(&answer).contains(&"budget".to_owned()).then_some(())
    })
    .await;
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_without_wishes_says_so_to_an_older_prober() {
    let it = Setup::new().start().await;
    let paths = [path(ACCOUNT, "tcp", "reached", 900, 10)];
    let reply = it.report(&report("host/mini-1", 1, &paths)).await;
    assert_eq!(reply["burst"], json!([]));
    assert_eq!(reply["plan_id"].as_str().unwrap().len(), 16);
    it.stop().await;
}
