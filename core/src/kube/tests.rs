use core::net::Ipv4Addr;
use core::time::Duration;

use proptest::prelude::*;

use super::object::{
    DefinitionObject, DefinitionVersion, Endpoint, Entry, InstanceObject, Key, MachineObject, Meta,
    NodeObject, Object, PodObject, PolicyObject, PolicyRule, ServiceObject, ServicePort,
    SliceObject,
};
use super::*;
use crate::bandwidth::BitRate;
use crate::fault::{Blame, Fault, Severity};
use crate::name::{Cluster, Vantage};
use crate::time::{Now, Tick};

const BORN: u64 = 1_700_000_000;

/// `seconds` after the exporter's start, which is a day after everything was made.
fn at(seconds: u64) -> Now {
    Now {
        tick: Tick::from_millis((200_000 + seconds) * 1000),
        wall: wall(seconds),
    }
}

fn wall(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(BORN + 86_400 + seconds)
}

fn settings(profile: Profile) -> Settings {
    Settings {
        cluster: Cluster::new("staging").unwrap(),
        pn_cidr: "172.16.0.0/22".parse().unwrap(),
        profile,
        names: Names::default(),
        times: Times::default(),
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "fields that may be missing are written so"
)]
fn text(t: &str) -> Option<String> {
    Some(t.to_owned())
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

fn meta(namespace: &str, name: &str) -> Meta {
    Meta {
        key: Key {
            namespace: namespace.into(),
            name: name.into(),
        },
        uid: text("u"),
        created: Some(Timestamp::from_unix_seconds(BORN)),
        ..Meta::default()
    }
}

fn node(name: &str, address: &str) -> NodeObject {
    NodeObject {
        meta: Meta {
            labels: map(&[
                ("kubernetes.io/os", "linux"),
                ("tuist.dev/pn-ipv4", address),
            ]),
            ..meta("", name)
        },
        provider: text("scaleway://instance/fr-par-1/x"),
        taints: vec!["tuist.dev/runner-cache".into()],
        ready: Some(true),
        ..NodeObject::default()
    }
}

fn mac(name: &str) -> NodeObject {
    NodeObject {
        meta: Meta {
            labels: map(&[
                ("kubernetes.io/os", "darwin"),
                ("tuist.dev/runtime", "tart"),
            ]),
            ..meta("", name)
        },
        provider: text("scw-applesilicon://fr-par-1/x"),
        ready: Some(true),
        ..NodeObject::default()
    }
}

fn instance() -> InstanceObject {
    InstanceObject {
        meta: meta("kura", "kura-a"),
        account: text("acme"),
        tenant: text("acme"),
        region: text("scw-fr-par-runners"),
        expose: Some(true),
        egress_cap: None,
        client_cidrs: Some(vec!["172.16.0.0/22".into()]),
        phase: text("Ready"),
        ready_replicas: Some(1),
        last_reconciled: Some(wall(0)),
        node_address: text("172.16.0.2"),
        port_cache: Some(30815),
        private_url: text("https://acme.kura.example.dev"),
        ..InstanceObject::default()
    }
}

fn service() -> ServiceObject {
    ServiceObject {
        meta: meta("kura", "kura-a-external"),
        kind: text("NodePort"),
        selector: map(&[("statefulset.kubernetes.io/pod-name", "kura-a-0")]),
        ports: vec![ServicePort {
            name: text("http"),
            node_port: Some(30815),
        }],
    }
}

fn pod(node: &str) -> PodObject {
    PodObject {
        meta: Meta {
            labels: map(&[
                ("app.kubernetes.io/instance", "kura-a"),
                ("tuist.dev/account", "acme"),
            ]),
            ..meta("kura", "kura-a-0")
        },
        node: text(node),
        phase: text("Running"),
        address: text("10.0.0.7"),
        ports: BTreeMap::from([("http".to_owned(), 4000)]),
        ready: Some(true),
        ready_since: Some(Timestamp::from_unix_seconds(BORN + 60)),
        egress_cap: None,
        trouble: None,
    }
}

fn slice(terminating: bool) -> SliceObject {
    SliceObject {
        meta: meta("kura", "kura-a-external-x"),
        service: text("kura-a-external"),
        endpoints: vec![Endpoint {
            node: text("node-1"),
            ready: Some(!terminating),
            terminating: Some(terminating),
        }],
    }
}

fn policy(block: &str) -> PolicyObject {
    PolicyObject {
        meta: meta("kura", "kura-a"),
        selector: Some(map(&[("app.kubernetes.io/instance", "kura-a")])),
        restricts_ingress: true,
        rules: vec![PolicyRule {
            anybody: false,
            blocks: vec![(block.to_owned(), vec![])],
            ports: vec!["http".into()],
        }],
    }
}

fn definition(status: &[&str]) -> DefinitionObject {
    DefinitionObject {
        meta: meta("", "kurainstances.kura.tuist.dev"),
        versions: vec![DefinitionVersion {
            name: "v1alpha1".into(),
            spec: None,
            status: Some(status.iter().map(|s| (*s).to_owned()).collect()),
        }],
    }
}

fn key_of(object: &Object) -> Key {
    let meta = match object {
        Object::Instance(o) => &o.meta,
        Object::Service(o) => &o.meta,
        Object::Slice(o) => &o.meta,
        Object::Pod(o) => &o.meta,
        Object::Node(o) => &o.meta,
        Object::Policy(o) => &o.meta,
        Object::Machine(o) => &o.meta,
        Object::Definition(o) => &o.meta,
    };
    meta.key.clone()
}

fn kind_of(object: &Object) -> Kind {
    match object {
        Object::Instance(_) => Kind::Instance,
        Object::Service(_) => Kind::Service,
        Object::Slice(_) => Kind::Slice,
        Object::Pod(pod) if pod.meta.key.namespace == "tuist-runners" => Kind::Runner,
        Object::Pod(_) => Kind::Pod,
        Object::Node(_) => Kind::Node,
        Object::Policy(_) => Kind::Policy,
        Object::Machine(_) => Kind::Machine,
        Object::Definition(_) => Kind::Definition,
    }
}

fn entry(object: Object) -> Entry {
    Entry {
        key: key_of(&object),
        object: Some(object),
        problems: Vec::new(),
    }
}

fn healthy() -> Vec<Object> {
    vec![
        Object::Instance(instance()),
        Object::Service(service()),
        Object::Slice(slice(false)),
        Object::Pod(pod("node-1")),
        Object::Pod(PodObject {
            meta: meta("tuist-runners", "runner-1"),
            node: text("mini-1"),
            phase: text("Running"),
            ..PodObject::default()
        }),
        Object::Node(node("node-1", "172.16.0.2")),
        Object::Node(node("node-2", "172.16.0.3")),
        Object::Node(mac("mini-1")),
        Object::Policy(policy("172.16.0.0/16")),
        Object::Definition(definition(&["nodeAddress", "nodePortCache"])),
    ]
}

fn listed(objects: Vec<Object>, now: Now) -> Index {
    let kinds = Index::kinds(Profile::Kura, true);
    let mut index = Index::new(settings(Profile::Kura), &kinds);
    for kind in &kinds {
        index.take(*kind, Change::Init, now);
    }
    for object in objects {
        index.take(kind_of(&object), Change::InitApply(entry(object)), now);
    }
    for kind in kinds {
        index.take(kind, Change::InitDone, now);
    }
    index
}

fn apply(index: &mut Index, object: Object, now: Now) {
    index.take(kind_of(&object), Change::Apply(entry(object)), now);
}

fn denied(why: &str) -> Change {
    Change::Failed {
        why: why.into(),
        denied: true,
    }
}

fn away() -> Change {
    Change::Failed {
        why: "connection refused".into(),
        denied: false,
    }
}

#[test]
fn healthy_objects_make_an_inventory_and_no_diagnosis() {
    let mut index = listed(healthy(), at(0));
    index.judge(at(0));
    let reading = index.judge(at(600));
    assert_eq!(reading.diagnoses, []);
    assert_eq!(reading.stale_since, None);
    let inventory = reading.inventory.unwrap();
    let target = inventory.targets.values().next().unwrap();
    assert_eq!(
        (target.node.as_str(), target.address, target.port),
        ("node-1", Ipv4Addr::new(172, 16, 0, 2), 30815)
    );
    assert_eq!(target.tenant.as_ref().unwrap().as_str(), "acme");
    assert_eq!(target.excuse, None);
    let vantages: Vec<String> = inventory.vantages.keys().map(Vantage::to_string).collect();
    assert_eq!(vantages, ["node/node-1", "node/node-2", "host/mini-1"]);
    // A node is a target without any account.
    assert_eq!(inventory.nodes.len(), 2);
    assert_eq!(reading.scrapes.len(), 1);
    assert_eq!(reading.scrapes[0].port, 4000);
    assert!(reading.scrapes[0].ready);
    assert_eq!(reading.gateways[0].host, "acme.kura.example.dev");
    assert_eq!(reading.gateways[0].port, 443);
    assert_eq!(reading.runners.values().sum::<usize>(), 1);
}

/// The pod's cap is in force; the instance's comes with its next pod.
#[test]
fn an_egress_cap_is_the_pods_else_the_instances() {
    let cap = |pod: Option<&str>, instance: Option<&str>| {
        let objects = healthy().into_iter().map(|object| match object {
            Object::Pod(found) => Object::Pod(PodObject {
                egress_cap: pod.and_then(BitRate::parse),
                ..found
            }),
            Object::Instance(found) => Object::Instance(InstanceObject {
                egress_cap: instance.and_then(BitRate::parse),
                ..found
            }),
            other => other,
        });
        let reading = listed(objects.collect(), at(0)).judge(at(0));
        let inventory = reading.inventory.unwrap();
        let target = inventory.targets.values().next().unwrap();
        target.egress_cap.map(|cap| cap.to_string())
    };
    assert_eq!(cap(None, None), None);
    assert_eq!(cap(None, Some("750M")).as_deref(), Some("750M"));
    assert_eq!(cap(Some("300M"), Some("750M")).as_deref(), Some("300M"));
    assert_eq!(cap(Some("300M"), None).as_deref(), Some("300M"));
}

#[test]
fn an_empty_cache_is_not_all_gone() {
    let kinds = Index::kinds(Profile::Kura, false);
    let mut index = Index::new(settings(Profile::Kura), &kinds);
    for object in healthy() {
        let kind = kind_of(&object);
        index.take(kind, Change::Init, at(0));
        index.take(kind, Change::InitApply(entry(object)), at(0));
        assert_eq!(index.judge(at(0)).inventory, None, "{kind:?}");
    }
    for kind in [Kind::Node, Kind::Pod] {
        index.take(kind, Change::InitDone, at(1));
        assert_eq!(
            index.judge(at(1)).inventory,
            None,
            "instances are not listed"
        );
    }
    index.take(Kind::Instance, Change::InitDone, at(2));
    assert!(index.judge(at(2)).inventory.is_some());

    // A list begun anew shows nothing of itself until it is complete.
    index.take(Kind::Instance, Change::Init, at(3));
    assert_eq!(index.judge(at(3)).inventory.unwrap().targets.len(), 1);
    index.take(Kind::Instance, away(), at(4));
    assert_eq!(index.judge(at(4)).inventory.unwrap().targets.len(), 1);
    index.take(Kind::Instance, Change::Init, at(5));
    index.take(Kind::Instance, Change::InitDone, at(5));
    assert_eq!(index.judge(at(5)).inventory.unwrap().targets.len(), 0);
}

#[test]
fn a_refused_kind_is_named_and_the_others_go_on() {
    let kinds = Index::kinds(Profile::Kura, false);
    let mut index = Index::new(settings(Profile::Kura), &kinds);
    for kind in &kinds {
        index.take(*kind, Change::Init, at(0));
    }
    for object in healthy() {
        let kind = kind_of(&object);
        if kind != Kind::Pod {
            index.take(kind, Change::InitApply(entry(object)), at(0));
        }
    }
    for kind in kinds.into_iter().filter(|k| *k != Kind::Pod) {
        index.take(kind, Change::InitDone, at(0));
    }
    assert_eq!(index.judge(at(1)).inventory, None);
    index.take(Kind::Pod, denied("pods is forbidden"), at(1));
    let reading = index.judge(at(1));
    assert_eq!(reading.inventory.unwrap().targets.len(), 1);
    assert_eq!(reading.stale, [Kind::Pod]);
    assert_eq!(reading.stale_since, Some(wall(1)));
    let finding = &reading.diagnoses[0];
    assert_eq!(
        (finding.blame, finding.subject.as_str(), finding.fault),
        (Blame::Monitor, "kubernetes-pods", Fault::MonitorBlind)
    );
    assert!(finding.summary.contains("pods is forbidden"));
    // What is not listed is not missed: no `never_ready` for want of pods.
    assert_eq!(
        index.judge(at(9000)).diagnoses.len(),
        2,
        "pods, and reconciling"
    );
}

#[test]
fn an_hour_without_the_api_server_forgets_nothing() {
    let mut index = listed(healthy(), at(0));
    let before = index.judge(at(0));
    for kind in Index::kinds(Profile::Kura, true) {
        index.take(kind, away(), at(10));
    }
    assert_eq!(
        index.judge(at(12)).diagnoses,
        [],
        "a short break is nobody's business"
    );
    for minute in 1..=60 {
        let now = at(10 + minute * 60);
        for kind in Index::kinds(Profile::Kura, true) {
            index.take(kind, away(), now);
        }
        let reading = index.judge(now);
        assert_eq!(reading.inventory, before.inventory);
        assert_eq!(reading.scrapes, before.scrapes);
        assert_eq!(reading.stale_since, Some(wall(10)));
        let told = &reading.diagnoses[0];
        assert_eq!(
            (told.blame, told.subject.as_str()),
            (Blame::Monitor, "kubernetes")
        );
        assert_eq!(told.severity, Severity::Warning);
        assert_eq!(told.since, at(10).tick);
    }
    for kind in Index::kinds(Profile::Kura, true) {
        index.take(kind, Change::Init, at(3700));
    }
    for object in healthy() {
        index.take(kind_of(&object), Change::InitApply(entry(object)), at(3700));
    }
    for kind in Index::kinds(Profile::Kura, true) {
        index.take(kind, Change::InitDone, at(3700));
    }
    let after = index.judge(at(3700));
    assert_eq!(
        (after.inventory, after.stale_since),
        (before.inventory, None)
    );
}

type Row = (
    &'static str,
    fn() -> Vec<Object>,
    (Blame, &'static str, Fault, Severity),
    &'static [&'static str],
);

fn with(change: impl FnOnce(&mut InstanceObject)) -> Vec<Object> {
    let mut changed = instance();
    change(&mut changed);
    vec![Object::Instance(changed)]
}

const STALE: (Blame, &str, Fault, Severity) = (
    Blame::ControlPlane,
    "kura-a",
    Fault::StatusStale,
    Severity::Warning,
);
const MOVED: (Blame, &str, Fault, Severity) = (
    Blame::Account,
    "acme",
    Fault::EndpointStale,
    Severity::Critical,
);
const NEVER: (Blame, &str, Fault, Severity) =
    (Blame::Account, "acme", Fault::NeverReady, Severity::Warning);

/// What differs from the healthy objects, what must be found, which words must be in it.
const TABLE: &[Row] = &[
    (
        "F18 no address",
        || with(|i| i.node_address = None),
        STALE,
        &["status.nodeAddress"],
    ),
    (
        "F18 no port",
        || with(|i| i.port_cache = None),
        STALE,
        &["status.nodePortCache"],
    ),
    (
        "F18 address is no address",
        || with(|i| i.node_address = text("x;y")),
        STALE,
        &["status.nodeAddress"],
    ),
    (
        "F18 address outside",
        || with(|i| i.node_address = text("203.0.113.1")),
        STALE,
        &["outside the PN"],
    ),
    (
        "F18 stands still",
        || with(|i| i.last_reconciled = Some(wall(0).before(Duration::from_hours(2)))),
        STALE,
        &["lastReconciledAt"],
    ),
    (
        "F18 pruned",
        || {
            with(|i| {
                i.expose = None;
                i.node_address = None;
                i.port_cache = None;
            })
        },
        STALE,
        &["spec.exposeNodePort"],
    ),
    (
        "F18 tenant",
        || with(|i| i.tenant = None),
        STALE,
        &["spec.tenantID"],
    ),
    (
        "client CIDRs",
        || with(|i| i.client_cidrs = Some(vec!["10.0.0.0/8".into()])),
        STALE,
        &["spec.clientCIDRs"],
    ),
    (
        "policy",
        || vec![Object::Policy(policy("10.0.0.0/8"))],
        STALE,
        &["NetworkPolicy kura-a", "ipBlock.cidr"],
    ),
    (
        "policy except",
        || {
            let mut excepting = policy("172.16.0.0/16");
            excepting.rules[0].blocks[0].1 = vec!["172.16.1.0/24".into()];
            vec![Object::Policy(excepting)]
        },
        STALE,
        &["NetworkPolicy kura-a"],
    ),
    (
        "policy on another port",
        || {
            let mut other = policy("172.16.0.0/16");
            other.rules[0].ports = vec!["7443".into()];
            vec![Object::Policy(other)]
        },
        STALE,
        &["on port http"],
    ),
    (
        "Service type",
        || {
            vec![Object::Service(ServiceObject {
                kind: text("ClusterIP"),
                ..service()
            })]
        },
        STALE,
        &["spec.type is ClusterIP"],
    ),
    (
        "CRD",
        || vec![Object::Definition(definition(&["phase"]))],
        (
            Blame::ControlPlane,
            "kurainstances.kura.tuist.dev",
            Fault::StatusStale,
            Severity::Warning,
        ),
        &[
            "status.nodeAddress",
            "status.nodePortCache or status.nodePortHTTP",
            "v1alpha1",
        ],
    ),
    (
        "F19",
        || vec![Object::Pod(pod("node-2"))],
        MOVED,
        &[
            "status.nodeAddress is 172.16.0.2",
            "node node-2",
            "172.16.0.3",
        ],
    ),
    (
        "port",
        || with(|i| i.port_cache = Some(30816)),
        MOVED,
        &["status.nodePortCache is 30816", "nodePort is 30815"],
    ),
    (
        "older port",
        || {
            with(|i| {
                i.port_cache = None;
                i.port_http = Some(30816);
            })
        },
        MOVED,
        &["status.nodePortHTTP is 30816"],
    ),
    (
        "F26 provider",
        || {
            vec![Object::Node(NodeObject {
                provider: None,
                ..node("node-1", "172.16.0.2")
            })]
        },
        (
            Blame::ControlPlane,
            "node-1",
            Fault::BindingMissing,
            Severity::Warning,
        ),
        &["spec.providerID"],
    ),
    (
        "F26 not ready",
        || {
            vec![Object::Node(NodeObject {
                ready: Some(false),
                ..mac("mini-1")
            })]
        },
        (
            Blame::ControlPlane,
            "mini-1",
            Fault::BindingMissing,
            Severity::Warning,
        ),
        &["conditions[Ready]"],
    ),
    (
        "F26 label",
        || vec![Object::Node(node("node-2", ""))],
        (
            Blame::ControlPlane,
            "node-2",
            Fault::BindingMissing,
            Severity::Warning,
        ),
        &["tuist.dev/pn-ipv4 is missing"],
    ),
    (
        "F26 label wrong",
        || vec![Object::Node(node("node-2", "not an address"))],
        (
            Blame::ControlPlane,
            "node-2",
            Fault::BindingMissing,
            Severity::Warning,
        ),
        &["not an address"],
    ),
    (
        "F26 Machine",
        || {
            vec![Object::Machine(MachineObject {
                meta: meta("default", "m-1"),
                phase: text("Pending"),
                ..MachineObject::default()
            })]
        },
        (
            Blame::ControlPlane,
            "m-1",
            Fault::BindingMissing,
            Severity::Warning,
        ),
        &["status.nodeRef", "Pending"],
    ),
    (
        "F27 pod pending",
        || {
            vec![Object::Pod(PodObject {
                phase: text("Pending"),
                ready: None,
                trouble: text("untolerated taint"),
                ..pod("node-1")
            })]
        },
        NEVER,
        &["Pending", "untolerated taint"],
    ),
    (
        "F27 phase",
        || {
            with(|i| {
                i.phase = text("Pending");
                i.node_address = None;
                i.port_cache = None;
                i.message = text("nodes is forbidden");
            })
        },
        NEVER,
        &[
            "status.phase is Pending",
            "nodes is forbidden",
            "no endpoint was ever published",
        ],
    ),
    (
        "F28 label",
        || vec![Object::Node(node("node-2", "172.16.0.2"))],
        (
            Blame::ControlPlane,
            "172.16.0.2",
            Fault::DuplicateClaim,
            Severity::Warning,
        ),
        &["node-1", "node-2", "tuist.dev/pn-ipv4"],
    ),
    (
        "F28 machines",
        || {
            ["m-1", "m-2"]
                .map(|name| {
                    Object::Machine(MachineObject {
                        meta: meta("default", name),
                        provider: text("scw-applesilicon://z/host-9"),
                        node: text("mini-1"),
                        ..MachineObject::default()
                    })
                })
                .into()
        },
        (
            Blame::ControlPlane,
            "host-9",
            Fault::DuplicateClaim,
            Severity::Warning,
        ),
        &["spec.providerID", "m-1", "m-2"],
    ),
    (
        "F28 endpoint",
        || {
            with(|i| {
                i.meta = meta("kura", "kura-b");
                i.account = text("other");
            })
        },
        (
            Blame::ControlPlane,
            "172.16.0.2:30815",
            Fault::DuplicateClaim,
            Severity::Warning,
        ),
        &["kura/kura-a", "kura/kura-b"],
    ),
];

#[test]
fn every_contradiction_names_object_and_field_and_nothing_else_is_told() {
    for (name, changed, (blame, subject, fault, severity), words) in TABLE {
        let mut index = listed(healthy(), at(0));
        for object in changed() {
            apply(&mut index, object, at(0));
        }
        index.judge(at(0));
        let found = index.judge(at(600)).diagnoses;
        let told: Vec<_> = found
            .iter()
            .filter(|d| d.fault == *fault && d.blame == *blame && d.subject == *subject)
            .collect();
        assert_eq!(told.len(), 1, "{name}: {found:#?}");
        assert_eq!(told[0].severity, *severity, "{name}");
        let said: String = told[0].evidence.iter().map(|e| e.text.clone()).collect();
        let said = format!("{} {said}", told[0].summary);
        for word in *words {
            assert!(said.contains(word), "{name}: {word:?} is not in {said}");
        }
        assert!(told[0].repair.is_some(), "{name}");
        // It closes with the contradiction.
        let mut mended: Vec<Object> = healthy();
        mended.retain(|o| {
            changed()
                .iter()
                .any(|c| key_of(c) == key_of(o) && kind_of(c) == kind_of(o))
        });
        for object in changed() {
            let kind = kind_of(&object);
            index.take(kind, Change::Delete(key_of(&object)), at(601));
        }
        for object in mended {
            apply(&mut index, object, at(601));
        }
        assert_eq!(index.judge(at(602)).diagnoses, [], "{name}");
    }
}

#[test]
fn controllers_get_time_to_catch_up() {
    let mut index = listed(healthy(), at(0));
    apply(&mut index, Object::Pod(pod("node-2")), at(100));
    assert_eq!(index.judge(at(100)).diagnoses, []);
    assert_eq!(index.judge(at(125)).diagnoses, []);
    assert_eq!(
        index.judge(at(131)).diagnoses[0].fault,
        Fault::EndpointStale
    );
    assert_eq!(index.judge(at(131)).diagnoses[0].since, at(100).tick);
    // The wait begins anew after a cure.
    apply(&mut index, Object::Pod(pod("node-1")), at(132));
    assert_eq!(index.judge(at(132)).diagnoses, []);
    apply(&mut index, Object::Pod(pod("node-2")), at(133));
    assert_eq!(index.judge(at(140)).diagnoses, []);
}

#[test]
fn a_pod_move_reaches_the_inventory() {
    let mut index = listed(healthy(), at(0));
    apply(&mut index, Object::Pod(pod("node-2")), at(1));
    for object in with(|i| i.node_address = text("172.16.0.3")) {
        apply(&mut index, object, at(1));
    }
    let inventory = index.judge(at(1)).inventory.unwrap();
    let target = inventory.targets.values().next().unwrap();
    assert_eq!(target.node.as_str(), "node-2");
    assert_eq!(target.address, Ipv4Addr::new(172, 16, 0, 3));
}

fn excuse_at(index: &mut Index, seconds: u64) -> Option<String> {
    let inventory = index.judge(at(seconds)).inventory.unwrap();
    let target = inventory.targets.values().next().unwrap();
    target.excuse.as_ref().map(|e| e.reason.clone())
}

#[test]
fn excuses_end_at_their_deadline() {
    // Deleted with 260 s of grace, but never gone.
    let mut index = listed(healthy(), at(0));
    let mut going = pod("node-1");
    going.meta.deleted = Some(wall(260));
    apply(&mut index, Object::Pod(going), at(0));
    assert_eq!(excuse_at(&mut index, 0).as_deref(), Some("draining"));
    assert_eq!(excuse_at(&mut index, 274).as_deref(), Some("draining"));
    assert_eq!(excuse_at(&mut index, 276), None);

    // A deadline in a hundred years is cut.
    let mut index = listed(healthy(), at(0));
    let mut going = pod("node-1");
    going.meta.deleted = Some(wall(3_000_000_000));
    apply(&mut index, Object::Pod(going), at(0));
    assert_eq!(excuse_at(&mut index, 0).as_deref(), Some("draining"));
    assert_eq!(excuse_at(&mut index, 299).as_deref(), Some("draining"));
    assert_eq!(excuse_at(&mut index, 301), None);

    // Terminating endpoints carry no time: from the first sight.
    let mut index = listed(healthy(), at(0));
    apply(&mut index, Object::Slice(slice(true)), at(10));
    assert_eq!(excuse_at(&mut index, 10).as_deref(), Some("draining"));
    assert_eq!(excuse_at(&mut index, 311), None);

    // A new pod: until it is ready and a little longer.
    let mut index = listed(healthy(), at(0));
    let mut new = pod("node-1");
    new.meta.created = Some(wall(5));
    new.ready = Some(false);
    apply(&mut index, Object::Pod(new.clone()), at(6));
    assert_eq!(excuse_at(&mut index, 6).as_deref(), Some("rolling"));
    assert_eq!(excuse_at(&mut index, 306), None);
    new.ready = Some(true);
    new.ready_since = Some(wall(20));
    apply(&mut index, Object::Pod(new.clone()), at(20));
    assert_eq!(excuse_at(&mut index, 30).as_deref(), Some("rolling"));
    assert_eq!(excuse_at(&mut index, 36), None);
    new.meta.created = Some(wall(900_000));
    apply(&mut index, Object::Pod(new), at(40));
    assert_eq!(excuse_at(&mut index, 40), None, "born in the future");

    // Paused: hours, not for ever.
    let mut index = listed(healthy(), at(0));
    let mut held = node("node-1", "172.16.0.2");
    held.meta.annotations = map(&[("cluster.x-k8s.io/paused", "true")]);
    apply(&mut index, Object::Node(held), at(0));
    assert_eq!(excuse_at(&mut index, 0).as_deref(), Some("paused"));
    assert_eq!(excuse_at(&mut index, 14_500), None);
}

#[test]
fn a_stopped_controller_is_one_finding() {
    let mut objects = healthy();
    objects.retain(|o| !matches!(o, Object::Instance(_)));
    for n in 0..20_u16 {
        let mut one = instance();
        one.meta = meta("kura", &format!("kura-{n}"));
        one.account = Some(format!("acme-{n}"));
        one.port_cache = Some(30_000 + n);
        one.last_reconciled = Some(wall(0).before(Duration::from_hours(2)));
        objects.push(Object::Instance(one));
    }
    let mut index = listed(objects, at(0));
    let found = index.judge(at(0)).diagnoses;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].subject, "kurainstances");
    assert!(found[0].summary.contains("20 of 20"));
}

