//! What runs inside the VMs: the agent as it ships, started when a row needs it.
//!
//! A host without a job has no VM, so the agents are no part of a lab that has just come up.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::lab::Lab;
use crate::net::{Cable, Namespace};
use crate::topology::{HOSTS, PODS, RELAY, VM_BRIDGE, host_name};
use crate::wait;

/// How long an agent may take until its host's report shows what it sees.
const SETTLE_DEADLINE: Duration = Duration::from_secs(30);
/// How long all of it must be so before anything is broken.
const CALM: Duration = Duration::from_secs(2);
/// The agent's configuration: the same in every VM, as in an image.
const CONFIG: &str = "vm.yaml";

/// The name of the agent of host `index`'s VM among the lab's processes.
pub fn process_name(index: usize) -> String {
    format!("vm-{}", host_name(index))
}

/// The vantage of host `index`'s VM.
pub fn vantage(index: usize) -> String {
    format!("vm/{}/0", host_name(index))
}

/// Starts the agent in every VM, and waits until each is heard.
pub fn start_all(lab: &mut Lab) -> Result<()> {
    for index in 0..HOSTS {
        start(lab, index)?;
    }
    wait_heard(lab, &(0..HOSTS).map(vantage).collect::<Vec<_>>())
}

/// Starts the agent of host `index`'s VM.
pub fn start(lab: &mut Lab, index: usize) -> Result<()> {
    let host = lab.network.hosts.get(index).context("no such host")?;
    let vm = host.vm.clone();
    start_in(lab, &process_name(index), &vm)
}

/// Starts an agent under `name` in `vm`, unless it runs already.
pub fn start_in(lab: &mut Lab, name: &str, vm: &Namespace) -> Result<()> {
    if lab.processes.has(name) {
        return lab.processes.check(name);
    }
    let daemons = lab.daemons.as_ref().context("no pnwatch")?;
    let text = format!("log: {{ level: info, format: logfmt }}\nvm: {{ relay: \"{RELAY}\" }}\n");
    let config = daemons.write(CONFIG, &text)?;
    let program = daemons.program().to_owned();
    let arguments = ["probe", "--config", &config.to_string_lossy()].map(str::to_owned);
    lab.processes.start(name, vm, &program, &arguments)?;
    Ok(())
}

/// Ends every agent without a goodbye: a VM that halts says none.
pub fn stop_all(lab: &mut Lab) -> Result<()> {
    (0..HOSTS).try_for_each(|index| lab.processes.kill(&process_name(index)))
}

/// Waits until the exporter has every one of `vantages` up to every account for [`CALM`].
pub fn wait_heard(lab: &mut Lab, vantages: &[String]) -> Result<()> {
    let mut missing = Vec::new();
    let mut since = None;
    let heard = wait::polled(SETTLE_DEADLINE, || {
        lab.processes.check_all()?;
        let metrics = lab.daemons.as_ref().context("no pnwatch")?.metrics()?;
        missing = not_up(&metrics, vantages);
        if !missing.is_empty() {
            since = None;
            return Ok(None);
        }
        let since = *since.get_or_insert_with(std::time::Instant::now);
        Ok((since.elapsed() >= CALM).then_some(()))
    })?;
    heard.with_context(|| format!("VMs are not heard after {SETTLE_DEADLINE:?}: {missing:?}"))
}

/// The paths of `vantages` that are not up, or not there.
pub fn not_up(metrics: &str, vantages: &[String]) -> Vec<String> {
    let is_up = |vantage: &str, account: &str| {
        let (account, vantage) = (
            format!("account=\"{account}\""),
            format!("vantage=\"{vantage}\""),
        );
        metrics.lines().any(|line| {
            line.starts_with("pnwatch_path_state{")
                && line.contains("layer=\"http\"")
                && line.contains(&account)
                && line.contains(&vantage)
                && line.ends_with(" 1")
        })
    };
    let mut missing = Vec::new();
    for vantage in vantages {
        for pod in PODS {
            if !is_up(vantage, pod.account) {
                missing.push(format!("{vantage} to {}", pod.account));
            }
        }
    }
    missing
}

/// Makes one more VM behind host `index`: `number` makes its hardware address, `address` is its
/// IPv4 address.
pub fn boot(lab: &mut Lab, index: usize, number: u16, address: &str) -> Result<Namespace> {
    let role = format!("vm{index}x{number}");
    let vm = lab.create_namespace(&role)?;
    let host = lab.network.hosts.get(index).context("no such host")?;
    let [high, low] = number.to_be_bytes();
    Cable {
        machine: &vm,
        device: "eth0",
        mac: &format!("02:00:c0:a8:{:02x}:{low:02x}", 0x80 | high),
        switch: &host.namespace,
        bridge: VM_BRIDGE,
        port: &format!("vmenet{number}"),
    }
    .plug()?;
    vm.ip(&format!("addr add {address}/22 dev eth0"))?;
    vm.ip("route add default via 192.168.64.1")?;
    Ok(vm)
}
