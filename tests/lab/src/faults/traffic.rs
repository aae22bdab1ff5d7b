//! Builds that flow, stop, or never were: what the counters of the pods must lead to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use pnwatch_kubeapi::objects;
use serde_json::Value;

use super::{Fault, NONE, cluster, path};
use crate::daemons::Daemons;
use crate::http;
use crate::judge::{Also, seconds_between};
use crate::lab::Lab;
use crate::load::{BUILD, Load, PEER};
use crate::net::Namespace;
use crate::second;
use crate::topology::{
    HOSTS, NODE_ADDRESS, NODE_DEVICE, POD_CONTROL, POD_PORT, PODS, Pod, host_name,
};
use crate::wait;

/// Where the loads of the pods elsewhere begin, in the order in which loads are started.
const FIRST_FAR_LOAD: usize = 3;
/// Builds of the first account, a second.
const BUILDS: u32 = 20;
/// Builds of each other pod, a second.
const OTHERS: u32 = 6;
/// Requests of peers, a second.
const PEERS: u32 = 5;
/// By when traffic is judged as flowing: the window fills once, three times.
const FLOWING_DEADLINE: Duration = Duration::from_mins(1);
/// By when a black hole that checks confirm must be named.
const CONFIRMED: Duration = Duration::from_secs(10);
/// Two windows of the lab's configuration, by when counters alone must name it.
const TWO_WINDOWS: Duration = Duration::from_secs(40);
/// How long each way of being silent lasts.
const PHASE: Duration = Duration::from_secs(25);
/// Four jobs of the second account, as a Prometheus answers.
const FOUR_JOBS: &str = "label_replace(vector(4), \"account\", \"acme\", \"\", \"\")";
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) fn fault(name: &str) -> Option<Fault> {
    Some(match name {
        "blackhole" => Fault {
            prepare: builds_flow,
            inject: drop_account,
            also: Some(black_hole_is_named),
            heal: end_drop,
            ..NONE
        },
        "blackhole-unwatched" => Fault {
            prepare: builds_flow_unwatched,
            inject: drop_account,
            also: Some(silence_is_named),
            heal: end_drop_and_watch,
            ..NONE
        },
        "single-node" => Fault {
            prepare: single_node_flows,
            inject: drop_node,
            also: Some(single_node_is_judged),
            heal: end_single,
            ..NONE
        },
        "single-node-jobs" => Fault {
            prepare: single_node_flows_with_jobs,
            inject: drop_node,
            also: Some(jobs_are_judged),
            heal: end_single,
            ..NONE
        },
        "F6" => Fault {
            prepare: builds_flow_with_jobs,
            inject: dispatch_elsewhere,
            also: Some(work_is_missed),
            heal: dispatch_here,
            after: Some(end_jobs),
            ..NONE
        },
        "F14" => Fault {
            prepare: builds_flow,
            inject: dip,
            heal: end_builds,
            ..NONE
        },
        "F16" => Fault {
            prepare: builds_flow,
            inject: shed,
            heal: end_shed,
            ..NONE
        },
        "quiet-traffic" => Fault {
            disturb: Some(be_quiet),
            heal: end_builds,
            ..NONE
        },
        _ => return None,
    })
}

/// What the exporter makes of one pod's traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sight {
    verdict: String,
    evidence: String,
}

/// What the exporter makes of every pod, by instance.
fn sights(lab: &Lab) -> Result<BTreeMap<String, Sight>> {
    let answer = http::request(
        &lab.network.exporter,
        "GET",
        &Daemons::page(0),
        "/v1/view",
        "",
        REQUEST_TIMEOUT,
    )?;
    let view: Value = serde_json::from_slice(&answer.expect_success()?)?;
    let all = view["traffic"]
        .as_array()
        .context("no traffic in the view")?;
    let text = |seen: &Value, field: &str| seen[field].as_str().unwrap_or_default().to_owned();
    Ok(all
        .iter()
        .map(|seen| {
            let sight = Sight {
                verdict: text(seen, "verdict"),
                evidence: text(seen, "evidence"),
            };
            (text(seen, "instance"), sight)
        })
        .collect())
}

