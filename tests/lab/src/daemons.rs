//! pnwatch itself: exporters and probers as they ship, with configurations written for the lab.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::http;
use crate::monitoring::{ALERTMANAGER_ADDRESS, METRICS_PORT};
use crate::net::Namespace;
use crate::network::Network;
use crate::node::MACHINE;
use crate::process::Processes;
use crate::rights::Rights;
use crate::topology::{
    CLUSTER, CONTROL, EXPORTERS, HOST_DEVICE, HOSTS, NODE, NODE_ADDRESS, NODE_DEVICE, PN_CIDR,
    PODS, RELAY, VM_CIDR, VM_TABLE, host_address, host_name, host_vantage, node_vantage,
};
use crate::wait;

/// The port that probers push to.
const INGEST_PORT: u16 = 9760;
/// A prober's own listener, on its loopback.
const PROBER_LISTEN: &str = "127.0.0.1:9763";
/// How long a daemon may take to answer `/readyz`.
const READY_DEADLINE: Duration = Duration::from_secs(20);
/// How long all must be well before a fault: an exporter tells nothing new for three seconds
/// after it first hears a vantage, because the others are still on their way.
const CALM: Duration = Duration::from_secs(4);
/// How long all paths may take to be up after the daemons are ready.
const SETTLE_DEADLINE: Duration = Duration::from_secs(45);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// A setting that no version knows.
pub const NEWER_KEY: &str = "key_of_a_newer_chart";

/// One prober: where it runs and what it is called.
#[derive(Debug, Clone)]
pub struct Prober {
    /// Its vantage, e.g. `host/mini-1`.
    pub vantage: String,
    /// Its machine, `node` or e.g. `mini-1`.
    machine: String,
    device: &'static str,
    namespace: Namespace,
}

impl Prober {
    /// Its name among the lab's processes.
    pub fn process(&self) -> String {
        process_name(&self.machine)
    }
}

/// The name of the prober of `machine` among the lab's processes.
pub fn process_name(machine: &str) -> String {
    format!("probe-{machine}")
}

/// What a drill wants different from the usual.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// More lines of the exporters' `serve` section, indented by two.
    pub serve: String,
    /// Ingest as the probers dial it, instead of the exporter's own port.
    pub ingest_port: Option<u16>,
    /// Alertmanager as the exporters dial it.
    pub alertmanager: Option<String>,
    /// Slow wires in the monitoring namespace: from where, to where.
    pub wires: Vec<(String, String)>,
}

/// The exporters and probers of one lab.
#[derive(Debug)]
pub struct Daemons {
    program: PathBuf,
    dir: PathBuf,
    exporter: Namespace,
    replicas: usize,
    probers: Vec<Prober>,
    /// Lines of `serve:` that say where the inventory comes from, instead of the file.
    discovery: Option<String>,
    /// The rights of every prober; `None` = the lab's own, which are root's.
    rights: Option<Rights>,
    generation: u32,
    push_to: &'static str,
    setup: Setup,
}

/// A port of loopback on which nothing listens (discard, RFC 863).
const NOBODY: &str = "127.0.0.1:9";

impl Daemons {
    /// Prepares (starts nothing): tokens, inventory and the list of probers.
    pub fn prepare(network: &Network, program: &Path, replicas: usize) -> Result<Self> {
        if !(1..=EXPORTERS.len()).contains(&replicas) {
            bail!(
                "--exporters must be 1 or {}, not {replicas}",
                EXPORTERS.len()
            );
        }
        let mut probers = vec![Prober {
            vantage: node_vantage(),
            machine: MACHINE.to_owned(),
            device: NODE_DEVICE,
            namespace: network.node.namespace.clone(),
        }];
        probers.extend(network.hosts.iter().map(|host| Prober {
            vantage: host_vantage(host.index),
            machine: host_name(host.index),
            device: HOST_DEVICE,
            namespace: host.namespace.clone(),
        }));
        let daemons = Self {
            program: program.to_owned(),
            dir: network.dir().to_owned(),
            exporter: network.exporter.clone(),
            replicas,
            probers,
            discovery: None,
            rights: None,
            generation: 0,
            push_to: ALERTMANAGER_ADDRESS,
            setup: Setup::default(),
        };
        daemons.write("inventory.yaml", &inventory())?;
        for prober in &daemons.probers {
            let token = format!("lab-token-of-{}-{}\n", prober.machine, std::process::id());
            daemons.write(&token_file(prober), &token)?;
        }
        Ok(daemons)
    }

