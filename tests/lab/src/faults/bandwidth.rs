//! Devices that are held down, and devices that merely carry what is asked of them.

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use crate::command::IP;
use crate::lab::Lab;
use crate::topology::{NODE_DEVICE, host_address};

/// The host that takes the stream.
const TAKER: usize = 0;
/// Its port.
const PORT: u16 = 9400;
/// What is asked for, Mbit/s.
const DEMAND: u64 = 800;
/// The level of the bucket, Mbit/s.
const LEVEL: u64 = 200;
/// The bucket: four seconds of demand above the level.
const BUCKET_MB: u64 = 300;

/// A token bucket lies before the node's PN device; then a stream asks for more than its level.
/// The fault's time is the stream's begin: the bucket alone disturbs nobody.
pub(super) fn clamp(lab: &mut Lab) -> Result<Timestamp> {
    let node = lab.network.node.namespace.name().to_owned();
    let rule = format!(
        "netns exec {node} tc qdisc add dev {NODE_DEVICE} root tbf rate {LEVEL}mbit burst {BUCKET_MB}mb latency 20ms"
    );
    IP.run(rule.split_whitespace(), "")?;
    stream(lab, DEMAND)
}

pub(super) fn unclamp(lab: &mut Lab) -> Result<()> {
    end_stream(lab)?;
    let node = lab.network.node.namespace.name().to_owned();
    let rule = format!("netns exec {node} tc qdisc del dev {NODE_DEVICE} root");
    IP.run(rule.split_whitespace(), "")
        .map(drop)
        .map_err(Into::into)
}

/// A tenant at its cap from the first second: flat, and nothing is in its way.
pub(super) fn steady(lab: &mut Lab) -> Result<Timestamp> {
    stream(lab, 750)
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
