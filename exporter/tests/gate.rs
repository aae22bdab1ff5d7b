//! The gate over real listeners: verdicts, refusals, and the wait for open.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends by failing")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Running, Setup, healthy, node_lost, until};
use pnwatch_edge::http::{Client, ClientSettings, Request};
use serde_json::Value;

async fn ask(it: &Running, query: &str) -> (u16, Value) {
    let answer = it.page(&format!("/v1/gate?{query}")).await;
    let body = serde_json::from_slice(&answer.body).unwrap();
    (answer.status, body)
}

async fn both_report(it: &Running, seq: u64) {
    for host in ["host/mini-1", "host/mini-2"] {
        it.report(&healthy(host, seq)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_opens_on_evidence_alone() {
    let it = Setup::new().start().await;
    // Just started: nobody has reported.
    for (query, status) in [("all=1", 200), ("all=1&strict=1", 503)] {
        let (seen, body) = ask(&it, query).await;
        assert_eq!(seen, status, "{query}: {body}");
        assert_eq!(body["data"]["verdict"], "unknown");
        assert_eq!(body["data"]["ok"], false);
        assert_eq!(body["data"]["targets"], 1);
        assert_eq!(body["data"]["measured"], 0);
        assert_eq!(body["data"]["reasons"][0]["rule"], "vantages");
    }
    both_report(&it, 1).await;
    // A reader may get a view that is a tenth of a second old.
    let body = until("it opens", async || {
        let (status, body) = ask(&it, "account=acme&min_vantages=2&strict=1").await;
        (status == 200).then_some(body)
    })
    .await;
    assert_eq!(body["data"]["ok"], true);
    assert_eq!(body["data"]["verdict"], "open");
    assert_eq!(body["cluster"], "staging");
    // A webhook can only POST.
    let url = format!("http://{}/v1/gate?all=1&strict=1", it.at.page);
    let posted = it
        .send(Request::post(url, "application/json", "{}".into()))
        .await;
    assert_eq!(posted.status, 200);
    // An account that nobody knows is no verdict, however healthy the rest.
    let (status, body) = ask(&it, "account=nobody&strict=1").await;
    assert_eq!(
        (status, body["data"]["verdict"].as_str()),
        (503, Some("unknown"))
    );
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_question_is_400_with_the_sentence() {
    let it = Setup::new().start().await;
    for (query, says) in [
        ("", "select something"),
        ("all=1&al=1", "unknown parameter \"al\""),
        ("all=1&for=30", "for=\"30\" does not read"),
        ("all=1&wait=1h", "at most 10m"),
        ("account=%20", "account="),
        ("all=1&override=", "1 to 200 characters"),
    ] {
        let (status, body) = ask(&it, query).await;
        assert_eq!(status, 400, "{query}: {body}");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains(says), "{query}: {message}");
    }
    let refused = it.metric("pnwatch_gate_answers_total{cluster=\"staging\",result=\"refused\"}");
    assert_eq!(refused.await, Some(6.0));
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_closes_on_the_finding_and_a_wait_opens_after_recovery() {
    let it = Setup::new().start().await;
    both_report(&it, 1).await;
    it.lose_the_node(2).await;
    let (status, body) = ask(&it, "node=kura-fleet-1&strict=1").await;
    assert_eq!(
        (status, body["data"]["verdict"].as_str()),
        (503, Some("closed"))
    );
    let about: Vec<&str> = body["data"]["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|r| r["rule"].as_str())
        .collect();
    assert!(
        about.contains(&"findings") && about.contains(&"reached"),
        "{body}"
    );
    // Nothing changes: a wait gets the same at its end, not an open gate.
    let started = Instant::now();
    it.report(&node_lost("host/mini-1", 1_000)).await;
    it.report(&node_lost("host/mini-2", 1_000)).await;
    let (_, body) = ask(&it, "all=1&wait=600ms").await;
    assert_eq!(body["data"]["ok"], false);
    assert!(started.elapsed() >= Duration::from_millis(600));

    let url = format!("http://{}/v1/gate?all=1&wait=1m", it.at.page);
    let waiting = tokio::spawn(async move {
        let client = Client::new(ClientSettings::default()).unwrap();
        let answer = client
            .send(Request::get(url).within(Duration::from_secs(70)))
            .await
            .unwrap();
        (
            serde_json::from_slice::<Value>(&answer.body).unwrap(),
            Instant::now(),
        )
    });
    until("one waits", || async {
        (it.metric("pnwatch_gate_waiting").await == Some(1.0)).then_some(())
    })
    .await;
    it.recover(2_000).await;
    let closed_at = Instant::now();
    // The hosts go on reporting; the evidence must not grow old meanwhile.
    both_report(&it, 9_000).await;
    let (body, opened_at) = waiting.await.unwrap();
    assert_eq!(body["data"]["verdict"], "open", "{body}");
    let late = opened_at.saturating_duration_since(closed_at);
    assert!(
        late < Duration::from_secs(3),
        "{late:?} after the finding closed"
    );
    until("nobody waits", || async {
        (it.metric("pnwatch_gate_waiting").await == Some(0.0)).then_some(())
    })
    .await;
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_is_counted_and_changes_nothing() {
    let it = Setup::new().start().await;
    let (status, body) = ask(&it, "all=1&strict=1&override=the%20fix%20itself").await;
    assert_eq!((status, body["data"]["ok"].as_bool()), (503, Some(false)));
    assert_eq!(it.metric("pnwatch_gate_overrides_total").await, Some(1.0));
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_wait_all_hear_it_and_the_page_still_answers() {
    let it = Setup::new().start().await;
    let many = 300;
    let client = Arc::new(Client::new(ClientSettings::default()).unwrap());
    let mut waiting = tokio::task::JoinSet::new();
    for n in 0..many {
        // A handful of different questions.
        let for_ms = n % 7;
        let url = format!("http://{}/v1/gate?all=1&for={for_ms}ms&wait=1m", it.at.page);
        let client = Arc::clone(&client);
        waiting.spawn(async move {
            let request = Request::get(url).within(Duration::from_secs(70));
            let answer = client.send(request).await.unwrap();
            serde_json::from_slice::<Value>(&answer.body).unwrap()
        });
    }
    until("all wait", || async {
        (it.metric("pnwatch_gate_waiting").await == Some(f64::from(many))).then_some(())
    })
    .await;
    assert_eq!(it.page("/").await.status, 200);
    both_report(&it, 1).await;
    let started = Instant::now();
    while let Some(answer) = waiting.join_next().await {
        assert_eq!(answer.unwrap()["data"]["verdict"], "open");
    }
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_the_waits_without_opening() {
    let it = Setup::new().start().await;
    let url = format!("http://{}/v1/gate?all=1&wait=5m", it.at.page);
    let waiting = tokio::spawn(async move {
        let client = Client::new(ClientSettings::default()).unwrap();
        client
            .send(Request::get(url).within(Duration::from_secs(70)))
            .await
            .unwrap()
    });
    until("one waits", || async {
        (it.metric("pnwatch_gate_waiting").await == Some(1.0)).then_some(())
    })
    .await;
    it.stop().await;
    let answer = waiting.await.unwrap();
    assert_eq!(answer.status, 503);
}
