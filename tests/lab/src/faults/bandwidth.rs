//! Devices that are held down, and devices that merely carry what is asked of them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use crate::command::IP;
use crate::judge::Also;
use crate::lab::Lab;
use crate::net::Namespace;
use crate::topology::{NODE_DEVICE, host_address};
use crate::wait;

/// The host that takes the stream.
const TAKER: usize = 0;
/// Its port.
const PORT: u16 = 9400;
/// What is asked for, Mbit/s.
const DEMAND: u64 = 800;
/// The level of the bucket, Mbit/s.
const LEVEL: u64 = 200;
/// The bucket: four seconds of demand above the level.
const BUCKET: &str = "300mb";
/// What a client's gigabit card carries, Mbit/s: 117 MB/s.
const CARD: u64 = 936;
/// How much a burst carries, Mbit/s, and for how long.
const BURST: (u64, Duration) = (600, Duration::from_secs(10));
/// How far the level of a clamp may be from the bucket's own.
const LEVEL_WITHIN: f64 = 0.05;
/// How far the peak may be from what the sender counted.
const PEAK_WITHIN: f64 = 0.02;
/// From a second's end to its being in the metrics: sampled each second, reported each second.
const TOLD: Duration = Duration::from_millis(2_500);

/// A token bucket lies before the node's PN device; then a stream asks for more than its level.
/// The fault's time is the stream's begin: the bucket alone disturbs nobody.
pub(super) fn clamp(lab: &mut Lab) -> Result<Timestamp> {
    let node = lab.network.node.namespace.clone();
    shape(&node, NODE_DEVICE, (LEVEL, BUCKET))?;
    stream(lab, DEMAND)
}

pub(super) fn unclamp(lab: &mut Lab) -> Result<()> {
    end_stream(lab)?;
    unshape(&lab.network.node.namespace, NODE_DEVICE)
}

/// Puts a token bucket before `device`: `level` Mbit/s, after `bucket` in the words of tc(8).
pub(crate) fn shape(
    namespace: &Namespace,
    device: &str,
    (level, bucket): (u64, &str),
) -> Result<()> {
    let namespace = namespace.name();
    let rule = format!(
        "netns exec {namespace} tc qdisc add dev {device} root tbf rate {level}mbit burst {bucket} latency 20ms"
    );
    IP.run(rule.split_whitespace(), "")
        .map(drop)
        .map_err(Into::into)
}

/// Takes the token bucket before `device` away.
pub(crate) fn unshape(namespace: &Namespace, device: &str) -> Result<()> {
    let namespace = namespace.name();
    let rule = format!("netns exec {namespace} tc qdisc del dev {device} root");
    IP.run(rule.split_whitespace(), "")
        .map(drop)
        .map_err(Into::into)
}

/// A tenant at its cap from the first second: flat, and nothing is in its way.
pub(super) fn steady(lab: &mut Lab) -> Result<Timestamp> {
    stream(lab, 750)
}

/// A client that takes as fast as its card goes.
pub(super) fn client(lab: &mut Lab) -> Result<Timestamp> {
    stream(lab, CARD)
}

pub(super) fn burst(lab: &mut Lab) -> Result<Timestamp> {
    stream(lab, BURST.0)
}

/// The burst, and the time until it is told: a peak of 15 s is soon gone again.
pub(super) fn burst_passes(lab: &mut Lab, _: Duration) -> Result<()> {
    wait::pass(BURST.1)?;
    lab.processes.kill("stream-sender")?;
    wait::pass(TOLD)
}

/// The level that is told is the bucket's.
pub(super) fn level(lab: &mut Lab, _: Timestamp, also: &mut Also) -> Result<()> {
    let name = "pnwatch_node_network_plateau_bytes_per_second";
    let told = metric(lab, name, &["direction=\"transmit\"", "plane=\"pn\""])?;
    let wanted = (LEVEL * 125_000) as f64;
    compare(also, "the level", told, wanted, LEVEL_WITHIN);
    Ok(())
}

/// The highest second of the last 15 is the sender's highest.
pub(super) fn peak(lab: &mut Lab, _: Timestamp, also: &mut Also) -> Result<()> {
    let labels = ["direction=\"transmit\"", "plane=\"pn\"", "window=\"15s\""];
    let told = metric(lab, "pnwatch_node_network_peak_bytes_per_second", &labels)?;
    let log = std::fs::read_to_string(lab.processes.log("stream-sender"))?;
    // The log has other streams before this one.
    let seconds = usize::try_from(BURST.1.as_secs())?.saturating_sub(1);
    let lines = log.lines().rev().take(seconds);
    let counted = lines.filter_map(|line| line.strip_suffix(" bytes in a second"));
    let counted = counted.filter_map(|bytes| bytes.parse::<f64>().ok());
    let most = counted.fold(0.0, f64::max);
    compare(also, "the peak of 15 s", told, most, PEAK_WITHIN);
    Ok(())
}

fn compare(also: &mut Also, what: &str, told: Option<f64>, wanted: f64, within: f64) {
    let Some(told) = told else {
        also.note(false, format!("{what} is not told"));
        return;
    };
    let off = (told - wanted) / wanted.max(1.0);
    let said = format!(
        "{what} is told as {:.1} MB/s, {:+.1} % of {:.1}",
        told / 1e6,
        off * 100.0,
        wanted / 1e6
    );
    also.note(off.abs() <= within, said);
}

/// The sample of the first exporter that has all these labels.
fn metric(lab: &Lab, name: &str, labels: &[&str]) -> Result<Option<f64>> {
    let text = lab.daemons.as_ref().context("no pnwatch")?.metrics()?;
    let mut samples = text.lines().filter(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('{'))
            && labels.iter().all(|label| line.contains(label))
    });
    let value = samples.next().and_then(|line| line.rsplit_once(' '));
    Ok(value.and_then(|(_, value)| value.parse().ok()))
}

fn stream(lab: &mut Lab, megabits: u64) -> Result<Timestamp> {
    let taker = lab.network.hosts.get(TAKER).context("no such host")?;
    let address = format!("{}:{PORT}", host_address(TAKER));
    let program = std::env::current_exe()?;
    lab.processes.start(
        "stream-taker",
        &taker.namespace,
        &program,
        &["take", &address],
    )?;
    let began = Timestamp::now();
    lab.processes.start(
        "stream-sender",
        &lab.network.node.namespace,
        &program,
        &["send", &address, &megabits.to_string()],
    )?;
    Ok(began)
}

pub(super) fn end_stream(lab: &mut Lab) -> Result<()> {
    lab.processes.kill("stream-sender")?;
    lab.processes.kill("stream-taker")
}
