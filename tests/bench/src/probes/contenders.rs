//! Who is compared: `pnwatch probe`, `prometheus-blackbox-exporter`, `fping`, the bare loop.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use pnwatch_core::outcome::Layer;
use pnwatch_edge::http::{Client, ClientSettings};
use serde_json::{Value, json};

use super::bare::{self, Kind};
use super::peer::{self, Peer};
use super::sink::{Sink, Told, VANTAGE};
use super::stamps::{Handshakes, Stamps, lateness};
use super::wire::{DEVICE, End, RANGE, Wire, far};
use crate::process::look;

/// Each target is checked once in this.
const EVERY: Duration = Duration::from_secs(1);
/// Addresses that fping asks.
const ADDRESSES: usize = 400;
/// How long a program may take to begin.
const BEGIN: Duration = Duration::from_secs(30);

/// One field, one window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) kind: Kind,
    pub(super) targets: usize,
    pub(super) lasting: Duration,
    /// Between the first check and the window.
    pub(super) warm_up: Duration,
}

impl Field {
    fn list(self) -> Vec<(Ipv4Addr, u16)> {
        match self.kind {
            Kind::Http => (0..self.targets).map(peer::target).collect(),
            Kind::Arp => (0..self.targets).map(|n| (far(n), 0)).collect(),
        }
    }

    fn between(self) -> Duration {
        EVERY / u32::try_from(self.targets).unwrap_or(u32::MAX)
    }
}

/// What one of them cost in one window.
#[derive(Debug, Clone)]
pub(super) struct Cost {
    pub(super) checks: u64,
    pub(super) cpu: Duration,
    pub(super) resident_kb: u64,
    /// Of it, what is not pages of the program.
    pub(super) own_kb: u64,
    /// Slots that passed without a check.
    pub(super) missed: u64,
    /// Sorted; empty where the wire shows no SYN.
    pub(super) late: Vec<Duration>,
    /// How far the round trip that it tells is from the wire's, sorted.
    pub(super) error: Vec<Duration>,
    /// What the prober told.
    pub(super) told: Told,
}

impl Cost {
    pub(super) fn us_per_check(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.checks.max(1) as f64
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "checks": self.checks,
            "cpu_us_per_check": self.us_per_check(),
            "resident_mib": self.resident_kb as f64 / 1024.0,
            "own_mib": self.own_kb as f64 / 1024.0,
            "missed_slots": self.missed,
            "late_ms": { "p50": ms(&self.late, 0.5), "p99": ms(&self.late, 0.99) },
            "rtt_error_us": {
                "p50": ms(&self.error, 0.5).map(|v| v * 1e3),
                "p99": ms(&self.error, 0.99).map(|v| v * 1e3),
                "worst": ms(&self.error, 1.0).map(|v| v * 1e3),
            },
        })
    }
}

/// A quantile of sorted times in milliseconds.
pub(super) fn ms(sorted: &[Duration], quantile: f64) -> Option<f64> {
    let at = (sorted.len().checked_sub(1)? as f64 * quantile).round() as usize;
    sorted.get(at).map(|t| t.as_secs_f64() * 1e3)
}