    /// From the next start on, the inventory comes from what `lines` of `serve:` say.
    pub fn discover_by(&mut self, lines: String) {
        self.discovery = Some(lines);
    }

    /// The rights of every prober, from its next start on.
    pub fn set_rights(&mut self, rights: Option<Rights>) {
        self.rights = rights;
    }

    /// One more machine with a prober, from the next start on.
    pub fn add_prober(&mut self, machine: &str, node: &str, namespace: &Namespace) -> Result<()> {
        let prober = Prober {
            vantage: format!("node/{node}"),
            machine: machine.to_owned(),
            device: NODE_DEVICE,
            namespace: namespace.clone(),
        };
        let token = format!("lab-token-of-{machine}-{}\n", std::process::id());
        self.write(&token_file(&prober), &token)?;
        self.probers.push(prober);
        Ok(())
    }

    /// How many exporters there are.
    pub fn replicas(&self) -> usize {
        self.replicas
    }

    /// The page listener of replica `index`, on the loopback of the monitoring namespace.
    pub fn page(index: usize) -> String {
        format!("127.0.0.1:{}", 9761 + 10 * index)
    }

    /// Whether exporters that start from now on reach Alertmanager.
    pub fn set_push(&mut self, reaches: bool) {
        self.push_to = if reaches {
            ALERTMANAGER_ADDRESS
        } else {
            NOBODY
        };
    }

    /// The pnwatch that runs here.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Starts the exporters alone, with empty state, and waits until they are ready.
    pub fn start_exporters(&mut self, processes: &mut Processes) -> Result<()> {
        self.stop(processes)?;
        self.generation += 1;
        for replica in 0..self.replicas {
            self.start_exporter(processes, replica)?;
        }
        for replica in 0..self.replicas {
            self.wait_ready(
                processes,
                &exporter_name(replica),
                &self.exporter,
                &Self::page(replica),
            )?;
        }
        Ok(())
    }

    /// The probers, the node's first.
    pub fn probers(&self) -> &[Prober] {
        &self.probers
    }

    /// The prober of the cache node.
    pub fn node_prober(&self) -> Result<Prober> {
        self.probers
            .first()
            .cloned()
            .context("no prober on the node")
    }

    /// The prober of host `index`.
    pub fn host_prober(&self, index: usize) -> Result<Prober> {
        self.probers.get(index + 1).cloned().context("no such host")
    }

    /// Starts everything anew with empty state, and waits until every daemon is ready.
    pub fn start_fresh(&mut self, processes: &mut Processes) -> Result<()> {
        self.start_exporters(processes)?;
        for prober in &self.probers {
            self.start_prober(processes, prober)?;
        }
        for prober in &self.probers {
            self.wait_prober(processes, prober)?;
        }
        Ok(())
    }

    /// Takes effect at the next start.
    pub fn set_up(&mut self, setup: Setup) {
        self.setup = setup;
    }

    /// Ends all daemons.
    pub fn stop(&self, processes: &mut Processes) -> Result<()> {
        for prober in &self.probers {
            processes.terminate(&prober.process())?;
        }
        (0..self.replicas).try_for_each(|replica| processes.terminate(&exporter_name(replica)))
    }

    /// Starts exporter `replica`, with the state that it had in this generation.
    pub fn start_exporter(&self, processes: &mut Processes, replica: usize) -> Result<()> {
        let state = self.state_dir(&format!("serve-{replica}"))?;
        let text = self.exporter_config(replica, &state);
        let config = self.write(&format!("serve-{replica}.yaml"), &text)?;
        let arguments = ["serve", "--config", &config.to_string_lossy()].map(str::to_owned);
        processes.start(
            &exporter_name(replica),
            &self.exporter,
            &self.program,
            &arguments,
        )?;
        Ok(())
    }

