//! What other judges see: Kubernetes objects, the pods' own counters, looks at gateways and the
//! probers' reports, made from the world and put through the very judges that ship (discovery,
//! correlation, bandwidth, gateways, budgets). Faults are injected into what they see, never into
//! verdicts.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use std::collections::BTreeMap;

use pnwatch_core::bandwidth::{self, Limits};
use pnwatch_core::correlate::{self, Demand, Fleet, PathSight, PodSight};
use pnwatch_core::diagnosis::Diagnosis;
use pnwatch_core::finding::Finding;
use pnwatch_core::inventory::AccountTarget;
use pnwatch_core::kube::gateway::{Answer, Gateways, Look, Resolved};
use pnwatch_core::kube::object::{
    Endpoint, Entry, InstanceObject, Key, Meta, NodeObject, Object, PodObject, ServiceObject,
    ServicePort, SliceObject,
};
use pnwatch_core::kube::{Change, Gateway, Index, Kind, Names, Profile, Settings, Times};
use pnwatch_core::name::{Account, Node, Vantage};
use pnwatch_core::outcome::Layer;
use pnwatch_core::slo::{Book, Policy};
use pnwatch_core::subject::TargetKind;
use pnwatch_core::time::{Now, Tick, Timestamp};
use pnwatch_core::traffic::{Pod, RouteCount, Scrape};
use pnwatch_core::view::View;
use pnwatch_core::wire::Report;
use pnwatch_exporter::ledger::Keeper;

use crate::fault::{Break, Target};
use crate::world::World;

/// Between two looks.
pub const EVERY: Duration = Duration::from_secs(5);
/// Looks after which gateways are looked at again: every 15 s, as the exporter does.
const GATEWAYS_EVERY: u64 = 3;
/// Public requests of a busy pod between two scrapes.
const REQUESTS: f64 = 50.0;

/// Faults that only these judges see. Gateways are looked at by the exporter where no host checks
/// them.
pub fn is_fed(what: Break, hosts_check_gateways: bool) -> bool {
    let gateway = matches!(
        what,
        Break::GatewayName | Break::GatewayTls | Break::GatewayFiltered
    );
    gateway && !hosts_check_gateways || of_others(what)
}

fn of_others(what: Break) -> bool {
    matches!(
        what,
        Break::StatusEmpty
            | Break::EndpointStale
            | Break::NeverReady
            | Break::Unbound
            | Break::LabelTwice
            | Break::NotDispatched
            | Break::TrafficStops
            | Break::Sheds
            | Break::PublicDip
            | Break::Clamped
            | Break::PodStutters
    )
}

/// The other judges.
#[derive(Debug)]
pub struct Fed {
    index: Index,
    pods: BTreeMap<Account, (Pod, Scrape)>,
    born: Timestamp,
    gateways: Gateways,
    looks: u64,
    keeper: Keeper,
}

fn meta(namespace: &str, name: &str, born: Timestamp) -> Meta {
    Meta {
        key: Key {
            namespace: namespace.into(),
            name: name.into(),
        },
        uid: Some(format!("uid-{name}")),
        created: Some(born),
        ..Meta::default()
    }
}

fn gateway(target: &AccountTarget) -> Gateway {
    Gateway {
        account: target.account.clone(),
        instance: target.instance.clone(),
        node: target.node.clone(),
        host: format!("{}.cache.example", target.account),
        port: 443,
        address: target.address,
    }
}

/// What the exporter's own look at a gateway brings.
fn look(world: &World, gateway: &Gateway) -> Look {
    let broken = |what| world.fed(&Target::Account(gateway.account.clone()), what);
    let elsewhere = Ipv4Addr::new(192, 0, 2, 1);
    let astray = broken(Break::GatewayName).is_some();
    let leads = if astray { elsewhere } else { gateway.address };
    let answer = if broken(Break::GatewayFiltered).is_some() {
        Answer::Silent("no answer to SYN within 5 s".into())
    } else if broken(Break::GatewayTls).is_some() {
        Answer::Refused("certificate not valid for this name".into())
    } else {
        Answer::Status {
            code: 200,
            valid_for: Some(Duration::from_hours(24 * 60)),
        }
    };
    Look {
        name: Resolved::To(vec![IpAddr::V4(leads)]),
        answer: Some(answer),
    }
}

fn words(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
    pairs.iter().map(owned).collect()
}

impl Fed {
    /// Judges that have seen nothing yet.
    pub fn new(world: &World, now: Now) -> Self {
        let kinds = [
            Kind::Instance,
            Kind::Service,
            Kind::Slice,
            Kind::Pod,
            Kind::Node,
        ];
        let settings = Settings {
            cluster: world.inventory.cluster.clone(),
            pn_cidr: world.inventory.pn_cidr,
            profile: Profile::Kura,
            names: Names::default(),
            times: Times::default(),
        };
        Self {
            index: Index::new(settings, &kinds),
            pods: BTreeMap::new(),
            born: now.wall,
            gateways: Gateways::default(),
            looks: 0,
            keeper: Keeper::new(Book::new(now), Policy::default(), Vec::new()),
        }
    }

