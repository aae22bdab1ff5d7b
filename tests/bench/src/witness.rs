//! `pnwatch-bench witness`: what the receiver's witness costs at a given rate of SYNs, and how
//! exactly it counts, beside tcpdump on the same device.
//!
//! Two namespaces and a cable between them. On the one side real connects to a port that drops
//! them; on the other the prober's own witness, alone on its thread, whose CPU the kernel counts.
//! Needs root and tcpdump.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use pnwatch_edge::clock::{SharedClock, SystemClock};
use pnwatch_prober::link::Leg;
use pnwatch_prober::witness::{Snapshot, follow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::sync::watch;

/// Shorter than the witness's window, so that one report holds every count.
const BURST: Duration = Duration::from_secs(8);
/// Clients, each with an address of its own.
const CLIENTS: u8 = 32;
const NODE: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 2);
const PORT: u16 = 30815;

/// What the receiver's witness costs, and how exactly it counts
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// SYNs a second
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Bursts of 8 s
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    runs: u16,
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
}

/// Two namespaces that are joined by a cable; gone with the value.
struct Pair {
    own: String,
    node: String,
}

impl Pair {
    fn new() -> anyhow::Result<Self> {
        let id = format!("pb{}", std::process::id());
        let pair = Self {
            own: format!("{id}-own"),
            node: format!("{id}-node"),
        };
        for name in [&pair.own, &pair.node] {
            ip(&format!("netns add {name}")).context("namespaces need root")?;
        }
        let (own, node) = (&pair.own, &pair.node);
        ip(&format!(
            "-n {own} link add pn0 index 77 type veth peer name pn0 netns {node}"
        ))?;
        for client in 0..CLIENTS {
            ip(&format!("-n {own} addr add 172.16.1.{client}/22 dev pn0"))?;
        }
        ip(&format!("-n {node} addr add {NODE}/22 dev pn0"))?;
        ip(&format!("-n {own} link set pn0 up"))?;
        ip(&format!("-n {node} link set pn0 up"))?;
        let drop = format!(
            "table ip t {{ chain c {{ type filter hook input priority 0; tcp dport {PORT} drop; }}; }}"
        );
        command("ip", &["netns", "exec", node, "nft", &drop])?;
        Ok(pair)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for name in [&self.own, &self.node] {
            if let Err(error) = ip(&format!("netns del {name}")) {
                eprintln!("pnwatch-bench: {error:#}; delete it by hand: ip netns del {name}");
            }
        }
    }
}

fn command(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("{program} is needed"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{program} {}: {}",
        arguments.join(" "),
        said.trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn ip(line: &str) -> anyhow::Result<String> {
    command("ip", &line.split_whitespace().collect::<Vec<_>>())
}

fn enter(namespace: &str) -> anyhow::Result<()> {
    let path = PathBuf::from("/run/netns").join(namespace);
    let file = std::fs::File::open(&path)?;
    let kind = Some(LinkNameSpaceType::Network);
    move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), kind).context("needs root")
}

/// Measures and tells.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let pair = Pair::new()?;
    let mut runs = Vec::new();
    for _ in 0..args.runs {
        runs.push(one(&pair, args.rate)?);
    }
    drop(pair);
    let worst = |of: fn(&One) -> f64| runs.iter().map(of).fold(0.0, f64::max);
    let report = json!({
        "syns_per_second": args.rate,
        "runs": runs.iter().map(One::json).collect::<Vec<_>>(),
        "worst_core_percent": worst(|one| one.core_percent),
        "worst_off_tcpdump_percent": worst(One::off_percent),
    });
    if args.json {
        println!("{report}");
    } else {
        for one in &runs {
            println!(
                "sent {}: witness {} ({:.2} % of a core), tcpdump {} ({:.2} % of a core); {:.3} % apart",
                one.sent,
                one.witness,
                one.core_percent,
                one.tcpdump,
                one.tcpdump_core_percent,
                one.off_percent()
            );
        }
        println!(
            "worst: {:.2} % of a core, {:.3} % off",
            worst(|one| one.core_percent),
            worst(One::off_percent)
        );
    }
    Ok(())
}

struct One {
    sent: u64,
    witness: u64,
    tcpdump: u64,
    core_percent: f64,
    tcpdump_core_percent: f64,
}

impl One {
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    fn off_percent(&self) -> f64 {
        if self.tcpdump == 0 {
            return 100.0;
        }
        (self.witness as f64 - self.tcpdump as f64).abs() / self.tcpdump as f64 * 100.0
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "sent": self.sent,
            "witness": self.witness,
            "tcpdump": self.tcpdump,
            "core_percent": self.core_percent,
            "tcpdump_core_percent": self.tcpdump_core_percent,
            "off_tcpdump_percent": self.off_percent(),
        })
    }
}