#[test]
fn a_malformed_object_is_skipped_and_named() {
    let mut index = listed(healthy(), at(0));
    let bad = Entry {
        key: Key {
            namespace: "kura".into(),
            name: "kura-bad".into(),
        },
        object: None,
        problems: vec!["metadata is a text, expected fields".into()],
    };
    index.take(Kind::Instance, Change::Apply(bad), at(0));
    let reading = index.judge(at(0));
    assert_eq!(reading.inventory.unwrap().targets.len(), 1);
    let told = &reading.diagnoses[0];
    assert_eq!(told.subject, "unreadable-kurainstances");
    assert!(told.summary.contains("kura/kura-bad (skipped)"));
}

#[test]
fn any_nodeport_service_can_be_a_target() {
    let kinds = Index::kinds(Profile::Generic, false);
    let mut index = Index::new(settings(Profile::Generic), &kinds);
    for kind in &kinds {
        index.take(*kind, Change::Init, at(0));
    }
    let mut two = slice(false);
    two.endpoints.push(Endpoint {
        node: text("node-2"),
        ..Endpoint::default()
    });
    for object in [
        Object::Node(node("node-1", "172.16.0.2")),
        Object::Node(node("node-2", "172.16.0.3")),
        Object::Service(service()),
        Object::Slice(two),
    ] {
        index.take(kind_of(&object), Change::InitApply(entry(object)), at(0));
    }
    for kind in kinds {
        index.take(kind, Change::InitDone, at(0));
    }
    let reading = index.judge(at(0));
    let targets = reading.inventory.unwrap().targets;
    let told: Vec<String> = targets.keys().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "account:kura-a-external/kura-a-external.node-1/nodeport",
            "account:kura-a-external/kura-a-external.node-2/nodeport"
        ]
    );
    assert_eq!(reading.diagnoses, []);
}

