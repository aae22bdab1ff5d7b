//! The whole prober on loopback, unprivileged: plan, checks, reports, goodbye.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::time::Duration;

use pnwatch_core::outcome::{Cause, Layer, Outcome};
use pnwatch_core::plan::Pace;
use support::exporter::Exporter;
use support::peer::Peer;
use support::{Probed, plan, start};

const LONG: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_tell_what_loopback_answers() {
    let up = Peer::http(200, r#"{"tenant_id":"t1"}"#).await;
    let other = Peer::http(200, r#"{"tenant_id":"else"}"#).await;
    let broken = Peer::http(503, "{}").await;
    let silent = Peer::silent().await;
    let closing = Peer::closing().await;
    let babble = Peer::answering(b"SSH-2.0-x\r\n").await;
    let stalling = Peer::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx").await;
    let refused = Peer::refusing();
    let exporter = Exporter::new();
    let ports = [
        (&up, Layer::Http, Outcome::Reached),
        (&other, Layer::Http, Outcome::Unreached(Cause::WrongTenant)),
        (&broken, Layer::Http, Outcome::Unreached(Cause::Http5xx)),
        (&silent, Layer::Http, Outcome::Unreached(Cause::NoFirstByte)),
        (
            &closing,
            Layer::Http,
            Outcome::Unreached(Cause::ConnectionClosed),
        ),
        (&babble, Layer::Http, Outcome::Unreached(Cause::NotHttp)),
        (
            &stalling,
            Layer::Http,
            Outcome::Unreached(Cause::TransferStalled),
        ),
        (&refused, Layer::Tcp, Outcome::Unreached(Cause::Refused)),
    ];
    let targets: Vec<_> = ports.iter().map(|(peer, ..)| peer.address).collect();
    exporter.hand_out(plan("127.0.0.0/8", &targets, Pace::default()));
    let probed = start(&Probed::on_loopback(), &[&exporter], None);
    for (peer, layer, outcome) in ports {
        exporter
            .expect(LONG, peer.address.port(), layer, |run| {
                run.outcome == outcome
            })
            .await;
    }
    // Connected: TCP is fine wherever somebody listens, with the kernel's round trip.
    exporter
        .expect(LONG, silent.address.port(), Layer::Tcp, |run| {
            run.outcome == Outcome::Reached && !run.kernel_rtt_us.is_empty()
        })
        .await;
    exporter.expect_ready(LONG, up.address.port()).await;
    // The read of many segments asks for /metrics, sooner or later.
    let asked = ["GET /up ", "GET /ready ", "GET /metrics "];
    assert!(up.heard().iter().all(|request| {
        asked.iter().any(|start| request.starts_with(start))
            && request.contains("User-Agent: pnwatch/")
    }));
    let stopped = std::time::Instant::now();
    probed.stop().await;
    assert!(stopped.elapsed() < Duration::from_millis(1500));
    let last = exporter.reports().pop().expect("a report");
    assert!(last.stopping);
    // Numbers count up by one, in one life.
    let reports = exporter.reports();
    for pair in reports.windows(2) {
        assert_eq!(pair[1].seq, pair[0].seq + 1);
        assert_eq!(pair[1].boot_id, pair[0].boot_id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_accept_queue_is_an_unanswered_syn() {
    let full = Peer::full().await;
    let exporter = Exporter::new();
    exporter.hand_out(plan("127.0.0.0/8", &[full.address], Pace::default()));
    let probed = start(&Probed::on_loopback(), &[&exporter], None);
    exporter
        .expect(LONG, full.address.port(), Layer::Tcp, |run| {
            run.outcome == Outcome::Unreached(Cause::SynUnanswered)
        })
        .await;
    probed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_exporter_delays_nobody_and_loses_nothing() {
    let up = Peer::http(200, "{}").await;
    let (alive, dead) = (Exporter::new(), Exporter::new());
    alive.hand_out(plan("127.0.0.0/8", &[up.address], Pace::default()));
    dead.fail(true);
    let probed = start(&Probed::on_loopback(), &[&dead, &alive], None);
    alive.wait_for_reports(LONG, 4).await;
    assert!(dead.reports().is_empty());
    dead.fail(false);
    dead.wait_for_reports(LONG, 4).await;
    // What waited comes joined, under its newest number: each outcome once, whatever the cuts.
    let told = |exporter: &Exporter, last: u64| {
        let reports = exporter.reports().into_iter();
        let runs = reports
            .filter(|report| report.seq <= last)
            .flat_map(|report| report.paths)
            .flat_map(|path| path.runs);
        runs.map(|run| u64::from(run.count)).sum::<u64>()
    };
    let seqs: Vec<u64> = dead.reports().iter().map(|report| report.seq).collect();
    assert!(seqs.is_sorted_by(|one, next| one < next), "{seqs:?}");
    let last = seqs[3];
    assert!(last > 4, "{seqs:?}");
    support::until(LONG, || alive.reports().iter().any(|one| one.seq == last)).await;
    assert!(told(&alive, last) > 0);
    assert_eq!(told(&dead, last), told(&alive, last), "{seqs:?}");
    probed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_plan_is_followed_without_an_exporter() {
    let up = Peer::http(200, "{}").await;
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::new();
    exporter.hand_out(plan("127.0.0.0/8", &[up.address], Pace::default()));
    let first = start(&Probed::on_loopback(), &[&exporter], Some(dir.path()));
    let kept = dir.path().join("plan.json");
    support::until(LONG, || kept.exists()).await;
    first.stop().await;

    let planless = Exporter::new();
    let second = start(&Probed::on_loopback(), &[&planless], Some(dir.path()));
    planless
        .expect(LONG, up.address.port(), Layer::Http, |run| {
            run.outcome == Outcome::Reached
        })
        .await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_is_alive_and_ready_whatever_the_checks_say() {
    let refused = Peer::refusing();
    let exporter = Exporter::new();
    exporter.hand_out(plan("127.0.0.0/8", &[refused.address], Pace::default()));
    let mut probed = Probed::on_loopback();
    let page = support::free_port().await;
    probed.listen = Some(page);
    let probed = start(&probed, &[&exporter], None);
    exporter.wait_for_reports(LONG, 2).await;
    for (path, expected) in [
        ("/livez", "ok"),
        ("/readyz", "ok"),
        ("/metrics", "pnwatch_prober_checks_total"),
    ] {
        let body = support::get(page, path).await;
        assert!(body.starts_with("HTTP/1.1 200"), "{path}: {body}");
        assert!(body.contains(expected), "{path}: {body}");
    }
    probed.stop().await;
}