fn sight(lab: &Lab, instance: &str) -> Result<Sight> {
    let found = sights(lab)?.remove(instance);
    Ok(found.unwrap_or(Sight {
        verdict: "none".to_owned(),
        evidence: String::new(),
    }))
}

fn vm(lab: &Lab, index: usize) -> Result<Namespace> {
    let host = lab.network.hosts.get(index).context("no such host")?;
    Ok(host.vm.clone())
}

/// Where a build finds pod `pod`.
fn by_pn(pod: usize) -> String {
    format!("{NODE_ADDRESS}:{}", PODS[pod].node_port)
}

/// Builds of the second account on the first node.
fn other_builds(lab: &Lab) -> Result<Load> {
    Load::start(&vm(lab, 1)?, &by_pn(1), BUILD, OTHERS)
}

/// Builds from the VMs by way of the PN, builds elsewhere, and peers by way of the overlay.
fn start_builds(lab: &mut Lab) -> Result<()> {
    let vm = |index: usize| vm(lab, index);
    let (far, node2) = (second::FAR, &lab.cluster()?.second);
    let mut loads = vec![
        Load::start(&vm(0)?, &by_pn(0), BUILD, BUILDS)?,
        other_builds(lab)?,
        Load::start(
            &vm(2)?,
            &format!("{}:{}", second::ADDRESS, second::OTHER.node_port),
            BUILD,
            OTHERS,
        )?,
    ];
    for pod in far {
        let address = format!("{}:{POD_PORT}", pod.address);
        loads.push(Load::start(node2, &address, BUILD, OTHERS)?);
    }
    for pod in PODS {
        let address = format!("{}:{POD_PORT}", pod.address);
        loads.push(Load::start(node2, &address, PEER, PEERS)?);
    }
    let cluster = lab.cluster.as_mut().context("no cluster")?;
    cluster.loads = loads;
    Ok(())
}

fn stop_builds(lab: &mut Lab) {
    if let Some(cluster) = &mut lab.cluster {
        cluster.loads.clear();
    }
}

fn end_builds(lab: &mut Lab) -> Result<()> {
    stop_builds(lab);
    cluster::restore(lab)
}

fn builds_flow(lab: &mut Lab) -> Result<()> {
    start_builds(lab)?;
    all_flow(lab, &[PODS[0], PODS[1], second::OTHER])
}

/// Waits until `pods` are judged as flowing, and their rates are those of a whole window.
fn all_flow(lab: &mut Lab, pods: &[Pod]) -> Result<()> {
    let mut last = BTreeMap::new();
    let flowing = wait::polled(FLOWING_DEADLINE, || {
        lab.processes.check_all()?;
        last = sights(lab)?;
        let all = pods.iter().all(|pod| {
            last.get(pod.instance)
                .is_some_and(|seen| seen.verdict == "flowing")
        });
        Ok(all.then_some(()))
    })?;
    flowing
        .with_context(|| format!("not everything flows after {FLOWING_DEADLINE:?}: {last:?}"))?;
    // Rates are taken over a window that must be full.
    wait::pass(TWO_WINDOWS / 2)
}

/// No host looks any more, and the exporter knows it.
fn builds_flow_unwatched(lab: &mut Lab) -> Result<()> {
    builds_flow(lab)?;
    hosts_fall_silent(lab)
}

fn hosts_fall_silent(lab: &mut Lab) -> Result<()> {
    let daemons = lab.daemons.as_ref().context("no pnwatch")?;
    for index in 0..HOSTS {
        let prober = daemons.host_prober(index)?;
        lab.processes.kill(&prober.process())?;
    }
    wait::until("findings about the silent hosts", FLOWING_DEADLINE, || {
        let open = lab.findings()?.open()?;
        let silent = |index| {
            let vantage = format!("host/{}", host_name(index));
            open.iter().any(|finding| finding.subject == vantage)
        };
        let blind = open.iter().any(|finding| finding.blame == "monitor");
        Ok((blind || (0..HOSTS).all(silent)).then_some(()))
    })
}

