//! The push against a scripted Alertmanager: it fails on calls that are missing or too many.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends by failing")]

mod common;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use common::{Setup, healthy};
use pnwatch_edge::listen::{bind, serve};
use pnwatch_edge::shutdown::{Shutdown, Trigger};
use serde_json::Value;

const RARELY: Duration = Duration::from_mins(10);

/// How one call is answered.
#[derive(Clone)]
enum Answer {
    Accept,
    Status(u16, &'static str),
    /// 400 as long as a subject contains this.
    RefuseSubject(&'static str),
}

#[derive(Default)]
struct Script {
    answers: VecDeque<Answer>,
    posts: Vec<Vec<Value>>,
    unexpected: usize,
}

struct Scripted {
    at: SocketAddr,
    script: Arc<Mutex<Script>>,
    _trigger: Trigger,
}

impl Scripted {
    async fn start(answers: Vec<Answer>) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), answers).await
    }

    async fn start_at(at: SocketAddr, answers: Vec<Answer>) -> Self {
        let script = Arc::new(Mutex::new(Script {
            answers: answers.into(),
            ..Script::default()
        }));
        let listener = bind("test", at).await.unwrap();
        let at = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/prefix/api/v2/alerts", post(take))
            .with_state(Arc::clone(&script));
        let (trigger, shutdown) = Shutdown::manual();
        tokio::spawn(serve(listener, router, shutdown));
        Self {
            at,
            script,
            _trigger: trigger,
        }
    }

    fn url(&self) -> String {
        format!("http://{}/prefix", self.at)
    }

    fn posts(&self) -> Vec<Vec<Value>> {
        self.script.lock().unwrap().posts.clone()
    }

    async fn posts_reach(&self, count: usize) -> Vec<Vec<Value>> {
        common::until("the posts", async || {
            (self.posts().len() >= count).then(|| self.posts())
        })
        .await
    }

    /// Every scripted call came, and no other.
    fn finish(&self) {
        let script = self.script.lock().unwrap();
        assert_eq!(script.answers.len(), 0, "calls are missing");
        assert_eq!(script.unexpected, 0, "too many calls");
    }
}

