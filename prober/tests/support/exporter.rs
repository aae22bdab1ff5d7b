//! An exporter in the same process: hands out one plan, keeps every report.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pnwatch_core::outcome::Layer;
use pnwatch_core::plan::{Plan, PlanId};
use pnwatch_core::subject::Subject;
use pnwatch_core::wire::{LinkReport, Report, Run};
use pnwatch_prober::transport::{Answer, Transport, TransportError};

#[derive(Debug, Default)]
struct Inner {
    plan: Option<Plan>,
    reports: Vec<Report>,
    fails: bool,
    asks: Vec<Subject>,
}

#[derive(Debug, Clone, Default)]
pub struct Exporter {
    inner: Arc<Mutex<Inner>>,
}

impl Exporter {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn hand_out(&self, plan: Plan) {
        self.inner.lock().unwrap().plan = Some(plan);
    }

    /// Wants these checked now: said once, with the answer to the next report.
    pub fn ask(&self, subjects: Vec<Subject>) {
        self.inner.lock().unwrap().asks = subjects;
    }

    pub fn fail(&self, fails: bool) {
        self.inner.lock().unwrap().fails = fails;
    }

    pub fn reports(&self) -> Vec<Report> {
        self.inner.lock().unwrap().reports.clone()
    }

    pub fn forget(&self) {
        self.inner.lock().unwrap().reports.clear();
    }

    pub async fn wait_for_reports(&self, within: Duration, count: usize) {
        super::until(within, || self.inner.lock().unwrap().reports.len() >= count).await;
    }

    /// All runs of one path so far, oldest first.
    pub fn runs(&self, subject: &Subject, layer: Layer) -> Vec<Run> {
        let inner = self.inner.lock().unwrap();
        let paths = inner.reports.iter().flat_map(|report| &report.paths);
        paths
            .filter(|path| path.subject == *subject && path.layer == layer)
            .flat_map(|path| path.runs.clone())
            .collect()
    }

    /// Waits for a run of the account named by `port` that is as wanted; says what came instead.
    pub async fn expect(
        &self,
        within: Duration,
        port: u16,
        layer: Layer,
        wanted: impl Fn(&Run) -> bool,
    ) -> Run {
        let subject = account(port);
        self.expect_of(within, &subject, layer, wanted).await
    }

    pub async fn expect_of(
        &self,
        within: Duration,
        subject: &Subject,
        layer: Layer,
        wanted: impl Fn(&Run) -> bool,
    ) -> Run {
        let end = std::time::Instant::now() + within;
        loop {
            let runs = self.runs(subject, layer);
            if let Some(run) = runs.iter().find(|run| wanted(run)) {
                return run.clone();
            }
            assert!(
                std::time::Instant::now() < end,
                "{subject} {layer}: not seen within {within:?}, but {runs:?}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn expect_ready(&self, within: Duration, port: u16) {
        super::until(within, || {
            let inner = self.inner.lock().unwrap();
            let mut ready = inner.reports.iter().flat_map(|report| &report.ready);
            ready.any(|ready| ready.subject == account(port) && ready.ready)
        })
        .await;
    }

    /// Waits for link facts that are as wanted.
    pub async fn expect_link(
        &self,
        within: Duration,
        wanted: impl Fn(&LinkReport) -> bool,
    ) -> LinkReport {
        let end = std::time::Instant::now() + within;
        loop {
            let links: Vec<LinkReport> = self
                .reports()
                .into_iter()
                .filter_map(|report| report.link)
                .collect();
            if let Some(link) = links.iter().find(|link| wanted(link)) {
                return link.clone();
            }
            assert!(
                std::time::Instant::now() < end,
                "not within {within:?}; last {:?}",
                links.last()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

pub fn account(port: u16) -> Subject {
    format!("account:p{port}/i/nodeport").parse().unwrap()
}

impl Transport for Exporter {
    fn name(&self) -> &'static str {
        "test exporter"
    }

    fn report<'a>(&'a self, report: &'a Report) -> Answer<'a, Vec<Subject>> {
        Box::pin(async move {
            let mut inner = self.inner.lock().unwrap();
            if inner.fails {
                return Err(TransportError::Busy {
                    exporter: "test".into(),
                    status: 503,
                    said: "down".into(),
                });
            }
            // As it would arrive over the wire.
            inner
                .reports
                .push(Report::from_json(&report.to_json()).expect("acceptable"));
            Ok(std::mem::take(&mut inner.asks))
        })
    }

    fn plan<'a>(&'a self, have: Option<&'a PlanId>, _wait: Duration) -> Answer<'a, Option<Plan>> {
        Box::pin(async move {
            loop {
                let plan = self.inner.lock().unwrap().plan.clone();
                match plan {
                    Some(plan) if Some(&plan.id) != have => return Ok(Some(plan)),
                    _ => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        })
    }
}