    /// Waits until an exporter is ready.
    pub fn wait_exporter(&self, processes: &mut Processes, replica: usize) -> Result<()> {
        self.wait_ready(
            processes,
            &exporter_name(replica),
            &self.exporter,
            &Self::page(replica),
        )
    }

    /// Starts one prober, with the state that it had in this generation.
    pub fn start_prober(&self, processes: &mut Processes, prober: &Prober) -> Result<()> {
        let state = self.state_dir(&prober.process())?;
        let text = self.prober_config(prober, &state);
        let config = self.write(&format!("{}.yaml", prober.process()), &text)?;
        let (mut program, mut arguments) = (self.program.clone(), Vec::new());
        if let Some(rights) = self.rights {
            let token = self.dir.join(token_file(prober));
            let files = [config.as_path(), token.as_path(), state.as_path()];
            (program, arguments) = rights.grant(&self.program, &self.dir, &files)?;
        }
        arguments.extend(["probe", "--config", &config.to_string_lossy()].map(str::to_owned));
        processes.start(&prober.process(), &prober.namespace, &program, &arguments)?;
        Ok(())
    }

    /// Waits until a prober is ready.
    pub fn wait_prober(&self, processes: &mut Processes, prober: &Prober) -> Result<()> {
        self.wait_ready(
            processes,
            &prober.process(),
            &prober.namespace,
            PROBER_LISTEN,
        )
    }

    /// What a prober says of itself.
    pub fn prober_metrics(&self, prober: &Prober) -> Result<String> {
        let answer = http::request(
            &prober.namespace,
            "GET",
            PROBER_LISTEN,
            "/metrics",
            "",
            REQUEST_TIMEOUT,
        )?;
        Ok(answer.text())
    }

    /// What is not Ready of the probers that run, in words: a Pod that is not Ready blocks a
    /// deploy, so no finding may ever make it so.
    pub fn not_ready(&self, processes: &Processes) -> Vec<String> {
        let running = |prober: &&Prober| processes.has(&prober.process());
        let mut wrong = Vec::new();
        for prober in self.probers.iter().filter(running) {
            let namespace = &prober.namespace;
            let asked = http::request(
                namespace,
                "GET",
                PROBER_LISTEN,
                "/readyz",
                "",
                REQUEST_TIMEOUT,
            );
            match asked {
                Ok(answer) if answer.status == 200 => {}
                Ok(answer) => wrong.push(format!(
                    "the prober of {} is not ready: {}",
                    prober.vantage, answer.status
                )),
                Err(error) => wrong.push(format!("{}: {error:#}", prober.vantage)),
            }
        }
        wrong
    }

    fn wait_ready(
        &self,
        processes: &mut Processes,
        name: &str,
        namespace: &Namespace,
        address: &str,
    ) -> Result<()> {
        let mut last = String::new();
        let ready = wait::polled(READY_DEADLINE, || {
            processes.check(name)?;
            match http::request(namespace, "GET", address, "/readyz", "", REQUEST_TIMEOUT) {
                Ok(answer) if answer.status == 200 => return Ok(Some(())),
                Ok(answer) => last = format!("status {}: {}", answer.status, answer.text().trim()),
                Err(error) => last = format!("{error:#}"),
            }
            Ok(None)
        })?;
        ready.with_context(|| {
            let dir = self.dir.display();
            format!(
                "{name} is not ready within {READY_DEADLINE:?} ({last}); its log is in {dir}/logs"
            )
        })
    }

    /// Waits until every exporter has had every client path up for [`CALM`].
    pub fn wait_settled(&self, processes: &mut Processes) -> Result<()> {
        for (replica, address) in EXPORTERS.iter().enumerate().take(self.replicas) {
            let address = format!("{address}:{METRICS_PORT}");
            let mut missing = vec!["all".to_owned()];
            let mut up_since = None;
            let settled = wait::polled(SETTLE_DEADLINE, || {
                processes.check_all()?;
                let answer = http::request(
                    &self.exporter,
                    "GET",
                    &address,
                    "/metrics",
                    "",
                    REQUEST_TIMEOUT,
                )?;
                missing = paths_not_up(&answer.text());
                if !missing.is_empty() {
                    up_since = None;
                    return Ok(None);
                }
                let since = *up_since.get_or_insert_with(Instant::now);
                Ok((since.elapsed() >= CALM).then_some(()))
            })?;
            settled.with_context(|| {
                format!("exporter {replica}: these paths are not up after {SETTLE_DEADLINE:?}: {missing:?}")
            })?;
        }
        Ok(())
    }

