//! What a cluster's servers say: the Kubernetes API, a Prometheus, an Alertmanager, and tokens.

use std::sync::LazyLock;
use std::time::Duration;

use pnwatch_core::kube::object::{Entry, Kind};
use pnwatch_core::kube::{Change, Index, Names as ObjectNames, Profile, Reading, Settings, Times};
use pnwatch_core::traffic::Names;
use pnwatch_exporter::fuzzing;
use pnwatch_exporter::kube::IdentityError;
use pnwatch_exporter::traffic::{PodTarget, PrometheusSettings};
use serde_json::Value;

use crate::http::is_sound;
use crate::site::{at, cluster, inventory, is_one_line, now, pn};

/// Most problems that are told of one object.
const MAX_PROBLEMS: usize = 8;

/// Objects as `kubectl get -o json` prints them: one, or a `List`. Each is reduced, indexed and
/// judged; one without a known kind is reduced as every kind.
pub(crate) fn objects(bytes: &[u8]) -> bool {
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else {
        return false;
    };
    let settings = Settings {
        cluster: cluster(),
        pn_cidr: pn(),
        profile: Profile::Kura,
        names: ObjectNames::default(),
        times: Times::default(),
    };
    let mut index = Index::new(settings, Kind::ALL);
    for kind in Kind::ALL {
        index.take(*kind, Change::Init, now());
    }
    let items = match value.get("items").and_then(Value::as_array) {
        Some(items) => items.as_slice(),
        None => core::slice::from_ref(&value),
    };
    let mut read = false;
    for item in items.iter().take(64) {
        for kind in kinds(item) {
            let entry = fuzzing::object(kind, item, "cluster.x-k8s.io/paused");
            is_told(&entry);
            read |= entry.object.is_some();
            index.take(kind, Change::InitApply(entry), now());
        }
    }
    for kind in Kind::ALL {
        index.take(*kind, Change::InitDone, now());
    }
    for millis in [0, 120_000, 7_200_000] {
        is_safe(&index.judge(at(millis)));
    }
    // One that goes takes nothing else with it.
    if let Some(item) = items.first() {
        let key = fuzzing::object_key(item);
        index.take(Kind::Node, Change::Delete(key), at(7_200_000));
        is_safe(&index.judge(at(7_300_000)));
    }
    read
}

fn kinds(item: &Value) -> Vec<Kind> {
    let known = match item.get("kind").and_then(Value::as_str) {
        Some("KuraInstance") => Kind::Instance,
        Some("Service") => Kind::Service,
        Some("EndpointSlice") => Kind::Slice,
        Some("Pod") => {
            let namespace = item.pointer("/metadata/namespace").and_then(Value::as_str);
            if namespace == Some("tuist-runners") {
                Kind::Runner
            } else {
                Kind::Pod
            }
        }
        Some("NetworkPolicy") => Kind::Policy,
        Some("Node") => Kind::Node,
        Some("Machine") => Kind::Machine,
        Some("CustomResourceDefinition") => Kind::Definition,
        _ => return Kind::ALL.to_vec(),
    };
    vec![known]
}

/// An object is read, or it is said why not.
fn is_told(entry: &Entry) {
    assert!(entry.object.is_some() || !entry.problems.is_empty());
    assert!(entry.problems.len() <= MAX_PROBLEMS);
}

/// Nothing outside of the private network is ever dialled.
fn is_safe(reading: &Reading) {
    for gateway in &reading.gateways {
        assert!(pn().contains(gateway.address));
    }
    let Some(inventory) = &reading.inventory else {
        return;
    };
    for node in inventory.nodes.values() {
        assert!(pn().contains(node.address), "{node:?}");
    }
    for (subject, target) in &inventory.targets {
        assert!(pn().contains(target.address), "{subject} {target:?}");
        assert_ne!(target.port, 0, "{subject}");
    }
}

/// A Prometheus' three answers, a line each: time stamps, counters, demand.
pub(crate) fn prometheus(bytes: &[u8]) -> bool {
    static SETTINGS: LazyLock<PrometheusSettings> = LazyLock::new(|| PrometheusSettings {
        url: "http://prometheus".to_owned(),
        interval: Duration::from_secs(15),
        timeout: Duration::from_secs(5),
        token_file: None,
        ca_file: None,
        headers: Vec::new(),
        selector: String::new(),
        pod_label: "pod".to_owned(),
        demand: Some("jobs".to_owned()),
        account_label: "account".to_owned(),
        absent_is_none: true,
        names: Names::default(),
    });
    static TARGETS: LazyLock<Vec<PodTarget>> = LazyLock::new(|| {
        let targets = inventory().targets.values().map(|target| PodTarget {
            account: target.account.clone(),
            instance: target.instance.clone(),
            node: Some(target.node.clone()),
            url: None,
        });
        targets.collect()
    });
    let mut lines = bytes.splitn(3, |b| *b == b'\n');
    let mut next = || lines.next().unwrap_or(b"{\"data\":{}}");
    let answers = [next(), next(), next()];
    let Some((samples, _)) = fuzzing::prometheus(&SETTINGS, &TARGETS, answers, now()) else {
        return false;
    };
    assert!(samples.len() <= TARGETS.len());
    for sample in &samples {
        assert!(sample.at <= now().tick);
        let scrape = sample.result.as_ref();
        is_sound(scrape.expect("counters are read, whatever they say"));
    }
    !samples.is_empty()
}

/// An Alertmanager's list of heartbeats.
pub(crate) fn heartbeat(bytes: &[u8]) -> bool {
    let looks = fuzzing::another_beats(bytes, "r1");
    if let Some([first, again]) = looks {
        assert!(!again, "the same list is news twice");
        let text = String::from_utf8_lossy(bytes);
        // Escapes apart, whoever sees says so.
        assert!(!first || text.contains("hosts or VMs") || text.contains('\\'));
    }
    looks.is_some_and(|[first, _]| first)
}

/// A bearer token that may be a service account's.
pub(crate) fn token(bytes: &[u8]) -> bool {
    let Ok(text) = core::str::from_utf8(bytes) else {
        return false;
    };
    let ours = ("pnwatch", "system:serviceaccount:pnwatch:pnwatch-prober");
    match fuzzing::token(text, ours, now().wall) {
        Ok(expires) => {
            assert!(expires > now().wall);
            true
        }
        Err(IdentityError::Refused(why)) => {
            assert!(why.len() < 200 && is_one_line(&why));
            false
        }
        Err(error) => unreachable!("nothing was asked: {error}"),
    }
}
