//! VMs that come and go, and two that are taken for one.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::lab::Lab;
use crate::topology::HOSTS;
use crate::{net, vms, wait};

/// How long a short-lived VM lives: long enough for its first word.
const LIFE: Duration = Duration::from_millis(700);
/// The host whose VMs come and go.
const HOST: usize = 1;
/// The host of the two.
const TWINS: usize = 0;
/// An address of its own, of which the host knows nothing yet.
const FRESH: &str = "192.168.64.3";
/// The address of every VM.
const SAME: &str = "192.168.64.2";
/// By when the exporter has forgotten VMs that are gone: three times its time for it.
const FORGOTTEN: Duration = Duration::from_secs(140);

/// Short-lived VMs in a row on one host; on another the agent dies in the middle of its checks.
pub(super) fn churn(lab: &mut Lab, duration: Duration) -> Result<()> {
    let end = Instant::now() + duration;
    let mut booted = 0u16;
    while Instant::now() < end {
        booted += 1;
        let vm = vms::boot(lab, HOST, booted, FRESH)?;
        let name = format!("vm-{booted}");
        vms::start_in(lab, &name, &vm)?;
        if booted.is_multiple_of(4) {
            lab.processes.kill(&vms::process_name(0))?;
            vms::start(lab, 0)?;
        }
        wait::pass(LIFE)?;
        // A VM halts whole: the agent says no goodbye, and its network is gone.
        lab.processes.kill(&name)?;
        net::delete(vm.name())?;
        lab.processes.check_all()?;
    }
    eprintln!("vm_churn: {booted} short-lived VMs");
    let known = known(lab)?;
    // One that lives on each host, and the slots of those that follow one another.
    ensure!(
        known.len() <= HOSTS + 4,
        "{booted} VMs left {} vantages behind: {known:?}",
        known.len()
    );
    Ok(())
}

/// A second VM with the first one's address.
pub(super) fn twins(lab: &mut Lab, duration: Duration) -> Result<()> {
    let vm = vms::boot(lab, TWINS, 200, SAME)?;
    vms::start_in(lab, "vm-twin", &vm)?;
    wait::pass(duration)?;
    lab.processes.kill("vm-twin")?;
    net::delete(vm.name())?;
    let known = known(lab)?;
    ensure!(
        known.iter().any(|name| name == "vm/mini-0/shared"),
        "the two were told apart, or not heard: {known:?}"
    );
    Ok(())
}

/// The VM vantages in the exporter's metrics.
fn known(lab: &Lab) -> Result<Vec<String>> {
    let metrics = match &lab.daemons {
        Some(daemons) => daemons.metrics()?,
        None => return Ok(Vec::new()),
    };
    let mut known: Vec<String> = metrics
        .lines()
        .filter_map(|line| line.split_once("vantage=\"")?.1.split_once('"'))
        .map(|(vantage, _)| vantage.to_owned())
        .filter(|vantage| vantage.starts_with("vm/"))
        .collect();
    known.sort();
    known.dedup();
    Ok(known)
}

/// Ends every VM, and waits until not one of them is left in the metrics.
pub(super) fn leave_nothing(lab: &mut Lab) -> Result<()> {
    vms::stop_all(lab)?;
    wait::until("the end of every VM's series", FORGOTTEN, || {
        Ok(known(lab)?.is_empty().then_some(()))
    })
}