    fn exporter_config(&self, replica: usize, state: &Path) -> String {
        let by_file = format!(
            "  inventory: {{ file: {}/inventory.yaml }}\n",
            self.dir.display()
        );
        let discovery = self.discovery.as_ref().unwrap_or(&by_file);
        let address = EXPORTERS.get(replica).unwrap_or(&EXPORTERS[0]);
        let (page, dir) = (Self::page(replica), self.dir.display());
        let runbooks = Self::page(0);
        let alertmanager = self.setup.alertmanager.as_deref();
        let alertmanager = alertmanager.unwrap_or(self.push_to);
        let mut tokens = String::new();
        for prober in &self.probers {
            let (vantage, file) = (&prober.vantage, token_file(prober));
            // Writing to a String cannot fail.
            let _ = writeln!(tokens, "    - {{ vantage: {vantage}, file: {dir}/{file} }}");
        }
        format!(
            "cluster: {CLUSTER}\nlog: {{ level: info, format: logfmt }}\nserve:\n\
             \x20 listen: {{ ingest: {address}:{INGEST_PORT}, page: {page}, metrics: {address}:{METRICS_PORT} }}\n\
             {discovery}\
             \x20 tokens:\n{tokens}\
             \x20 alertmanager: {{ urls: [\"http://{alertmanager}\"], resend: 1m, runbooks: \"http://{runbooks}/runbooks\" }}\n\
             \x20 state_dir: {}\n{}",
            state.display(),
            self.setup.serve
        )
    }

    fn prober_config(&self, prober: &Prober, state: &Path) -> String {
        let Prober {
            vantage, device, ..
        } = prober;
        let (dir, token) = (self.dir.display(), token_file(prober));
        // Under the chart's rights also with a value of a newer chart, which is no reason to stop.
        let newer = self
            .rights
            .map_or(String::new(), |_| format!("  {NEWER_KEY}: 1\n"));
        let relay = if *device == HOST_DEVICE {
            format!(
                "  relay: {{ gateway: \"{RELAY}\", vms: {VM_CIDR}, filter_table: \"{VM_TABLE}\" }}\n"
            )
        } else {
            String::new()
        };
        let ingest = self.setup.ingest_port.unwrap_or(INGEST_PORT);
        let mut exporters = String::new();
        for address in EXPORTERS.iter().take(self.replicas) {
            let _ = writeln!(
                exporters,
                "    - {{ url: \"http://{address}:{ingest}\", token_file: {dir}/{token} }}"
            );
        }
        format!(
            "cluster: {CLUSTER}\nlog: {{ level: info, format: logfmt }}\nprobe:\n\
             \x20 vantage: {vantage}\n  interface: {device}\n  pn_cidr: {PN_CIDR}\n\
             \x20 exporters:\n{exporters}\
             \x20 state_dir: {}\n  control: [\"{CONTROL}\"]\n  listen: {PROBER_LISTEN}\n{relay}{newer}",
            state.display()
        )
    }

    /// Where the process `name` keeps its state in this generation.
    pub fn state_dir(&self, name: &str) -> Result<PathBuf> {
        let path = self
            .dir
            .join("state")
            .join(format!("{name}.{}", self.generation));
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }

    /// What the metrics of exporter 0 say.
    pub fn metrics(&self) -> Result<String> {
        let address = format!("{}:{METRICS_PORT}", EXPORTERS[0]);
        let answer = http::request(
            &self.exporter,
            "GET",
            &address,
            "/metrics",
            "",
            REQUEST_TIMEOUT,
        )?;
        Ok(answer.text())
    }