/// One cache node alone; pods elsewhere are those of `accounts`, with builds.
fn one_node_flows(lab: &mut Lab, accounts: &[&str]) -> Result<()> {
    lab.cluster()?.without_second()?;
    start_builds(lab)?;
    let cluster = lab.cluster.as_mut().context("no cluster")?;
    // In the order of their starts: the last first, so that the places stay right.
    for (place, pod) in second::FAR.iter().enumerate().rev() {
        if !accounts.contains(&pod.account) {
            cluster.loads.remove(FIRST_FAR_LOAD + place);
            let name = format!("{}-0", pod.instance);
            cluster.api().delete("pods", objects::KURA_NAMESPACE, &name);
        }
    }
    cluster.loads.remove(FIRST_FAR_LOAD - 1);
    all_flow(lab, &PODS)?;
    hosts_fall_silent(lab)
}

/// The first account is busy elsewhere too.
fn single_node_flows(lab: &mut Lab) -> Result<()> {
    one_node_flows(lab, &[PODS[0].account])
}

/// All that comes by the PN is dropped, for every pod.
fn drop_node(lab: &mut Lab) -> Result<Timestamp> {
    let ordered = Timestamp::now();
    lab.network.node.namespace.nft(&format!(
        "table ip lab_hole {{\n  chain c {{\n    type filter hook forward priority filter;\n\
         \x20   iifname {NODE_DEVICE} drop\n  }}\n}}\n"
    ))?;
    Ok(ordered)
}

/// What is said of a pod while time passes, once its last requests are a window ago: it is scraped
/// up to an interval later than its neighbour.
fn said_of(lab: &Lab, instance: &str) -> Result<BTreeSet<String>> {
    wait::polled(TWO_WINDOWS, || {
        let flows = sight(lab, instance)?.verdict == "flowing";
        Ok((!flows).then_some(()))
    })?;
    let mut said = BTreeSet::new();
    let end = Instant::now() + PHASE;
    while Instant::now() < end {
        said.insert(sight(lab, instance)?.verdict);
        wait::pass(Duration::from_millis(500))?;
    }
    Ok(said)
}

/// The first account by its builds elsewhere; the second, which has none, is never called idle.
fn single_node_is_judged(lab: &mut Lab, fault: Timestamp, also: &mut Also) -> Result<()> {
    hole_of(lab, (fault, TWO_WINDOWS), also)?;
    let said = said_of(lab, PODS[1].instance)?;
    also.note(
        said.iter()
            .all(|verdict| ["unknown", "blackhole"].contains(&verdict.as_str())),
        format!("the account without builds elsewhere: {said:?}"),
    );
    Ok(())
}

/// Builds flow, and a real Prometheus knows of four jobs of the second account.
fn builds_flow_with_jobs(lab: &mut Lab) -> Result<()> {
    lab.cluster.as_mut().context("no cluster")?.demand = Some(FOUR_JOBS);
    lab.discover()?;
    lab.start_daemons()?;
    builds_flow(lab)
}

/// The second account's jobs go on, and none of them comes here any more.
fn dispatch_elsewhere(lab: &mut Lab) -> Result<Timestamp> {
    let cluster = lab.cluster.as_mut().context("no cluster")?;
    cluster.loads.remove(1);
    Ok(Timestamp::now())
}

fn work_is_missed(lab: &mut Lab, _: Timestamp, also: &mut Also) -> Result<()> {
    let seen = sight(lab, PODS[1].instance)?;
    also.note(
        seen.verdict == "not_dispatched" && seen.evidence.contains("4 jobs running"),
        format!("the account is {}: {}", seen.verdict, seen.evidence),
    );
    Ok(())
}

fn dispatch_here(lab: &mut Lab) -> Result<()> {
    let builds = other_builds(lab)?;
    let cluster = lab.cluster.as_mut().context("no cluster")?;
    cluster.loads.insert(1, builds);
    Ok(())
}

/// The builds may end: from their next start on the exporters know of no jobs, and until then it
/// is no time.
fn end_jobs(lab: &mut Lab, _: Timestamp, _: &mut Also) -> Result<()> {
    lab.cluster.as_mut().context("no cluster")?.demand = None;
    lab.discover()?;
    end_builds(lab)
}

/// A rollout of the dispatching controller: nobody builds anywhere for a while.
fn dip(lab: &mut Lab) -> Result<Timestamp> {
    lab.processes.check_all()?;
    stop_builds(lab);
    Ok(Timestamp::now())
}

