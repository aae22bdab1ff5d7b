//! Vantages without a network behind them: their reports are real and go over real connections,
//! by the prober's own transport; what they claim to have seen is made up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use pnwatch_core::link::{DeviceState, HeldAddress, LinkFacts, RouteFact};
use pnwatch_core::name::{Cluster, Vantage};
use pnwatch_core::outcome::{Cause, Layer, Outcome};
use pnwatch_core::subject::Subject;
use pnwatch_core::time::Timestamp;
use pnwatch_core::wire::{LinkReport, PathReport, REPORT_VERSION, Report, Run};
use pnwatch_prober::counters::{Counters, Usage};
use pnwatch_prober::evidence::PATHS_PER_REPORT;
use pnwatch_prober::transport::{HttpTransport, PLAN_WAIT, Transport as _};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::site::{Site, vantage_address};

/// What all vantages share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Of the targets, the HTTP checks of this many fail: every second one from the first on.
    pub(super) failing: AtomicUsize,
    /// Reports that were answered with 200.
    pub(super) accepted: AtomicU64,
    /// Checks that they told of.
    pub(super) checks: AtomicU64,
    /// Reports that were not.
    pub(super) refused: AtomicU64,
    /// Plans that came.
    pub(super) plans: AtomicU64,
    /// From handing a report over to having the answer, which comes after the judgement.
    judged: Mutex<Vec<Duration>>,
}