    /// Enters a report into the budgets.
    pub fn report(&mut self, report: &Report, world: &World, now: Now) {
        // What a VM says is charged to no budget.
        if !matches!(report.vantage, Vantage::Vm(..)) {
            self.keeper.report(report, &world.inventory, now);
        }
    }

    /// What the budgets say now, where `open` explains bad events.
    pub fn budgets(&mut self, open: &[Finding], world: &World, now: Now) -> Vec<Diagnosis> {
        self.keeper.turn(open, &world.inventory, now).burning
    }

    /// What looks at the gateways say, with one more look when it is time.
    pub fn gateways(&mut self, world: &World, now: Now) -> Vec<Diagnosis> {
        let targets = world.inventory.targets.values();
        if targets.clone().any(|t| t.kind == TargetKind::Gateway) {
            return Vec::new();
        }
        let all: Vec<Gateway> = targets.map(gateway).collect();
        self.gateways.keep(&all);
        if self.looks.is_multiple_of(GATEWAYS_EVERY) {
            for gateway in &all {
                self.gateways.take(gateway, &look(world, gateway), now.tick);
            }
        }
        self.looks += 1;
        self.gateways.diagnoses(now)
    }

    /// What discovery says now.
    pub fn objects(&mut self, world: &World, now: Now) -> Vec<Diagnosis> {
        let mut all: BTreeMap<Kind, Vec<Object>> = BTreeMap::new();
        let nodes: Vec<&Node> = world.inventory.nodes.keys().collect();
        for node in world.inventory.nodes.values() {
            let target = Target::Machine(Vantage::Node(node.name.clone()));
            let twice = nodes.iter().find(|n| {
                let other = Target::Machine(Vantage::Node((**n).clone()));
                world.fed(&other, Break::LabelTwice).is_some() && **n != &node.name
            });
            let label = twice
                .and_then(|n| world.inventory.nodes.get(*n))
                .unwrap_or(node);
            all.entry(Kind::Node)
                .or_default()
                .push(Object::Node(NodeObject {
                    meta: Meta {
                        labels: words(&[
                            ("kubernetes.io/os", "linux"),
                            ("tuist.dev/pn-ipv4", &label.address.to_string()),
                        ]),
                        ..meta("", node.name.as_str(), self.born)
                    },
                    provider: world
                        .fed(&target, Break::Unbound)
                        .is_none()
                        .then(|| format!("scaleway://instance/fr-par-1/{}", node.name)),
                    taints: vec!["tuist.dev/runner-cache".into()],
                    ready: Some(true),
                    ..NodeObject::default()
                }));
        }
        let targets = world.inventory.targets.values();
        for target in targets.filter(|t| t.kind == TargetKind::Nodeport) {
            self.account_objects(world, target, now, &mut all);
        }
        for kind in [
            Kind::Instance,
            Kind::Service,
            Kind::Slice,
            Kind::Pod,
            Kind::Node,
        ] {
            self.index.take(kind, Change::Init, now);
            for object in all.remove(&kind).unwrap_or_default() {
                let key = match &object {
                    Object::Instance(o) => o.meta.key.clone(),
                    Object::Service(o) => o.meta.key.clone(),
                    Object::Slice(o) => o.meta.key.clone(),
                    Object::Pod(o) => o.meta.key.clone(),
                    Object::Node(o) => o.meta.key.clone(),
                    _ => continue,
                };
                let entry = Entry {
                    key,
                    object: Some(object),
                    problems: Vec::new(),
                };
                self.index.take(kind, Change::InitApply(entry), now);
            }
            self.index.take(kind, Change::InitDone, now);
        }
        self.index.judge(now).diagnoses
    }

