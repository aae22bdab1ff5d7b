//! `pnwatch-bench sampling`: what it costs to sample many network devices once a second.
//!
//! A namespace of its own with veth pairs that carry a trickle; in it this program again, which
//! runs the prober's own sampler and nothing else, and counts the CPU of its whole process. Needs
//! root. The last line is one JSON object; `wrong` lists what is not within the goal.

use std::net::UdpSocket;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use pnwatch_core::time::Tick;
use pnwatch_edge::clock::{SharedClock, SystemClock};
use pnwatch_prober::counters::Usage;
use pnwatch_prober::devices::{Devices, follow};
use serde_json::{Value, json};
use tokio::sync::watch;

/// The goal: percent of a core for 50 devices.
const GOAL_PERCENT: f64 = 0.2;
/// Samples back to back.
const AT_ONCE: u64 = 2_000;

/// What it costs to sample many network devices once a second (needs root)
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Devices
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(2..=60))]
    devices: u16,
    /// How long to sample once a second
    #[arg(long = "for", value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    lasting: Duration,
    /// In the namespace already
    #[arg(long, hide = true)]
    inside: bool,
}

/// The namespace; gone with the value.
struct Namespace(String);

impl Namespace {
    fn new(devices: u16) -> anyhow::Result<Self> {
        let namespace = Self(format!("pb{}-sampling", std::process::id()));
        let name = &namespace.0;
        ip(&format!("netns add {name}")).context("namespaces need root")?;
        for pair in 0..devices.div_ceil(2) {
            let (one, other) = (device(2 * pair), device(2 * pair + 1));
            ip(&format!(
                "-n {name} link add {one} type veth peer name {other}"
            ))?;
            ip(&format!("-n {name} addr add 198.18.{pair}.1/24 dev {one}"))?;
            ip(&format!("-n {name} link set {one} up"))?;
            ip(&format!("-n {name} link set {other} up"))?;
        }
        Ok(namespace)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let name = &self.0;
        if let Err(error) = ip(&format!("netns del {name}")) {
            eprintln!("pnwatch-bench: {error:#}; delete it by hand: ip netns del {name}");
        }
    }
}

fn device(number: u16) -> String {
    format!("d{number}")
}

fn ip(line: &str) -> anyhow::Result<()> {
    let output = Command::new("ip").args(line.split_whitespace()).output();
    let output = output.context("ip is needed")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {line}: {}", said.trim());
    Ok(())
}

/// Measures and tells.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(
        args.lasting >= Duration::from_secs(5),
        "--for must be at least 5s: fewer samples are one cold cache"
    );
    if args.inside {
        return inside(args);
    }
    let namespace = Namespace::new(args.devices)?;
    // ip(8) also mounts the namespace's own /sys, where speeds and parents are read.
    let status = Command::new("ip")
        .args(["netns", "exec", &namespace.0])
        .arg(std::env::current_exe()?)
        .args(["sampling", "--inside", "--devices"])
        .arg(args.devices.to_string())
        .arg("--for")
        .arg(format!("{}ms", args.lasting.as_millis()))
        .status()?;
    ensure!(status.success(), "the measurement failed: {status}");
    Ok(())
}

fn inside(args: &Args) -> anyhow::Result<()> {
    let names: Vec<String> = (1..args.devices).map(device).collect();
    let once_a_second = paced(&names, args.lasting)?;
    let at_once = back_to_back(&names)?;
    let percent = once_a_second["core_percent"].as_f64().unwrap_or(f64::MAX);
    let mut wrong = Vec::new();
    if percent >= GOAL_PERCENT {
        wrong.push(format!(
            "{} devices cost {percent:.3} % of a core, the goal is under {GOAL_PERCENT} %",
            args.devices
        ));
    }
    println!(
        "{} devices once a second for {} s: {percent:.3} % of a core; back to back {:.0} µs a sample",
        args.devices,
        args.lasting.as_secs(),
        at_once["us_per_sample"].as_f64().unwrap_or_default()
    );
    println!(
        "{}",
        json!({
            "devices": args.devices,
            "goal_core_percent": GOAL_PERCENT,
            "once_a_second": once_a_second,
            "back_to_back": at_once,
            "wrong": wrong,
        })
    );
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(())
}

/// The sampler as the prober runs it, on a runtime as the prober's, for `lasting`.
fn paced(names: &[String], lasting: Duration) -> anyhow::Result<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let clock: SharedClock = Arc::new(SystemClock::new());
    let (tell, mut heard) = watch::channel(Vec::new());
    let socket = UdpSocket::bind("198.18.0.1:0")?;
    socket.set_broadcast(true)?;
    runtime.block_on(async {
        tokio::spawn(follow(device(0), names.to_vec(), clock, tell));
        // Threads, socket and caches are there after the first samples.
        for _ in 0..3 {
            heard.changed().await?;
        }
        let (before, began) = (Usage::read().cpu, Instant::now());
        let mut samples = 0u64;
        while began.elapsed() < lasting {
            heard.changed().await?;
            samples += 1;
            let told = heard.borrow_and_update().len();
            ensure!(
                told == names.len() + 1,
                "{told} of {} devices were told",
                names.len() + 1
            );
            socket.send_to(&[0; 1_000], "198.18.0.255:9")?;
        }
        let window = began.elapsed();
        let spent = Usage::read().cpu.saturating_sub(before);
        let sent = heard.borrow();
        let sent = sent.iter().find(|d| d.device == "d0");
        let sent = sent.and_then(|d| d.transmit_throughput.as_ref());
        let sent = sent.map_or(0, |seen| seen.bytes);
        ensure!(
            sent >= (samples - 1) * 1_000,
            "{sent} bytes were told of {samples} datagrams: this is no measurement"
        );
        anyhow::Ok(json!({
            "seconds": window.as_secs_f64(),
            "samples": samples,
            "cpu_ms": spent.as_secs_f64() * 1e3,
            "core_percent": 100.0 * spent.as_secs_f64() / window.as_secs_f64(),
        }))
    })
}

/// One sample after the other: what is left when nothing has to be woken up.
fn back_to_back(names: &[String]) -> anyhow::Result<Value> {
    let mut devices = Devices::new("d0", names);
    let before = Usage::read().cpu;
    for second in 0..AT_ONCE {
        let told = devices.sample(Tick::from_millis(second * 1_000)).len();
        ensure!(told == names.len() + 1, "only {told} devices were told");
    }
    let spent = Usage::read().cpu.saturating_sub(before);
    Ok(json!({
        "samples": AT_ONCE,
        "us_per_sample": spent.as_secs_f64() * 1e6 / AT_ONCE as f64,
    }))
}
