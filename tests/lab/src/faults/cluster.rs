//! Faults of the control plane: objects that are wrong, and what follows from them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use pnwatch_kubeapi::objects;
use serde_json::{Value, json};

use super::{Fault, NONE, node};
use crate::cluster::{Cluster, GATEWAY};
use crate::daemons::{NEWER_KEY, exporter_name};
use crate::judge::{Also, seconds_between};
use crate::lab::Lab;
use crate::rights::Rights;
use crate::second;
use crate::topology::{NODE, NODE_ADDRESS, PODS};
use crate::wait;

/// The type of the condition.
const CONDITION: &str = "PrivateNetworkReachable";
/// By when the condition must have flipped, the goal; a run waits three times that.
const FLIP: Duration = Duration::from_secs(5);
/// A Lease of 15 s that is looked at every 5 s, and a margin.
const TAKE_OVER: Duration = Duration::from_secs(30);
/// Conditions are written again each minute; a new writer writes at once.
const BEAT: Duration = Duration::from_secs(30);
/// Where the kubelet's own `Ready` stands in the objects of the fake server.
const READY: usize = 3;

pub(super) fn fault(name: &str) -> Option<Fault> {
    Some(match name {
        "F18" => Fault {
            inject: lose_address,
            heal: restore,
            ..NONE
        },
        "F19" => Fault {
            inject: move_pod,
            heal: move_back,
            ..NONE
        },
        "F21" => Fault {
            inject: relabel,
            heal: restore,
            ..NONE
        },
        "F26" => Fault {
            inject: unbind,
            heal: restore,
            ..NONE
        },
        "F27" => Fault {
            inject: add_pending,
            heal: restore,
            ..NONE
        },
        "F28" => Fault {
            inject: claim_twice,
            heal: restore,
            ..NONE
        },
        "F39" => Fault {
            inject: lead_astray,
            heal: lead_right,
            ..NONE
        },
        "F1-restricted" => Fault {
            prepare: as_in_the_chart,
            inject: node::delete_device,
            also: Some(arp_is_there),
            heal: recreate_with_own_rights,
            ..NONE
        },
        "F1-no-raw" => Fault {
            prepare: without_net_raw,
            inject: node::delete_device,
            also: Some(arp_is_missed),
            heal: recreate_with_own_rights,
            ..NONE
        },
        "lease" => Fault {
            prepare: two_exporters,
            disturb: Some(kill_writer),
            heal: start_writer,
            ..NONE
        },
        "F1-condition" => Fault {
            prepare: condition_stands,
            inject: node::delete_device,
            also: Some(condition_flips),
            heal: node::recreate_device,
            after: Some(condition_is_back),
            ..NONE
        },
        _ => return None,
    })
}

/// Changes objects, at one instant: the order's.
fn ordered(lab: &Lab, change: impl FnOnce(&Cluster) -> Result<()>) -> Result<Timestamp> {
    let ordered = Timestamp::now();
    change(lab.cluster()?)?;
    Ok(ordered)
}

/// Everything is as it was built.
pub(super) fn restore(lab: &mut Lab) -> Result<()> {
    lab.cluster()?.restore()
}

fn lose_address(lab: &mut Lab) -> Result<Timestamp> {
    ordered(lab, |cluster| {
        cluster.edit("kurainstances", PODS[0].instance, |object| {
            object["status"]["nodeAddress"] = "".into();
        })
    })
}

/// The pod goes, so the node drops what comes for it; status and Service stay as they were.
fn move_pod(lab: &mut Lab) -> Result<Timestamp> {
    lab.network.node.namespace.nft(&format!(
        "table ip lab_moved {{\n  chain c {{\n    type filter hook prerouting priority -150;\n\
         \x20   fib daddr type local tcp dport {} drop\n  }}\n}}\n",
        PODS[0].node_port
    ))?;
    ordered(lab, |cluster| {
        let pod = format!("{}-0", PODS[0].instance);
        cluster.edit("pods", &pod, |object| {
            object["spec"]["nodeName"] = second::NODE.into();
        })?;
        let slice = format!("{}-external-x7k2p", PODS[0].instance);
        cluster.edit("endpointslices.discovery.k8s.io", &slice, |object| {
            object["endpoints"][0]["nodeName"] = second::NODE.into();
        })
    })
}