impl Shared {
    /// Takes the times that were measured so far.
    pub(super) fn take_judged(&self) -> Vec<Duration> {
        core::mem::take(&mut *self.judged.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What every vantage checks.
pub(super) struct Checked {
    nodes: Vec<Subject>,
    targets: Vec<Subject>,
}

impl Checked {
    pub(super) fn of(site: &Site) -> Self {
        let nodes = site.inventory.nodes.keys();
        Self {
            nodes: nodes.map(|n| Subject::Node(n.clone())).collect(),
            targets: site.inventory.targets.keys().cloned().collect(),
        }
    }

    /// Checks that one vantage makes in a second.
    pub(super) fn paths(&self) -> usize {
        self.nodes.len() + 2 * self.targets.len()
    }
}

/// Vantages that report until they are dropped.
pub(super) struct Fleet {
    tasks: JoinSet<()>,
    pub(super) shared: Arc<Shared>,
}

impl Fleet {
    /// Starts the vantages `names`, their reports spread over the second.
    pub(super) fn start(
        site: &Site,
        names: &[String],
        checked: &Arc<Checked>,
    ) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut tasks = JoinSet::new();
        let began = Instant::now();
        for (n, name) in names.iter().enumerate() {
            let transport = Arc::new(HttpTransport::new(&site.endpoint(name)?)?);
            let one = One {
                vantage: name.parse()?,
                cluster: Cluster::new("bench")?,
                number: n,
                checked: Arc::clone(checked),
                shared: Arc::clone(&shared),
                seq: 0,
            };
            let phase = Duration::from_secs(1) * u32::try_from(n).context("too many")?
                / u32::try_from(names.len()).context("too many")?;
            tasks.spawn(follow_plans(Arc::clone(&transport), Arc::clone(&shared)));
            tasks.spawn(one.run(transport, began + phase));
        }
        Ok(Self { tasks, shared })
    }

    /// Ends all of them at once, without a goodbye.
    pub(super) async fn vanish(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn follow_plans(transport: Arc<HttpTransport>, shared: Arc<Shared>) {
    let mut have = None;
    loop {
        match transport.plan(have.as_ref(), PLAN_WAIT).await {
            Ok(Some(plan)) => {
                shared.plans.fetch_add(1, Ordering::Relaxed);
                have = Some(plan.id);
            }
            Ok(None) => {}
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

struct One {
    vantage: Vantage,
    cluster: Cluster,
    number: usize,
    checked: Arc<Checked>,
    shared: Arc<Shared>,
    seq: u64,
}

impl One {
    async fn run(mut self, transport: Arc<HttpTransport>, first: Instant) {
        let mut second = tokio::time::interval_at(first, Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            second.tick().await;
            let paths = self.paths();
            // As the prober does: what is too much for one report goes in several.
            for part in paths.chunks(PATHS_PER_REPORT) {
                let report = self.report(part.to_vec());
                let checks = report.paths.len() as u64;
                let began = Instant::now();
                match transport.report(&report).await {
                    Ok(_) => {
                        let took = began.elapsed();
                        let mut judged = self.shared.judged.lock();
                        judged.as_mut().unwrap_or_else(|e| e.get_mut()).push(took);
                        self.shared.accepted.fetch_add(1, Ordering::Relaxed);
                        self.shared.checks.fetch_add(checks, Ordering::Relaxed);
                    }
                    Err(error) => {
                        if self.shared.refused.fetch_add(1, Ordering::Relaxed) < 3 {
                            eprintln!("{}: {error}", self.vantage);
                        }
                    }
                }
            }
        }
    }

    fn paths(&self) -> Vec<PathReport> {
        let failing = self.shared.failing.load(Ordering::Relaxed);
        let targets = &self.checked.targets;
        let mut paths = Vec::with_capacity(self.checked.paths());
        for (n, node) in self.checked.nodes.iter().enumerate() {
            paths.push(self.path(node, Layer::Arp, n, Outcome::Reached));
        }
        for (n, target) in targets.iter().enumerate() {
            paths.push(self.path(target, Layer::Tcp, n, Outcome::Reached));
            let fails = n % 2 == 0 && n / 2 < failing;
            let outcome = if fails {
                Outcome::Unreached(Cause::Http5xx)
            } else {
                Outcome::Reached
            };
            paths.push(self.path(target, Layer::Http, n, outcome));
        }
        paths
    }

    /// One check of the last second. Its age is stable, as a schedule's phase is.
    fn path(&self, subject: &Subject, layer: Layer, n: usize, outcome: Outcome) -> PathReport {
        let mixed = (n * 7919 + self.number * 104_729) as u64;
        let age = mixed % 1_000_000;
        let reached = outcome == Outcome::Reached;
        let rtt = 180 + ((mixed / 7 + self.seq * 31) % 400) as u32;
        let rtts = |rtt| if reached { vec![rtt] } else { Vec::new() };
        PathReport {
            subject: subject.clone(),
            layer,
            runs: vec![Run {
                outcome,
                count: 1,
                first_age_us: age,
                last_age_us: age,
                rtt_us: rtts(rtt),
                kernel_rtt_us: if layer == Layer::Tcp {
                    rtts(rtt / 3)
                } else {
                    Vec::new()
                },
            }],
            mac: None,
        }
    }

    fn report(&mut self, paths: Vec<PathReport>) -> Report {
        self.seq += 1;
        let address = vantage_address(self.number);
        let device = if matches!(self.vantage, Vantage::Vm(..)) {
            "en0"
        } else {
            "vlan0"
        };
        let counters = Counters {
            checks: self.seq * self.checked.paths() as u64,
            reports: self.seq,
            arp_available: Some(true),
            usage: Usage {
                rss_bytes: 16 << 20,
                cpu: Duration::from_millis(self.seq * 30),
            },
            ..Counters::default()
        };
        Report {
            version: REPORT_VERSION,
            cluster: self.cluster.clone(),
            vantage: self.vantage.clone(),
            boot_id: format!("bench-{}", std::process::id()),
            seq: self.seq,
            plan_id: None,
            // Told and never trusted.
            sent_at: Timestamp::from_unix_nanos(0),
            stopping: false,
            history: false,
            behind: false,
            vms: Vec::new(),
            paths,
            link: Some(LinkReport {
                facts: LinkFacts {
                    device: device.to_owned(),
                    state: DeviceState::Up,
                    mac: None,
                    addresses: vec![HeldAddress {
                        address,
                        prefix_len: 10,
                        valid_for_s: Some(3000),
                        renewed_ago_s: Some(600),
                    }],
                    route: Some(RouteFact {
                        to: vantage_address(0),
                        device: Some(device.to_owned()),
                        via_gateway: false,
                    }),
                    filter: None,
                },
                held_us: 60_000_000 + self.seq * 1_000_000,
            }),
            ready: Vec::new(),
            large: Vec::new(),
            witness: None,
            counters: counters.wire(),
            devices: Vec::new(),
        }
    }
}
