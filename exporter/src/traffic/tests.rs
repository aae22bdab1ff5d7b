use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::routing::get;
use pnwatch_core::correlate::Demand;
use pnwatch_core::name::{Account, Instance, Node};
use pnwatch_core::time::{Now, Tick, Timestamp};
use pnwatch_core::traffic::{Names, Settings, Traffic};
use pnwatch_edge::clock::{ManualClock, SystemClock};
use pnwatch_edge::shutdown::Shutdown;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

fn target(account: &str, url: Option<String>) -> PodTarget {
    PodTarget {
        account: Account::new(account).unwrap(),
        instance: Instance::new(format!("kura-{account}-par")).unwrap(),
        node: Some(Node::new("n").unwrap()),
        url,
    }
}

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

/// A pod whose public counter rises with every scrape.
async fn pod(hits: Arc<AtomicUsize>) -> String {
    let metrics = |State(hits): State<Arc<AtomicUsize>>| async move {
        let n = hits.fetch_add(1, Ordering::Relaxed);
        format!(
            "kura_http_requests_total_total{{route=\"/api/a\",status=\"200\"}} {}\n\
             kura_http_requests_total_total{{route=\"/_internal/x\",status=\"200\"}} {n}\n",
            n * 10
        )
    };
    serve(
        Router::new()
            .route("/metrics", get(metrics))
            .with_state(hits),
    )
    .await
}

