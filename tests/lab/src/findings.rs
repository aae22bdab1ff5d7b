//! What the exporter says is wrong, watched from inside its namespace.
//!
//! One thread polls `GET /v1/findings` every 20 ms on a kept connection and notes when each
//! finding was first seen open, so a detection is timed to 20 ms whatever the main thread does.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::net::TcpStream;

use crate::net::Namespace;

/// Between two polls.
const POLL: Duration = Duration::from_millis(20);
/// A poll that takes longer is given up, and the connection with it.
const POLL_TIMEOUT: Duration = Duration::from_secs(2);

/// A finding as the exporter's API gives it; fields that the lab does not judge are left out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Finding {
    /// Its id, the same for its whole life.
    pub id: String,
    /// Whose fault.
    pub blame: String,
    /// Which one.
    pub subject: String,
    /// What is wrong; sharpens.
    pub fault: String,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// The alert that it is pushed as; a fault that is only shown has none.
    #[serde(default)]
    pub alertname: Option<String>,
    /// When it was closed (RFC 3339), if it is.
    #[serde(default)]
    pub closed_at: Option<String>,
    /// One line for people.
    #[serde(default)]
    pub summary: String,
}

impl Finding {
    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.closed_at.is_none()
    }
}

#[derive(Debug, Deserialize)]
struct Page {
    data: Vec<Finding>,
}

/// A finding and when the lab first saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its newest form.
    pub finding: Finding,
    /// Wall time of the first poll that had it open.
    pub first_at: Timestamp,
    /// Every fault that it named, in order, each with the first poll that had it.
    pub faults: Vec<(Timestamp, String)>,
}

impl Seen {
    /// The faults that it named before `until`.
    pub fn faults_before(&self, until: Timestamp) -> Vec<String> {
        let named = self.faults.iter().filter(|(at, _)| *at < until);
        named.map(|(_, fault)| fault.clone()).collect()
    }
}

#[derive(Debug, Default)]
struct Log {
    /// All that were ever seen, by id.
    seen: BTreeMap<String, Seen>,
    /// The newest page; `None` while the exporter does not answer.
    current: Option<Vec<Finding>>,
    polls: u64,
    last_error: Option<String>,
}

impl Log {
    fn take(&mut self, findings: Vec<Finding>, at: Timestamp) {
        for finding in findings.iter().filter(|finding| finding.is_open()) {
            let seen = self.seen.entry(finding.id.clone()).or_insert_with(|| Seen {
                finding: finding.clone(),
                first_at: at,
                faults: Vec::new(),
            });
            if seen
                .faults
                .last()
                .is_none_or(|(_, last)| *last != finding.fault)
            {
                seen.faults.push((at, finding.fault.clone()));
            }
            seen.finding = finding.clone();
        }
        self.current = Some(findings);
        self.polls += 1;
        self.last_error = None;
    }
}

/// The watcher of one exporter; its thread ends when it is dropped.
#[derive(Debug)]
pub struct Watcher {
    log: Arc<Mutex<Log>>,
    stop: Arc<AtomicBool>,
}

impl Watcher {
    /// Watches the page listener at `address` inside `namespace`, from now on and for good.
    pub fn start(namespace: &Namespace, address: &str) -> Result<Self> {
        let log = Arc::new(Mutex::new(Log::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (thread_log, thread_stop) = (Arc::clone(&log), Arc::clone(&stop));
        let (namespace, address) = (namespace.clone(), address.to_owned());
        std::thread::Builder::new()
            .name("findings".to_owned())
            .spawn(move || {
                if let Err(error) = watch(&namespace, &address, &thread_log, &thread_stop) {
                    lock(&thread_log).last_error = Some(format!("{error:#}"));
                }
            })?;
        Ok(Self { log, stop })
    }

    /// Those that are open now.
    ///
    /// # Errors
    /// The exporter does not answer.
    pub fn open(&self) -> Result<Vec<Finding>> {
        let log = lock(&self.log);
        let Some(current) = &log.current else {
            return Err(anyhow!(
                "the exporter does not list its findings: {}",
                log.last_error.as_deref().unwrap_or("not asked yet")
            ));
        };
        Ok(current
            .iter()
            .filter(|finding| finding.is_open())
            .cloned()
            .collect())
    }

    /// Every finding that was seen open at or after `since`.
    pub fn seen_since(&self, since: Timestamp) -> Vec<Seen> {
        let log = lock(&self.log);
        log.seen
            .values()
            .filter(|seen| seen.first_at >= since)
            .cloned()
            .collect()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch(namespace: &Namespace, address: &str, log: &Mutex<Log>, stop: &AtomicBool) -> Result<()> {
    namespace.enter()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut connection = None;
        let mut tick = tokio::time::interval(POLL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !stop.load(Ordering::SeqCst) {
            tick.tick().await;
            let polled = tokio::time::timeout(POLL_TIMEOUT, poll(&mut connection, address)).await;
            match polled.unwrap_or_else(|_| Err(anyhow!("no answer within {POLL_TIMEOUT:?}"))) {
                Ok(findings) => lock(log).take(findings, Timestamp::now()),
                Err(error) => {
                    connection = None;
                    let mut log = lock(log);
                    log.current = None;
                    log.last_error = Some(format!("{error:#}"));
                }
            }
        }
        Ok(())
    })
}

async fn poll(
    connection: &mut Option<SendRequest<Empty<Bytes>>>,
    address: &str,
) -> Result<Vec<Finding>> {
    let sender = if let Some(sender) = connection {
        sender
    } else {
        let stream = TcpStream::connect(address).await?;
        let (sender, driver) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        connection.insert(sender)
    };
    sender.ready().await?;
    let request = hyper::Request::get("/v1/findings")
        .header("host", address)
        .body(Empty::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if !status.is_success() {
        return Err(anyhow!("GET /v1/findings answered {status}"));
    }
    let page: Page = serde_json::from_slice(&body)
        .with_context(|| format!("GET /v1/findings: {}", String::from_utf8_lossy(&body)))?;
    Ok(page.data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(fault: &str, closed: bool) -> Finding {
        let mut value = serde_json::json!({
            "id": "a", "cluster": "lab", "blame": "node", "subject": "n", "fault": fault,
            "severity": "critical", "alertname": "PNNodeUnreachable", "confidence": "high",
            "opened_at": "2026-11-20T09:58:40.850196Z", "closed_at": null, "evidence": [],
        });
        if closed {
            value["closed_at"] = "2026-11-20T09:59:00Z".into();
        }
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_log_keeps_the_first_time_and_every_fault() {
        let mut log = Log::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        log.take(vec![], at(1));
        log.take(vec![finding("node_unreachable", false)], at(2));
        log.take(vec![finding("address_lost", false)], at(3));
        log.take(vec![finding("address_lost", true)], at(4));
        let seen = log.seen.get("a").unwrap();
        assert_eq!(seen.first_at, at(2));
        let faults = [
            (at(2), "node_unreachable".to_owned()),
            (at(3), "address_lost".to_owned()),
        ];
        assert_eq!(seen.faults, faults);
        assert_eq!(seen.faults_before(at(3)), ["node_unreachable"]);
        assert!(
            log.current
                .unwrap()
                .iter()
                .all(|finding| !finding.is_open())
        );
    }
}
