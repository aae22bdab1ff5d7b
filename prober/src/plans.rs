//! Where plans come from: exporters by long-poll, a file, or the disk of the last run.
//!
//! One task per exporter ([`follow`]), cancel-safe. Disk writes are a new file, fsync and a
//! rename (rename(2) is atomic), so that a power cut leaves the old plan or the new one.

use core::time::Duration;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pnwatch_core::name::{Cluster, Vantage};
use pnwatch_core::plan::{Pace, Plan};
use pnwatch_edge::config::read_inventory;
use tokio::sync::mpsc;

use crate::agent::REPORT_EVERY;
use crate::exporters::News;
use crate::transport::{PLAN_WAIT, Transport, TransportError};

/// Largest plan file that is read.
const MAX_FILE: u64 = 64 << 20;
/// Pause after a request that failed, doubling up to [`LONGEST_PAUSE`].
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Follows the plan of exporter number `from` for ever.
pub async fn follow(
    from: usize,
    transport: Arc<dyn Transport>,
    cluster: Cluster,
    vantage: Vantage,
    news: mpsc::Sender<News>,
) {
    let mut have = None;
    let mut pause = SHORTEST_PAUSE;
    let mut said: Option<String> = None;
    loop {
        let asked = tokio::time::Instant::now();
        // The first answer must not wait: an exporter that is just starting has a plan or none.
        let wait = if have.is_some() {
            PLAN_WAIT
        } else {
            Duration::ZERO
        };
        match transport.plan(have.as_ref(), wait).await {
            Ok(Some(plan)) => {
                pause = SHORTEST_PAUSE;
                if let Err(error) = plan.validate(&cluster, &vantage) {
                    complain(&mut said, transport.name(), &error.to_string());
                    tokio::time::sleep(LONGEST_PAUSE).await;
                    continue;
                }
                said = None;
                have = Some(plan.id.clone());
                let plan = Box::new(plan);
                if news.send(News::Plan { from, plan }).await.is_err() {
                    return;
                }
                // Whatever the exporter does, we do not ask faster than this.
                tokio::time::sleep_until(asked + SHORTEST_PAUSE).await;
            }
            Ok(None) => {
                said = None;
                // One that does not hold the request is asked at the pace of reports.
                let pause = if have.is_none() {
                    SHORTEST_PAUSE
                } else {
                    REPORT_EVERY
                };
                tokio::time::sleep_until(asked + pause).await;
            }
            Err(error) => {
                complain(&mut said, transport.name(), &error.to_string());
                if matches!(error, TransportError::Refused { .. }) {
                    pause = LONGEST_PAUSE;
                }
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Says one thing once, until something else is to be said.
fn complain(said: &mut Option<String>, exporter: &str, what: &str) {
    if said.as_deref() != Some(what) {
        tracing::warn!(exporter, "no plan: {what}");
        *said = Some(what.to_owned());
    }
}

/// Why a plan file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    /// The inventory file is not usable.
    #[error(transparent)]
    Inventory(#[from] pnwatch_edge::config::ConfigError),
}

/// The plan of `vantage` from an inventory file.
pub fn from_file(
    path: &Path,
    cluster: &Cluster,
    vantage: &Vantage,
    pace: Pace,
) -> Result<Plan, PlanFileError> {
    let inventory = read_inventory(path, cluster.clone())?;
    Ok(Plan::for_vantage(
        &inventory,
        vantage,
        &BTreeMap::new(),
        pace,
    ))
}

fn file_in(state_dir: &Path) -> PathBuf {
    state_dir.join("plan.json")
}

/// Keeps the plan for the next start.
pub fn save(state_dir: &Path, plan: &Plan) -> io::Result<()> {
    std::fs::create_dir_all(state_dir)?;
    let target = file_in(state_dir);
    let fresh = state_dir.join(format!("plan.json.{}", std::process::id()));
    let mut file = File::create(&fresh)?;
    file.write_all(&serde_json::to_vec(plan)?)?;
    file.sync_all()?;
    std::fs::rename(&fresh, &target)?;
    File::open(state_dir)?.sync_all()
}

/// The plan of the last run, if there is one and it is ours.
pub fn restore(state_dir: &Path, cluster: &Cluster, vantage: &Vantage) -> Option<Plan> {
    let path = file_in(state_dir);
    let refuse = |why: String| {
        tracing::warn!(path = %path.display(), "the kept plan is not used: {why}");
        None
    };
    let bytes = match File::open(&path) {
        Ok(file) => {
            let mut bytes = Vec::new();
            match io::Read::read_to_end(&mut io::Read::take(file, MAX_FILE), &mut bytes) {
                Ok(_) => bytes,
                Err(error) => return refuse(error.to_string()),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => return refuse(error.to_string()),
    };
    let plan: Plan = match serde_json::from_slice(&bytes) {
        Ok(plan) => plan,
        Err(error) => return refuse(error.to_string()),
    };
    match plan.validate(cluster, vantage) {
        Ok(()) => Some(plan),
        Err(error) => refuse(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_a_restart_and_damage_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let cluster: Cluster = "test".parse().unwrap();
        let vantage: Vantage = "host/a".parse().unwrap();
        let inventory = crate::samples::inventory(&[30001]);
        let plan = Plan::for_vantage(&inventory, &vantage, &BTreeMap::new(), Pace::default());
        assert_eq!(restore(dir.path(), &cluster, &vantage), None);
        save(dir.path(), &plan).unwrap();
        assert_eq!(restore(dir.path(), &cluster, &vantage), Some(plan));
        let other: Vantage = "host/b".parse().unwrap();
        assert_eq!(restore(dir.path(), &cluster, &other), None);
        let path = file_in(dir.path());
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("30001", "30009")).unwrap();
        assert_eq!(restore(dir.path(), &cluster, &vantage), None);
        std::fs::write(&path, "{").unwrap();
        assert_eq!(restore(dir.path(), &cluster, &vantage), None);
        // Only the plan itself is left behind.
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
