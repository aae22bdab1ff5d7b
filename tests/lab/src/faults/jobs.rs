//! Jobs in a VM that ask for the endpoint that they were handed, and tell their host's relay.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use crate::command::IP;
use crate::judge::Also;
use crate::lab::Lab;
use crate::topology::{HOSTS, NODE_ADDRESS, PODS, RELAY, host_name};
use crate::wait;

/// The host whose VM has jobs.
const HOST: usize = 0;
/// A port that no account has.
const NOBODYS: u16 = 32_766;
/// The host's reports come each second.
const COUNTED: Duration = Duration::from_secs(10);
/// The counters, in the order of [`Counts`].
const COUNTERS: [&str; 4] = ["reached", "unreached", "unmeasured", "unknown"];

/// What the jobs of one host told.
type Counts = [u64; 4];

/// Five jobs, one after the other: three with an account's endpoint, one with nobody's, one with
/// none at all.
pub(super) fn ask(lab: &mut Lab, _: Timestamp, also: &mut Also) -> Result<()> {
    let before = counts(lab)?;
    let good = format!("http://{NODE_ADDRESS}:{}", PODS[0].node_port);
    let nobodys = format!("http://{NODE_ADDRESS}:{NOBODYS}");
    for (endpoint, wanted) in [
        (good.as_str(), 0),
        (&good, 0),
        (&good, 0),
        (&nobodys, 1),
        ("", 2),
    ] {
        let (code, said) = once(lab, endpoint)?;
        also.note(
            code == wanted && !said.contains("was not told"),
            format!("once {endpoint:?}: exit code {code}: {said}"),
        );
    }
    let wanted: Counts = [3, 1, 1, 2];
    let mut seen = Vec::new();
    let counted = wait::polled(COUNTED, || {
        let now = counts(lab)?;
        let rise = |(old, new): (&Counts, &Counts)| {
            core::array::from_fn(|i| new[i].saturating_sub(old[i]))
        };
        seen = before.iter().zip(&now).map(rise).collect::<Vec<Counts>>();
        let is_right =
            |(index, rise): (usize, &Counts)| *rise == if index == HOST { wanted } else { [0; 4] };
        Ok(seen.iter().enumerate().all(is_right).then_some(()))
    })?;
    also.note(
        counted.is_some(),
        format!("{COUNTERS:?} of each host rose by {seen:?}"),
    );
    Ok(())
}

/// `pnwatch once` in the VM: its exit code, and what it said.
fn once(lab: &Lab, endpoint: &str) -> Result<(i32, String)> {
    let program = lab.daemons.as_ref().context("no pnwatch")?.program();
    let host = lab.network.hosts.get(HOST).context("no such host")?;
    let output = Command::new(IP.require()?)
        .args(["netns", "exec", host.vm.name()])
        .arg(program)
        .args(["once", "--relay", RELAY])
        .env("TUIST_CACHE_ENDPOINT", endpoint)
        .stdin(Stdio::null())
        .output()
        .context("pnwatch once cannot be started")?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).trim().replace('\n', "; ");
    Ok((output.status.code().unwrap_or(-1), said))
}

/// What the exporter counts of each host's jobs.
fn counts(lab: &Lab) -> Result<Vec<Counts>> {
    let metrics = lab.daemons.as_ref().context("no pnwatch")?.metrics()?;
    let counter = |host: &str, name: &str| {
        let (metric, vantage) = (
            format!("pnwatch_prober_job_endpoint_{name}_total{{"),
            format!("vantage=\"host/{host}\""),
        );
        let line = metrics
            .lines()
            .find(|line| line.starts_with(&metric) && line.contains(&vantage));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
            .with_context(|| format!("{host} does not count {name} endpoints of jobs"))
    };
    (0..HOSTS)
        .map(|index| {
            let host = host_name(index);
            let mut counts = [0; 4];
            for (count, name) in counts.iter_mut().zip(COUNTERS) {
                *count = counter(&host, name)?;
            }
            Ok(counts)
        })
        .collect()
}