fn move_back(lab: &mut Lab) -> Result<()> {
    lab.network
        .node
        .namespace
        .nft("table ip lab_moved\ndelete table ip lab_moved\n")?;
    restore(lab)
}

/// The provider gave the node another address; its interface holds the old one.
fn relabel(lab: &mut Lab) -> Result<Timestamp> {
    ordered(lab, |cluster| {
        cluster.edit("nodes", NODE, |object| {
            object["metadata"]["labels"]["tuist.dev/pn-ipv4"] = "172.16.0.99".into();
        })?;
        PODS.iter().try_for_each(|pod| {
            cluster.edit("kurainstances", pod.instance, |object| {
                object["status"]["nodeAddress"] = "172.16.0.99".into();
            })
        })
    })
}

fn unbind(lab: &mut Lab) -> Result<Timestamp> {
    ordered(lab, |cluster| {
        cluster.edit("nodes", second::NODE, |object| {
            object["spec"]["providerID"] = Value::Null;
        })
    })
}

fn add_pending(lab: &mut Lab) -> Result<Timestamp> {
    ordered(lab, |cluster| {
        let instance = objects::Instance::new("young", NODE, "", 0);
        let mut object = instance.pruned();
        object["spec"]["exposeNodePort"] = true.into();
        object["status"]["lastReconciledAt"] = Timestamp::now()
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string()
            .into();
        cluster.apply(object)?;
        let mut pod = instance.pod();
        pod["spec"]["nodeName"] = Value::Null;
        pod["status"] = json!({"phase": "Pending", "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/6 nodes are available: 2 node(s) had untolerated taint {tuist.dev/runner-cache: true}",
        }]});
        cluster.apply(pod)
    })
}

fn claim_twice(lab: &mut Lab) -> Result<Timestamp> {
    ordered(lab, |cluster| {
        cluster.apply(objects::linux_node(
            "prod-kura-fleet-3",
            &second::ADDRESS.to_string(),
        ))
    })
}

/// The record of the gateway's name still leads to a machine that is gone.
fn lead_astray(lab: &mut Lab) -> Result<Timestamp> {
    let ordered = Timestamp::now();
    let gone = std::net::Ipv4Addr::new(172, 16, 0, 77);
    lab.network.exporter.set_hosts(&[(GATEWAY, gone)])?;
    Ok(ordered)
}

fn lead_right(lab: &mut Lab) -> Result<()> {
    lab.network.exporter.set_hosts(&[(GATEWAY, NODE_ADDRESS)])
}

fn as_in_the_chart(lab: &mut Lab) -> Result<()> {
    restart_with(lab, Some(Rights::Chart))
}

fn without_net_raw(lab: &mut Lab) -> Result<()> {
    restart_with(lab, Some(Rights::NoNetRaw))
}

fn restart_with(lab: &mut Lab, rights: Option<Rights>) -> Result<()> {
    let daemons = lab.daemons.as_mut().context("no pnwatch")?;
    daemons.set_rights(rights);
    lab.start_daemons()
}

fn recreate_with_own_rights(lab: &mut Lab) -> Result<()> {
    // What runs keeps its rights until the next start.
    lab.daemons.as_mut().context("no pnwatch")?.set_rights(None);
    node::recreate_device(lab)
}

/// How many probers say that they can send ARP, and how many there are.
fn with_arp(lab: &Lab) -> Result<(usize, usize)> {
    let daemons = lab.daemons.as_ref().context("no pnwatch")?;
    let mut able = 0;
    for prober in daemons.probers() {
        let metrics = daemons.prober_metrics(prober)?;
        let mut lines = metrics.lines();
        able +=
            usize::from(lines.any(|line| {
                line.starts_with("pnwatch_prober_arp_available") && line.ends_with(" 1")
            }));
    }
    Ok((able, daemons.probers().len()))
}

