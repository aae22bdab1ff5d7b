//! An exporter's ingest reduced to what a prober needs: hands out one plan, takes reports.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pnwatch_core::inventory::InventoryFile;
use pnwatch_core::name::{Cluster, Vantage};
use pnwatch_core::outcome::{Layer, Outcome};
use pnwatch_core::plan::{Pace, Plan};
use pnwatch_core::subject::Subject;
use pnwatch_core::wire::Report;
use serde_json::json;

use super::bare::Kind;
use super::peer;
use super::wire::{End, RANGE, Wire, far};

/// Who probes.
pub(super) const VANTAGE: &str = "host/bench";
/// How long a plan request is held.
const HOLD: Duration = Duration::from_secs(20);

/// What the reports said.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// Counted outcomes by layer and their label.
    pub(super) outcomes: BTreeMap<(Layer, String), u64>,
    /// Kernel round trips by target, in the order of the checks, microseconds.
    pub(super) kernel_us: BTreeMap<(Ipv4Addr, u16), Vec<u32>>,
    /// The prober's own counters as told last.
    pub(super) counters: BTreeMap<String, f64>,
}

impl Told {
    /// Outcomes of `layer` for which `counts` holds.
    pub(super) fn of(&self, layer: Layer, counts: impl Fn(&str) -> bool) -> u64 {
        let seen = self.outcomes.iter();
        seen.filter(|((l, label), _)| *l == layer && counts(label))
            .map(|(_, count)| count)
            .sum()
    }

    pub(super) fn counter(&self, name: &str) -> f64 {
        self.counters.get(name).copied().unwrap_or(0.0)
    }
}

/// Takes reports until the process ends.
pub(super) struct Sink {
    pub(super) address: SocketAddr,
    told: Arc<Mutex<Told>>,
}

impl Sink {
    /// Hands out a plan of `count` targets of `kind`, each once a second.
    pub(super) fn start(wire: &Wire, kind: Kind, count: usize) -> anyhow::Result<Self> {
        let plan = plan(kind, count)?;
        let targets: BTreeMap<Subject, (Ipv4Addr, u16)> = plan
            .targets
            .iter()
            .map(|t| (t.subject(), (t.address, t.port)))
            .collect();
        let bytes = serde_json::to_vec(&plan)?;
        let listener = wire.inside(End::Near, || Ok(TcpListener::bind("127.0.0.1:0")?));
        let listener = listener.join().map_err(|_| anyhow::anyhow!("panicked"))??;
        let sink = Self {
            address: listener.local_addr()?,
            told: Arc::default(),
        };
        let shared = Arc::new((bytes, targets, Arc::clone(&sink.told)));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(&stream, &shared));
            }
        });
        Ok(sink)
    }

    /// What was told since the last call.
    pub(super) fn take(&self) -> Told {
        core::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// `count` targets of `kind`, each once a second.
pub(super) fn plan(kind: Kind, count: usize) -> anyhow::Result<Plan> {
    let target = |n: usize| {
        let (address, port) = peer::target(n);
        json!({ "account": format!("account-{n:05}"), "instance": format!("kura-{n:05}"),
                "tenant": "bench", "node": node(address), "address": address, "port": port })
    };
    let addresses: Vec<Ipv4Addr> = match kind {
        Kind::Http => {
            let mut all: Vec<Ipv4Addr> = (0..count).map(|n| peer::target(n).0).collect();
            all.dedup();
            all
        }
        Kind::Arp => (0..count).map(far).collect(),
    };
    let nodes = addresses
        .iter()
        .map(|a| json!({ "name": node(*a), "address": a }));
    let targets = match kind {
        Kind::Http => (0..count).map(target).collect(),
        Kind::Arp => Vec::new(),
    };
    let file: InventoryFile = serde_json::from_value(json!({
        "pn_cidr": RANGE, "nodes": nodes.collect::<Vec<_>>(),
        "vantages": [{ "vantage": VANTAGE }], "targets": targets,
    }))?;
    let inventory = file.into_inventory(Cluster::new("bench")?)?;
    let vantage: Vantage = VANTAGE.parse()?;
    // `/ready` is asked beside the checks that are compared: as seldom as a plan may say.
    let pace = Pace {
        ready_ms: 300_000,
        ..Pace::default()
    };
    let mut plan = Plan::for_vantage(&inventory, &vantage, &BTreeMap::new(), pace);
    if kind == Kind::Http {
        // Only what is compared: no ARP beside it.
        plan.nodes.clear();
        plan.id = plan.content_id();
    }
    Ok(plan)
}

fn node(address: Ipv4Addr) -> String {
    format!("node-{}", address.to_string().replace('.', "-"))
}

type Shared = (
    Vec<u8>,
    BTreeMap<Subject, (Ipv4Addr, u16)>,
    Arc<Mutex<Told>>,
);

fn serve(stream: &TcpStream, shared: &Shared) {
    let mut reader = BufReader::new(stream);
    while let Some((head, body)) = request(&mut reader) {
        let answer: Vec<u8> = if head.starts_with("GET /v1/plan") {
            if head.contains("have=") {
                std::thread::sleep(HOLD);
                b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec()
            } else {
                let plan = &shared.0;
                let mut answer =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", plan.len())
                        .into_bytes();
                answer.extend_from_slice(plan);
                answer
            }
        } else {
            take(&body, shared);
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_vec()
        };
        let mut writer = stream;
        if writer.write_all(&answer).is_err() {
            return;
        }
    }
}

fn request(reader: &mut BufReader<&TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}

fn take(body: &[u8], (_, targets, told): &Shared) {
    let mut json = Vec::new();
    let unpacked = flate2::read::GzDecoder::new(body).read_to_end(&mut json);
    let report = match unpacked.map(|_| Report::from_json(&json)) {
        Ok(Ok(report)) => report,
        other => {
            eprintln!("a report does not read: {other:?}");
            return;
        }
    };
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    for path in &report.paths {
        for run in &path.runs {
            let label = match run.outcome {
                Outcome::Reached => "reached".to_owned(),
                Outcome::NotApplicable => "not_applicable".to_owned(),
                Outcome::Unreached(cause) => format!("unreached:{}", cause.as_label()),
                Outcome::Unmeasured(blind) => format!("unmeasured:{}", blind.as_label()),
            };
            *told.outcomes.entry((path.layer, label)).or_default() += u64::from(run.count);
            if path.layer == Layer::Tcp
                && let Some(target) = targets.get(&path.subject)
            {
                let list = told.kernel_us.entry(*target).or_default();
                list.extend(&run.kernel_rtt_us);
            }
        }
    }
    for counter in report.counters {
        told.counters.insert(counter.name, counter.value);
    }
}
