//! The lab as a whole, and the record by which `down` finds what a killed lab left behind.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::command;
use crate::daemons::{self, Daemons, Setup};
use crate::findings::Watcher;
use crate::http;
use crate::kernel::Watch;
use crate::monitoring::Monitoring;
use crate::net::{self, Namespace, Namespaces};
use crate::network::{Network, NetworkOptions};
use crate::process::{ProcessId, Processes};
use crate::second;
use crate::wait;

/// The record's name in the lab's directory.
const RECORD: &str = "lab.json";
/// How long another lab may take to clean up after it was told to end.
const DOWN_DEADLINE: Duration = Duration::from_secs(30);

/// How long the exporter may take to say what it knows.
const STATE_PATIENCE: Duration = Duration::from_secs(15);

/// How a lab is built.
#[derive(Debug, Clone)]
pub struct LabOptions {
    /// Where everything is written; must exist.
    pub dir: PathBuf,
    /// The lab's own executable.
    pub program: PathBuf,
    /// The pnwatch to run, or none for the network and monitoring alone.
    pub pnwatch: Option<PathBuf>,
    /// How many exporters.
    pub exporters: usize,
    /// Seconds that a DHCP lease is valid for.
    pub lease_seconds: u32,
}

/// A running lab. Fields are dropped in order: children before the namespaces that they live in.
#[derive(Debug)]
pub struct Lab {
    /// What the exporter says is wrong; absent without pnwatch.
    pub findings: Option<Watcher>,
    /// Prometheus, Alertmanager, webhook.
    pub monitoring: Monitoring,
    /// The cluster whose objects the exporters read; absent while they read a file.
    pub cluster: Option<Cluster>,
    /// All children.
    pub processes: Processes,
    /// The network.
    pub network: Network,
    /// The exporters and probers; absent without pnwatch.
    pub daemons: Option<Daemons>,
    /// Kernel events of the cache node.
    pub node_events: Watch,
    /// Kernel events of the switch.
    pub switch_events: Watch,
    /// Where to write what the exporter says of each fault before it is healed.
    pub states: Option<PathBuf>,
    /// Connections that a fault keeps open.
    pub held: Vec<std::net::TcpStream>,
    record: RecordFile,
    namespaces: Namespaces,
    program: PathBuf,
}

impl Lab {
    /// Builds the network and monitoring, and prepares pnwatch (see [`Lab::start_daemons`]).
    pub fn up(options: &LabOptions) -> Result<Self> {
        command::require_all(&command::ALL)?;
        if !rustix::process::geteuid().is_root() {
            bail!("the lab makes network namespaces and needs root; run it by sudo");
        }
        if let Some(program) = &options.pnwatch {
            daemons::check_program(program)?;
        }
        let own = ProcessId::own().context("the lab has no entry in /proc")?;
        let prefix = format!("pl{}", own.pid);
        let record = RecordFile::create(&options.dir, own, &prefix)?;
        let mut namespaces = Namespaces::new(&prefix);
        let mut processes = Processes::new(options.dir.join("logs"))?;
        let network_options = NetworkOptions {
            dir: options.dir.clone(),
            program: options.program.clone(),
            lease_seconds: options.lease_seconds,
        };
        let network = Network::create(&mut namespaces, &mut processes, network_options)?;
        let node_events = Watch::start(&mut processes, &network.node.namespace, "node")?;
        let switch_events = Watch::start(&mut processes, &network.switch, "switch")?;
        let monitoring = Monitoring::start(
            &mut processes,
            &network.exporter,
            &options.dir,
            options.exporters,
        )?;
        let pnwatch = options.pnwatch.as_deref();
        let daemons = pnwatch
            .map(|program| Daemons::prepare(&network, program, options.exporters))
            .transpose()?;
        let lab = Self {
            findings: None,
            monitoring,
            cluster: None,
            processes,
            network,
            daemons,
            node_events,
            switch_events,
            states: None,
            held: Vec::new(),
            record,
            namespaces,
            program: options.program.clone(),
        };
        lab.record.update(&lab.processes)?;
        Ok(lab)
    }