#[tokio::test]
async fn pods_are_scraped_and_a_dead_one_harms_no_other() {
    let base = pod(Arc::default()).await;
    // A port that was just closed: refused.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = format!("http://{}/metrics", closed.local_addr().unwrap());
    drop(closed);
    let huge = serve(Router::new().route(
        "/metrics",
        get(|| async { "x 1\n".repeat(MAX_METRICS / 3) }),
    ))
    .await;
    let cut = serve(Router::new().route("/metrics", get(|| async { "kura_x 1" }))).await;
    let targets = vec![
        target("alive", Some(format!("{base}/metrics"))),
        target("dead", Some(dead)),
        target("huge", Some(format!("{huge}/metrics"))),
        target("cut", Some(format!("{cut}/metrics"))),
        target("elsewhere", None),
    ];
    let settings = ScraperSettings {
        interval: Duration::from_millis(100),
        timeout: Duration::from_secs(5),
        names: Names::default(),
    };
    let clock = SystemClock::shared();
    let scraper = Scraper::new(settings, Arc::clone(&clock)).unwrap();
    let mut pods = Pods::new(Settings::default());
    pods.set_targets(&targets);
    let (_watch, watched) = watch::channel(Arc::new(targets));
    let (sink, mut samples) = mpsc::channel(64);
    let (trigger, shutdown) = Shutdown::manual();
    let running = tokio::spawn(scraper.run(watched, sink, shutdown));
    let mut seen: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let all = async {
        loop {
            let sample = samples.recv().await.unwrap();
            let (good, bad) = seen.entry(sample.instance.to_string()).or_default();
            *(if sample.result.is_ok() { good } else { bad }) += 1;
            pods.apply(sample);
            let enough = |name: &str| seen.get(name).is_some_and(|(a, b)| a + b >= 3);
            if ["alive", "dead", "huge", "cut"]
                .iter()
                .all(|n| enough(&format!("kura-{n}-par")))
            {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap();
    trigger.request();
    tokio::time::timeout(PATIENCE, running)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(seen["kura-alive-par"].1, 0);
    for bad in ["kura-dead-par", "kura-huge-par", "kura-cut-par"] {
        assert_eq!(seen[bad].0, 0, "{bad}");
    }
    let sights = pods.sights(clock.now());
    let of = |name: &str| {
        &sights
            .iter()
            .find(|s| s.account.as_str() == name)
            .unwrap()
            .traffic
    };
    assert!(matches!(of("alive").public, Traffic::Flowing { rate } if rate > 0.0));
    assert!(of("dead").failing_for.is_some());
    assert_eq!(of("elsewhere").public, Traffic::Missing);
}

#[tokio::test]
async fn targets_that_come_and_go_are_followed() {
    let hits = Arc::new(AtomicUsize::new(0));
    let base = pod(Arc::clone(&hits)).await;
    let settings = ScraperSettings {
        interval: Duration::from_millis(100),
        ..ScraperSettings::default()
    };
    let scraper = Scraper::new(settings, SystemClock::shared()).unwrap();
    let (watch, watched) = watch::channel(Arc::new(Vec::new()));
    let (sink, mut samples) = mpsc::channel(64);
    let (_trigger, shutdown) = Shutdown::manual();
    let running = tokio::spawn(scraper.run(watched, sink, shutdown));
    watch.send_replace(Arc::new(vec![target("a", Some(format!("{base}/metrics")))]));
    let sample = tokio::time::timeout(PATIENCE, samples.recv())
        .await
        .unwrap();
    assert!(sample.unwrap().result.is_ok());
    drop(watch);
    // Nobody names targets any more: the task ends.
    tokio::time::timeout(PATIENCE, running)
        .await
        .unwrap()
        .unwrap();
}

/// A Prometheus that answers three queries; `at` is when it last scraped.
async fn prometheus(at: u64, public: u64) -> String {
    let answer = move |Query(query): Query<BTreeMap<String, String>>, headers: http::HeaderMap| async move {
        assert_eq!(headers["x-scope-orgid"], "team");
        let query = &query["query"];
        let result = if query.starts_with("max by (pod) (timestamp(") {
            format!(r#"[{{"metric":{{"pod":"kura-a-par-0"}},"value":[1,"{at}.25"]}}]"#)
        } else if query.starts_with("sum by (__name__, pod, route, status)") {
            assert!(
                query.contains("kura_http_requests_total(_total)?|"),
                "{query}"
            );
            assert!(query.ends_with(", job=\"kura\"})"), "{query}");
            format!(
                r#"[{{"metric":{{"__name__":"kura_http_requests_total_total","pod":"kura-a-par-0","route":"/api/a","status":"200"}},"value":[1,"{public}"]}},
                    {{"metric":{{"__name__":"kura_http_requests_total_total","pod":"kura-a-par-0","route":"/_internal/\"x","status":"200"}},"value":[1,"7"]}},
                    {{"metric":{{"__name__":"kura_http_requests_total_total","pod":"kura-a-par-01x","route":"/api/a"}},"value":[1,"99999"]}}]"#
            )
        } else {
            r#"[{"metric":{"account":"a"},"value":[1,"4"]},{"metric":{"account":"b b"},"value":[1,"1"]}]"#.to_owned()
        };
        format!(r#"{{"status":"success","data":{{"resultType":"vector","result":{result}}}}}"#)
    };
    serve(Router::new().route("/prometheus/api/v1/query", get(answer))).await
}

fn settings(base: &str) -> PrometheusSettings {
    PrometheusSettings {
        url: format!("{base}/prometheus/"),
        interval: Duration::from_secs(15),
        timeout: Duration::from_secs(10),
        token_file: None,
        ca_file: None,
        headers: vec![(
            http::HeaderName::from_static("x-scope-orgid"),
            http::HeaderValue::from_static("team"),
        )],
        selector: "job=\"kura\"".into(),
        pod_label: "pod".into(),
        demand: Some("count by (account) (running_jobs)".into()),
        account_label: "account".into(),
        absent_is_none: true,
        names: Names::default(),
    }
}

#[tokio::test]
async fn a_prometheus_sample_counts_once_at_its_own_time() {
    let clock = Arc::new(ManualClock::new(Now {
        tick: Tick::from_millis(500_000),
        wall: Timestamp::from_unix_seconds(1_780_000_060),
    }));
    let base = prometheus(1_780_000_000, 500).await;
    let mut source = Prometheus::new(settings(&base), clock.clone()).unwrap();
    let targets = [target("a", None), target("c", None)];
    let samples = source.look(&targets).await;
    assert_eq!(samples.len(), 1);
    assert_eq!(samples[0].at, Tick::from_millis(500_000 - 59_750));
    let scrape = samples[0].result.as_ref().unwrap();
    assert_eq!((scrape.public, scrape.internal), (500.0, 7.0));
    assert!(
        source.look(&targets).await.is_empty(),
        "the same sample again"
    );

    let demands = source.demand(&targets).await;
    assert_eq!(demands[&targets[0].account], Demand::Proven { jobs: 4.0 });
    assert_eq!(demands[&targets[1].account], Demand::Absent);
    assert_eq!(demands.len(), 2);
}

#[tokio::test]
async fn a_prometheus_that_fails_proves_nothing() {
    for body in [
        "",
        "{}",
        "{\"data\":{\"result\":[{\"value\":[1]}]}}",
        "<html>",
    ] {
        let base = serve(Router::new().fallback(move || async move { body })).await;
        let clock = SystemClock::shared();
        let mut source = Prometheus::new(settings(&base), clock).unwrap();
        let targets = [target("a", None)];
        let samples = source.look(&targets).await;
        assert!(samples[0].result.is_err(), "{body:?}");
        assert!(source.demand(&targets).await.is_empty(), "{body:?}");
    }
}