proptest! {
    #[test]
    fn hostile_texts_neither_panic_nor_leave_the_pn(
        texts in prop::collection::vec(prop_oneof!["\\PC{0,40}", "[0-9.]{7,15}", "https?://[^ ]{0,30}"], 8),
        port in any::<Option<u16>>(),
        stamp in any::<u64>(),
    ) {
        let mut hostile = instance();
        hostile.meta.key.name = texts[0].clone();
        hostile.account = Some(texts[1].clone());
        hostile.tenant = Some(texts[2].clone());
        hostile.node_address = Some(texts[3].clone());
        hostile.private_url = Some(texts[4].clone());
        hostile.message = Some(texts[5].clone());
        hostile.port_cache = port;
        hostile.last_reconciled = Some(Timestamp::from_unix_nanos(stamp));
        let mut labelled = node(&texts[6], &texts[7]);
        labelled.meta.created = Some(Timestamp::from_unix_nanos(stamp));
        labelled.ready_since = Some(Timestamp::from_unix_nanos(stamp));
        let mut index = listed(vec![Object::Instance(hostile), Object::Node(labelled)], at(0));
        index.judge(at(0));
        let reading = index.judge(at(90_000));
        let inventory = reading.inventory.unwrap();
        for target in inventory.targets.values() {
            prop_assert!(inventory.pn_cidr.contains(target.address) && target.port > 0);
        }
        for diagnosis in reading.diagnoses {
            prop_assert!(!diagnosis.summary.chars().any(char::is_control));
            prop_assert!(diagnosis.evidence.iter().all(|e| e.text.len() < 2000));
        }
    }
}