/// A child that ends with its window.
pub(super) struct Running(pub(super) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing of it is kept.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `pnwatch probe`, as it ships, with a plan and a place for its reports.
pub(super) struct Prober {
    running: Running,
    pub(super) sink: Sink,
    _folder: tempfile::TempDir,
}

impl Prober {
    pub(super) fn start(wire: &Wire, pnwatch: &Path, field: Field) -> anyhow::Result<Self> {
        let sink = Sink::start(wire, field.kind, field.targets)?;
        let folder = tempfile::tempdir()?;
        let token = folder.path().join("token");
        std::fs::write(&token, "bench")?;
        let config = folder.path().join("probe.yaml");
        let settings = json!({
            "cluster": "bench", "log": { "level": "warn" },
            "probe": {
                "vantage": VANTAGE, "interface": DEVICE, "pn_cidr": RANGE,
                "exporters": [{ "url": format!("http://{}", sink.address), "token_file": token }],
                "listen": "127.0.0.1:0",
            },
        });
        std::fs::write(&config, settings.to_string())?;
        let pnwatch = pnwatch.canonicalize().with_context(|| {
            format!(
                "{}: build it with `cargo build --release`",
                pnwatch.display()
            )
        })?;
        let child = wire
            .command(End::Near, &pnwatch)
            .args(["probe", "--config"])
            .arg(&config)
            .env_remove("RUST_LOG")
            .stdout(Stdio::null())
            .spawn()?;
        let prober = Self {
            running: Running(child),
            sink,
            _folder: folder,
        };
        let began = Instant::now();
        while prober.sink.take().outcomes.is_empty() {
            ensure!(began.elapsed() < BEGIN, "no report came within {BEGIN:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
        std::thread::sleep(field.warm_up);
        Ok(prober)
    }

    pub(super) fn id(&self) -> u32 {
        self.running.0.id()
    }

    /// What it costs and tells in a window.
    pub(super) fn window(&self, wire: &Wire, field: Field) -> anyhow::Result<Cost> {
        let stamps = Stamps::start(wire);
        let begun = self.sink.take();
        let before = look(self.id())?;
        std::thread::sleep(field.lasting);
        let after = look(self.id())?;
        let told = self.sink.take();
        let seen = stamps.stop()?;
        let layer = match field.kind {
            Kind::Http => Layer::Http,
            Kind::Arp => Layer::Arp,
        };
        let missed = told.counter("missed_slots_total") - begun.counter("missed_slots_total");
        Ok(Cost {
            checks: told.of(layer, |_| true),
            cpu: after.cpu.saturating_sub(before.cpu),
            resident_kb: after.resident_kb,
            own_kb: after.own_kb,
            missed: missed.max(0.0) as u64,
            late: lateness(&seen, EVERY),
            error: told_against(&told, &seen),
            told,
        })
    }
}

/// How far what was told is from the wire: the k-th of a target against its k-th. The window's
/// edges may cut one off; then the better of the two ways to lay them side by side counts.
fn told_against(told: &Told, seen: &Handshakes) -> Vec<Duration> {
    let mut all = Vec::new();
    for (target, told) in &told.kernel_us {
        let wire: Vec<Duration> = seen
            .get(target)
            .into_iter()
            .flatten()
            .filter_map(|h| h.answered)
            .collect();
        let best = (0..3)
            .filter_map(|shift| {
                let (a, b) = (told.iter(), wire.iter().skip(shift));
                let errors: Vec<Duration> =
                    a.zip(b).map(|(t, w)| apart(u64::from(*t), *w)).collect();
                let sum: Duration = errors.iter().sum();
                let mean = sum.checked_div(u32::try_from(errors.len()).ok()?)?;
                Some((mean, errors))
            })
            .min_by_key(|(mean, _)| *mean);
        all.extend(best.into_iter().flat_map(|(_, errors)| errors));
    }
    all.sort_unstable();
    all
}

fn apart(told_us: u64, wire: Duration) -> Duration {
    Duration::from_micros(told_us).abs_diff(wire)
}

/// The bare loop.
pub(super) fn bare(wire: &Wire, field: Field) -> anyhow::Result<Cost> {
    let stamps = Stamps::start(wire);
    let done = bare::run(
        wire,
        field.kind,
        field.list(),
        (field.between(), field.lasting),
    )?;
    let seen = stamps.stop()?;
    Ok(Cost {
        checks: done.checks,
        cpu: done.cpu,
        resident_kb: 0,
        own_kb: 0,
        missed: done.missed,
        late: lateness(&seen, EVERY),
        error: Vec::new(),
        told: Told::default(),
    })
}

/// `prometheus-blackbox-exporter`, asked for each check at its slot as Prometheus asks.
pub(super) struct Blackbox {
    running: Running,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Blackbox {
    pub(super) fn start(wire: &Wire) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("blackbox.yml");
        std::fs::write(
            &config,
            "modules:\n  up:\n    prober: http\n    timeout: 5s\n    http:\n      preferred_ip_protocol: ip4\n      valid_status_codes: [200]\n",
        )?;
        let port = wire.inside(End::Near, || {
            Ok(std::net::TcpListener::bind("127.0.0.1:0")?
                .local_addr()?
                .port())
        });
        let port = port.join().map_err(|_| anyhow::anyhow!("panicked"))??;
        let child = wire
            .command(End::Near, Path::new("prometheus-blackbox-exporter"))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=error")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start prometheus-blackbox-exporter; apt-get install it")?;
        let blackbox = Self {
            running: Running(child),
            port,
            _folder: folder,
        };
        let began = Instant::now();
        loop {
            let asked = wire.inside(End::Near, move || {
                Ok(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok())
            });
            if matches!(asked.join(), Ok(Ok(true))) {
                return Ok(blackbox);
            }
            ensure!(began.elapsed() < BEGIN, "blackbox_exporter does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.running.0.id()
    }

    pub(super) fn window(&self, wire: &Wire, field: Field, answers: &Peer) -> anyhow::Result<Cost> {
        let stamps = Stamps::start(wire);
        let before = look(self.id())?;
        let answered = answers.answered();
        let said = self.drive(wire, field)?;
        let after = look(self.id())?;
        let checks = answers.answered() - answered;
        let seen = stamps.stop()?;
        let mut error = Vec::new();
        for (target, connect) in said {
            let list = seen.get(&target).into_iter().flatten();
            let best = list
                .filter_map(|h| h.answered)
                .map(|w| apart((connect * 1e6) as u64, w))
                .min();
            error.extend(best);
        }
        error.sort_unstable();
        Ok(Cost {
            checks,
            cpu: after.cpu.saturating_sub(before.cpu),
            resident_kb: after.resident_kb,
            own_kb: after.own_kb,
            missed: 0,
            late: lateness(&seen, EVERY),
            error,
            told: Told::default(),
        })
    }

    /// Asks for every check at its slot; what it says of each connect, in seconds.
    fn drive(&self, wire: &Wire, field: Field) -> anyhow::Result<Vec<((Ipv4Addr, u16), f64)>> {
        let (port, list) = (self.port, field.list());
        let asked = wire.inside(End::Near, move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(ask_all(port, list, field))
        });
        asked
            .join()
            .map_err(|_| anyhow::anyhow!("the asker panicked"))?
    }
}

type Said = Arc<Mutex<Vec<((Ipv4Addr, u16), f64)>>>;

async fn ask_all(
    port: u16,
    list: Vec<(Ipv4Addr, u16)>,
    field: Field,
) -> anyhow::Result<Vec<((Ipv4Addr, u16), f64)>> {
    let client = Arc::new(Client::new(ClientSettings {
        timeout: Duration::from_secs(5),
        ..ClientSettings::default()
    })?);
    let said: Said = Arc::default();
    let mut tasks = tokio::task::JoinSet::new();
    let start = tokio::time::Instant::now();
    let slots = (field.lasting.as_nanos() / field.between().as_nanos().max(1)) as usize;
    for slot in 0..slots {
        let at = start + field.between() * u32::try_from(slot).unwrap_or(u32::MAX);
        tokio::time::sleep_until(at).await;
        let (client, said) = (Arc::clone(&client), Arc::clone(&said));
        let target = list[slot % list.len()];
        // What it cannot keep up with is left out, as a scraper that waits would.
        while tasks.try_join_next().is_some() {}
        if tasks.len() > 512 {
            continue;
        }
        tasks.spawn(async move {
            let (address, to) = target;
            let url =
                format!("http://127.0.0.1:{port}/probe?module=up&target=http://{address}:{to}/up");
            let Ok(answer) = client.get(&url).await else {
                return;
            };
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            let connect = text
                .lines()
                .find_map(|l| l.strip_prefix("probe_http_duration_seconds{phase=\"connect\"} "))
                .and_then(|v| v.parse().ok());
            if let Some(connect) = connect {
                let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                said.push((target, connect));
            }
        });
    }
    while tasks.join_next().await.is_some() {}
    Ok(core::mem::take(
        &mut *said.lock().unwrap_or_else(PoisonError::into_inner),
    ))
}

/// `fping`, ICMP: another question, asked as cheaply as it goes.
pub(super) fn fping(wire: &Wire, field: Field) -> anyhow::Result<Cost> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("targets");
    // As many addresses as for HTTP, each asked more often: the kernel knows 1,024 neighbours.
    let addresses = field.targets.min(ADDRESSES);
    let list: Vec<String> = (0..addresses).map(|n| far(n).to_string()).collect();
    std::fs::write(&file, list.join("\n"))?;
    let period = (1000 * addresses / field.targets).to_string();
    let child = wire
        .command(End::Near, Path::new("fping"))
        .args(["-q", "-l", "-p", &period, "-i", "1", "-f"])
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start fping; apt-get install it")?;
    let running = Running(child);
    std::thread::sleep(Duration::from_secs(2));
    let echoes = || {
        let read = wire.inside(End::Far, || {
            Ok(std::fs::read_to_string("/proc/thread-self/net/snmp")?)
        });
        let text = read.join().map_err(|_| anyhow::anyhow!("panicked"))??;
        icmp_echoes(&text).context("no InEchos in /proc/net/snmp")
    };
    let (before, sent) = (look(running.0.id())?, echoes()?);
    std::thread::sleep(field.lasting);
    let (after, now) = (look(running.0.id())?, echoes()?);
    Ok(Cost {
        checks: now - sent,
        cpu: after.cpu.saturating_sub(before.cpu),
        resident_kb: after.resident_kb,
        own_kb: after.own_kb,
        missed: 0,
        late: Vec::new(),
        error: Vec::new(),
        told: Told::default(),
    })
}

fn icmp_echoes(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|l| l.starts_with("Icmp:"));
    let names = lines.next()?.split_whitespace();
    let mut values = lines.next()?.split_whitespace();
    let at = names.into_iter().position(|name| name == "InEchos")?;
    values.nth(at)?.parse().ok()
}