fn one(pair: &Pair, rate: u32) -> anyhow::Result<One> {
    let dump = Dump::start(&pair.node)?;
    let (tell, heard) = watch::channel(None);
    let stop = Arc::new(AtomicBool::new(false));
    let (witness, sent) = std::thread::scope(|scope| {
        let (over, node) = (Arc::clone(&stop), pair.node.clone());
        let witness = scope.spawn(move || watch_device(&node, tell, &over));
        let sent = wait_for(&heard).and_then(|()| send(&pair.own, rate));
        // The last second's packets are in the next report.
        std::thread::sleep(Duration::from_millis(1200));
        let counted = counted(&heard);
        stop.store(true, Ordering::Relaxed);
        let cpu = witness
            .join()
            .unwrap_or_else(|_| bail!("the witness panicked"));
        (cpu.map(|cpu| (cpu, counted)), sent)
    });
    let ((cpu, counted), sent) = (witness?, sent?);
    let (tcpdump, tcpdump_cpu) = dump.stop()?;
    let share = |cpu: Duration| cpu.as_secs_f64() / BURST.as_secs_f64() * 100.0;
    Ok(One {
        sent,
        witness: counted,
        tcpdump,
        core_percent: share(cpu),
        tcpdump_core_percent: share(tcpdump_cpu),
    })
}

fn wait_for(heard: &watch::Receiver<Option<Snapshot>>) -> anyhow::Result<()> {
    let end = Instant::now() + Duration::from_secs(10);
    while heard.borrow().is_none() {
        ensure!(Instant::now() < end, "the witness does not begin");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn counted(heard: &watch::Receiver<Option<Snapshot>>) -> u64 {
    heard.borrow().as_ref().map_or(0, |snapshot| {
        let flows = snapshot.report.flows.iter();
        flows.map(|f| u64::from(f.syns)).sum::<u64>() + snapshot.report.unlisted_syns
    })
}

/// The witness as the prober runs it, and the CPU time of its thread alone.
fn watch_device(
    node: &str,
    tell: watch::Sender<Option<Snapshot>>,
    stop: &AtomicBool,
) -> anyhow::Result<Duration> {
    enter(node)?;
    let links = ip("-j link show pn0")?;
    let links: serde_json::Value = serde_json::from_str(&links)?;
    let index = links[0]["ifindex"].as_u64().context("no device")?;
    let leg = Leg {
        index: u32::try_from(index).ok(),
        arp: true,
        source: Some(NODE),
        ..Leg::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (_keep, leg) = watch::channel(Some(leg));
    let clock: SharedClock = Arc::new(SystemClock::new());
    runtime.block_on(async {
        tokio::spawn(follow(leg, clock, tell));
        while !stop.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    Ok(Duration::new(
        spent.tv_sec.cast_unsigned(),
        u32::try_from(spent.tv_nsec)?,
    ))
}

/// Connects for [`BURST`] and returns how many SYNs left.
fn send(own: &str, rate: u32) -> anyhow::Result<u64> {
    let sent = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter(own)?;
            let began = Instant::now();
            while began.elapsed() < BURST {
                let due = began.elapsed().as_secs_f64() * f64::from(rate);
                #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
                while (sent.load(Ordering::Relaxed) as f64) < due {
                    let number = sent.fetch_add(1, Ordering::Relaxed);
                    dial(number)?;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            anyhow::Ok(())
        });
        thread
            .join()
            .unwrap_or_else(|_| bail!("the sender panicked"))
    })?;
    Ok(sent.into_inner())
}

/// One SYN: the socket is gone before it could send another.
fn dial(number: u64) -> anyhow::Result<()> {
    let client = Ipv4Addr::new(172, 16, 1, (number % u64::from(CLIENTS)) as u8);
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None)?;
    socket.set_linger(Some(Duration::ZERO))?;
    socket.bind(&SockAddr::from(SocketAddr::from((client, 0))))?;
    match socket.connect(&SockAddr::from(SocketAddr::from((NODE, PORT)))) {
        Err(error)
            if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) =>
        {
            Ok(())
        }
        Err(error) => Err(error).context("connect"),
        Ok(()) => bail!("a port that drops was connected to"),
    }
}

/// tcpdump that counts the same packets.
struct Dump(Child);

impl Dump {
    fn start(node: &str) -> anyhow::Result<Self> {
        let mut child = Command::new("ip")
            .args(["netns", "exec", node, "tcpdump", "-i", "pn0", "-n", "-p"])
            .args(["-B", "32768", "-s", "80", "-w", "/dev/null"])
            .arg("tcp[tcpflags] & tcp-syn != 0")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("tcpdump is needed")?;
        // It says `listening on` once it captures.
        let mut said = String::new();
        let stderr = child.stderr.as_mut().context("no stderr")?;
        let mut byte = [0u8];
        while !said.contains("listening on") {
            ensure!(
                std::io::Read::read(stderr, &mut byte)? == 1,
                "tcpdump ended: {said}"
            );
            said.push(byte[0].into());
        }
        Ok(Self(child))
    }

    /// Packets captured, and the CPU time that it took.
    fn stop(mut self) -> anyhow::Result<(u64, Duration)> {
        let cpu = crate::process::look(self.0.id())?.cpu;
        let id = i32::try_from(self.0.id())?;
        let id = rustix::process::Pid::from_raw(id).context("no process")?;
        rustix::process::kill_process(id, rustix::process::Signal::INT)?;
        let mut said = String::new();
        let stderr = self.0.stderr.as_mut().context("no stderr")?;
        std::io::Read::read_to_string(stderr, &mut said)?;
        self.0.wait()?;
        let line = said.lines().find(|line| line.contains("packets captured"));
        let count = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        Ok((count.context("tcpdump tells no count")?, cpu))
    }
}