async fn take(
    State(script): State<Arc<Mutex<Script>>>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, &'static str) {
    assert_eq!(headers["x-scope-orgid"], "tenant-1");
    let alerts: Vec<Value> = serde_json::from_str(&body).unwrap();
    let mut script = script.lock().unwrap();
    let answer = script.answers.pop_front();
    script.posts.push(alerts.clone());
    match answer {
        Some(Answer::Accept) => (StatusCode::OK, ""),
        Some(Answer::Status(code, text)) => (StatusCode::from_u16(code).unwrap(), text),
        Some(Answer::RefuseSubject(part)) => {
            let bad = alerts
                .iter()
                .any(|a| a["labels"]["subject"].as_str().unwrap().contains(part));
            if bad {
                (StatusCode::BAD_REQUEST, "\"invalid label\"")
            } else {
                (StatusCode::OK, "")
            }
        }
        None => {
            script.unexpected += 1;
            (StatusCode::INTERNAL_SERVER_ERROR, "not in the script")
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finding_is_posted_at_once_and_resolved_after_recovery() {
    let alertmanager = Scripted::start(vec![Answer::Accept; 3]).await;
    let it = Setup::new()
        .alertmanagers(&[alertmanager.url()], RARELY)
        .start()
        .await;
    it.report(&healthy("host/mini-1", 1)).await;
    it.report(&healthy("host/mini-2", 1)).await;
    let found = it.lose_the_node(2).await;
    let posts = alertmanager.posts_reach(1).await;
    let alert = &posts[0][0];
    assert_eq!(posts[0].len(), 1);
    assert_eq!(alert["labels"]["alertname"], "PNNodeUnreachable");
    assert_eq!(alert["labels"]["node"], "kura-fleet-1");
    assert_eq!(alert["startsAt"], found["started_at"]);
    assert_eq!(alert["annotations"]["finding"], found["id"]);
    it.recover(1_000).await;
    // Firing once more when it begins to clear, then resolved.
    let posts = alertmanager.posts_reach(3).await;
    for post in &posts[1..] {
        assert_eq!(post.len(), 1);
        assert_eq!(post[0]["labels"], alert["labels"]);
    }
    assert!(posts[1][0]["endsAt"].as_str() > posts[2][0]["endsAt"].as_str());
    let closed = it.json("/v1/findings").await["closed"][0].clone();
    assert_eq!(posts[2][0]["endsAt"], closed["closed_at"]);
    let last = it
        .metric("pnwatch_alertmanager_last_success_timestamp_seconds")
        .await;
    assert!(last.unwrap() > 1.6e9);
    it.stop().await;
    alertmanager.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_finding_is_repeated() {
    let script = Scripted::start(vec![Answer::Accept; 40]).await;
    let it = Setup::new()
        .alertmanagers(&[script.url()], Duration::from_millis(400))
        .start()
        .await;
    it.report(&healthy("host/mini-1", 1)).await;
    it.report(&healthy("host/mini-2", 1)).await;
    it.lose_the_node(2).await;
    let posts = script.posts_reach(3).await;
    let ends = |post: &Vec<Value>| post[0]["endsAt"].as_str().unwrap().to_owned();
    assert!(ends(&posts[0]) < ends(&posts[1]) && ends(&posts[1]) < ends(&posts[2]));
    assert_eq!(posts[0][0]["startsAt"], posts[2][0]["startsAt"]);
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alertmanager_that_fails_is_tried_again_with_the_truth_of_then() {
    let answers = vec![
        Answer::Status(500, "\"no\""),
        Answer::Status(503, ""),
        Answer::Accept,
    ];
    let alertmanager = Scripted::start(answers).await;
    let healthy_twin = Scripted::start(vec![Answer::Accept]).await;
    let it = Setup::new()
        .alertmanagers(&[alertmanager.url(), healthy_twin.url()], RARELY)
        .start()
        .await;
    it.report(&healthy("host/mini-1", 1)).await;
    it.report(&healthy("host/mini-2", 1)).await;
    it.lose_the_node(2).await;
    // The one that answers does not wait for the other.
    healthy_twin.posts_reach(1).await;
    let posts = alertmanager.posts_reach(3).await;
    assert_eq!(posts[0][0]["startsAt"], posts[2][0]["startsAt"]);
    let name = |result: &str| {
        format!(
            "pnwatch_alertmanager_posts_total{{cluster=\"staging\",alertmanager=\"{}/prefix\",result=\"{result}\"}}",
            alertmanager.at
        )
    };
    let accepted = name("accepted");
    common::until("the post to count", async || {
        (it.metric(&accepted).await == Some(1.0)).then_some(())
    })
    .await;
    assert_eq!(it.metric(&name("failed")).await, Some(2.0));
    it.stop().await;
    alertmanager.finish();
    healthy_twin.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alertmanager_that_comes_late_is_told() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = holder.local_addr().unwrap();
    drop(holder);
    let it = Setup::new()
        .alertmanagers(&[format!("http://{at}/prefix")], RARELY)
        .start()
        .await;
    it.report(&healthy("host/mini-1", 1)).await;
    it.report(&healthy("host/mini-2", 1)).await;
    it.lose_the_node(2).await;
    common::until("a failed post", async || {
        let failed = it.metrics().await;
        failed
            .lines()
            .any(|l| l.contains("result=\"failed\"") && !l.ends_with(" 0"))
            .then_some(())
    })
    .await;
    let alertmanager = Scripted::start_at(at, vec![Answer::Accept]).await;
    alertmanager.posts_reach(1).await;
    it.stop().await;
    alertmanager.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_alert_does_not_hold_up_the_others() {
    let answers = vec![Answer::RefuseSubject("bad"); 5];
    let alertmanager = Scripted::start(answers).await;
    let setup = Setup::new().alertmanagers(&[alertmanager.url()], RARELY);
    let it = setup.start().await;
    it.report(&healthy("host/mini-1", 1)).await;
    it.report(&healthy("host/mini-2", 1)).await;
    it.external(["n1", "n2", "bad", "n3"]).await;
    // All four, the first pair, its two one by one, the other pair.
    let posts = alertmanager.posts_reach(5).await;
    let sizes: Vec<usize> = posts.iter().map(Vec::len).collect();
    assert_eq!(sizes, [4, 2, 1, 1, 2]);
    let rejected = "pnwatch_alertmanager_alerts_rejected_total";
    common::until("the rejected one to count", async || {
        (it.metric(rejected).await == Some(1.0)).then_some(())
    })
    .await;
    it.stop().await;
    alertmanager.finish();
}