fn arp_is_there(lab: &mut Lab, _: Timestamp, also: &mut Also) -> Result<()> {
    let (able, all) = with_arp(lab)?;
    // The node without its device cannot send any, whatever its rights.
    also.note(able + 1 >= all, format!("{able} of {all} probers send ARP"));
    // A value of a newer chart is named, and nothing stops for it.
    let daemons = lab.daemons.as_ref().context("no pnwatch")?;
    for prober in daemons.probers() {
        let log = std::fs::read_to_string(lab.processes.log(&prober.process()))?;
        let named = log.lines().any(|line| line.contains(NEWER_KEY));
        also.note(
            named,
            format!("{} warns of {NEWER_KEY}: {named}", prober.vantage),
        );
    }
    Ok(())
}

fn arp_is_missed(lab: &mut Lab, _: Timestamp, also: &mut Also) -> Result<()> {
    let (able, all) = with_arp(lab)?;
    also.note(able == 0, format!("{able} of {all} probers send ARP"));
    Ok(())
}

/// The holder of the Lease: the process of which of the exporters.
fn holder(lab: &Lab) -> Result<Option<(usize, String)>> {
    let lease = lab.cluster()?.api().get(
        "leases.coordination.k8s.io",
        crate::cluster::NAMESPACE,
        "pnwatch-conditions",
    );
    let holder = lease.and_then(|lease| Some(lease["spec"]["holderIdentity"].as_str()?.to_owned()));
    let Some(holder) = holder else {
        return Ok(None);
    };
    let ids = lab.processes.ids();
    let replicas = lab.daemons.as_ref().context("no pnwatch")?.replicas();
    let found = (0..replicas).find(|replica| {
        ids.get(&exporter_name(*replica))
            .is_some_and(|id| holder == format!("pnwatch-{}", id.pid))
    });
    Ok(found.map(|replica| (replica, holder)))
}

fn two_exporters(lab: &mut Lab) -> Result<()> {
    let replicas = lab.daemons.as_ref().context("no pnwatch")?.replicas();
    anyhow::ensure!(replicas == 2, "this row needs two exporters: --exporters 2");
    wait::until("a holder of the Lease", TAKE_OVER, || holder(lab))?;
    condition_stands(lab)
}

/// The holder dies; the other writes before the goal of its Lease, and tells no Event of it.
fn kill_writer(lab: &mut Lab, _: Duration) -> Result<()> {
    let (replica, first) = holder(lab)?.context("nobody holds the Lease")?;
    let killed = Timestamp::now();
    lab.processes.kill(&exporter_name(replica))?;
    let second = wait::until("another holder of the Lease", TAKE_OVER, || {
        Ok(holder(lab)?.filter(|(other, _)| *other != replica))
    })?;
    let took = seconds_between(killed, Timestamp::now());
    eprintln!(
        "  {first} was killed, {} holds the Lease {took:.1} s later",
        second.1
    );
    // Its own writing: a heartbeat of the condition that is newer than the death.
    wait::until("a heartbeat of the condition by the other", BEAT, || {
        let all = conditions(lab)?;
        let ours = all.iter().find(|c| c["type"] == CONDITION);
        let beat = ours.and_then(|c| c["lastHeartbeatTime"].as_str());
        let beat: Option<Timestamp> = beat.and_then(|text| text.parse().ok());
        Ok(beat.filter(|at| *at > killed).map(drop))
    })?;
    let events = lab.cluster()?.api().list("events");
    anyhow::ensure!(
        events.is_empty(),
        "a change of writers is no Event: {events:?}"
    );
    anyhow::ensure!(
        took <= TAKE_OVER.as_secs_f64(),
        "taken over only after {took:.1} s"
    );
    Ok(())
}

fn start_writer(lab: &mut Lab) -> Result<()> {
    let daemons = lab.daemons.as_ref().context("no pnwatch")?;
    for replica in 0..daemons.replicas() {
        if !lab.processes.has(&exporter_name(replica)) {
            daemons.start_exporter(&mut lab.processes, replica)?;
            daemons.wait_exporter(&mut lab.processes, replica)?;
        }
    }
    daemons.wait_settled(&mut lab.processes)
}

fn conditions(lab: &Lab) -> Result<Vec<Value>> {
    let node = lab.cluster()?.api().get("nodes", "", NODE);
    let node = node.context("the cluster has no such Node")?;
    let all = node["status"]["conditions"].as_array().cloned();
    Ok(all.unwrap_or_default())
}