    /// Starts Alertmanager, exporters and probers anew, with empty state, and waits until every
    /// path is up.
    pub fn start_daemons(&mut self) -> Result<()> {
        let daemons = self
            .daemons
            .as_mut()
            .context("the lab runs without pnwatch")?;
        self.findings = None;
        daemons.stop(&mut self.processes)?;
        let (exporter, dir) = (&self.network.exporter, self.network.dir());
        self.monitoring
            .restart_alertmanager(&mut self.processes, exporter, dir)?;
        daemons.start_fresh(&mut self.processes)?;
        let watcher = Watcher::start(&self.network.exporter, &Daemons::page(0))?;
        daemons.wait_settled(&mut self.processes)?;
        self.findings = Some(watcher);
        self.record.update(&self.processes)
    }

    /// Writes what the exporter says now as `NAME.json`, if that was asked for.
    pub fn write_state(&self, name: &str) -> Result<()> {
        let Some(dir) = &self.states else {
            return Ok(());
        };
        let ask = |path: &str| -> Result<serde_json::Value> {
            let at = Daemons::page(0);
            let answer =
                http::request(&self.network.exporter, "GET", &at, path, "", STATE_PATIENCE)?;
            Ok(serde_json::from_slice(&answer.expect_success()?)?)
        };
        let state =
            serde_json::json!({ "view": ask("/v1/view")?, "findings": ask("/v1/findings")? });
        std::fs::create_dir_all(dir)?;
        let file = dir.join(format!("{name}.json"));
        std::fs::write(&file, serde_json::to_string_pretty(&state)? + "\n")
            .with_context(|| format!("cannot write {}", file.display()))
    }

    /// From the next start on, the exporters read the objects of a cluster instead of a file.
    pub fn discover(&mut self) -> Result<()> {
        if self.cluster.is_none() {
            let cluster = Cluster::start(
                &mut self.namespaces,
                &mut self.processes,
                &self.network,
                &self.program,
            )?;
            let daemons = self
                .daemons
                .as_mut()
                .context("the lab runs without pnwatch")?;
            daemons.add_prober(second::MACHINE, second::NODE, &cluster.second)?;
            self.cluster = Some(cluster);
        }
        let lines = self.cluster()?.serve_lines();
        let daemons = self
            .daemons
            .as_mut()
            .context("the lab runs without pnwatch")?;
        daemons.discover_by(lines);
        Ok(())
    }

    /// The cluster.
    ///
    /// # Errors
    /// The exporters read a file.
    pub fn cluster(&self) -> Result<&Cluster> {
        self.cluster
            .as_ref()
            .context("the lab has no cluster; run it with --cluster")
    }

    /// How pnwatch is set up from its next start on.
    pub fn set_up(&mut self, setup: Setup) {
        if let Some(daemons) = &mut self.daemons {
            daemons.set_up(setup);
        }
    }

    /// Ends Alertmanager; what it has told it remembers.
    pub fn stop_alertmanager(&mut self) -> Result<()> {
        self.monitoring.stop_alertmanager(&mut self.processes)
    }

    /// Starts Alertmanager again with what it remembers.
    pub fn resume_alertmanager(&mut self) -> Result<()> {
        let (exporter, dir) = (&self.network.exporter, self.network.dir());
        self.monitoring
            .resume_alertmanager(&mut self.processes, exporter, dir)
    }

    /// The watcher of findings.
    ///
    /// # Errors
    /// pnwatch is not running.
    pub fn findings(&self) -> Result<&Watcher> {
        self.findings
            .as_ref()
            .context("pnwatch is not running in the lab")
    }

    /// One more namespace, gone with the lab.
    pub fn create_namespace(&mut self, role: &str) -> Result<Namespace> {
        self.namespaces.create(role)
    }

    /// The names of the lab's namespaces.
    pub fn namespaces(&self) -> &[String] {
        self.namespaces.names()
    }
}