/// The first account's cache routes answer 503; its probe routes are well.
fn shed(lab: &mut Lab) -> Result<Timestamp> {
    let ordered = Timestamp::now();
    lab.network.set_pod_fault(0, r#"{"kind":"shed"}"#)?;
    Ok(ordered)
}

fn end_shed(lab: &mut Lab) -> Result<()> {
    path::heal_pod(lab)?;
    // It must be seen to serve again before its builds end.
    wait::pass(TWO_WINDOWS / 2)?;
    end_builds(lab)
}

/// No pod anywhere else, and a real Prometheus that knows of four jobs of the second account.
fn single_node_flows_with_jobs(lab: &mut Lab) -> Result<()> {
    lab.cluster.as_mut().context("no cluster")?.demand = Some(FOUR_JOBS);
    lab.discover()?;
    lab.start_daemons()?;
    one_node_flows(lab, &[])
}

/// The second account by its jobs; of the first nothing is known, and that is said.
fn jobs_are_judged(lab: &mut Lab, fault: Timestamp, also: &mut Also) -> Result<()> {
    let mut last = sight(lab, PODS[1].instance)?;
    wait::polled(TWO_WINDOWS * 3, || {
        last = sight(lab, PODS[1].instance)?;
        Ok((last.verdict == "blackhole").then_some(()))
    })?;
    let took = seconds_between(fault, Timestamp::now());
    let right = last.verdict == "blackhole" && last.evidence.contains("4 jobs running");
    also.note(
        right && took <= TWO_WINDOWS.as_secs_f64(),
        format!(
            "with jobs known: {} after {took:.1} s: {}",
            last.verdict, last.evidence
        ),
    );
    let said = said_of(lab, PODS[0].instance)?;
    also.note(
        said.iter().all(|verdict| verdict == "unknown"),
        format!("without jobs or pods elsewhere: {said:?}"),
    );
    Ok(())
}

fn end_single(lab: &mut Lab) -> Result<()> {
    lab.cluster.as_mut().context("no cluster")?.demand = None;
    lab.discover()?;
    end_drop_and_watch(lab)
}

/// What comes by the PN for the first account's pod is dropped; peers still reach it.
fn drop_account(lab: &mut Lab) -> Result<Timestamp> {
    let ordered = Timestamp::now();
    lab.network.node.namespace.nft(&format!(
        "table ip lab_hole {{\n  chain c {{\n    type filter hook forward priority filter;\n\
         \x20   iifname {NODE_DEVICE} ip daddr {} tcp dport {POD_PORT} drop\n  }}\n}}\n",
        PODS[0].address
    ))?;
    Ok(ordered)
}

fn end_drop(lab: &mut Lab) -> Result<()> {
    lab.network
        .node
        .namespace
        .nft("table ip lab_hole\ndelete table ip lab_hole\n")?;
    // Paths first: what is silent on a path that works again is silent for another reason.
    wait::pass(Duration::from_secs(5))?;
    end_builds(lab)
}

fn end_drop_and_watch(lab: &mut Lab) -> Result<()> {
    let daemons = lab.daemons.as_ref().context("no pnwatch")?;
    for index in 0..HOSTS {
        let prober = daemons.host_prober(index)?;
        if !lab.processes.has(&prober.process()) {
            daemons.start_prober(&mut lab.processes, &prober)?;
        }
        daemons.wait_prober(&mut lab.processes, &prober)?;
    }
    end_drop(lab)
}

fn black_hole_is_named(lab: &mut Lab, fault: Timestamp, also: &mut Also) -> Result<()> {
    hole(lab, fault, CONFIRMED, also)
}

fn silence_is_named(lab: &mut Lab, fault: Timestamp, also: &mut Also) -> Result<()> {
    hole(lab, fault, TWO_WINDOWS, also)
}

/// The verdicts of both accounts: one is cut off, the other is not.
fn hole(lab: &mut Lab, fault: Timestamp, goal: Duration, also: &mut Also) -> Result<()> {
    hole_of(lab, (fault, goal), also)?;
    let other = sight(lab, PODS[1].instance)?;
    also.note(
        other.verdict == "flowing",
        format!("the other account is {}: {}", other.verdict, other.evidence),
    );
    Ok(())
}

/// The verdict of the first account within `goal`, and its numbers against those of the loads.
fn hole_of(lab: &mut Lab, (fault, goal): (Timestamp, Duration), also: &mut Also) -> Result<()> {
    let mut last = sight(lab, PODS[0].instance)?;
    wait::polled(goal * 3, || {
        last = sight(lab, PODS[0].instance)?;
        Ok((last.verdict == "blackhole").then_some(()))
    })?;
    let took = seconds_between(fault, Timestamp::now());
    also.note(
        last.verdict == "blackhole" && took <= goal.as_secs_f64(),
        format!(
            "the verdict is {} after {took:.1} s: {}",
            last.verdict, last.evidence
        ),
    );
    let numbers = Numbers::of(&last.evidence);
    let close = |seen: Option<f64>, real: f64| seen.is_some_and(|n| (n - real).abs() <= real * 0.3);
    // The silence is told from the last request that was counted to the newest scrape.
    let silent = numbers.silent.is_some_and(|s| s <= took + 1.0 && s >= 1.0);
    also.note(silent, format!("silent for {:?} s", numbers.silent));
    also.note(
        close(numbers.internal, f64::from(PEERS)),
        format!("internal {:?}/s, of {PEERS}/s", numbers.internal),
    );
    also.note(
        close(numbers.elsewhere, f64::from(OTHERS)),
        format!(
            "the same account elsewhere {:?}/s, of {OTHERS}/s",
            numbers.elsewhere
        ),
    );
    Ok(())
}

/// The numbers of the evidence.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Numbers {
    silent: Option<f64>,
    internal: Option<f64>,
    elsewhere: Option<f64>,
}