/// Status and reason of the condition, once there is one.
fn condition(lab: &Lab) -> Result<Option<(String, String)>> {
    let all = conditions(lab)?;
    let ours = all.iter().find(|c| c["type"] == CONDITION);
    let text = |c: &Value, field: &str| c[field].as_str().unwrap_or_default().to_owned();
    Ok(ours.map(|c| (text(c, "status"), text(c, "reason"))))
}

/// What the kubelet does all the while: it writes its own conditions.
fn kubelet_beats(lab: &Lab) -> Result<String> {
    let beat = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let written = beat.clone();
    lab.cluster()?.edit("nodes", NODE, |object| {
        object["status"]["conditions"][READY]["lastHeartbeatTime"] = written.into();
    })?;
    Ok(beat)
}

/// Waits for a status of the condition while the kubelet writes; how long since `since`.
fn flips(lab: &mut Lab, status: &str, since: Timestamp, also: &mut Also) -> Result<()> {
    let mut beat = String::new();
    let mut last = None;
    wait::polled(FLIP * 3, || {
        beat = kubelet_beats(lab)?;
        last = condition(lab)?;
        Ok(last
            .as_ref()
            .is_some_and(|(s, _)| s == status)
            .then_some(()))
    })?;
    let took = seconds_between(since, Timestamp::now());
    let right = last.as_ref().is_some_and(|(s, _)| s == status);
    also.note(
        right && took <= FLIP.as_secs_f64(),
        format!("the condition is {last:?} {took:.1} s after the change"),
    );
    let all = conditions(lab)?;
    let ready = all.iter().find(|c| c["type"] == "Ready");
    let kept = all.len() == READY + 2
        && ready.is_some_and(|c| c["lastHeartbeatTime"] == beat.as_str() && c["status"] == "True");
    also.note(
        kept,
        format!(
            "{} conditions, the kubelet's own newest beat kept: {kept}",
            all.len()
        ),
    );
    Ok(())
}

fn condition_is_true(lab: &mut Lab) -> Result<()> {
    wait::until("the node's condition to be True", FLIP * 3, || {
        Ok(condition(lab)?.filter(|(s, _)| s == "True").map(drop))
    })
}

/// The condition is there, and no Event is left of how it came.
fn condition_stands(lab: &mut Lab) -> Result<()> {
    condition_is_true(lab)?;
    // The Event of a change is written after the change itself.
    wait::pass(Duration::from_secs(1))?;
    forget_events(lab)
}

fn forget_events(lab: &Lab) -> Result<()> {
    let api = lab.cluster()?.api();
    for event in api.list("events") {
        let text = |field: &str| event["metadata"][field].as_str().unwrap_or_default();
        api.delete("events", text("namespace"), text("name"));
    }
    Ok(())
}

fn condition_flips(lab: &mut Lab, fault: Timestamp, also: &mut Also) -> Result<()> {
    flips(lab, "False", fault, also)
}

/// Back, with one Event each way.
fn condition_is_back(lab: &mut Lab, healed: Timestamp, also: &mut Also) -> Result<()> {
    condition_is_true(lab)?;
    let all = conditions(lab)?;
    let ours = all.iter().find(|c| c["type"] == CONDITION);
    let changed = ours.and_then(|c| c["lastTransitionTime"].as_str());
    let changed: Option<Timestamp> = changed.and_then(|text| text.parse().ok());
    let took = changed.map(|at| seconds_between(healed, at));
    also.note(
        took.is_some_and(|took| took <= FLIP.as_secs_f64()),
        format!("the condition was True again {took:?} s after the order to heal"),
    );
    let events = lab.cluster()?.api().list("events");
    let mut told: Vec<String> = events
        .iter()
        .filter(|e| e["involvedObject"]["name"] == NODE || e["regarding"]["name"] == NODE)
        .map(|e| e["reason"].as_str().unwrap_or_default().to_owned())
        .collect();
    told.sort_unstable();
    let right = told == ["InterfaceMissing", "Reachable"];
    also.note(right, format!("Events of the node: {told:?}"));
    Ok(())
}