    /// Writes a file for the lab's own use, for the owner alone.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.dir.join(name);
        // A daemon that reads it this very moment gets the old file or the new one, whole.
        let new = self.dir.join(format!("{name}.new"));
        std::fs::write(&new, text).with_context(|| format!("cannot write {}", new.display()))?;
        // Tokens among them: for the owner alone.
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))
            .with_context(|| format!("cannot protect {}", new.display()))?;
        std::fs::rename(&new, &path).with_context(|| format!("cannot place {}", path.display()))?;
        Ok(path)
    }
}

/// Checks that there is a pnwatch to run, before anything is built around it.
pub fn check_program(program: &Path) -> Result<()> {
    if program.is_file() {
        return Ok(());
    }
    bail!(
        "there is no pnwatch at {}; build it (cargo build --release --bin pnwatch) or name it with --pnwatch",
        program.display()
    )
}

/// The name of exporter `replica` among the lab's processes.
pub fn exporter_name(replica: usize) -> String {
    format!("serve-{replica}")
}

fn token_file(prober: &Prober) -> String {
    format!("token-{}", prober.machine)
}

fn inventory() -> String {
    let mut text = format!(
        "pn_cidr: {PN_CIDR}\nnodes:\n  - {{ name: {NODE}, address: {NODE_ADDRESS} }}\nvantages:\n  - {{ vantage: {} }}\n",
        node_vantage()
    );
    for index in 0..HOSTS {
        let (vantage, address) = (host_vantage(index), host_address(index));
        let _ = writeln!(text, "  - {{ vantage: {vantage}, address: {address} }}");
    }
    text.push_str("targets:\n");
    for pod in PODS {
        let (account, instance, port) = (pod.account, pod.instance, pod.node_port);
        let _ = writeln!(
            text,
            "  - {{ account: {account}, tenant: {account}, instance: {instance}, node: {NODE}, address: {NODE_ADDRESS}, port: {port} }}"
        );
    }
    text
}

/// The client paths that the exporter's metrics do not show as up (`pnwatch_path_state` 1).
fn paths_not_up(metrics: &str) -> Vec<String> {
    let mut missing = BTreeSet::new();
    for index in 0..HOSTS {
        for pod in PODS {
            missing.insert((host_vantage(index), pod.account.to_owned()));
        }
    }
    for line in metrics.lines() {
        let Some(labels) = line.strip_prefix("pnwatch_path_state{") else {
            continue;
        };
        let Some((labels, value)) = labels.rsplit_once('}') else {
            continue;
        };
        if label(labels, "layer") == Some("http") && value.trim() == "1" {
            let key = (label(labels, "vantage"), label(labels, "account"));
            if let (Some(vantage), Some(account)) = key {
                missing.remove(&(vantage.to_owned(), account.to_owned()));
            }
        }
    }
    missing
        .iter()
        .map(|(vantage, account)| format!("{vantage} to {account}"))
        .collect()
}

/// The value of one label. None of the lab's own names holds a comma, a quote or a backslash.
pub(crate) fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    labels.split(',').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key == name).then(|| value.trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inventory_names_every_target_and_vantage() {
        let text = inventory();
        for line in [
            "  - { name: prod-kura-fleet-1, address: 172.16.0.2 }\n",
            "  - { vantage: node/prod-kura-fleet-1 }\n",
            "  - { vantage: host/mini-2, address: 172.16.0.13 }\n",
            "  - { account: acme, tenant: acme, instance: kura-acme-scw-fr-par, node: prod-kura-fleet-1, address: 172.16.0.2, port: 30816 }\n",
        ] {
            assert!(text.contains(line), "{line} missing in\n{text}");
        }
    }

    #[test]
    fn a_path_counts_only_when_it_is_up() {
        let all = paths_not_up("");
        assert_eq!(all.len(), HOSTS * PODS.len());
        let line = |state| {
            format!(
                "pnwatch_path_state{{account=\"tuist\",instance=\"i\",kind=\"nodeport\",layer=\"http\",node=\"n\",vantage=\"host/mini-0\"}} {state}\n"
            )
        };
        assert_eq!(paths_not_up(&line(4)).len(), all.len());
        assert_eq!(paths_not_up(&line(1)).len(), all.len() - 1);
        assert!(!paths_not_up(&line(1)).contains(&"host/mini-0 to tuist".to_owned()));
    }
}