impl Numbers {
    fn of(evidence: &str) -> Self {
        let part = |word: &str| evidence.split("; ").find(|part| part.contains(word));
        let number = |text: &str| {
            text.split(|c: char| !c.is_ascii_digit() && c != '.')
                .rfind(|word| !word.is_empty())?
                .parse()
                .ok()
        };
        Self {
            silent: part("public").and_then(number),
            internal: part("internal").and_then(number),
            elsewhere: part("elsewhere").and_then(number),
        }
    }
}

/// A way of being silent, and how it begins.
type Phase = (&'static str, fn(&mut Lab) -> Result<()>);

/// One way of being silent after the other; nobody may call any of them a black hole.
fn be_quiet(lab: &mut Lab, _: Duration) -> Result<()> {
    let mut also = Also::default();
    probes_count_as_none(lab, &mut also)?;
    let phases: [Phase; 7] = [
        (
            "an account without builds beside busy ones",
            idle_beside_busy,
        ),
        ("a label that has another name", rename_label),
        ("the label with its old name", rename_back),
        ("a pod that starts afresh", restart_pod),
        ("a gap in the scrapes", start_gap),
        ("warm VMs without jobs", warm_vms),
        ("a night without builds anywhere", night),
    ];
    for (what, begin) in phases {
        begin(lab).with_context(|| what.to_owned())?;
        watch_phase(lab, what, &mut also)?;
    }
    anyhow::ensure!(also.wrong.is_empty(), "{}", also.wrong.join("\n"));
    for fact in also.facts {
        eprintln!("  {fact}");
    }
    Ok(())
}

fn watch_phase(lab: &mut Lab, what: &str, also: &mut Also) -> Result<()> {
    let mut said: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let end = Instant::now() + PHASE;
    while Instant::now() < end {
        lab.processes.check_all()?;
        for (instance, seen) in sights(lab)? {
            said.entry(instance).or_default().insert(seen.verdict);
        }
        wait::pass(Duration::from_millis(500))?;
    }
    let cried = said.values().any(|words| words.contains("blackhole"));
    also.note(!cried && !said.is_empty(), format!("{what}: {said:?}"));
    Ok(())
}

/// What pod `index` has counted, by route.
fn counted(lab: &Lab, index: usize) -> Result<BTreeMap<String, u64>> {
    let pod = lab.network.node.pods.get(index).context("no such pod")?;
    let answer = http::request(pod, "GET", POD_CONTROL, "/requests", "", REQUEST_TIMEOUT)?;
    let rows: Vec<Value> = serde_json::from_slice(&answer.expect_success()?)?;
    let mut counts = BTreeMap::new();
    for row in rows {
        let route = row["route"].as_str().unwrap_or_default().to_owned();
        *counts.entry(route).or_default() += row["count"].as_u64().unwrap_or(0);
    }
    Ok(counts)
}

/// What only probers ask, the pod counts on probe routes alone.
fn probes_count_as_none(lab: &mut Lab, also: &mut Also) -> Result<()> {
    let before = [counted(lab, 0)?, counted(lab, 1)?];
    wait::pass(PHASE)?;
    for (index, (pod, before)) in PODS.iter().zip(before).enumerate() {
        let mut risen = counted(lab, index)?;
        risen.retain(|route, count| {
            *count -= before.get(route).copied().unwrap_or(0);
            *count > 0
        });
        let probes = ["/up", "/ready", "/metrics"];
        let only = risen.keys().all(|route| probes.contains(&route.as_str()));
        let many = risen.get("/up").is_some_and(|n| *n >= 20);
        let seen = sight(lab, pod.instance)?;
        also.note(
            only && many && seen.verdict != "flowing" && seen.verdict != "blackhole",
            format!(
                "{}, asked by probers alone: {risen:?}; {}: {}",
                pod.account, seen.verdict, seen.evidence
            ),
        );
    }
    Ok(())
}

/// Every account is busy but the second one on the first node.
fn idle_beside_busy(lab: &mut Lab) -> Result<()> {
    start_builds(lab)?;
    let cluster = lab.cluster.as_mut().context("no cluster")?;
    // Its builds here and elsewhere: the second, and the second one of the far pods.
    cluster.loads.remove(4);
    cluster.loads.remove(1);
    Ok(())
}

/// The busy pod tells its routes under another label, as after an upgrade; builds go on.
fn rename_label(lab: &mut Lab) -> Result<()> {
    name_route(lab, "path")
}

fn rename_back(lab: &mut Lab) -> Result<()> {
    name_route(lab, "route")
}

fn name_route(lab: &Lab, label: &str) -> Result<()> {
    let pod = lab.network.node.pods.first().context("no pod")?;
    let body = format!("{{\"route\":\"{label}\"}}");
    let answer = http::request(pod, "POST", POD_CONTROL, "/label", &body, REQUEST_TIMEOUT)?;
    answer.expect_success().map(drop)
}

fn restart_pod(lab: &mut Lab) -> Result<()> {
    let program = std::env::current_exe()?;
    lab.processes.kill("pod0")?;
    lab.network.node.start_pod(&mut lab.processes, &program, 0)
}

/// The exporter no longer reaches the pods over the overlay.
fn start_gap(lab: &mut Lab) -> Result<()> {
    lab.network
        .exporter
        .ip("route replace blackhole 10.42.0.0/24")
        .map(drop)
}

/// The scrapes are back; every host has a VM that waits for a job, and nobody builds.
fn warm_vms(lab: &mut Lab) -> Result<()> {
    let via = crate::topology::NODE_MGMT;
    lab.network
        .exporter
        .ip("route del blackhole 10.42.0.0/24")?;
    lab.network
        .exporter
        .ip(&format!("route replace 10.42.0.0/24 via {via}"))?;
    for index in 0..HOSTS {
        let pod = objects::runner_pod(&format!("runner-{index}"), &host_name(index));
        lab.cluster()?.apply(pod)?;
    }
    let cluster = lab.cluster.as_mut().context("no cluster")?;
    // The builds of the first node's accounts end; elsewhere others go on.
    cluster.loads.remove(0);
    Ok(())
}

fn night(lab: &mut Lab) -> Result<()> {
    lab.processes.check_all()?;
    stop_builds(lab);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Numbers;

    #[test]
    fn the_numbers_of_the_evidence_are_read() {
        let text = "0 public requests for 94 s; 212.0/s internal; same account elsewhere 31.5/s";
        let numbers = Numbers::of(text);
        assert_eq!(numbers.silent, Some(94.0));
        assert_eq!(numbers.internal, Some(212.0));
        assert_eq!(numbers.elsewhere, Some(31.5));
    }
}