/// What a lab writes down about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// The lab.
    lab: ProcessId,
    /// What its namespaces' names begin with.
    prefix: String,
    /// Its children.
    processes: BTreeMap<String, ProcessId>,
}

/// The record on disk; removed when the lab has cleaned up.
#[derive(Debug)]
struct RecordFile {
    path: PathBuf,
    lab: ProcessId,
    prefix: String,
}

impl RecordFile {
    fn create(dir: &Path, lab: ProcessId, prefix: &str) -> Result<Self> {
        let path = dir.join(RECORD);
        if let Ok(old) = read(&path)
            && old.lab.is_alive()
        {
            bail!(
                "a lab (process {}) runs in {} already; end it first: pnwatch-lab down --dir {}",
                old.lab.pid,
                dir.display(),
                dir.display()
            );
        }
        let file = Self {
            path,
            lab,
            prefix: prefix.to_owned(),
        };
        file.write(BTreeMap::new())?;
        Ok(file)
    }

    fn update(&self, processes: &Processes) -> Result<()> {
        self.write(processes.ids())
    }

    fn write(&self, processes: BTreeMap<String, ProcessId>) -> Result<()> {
        let record = Record {
            lab: self.lab,
            prefix: self.prefix.clone(),
            processes,
        };
        let text = serde_json::to_string_pretty(&record)?;
        // Whole or not at all: a reader must never see half of it.
        let fresh = self.path.with_extension("json.new");
        std::fs::write(&fresh, text)
            .with_context(|| format!("cannot write {}", fresh.display()))?;
        std::fs::rename(&fresh, &self.path)
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

impl Drop for RecordFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn read(path: &Path) -> Result<Record> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no record of a lab", path.display()))
}

/// Ends the lab that runs in `dir`, or removes what one that was killed left there.
pub fn down(dir: &Path) -> Result<()> {
    let path = dir.join(RECORD);
    let record = read(&path)?;
    if record.lab.is_alive() {
        record.lab.signal(Signal::INT)?;
        let what = format!("the end of the lab, process {}", record.lab.pid);
        return wait::until(&what, DOWN_DEADLINE, || {
            Ok((!record.lab.is_alive()).then_some(()))
        });
    }
    for id in record.processes.values() {
        id.signal(Signal::KILL)?;
    }
    for name in net::list()? {
        if belongs(&name, &record.prefix) {
            net::delete(&name)?;
        }
    }
    std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
}

/// Whether a namespace was made by the lab with this prefix.
fn belongs(name: &str, prefix: &str) -> bool {
    // Without its process id a prefix would match the namespaces of other labs.
    prefix
        .strip_prefix("pl")
        .is_some_and(|pid| pid.parse::<u32>().is_ok())
        && name
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_namespaces_belong_to_a_lab() {
        assert!(belongs("pl123-node", "pl123"));
        for (name, prefix) in [
            ("pl1234-node", "pl123"),
            ("pl123", "pl123"),
            ("other", "pl123"),
            ("pl123-node", "pl"),
            ("pl123-node", ""),
        ] {
            assert!(!belongs(name, prefix), "{name} {prefix}");
        }
    }

    #[test]
    fn a_record_is_refused_while_its_lab_lives_and_replaced_after() {
        let dir = tempfile::tempdir().unwrap();
        let own = ProcessId::own().unwrap();
        let first = RecordFile::create(dir.path(), own, "pl1").unwrap();
        let error = RecordFile::create(dir.path(), own, "pl1")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("runs in") && error.contains("pnwatch-lab down --dir"),
            "{error}"
        );
        let dead = ProcessId {
            started: own.started + 1,
            ..own
        };
        std::fs::write(
            dir.path().join(RECORD),
            serde_json::to_string(&Record {
                lab: dead,
                prefix: "pl1".into(),
                processes: BTreeMap::new(),
            })
            .unwrap(),
        )
        .unwrap();
        let second = RecordFile::create(dir.path(), own, "pl1").unwrap();
        drop(second);
        assert!(!dir.path().join(RECORD).exists());
        drop(first);
    }
}