    fn account_objects(
        &self,
        world: &World,
        target: &AccountTarget,
        now: Now,
        all: &mut BTreeMap<Kind, Vec<Object>>,
    ) {
        let broken = |what| world.fed(&Target::Account(target.account.clone()), what);
        let name = target.instance.as_str();
        let pod = format!("{name}-0");
        let never = broken(Break::NeverReady).is_some();
        let empty = never || broken(Break::StatusEmpty).is_some();
        // The pod's node; the old one is still handed out.
        let runs_on = match broken(Break::EndpointStale) {
            Some(number) => format!("node-{number}"),
            None => target.node.to_string(),
        };
        let mut push = |kind, object| all.entry(kind).or_default().push(object);
        push(
            Kind::Instance,
            Object::Instance(InstanceObject {
                meta: meta("kura", name, self.born),
                account: Some(target.account.to_string()),
                tenant: target.tenant.as_ref().map(ToString::to_string),
                region: Some("scw-fr-par-runners".into()),
                expose: Some(true),
                egress_cap: None,
                client_cidrs: Some(vec![world.inventory.pn_cidr.to_string()]),
                phase: Some(if never { "Pending" } else { "Ready" }.into()),
                ready_replicas: Some(u64::from(!never)),
                last_reconciled: Some(now.wall),
                node_address: (!empty).then(|| target.address.to_string()),
                port_cache: (!empty).then_some(target.port),
                ..InstanceObject::default()
            }),
        );
        push(
            Kind::Service,
            Object::Service(ServiceObject {
                meta: meta("kura", &format!("{name}-external"), self.born),
                kind: Some("NodePort".into()),
                selector: words(&[("statefulset.kubernetes.io/pod-name", &pod)]),
                ports: vec![ServicePort {
                    name: Some("http".into()),
                    node_port: Some(target.port),
                }],
            }),
        );
        push(
            Kind::Slice,
            Object::Slice(SliceObject {
                meta: meta("kura", &format!("{name}-external-x"), self.born),
                service: Some(format!("{name}-external")),
                endpoints: vec![Endpoint {
                    node: Some(runs_on.clone()),
                    ready: Some(!never),
                    terminating: Some(false),
                }],
            }),
        );
        push(
            Kind::Pod,
            Object::Pod(PodObject {
                meta: Meta {
                    labels: words(&[
                        ("app.kubernetes.io/instance", name),
                        ("tuist.dev/account", target.account.as_str()),
                    ]),
                    ..meta("kura", &pod, self.born)
                },
                node: (!never).then_some(runs_on),
                phase: Some(if never { "Pending" } else { "Running" }.into()),
                address: (!never).then(|| "10.0.0.7".into()),
                ports: BTreeMap::from([("http".to_owned(), 4000)]),
                ready: Some(!never),
                ready_since: Some(self.born),
                egress_cap: None,
                trouble: never.then(|| "0/3 nodes are available: untolerated taint".into()),
            }),
        );
    }

    /// What the judge of bandwidth says now.
    pub fn bandwidth(view: &View, now: Now) -> Vec<Diagnosis> {
        let limits = Limits {
            account_cap: 93_750_000,
            client_card: 117_000_000,
            node_capacity: None,
        };
        let clamps = bandwidth::clamps(view, &[], limits);
        bandwidth::saturated(view, &[], limits, &clamps, now)
    }

    /// What correlation says now, after one more scrape of every pod.
    pub fn traffic(&mut self, world: &World, view: &View, now: Now) -> Vec<Diagnosis> {
        let settings = correlate::Settings::default();
        let targets: Vec<&AccountTarget> = world
            .inventory
            .targets
            .values()
            .filter(|t| t.kind == TargetKind::Nodeport)
            .collect();
        for target in &targets {
            self.scrape(world, &target.account, now.tick, &settings);
        }
        let pods: Vec<PodSight> = targets
            .iter()
            .map(|target| PodSight {
                account: target.account.clone(),
                instance: target.instance.clone(),
                node: Some(target.node.clone()),
                traffic: self.pods[&target.account].0.read(now, &settings.traffic),
            })
            .collect();
        let jobs = |target: &&AccountTarget| {
            let proven = [Break::NotDispatched, Break::TrafficStops]
                .iter()
                .any(|what| {
                    world
                        .fed(&Target::Account(target.account.clone()), *what)
                        .is_some()
                });
            proven.then(|| (target.account.clone(), Demand::Proven { jobs: 3.0 }))
        };
        let demand: BTreeMap<Account, Demand> = targets.iter().filter_map(jobs).collect();
        let fleet = Fleet {
            pods: &pods,
            demand: &demand,
        };
        let mut found = Vec::new();
        for pod in &pods {
            let mut path = PathSight::default();
            let theirs = view.paths.iter().filter(|p| {
                let of = matches!(&p.key.subject, pnwatch_core::subject::Subject::Account(a, ..) if *a == pod.account);
                of && p.key.layer == Layer::Tcp && p.key.vantage.is_client()
            });
            for seen in theirs {
                path.add(seen.verdict, Some(now.tick));
            }
            let seen = correlate::correlate(pod, &path, &fleet, &settings, now);
            found.extend(correlate::diagnoses(&seen, &settings, now));
        }
        found
    }

    fn scrape(
        &mut self,
        world: &World,
        account: &Account,
        at: Tick,
        settings: &correlate::Settings,
    ) {
        let broken = |what| world.fed(&Target::Account(account.clone()), what);
        let dip = world.fed(&Target::Network, Break::PublicDip).is_some();
        let idle =
            dip || broken(Break::NotDispatched).is_some() || broken(Break::TrafficStops).is_some();
        let (pod, scrape) = self.pods.entry(account.clone()).or_insert_with(|| {
            let scrape = Scrape {
                complete: true,
                has_requests: true,
                latency_count: Some(0.0),
                egress: Some(0.0),
                started: Some(1.0),
                ..Scrape::default()
            };
            (Pod::default(), scrape)
        });
        let public = if idle { 0.0 } else { REQUESTS };
        let shed = broken(Break::Sheds).map_or(0.0, |percent| public * percent as f64 / 100.0);
        scrape.public += public;
        scrape.internal += REQUESTS;
        scrape.latency_count = scrape.latency_count.map(|c| c + public);
        let route = scrape
            .routes
            .entry("/api/cache/cas".to_owned())
            .or_insert(RouteCount::default());
        route.total += public;
        route.shed += shed;
        pod.observe(scrape.clone(), at, &settings.traffic);
    }
}
