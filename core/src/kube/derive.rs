//! What the objects add up to: nodes, expected vantages, targets, and where to scrape.

use std::collections::BTreeMap;

use super::excuse::Excuses;
use super::marks::Marks;
use super::object::{InstanceObject, PodObject, ServiceObject, said};
use super::settings::Profile;
use super::view::{self, Objects};
use super::{Gateway, Scrape};
use crate::inventory::{AccountTarget, ExpectedVantage, Inventory, NodeTarget};
use crate::name::{Account, Host, Instance, Node, Tenant, Vantage};
use crate::subject::TargetKind;
use crate::targets::Targets;
use crate::time::Now;

/// The port of the cache where a pod names none.
const CACHE_PORT: u16 = 4000;

pub(super) struct Derived {
    pub(super) inventory: Inventory,
    pub(super) scrapes: Vec<Scrape>,
    pub(super) gateways: Vec<Gateway>,
    pub(super) runners: BTreeMap<Host, usize>,
}

pub(super) fn derive(objects: &Objects<'_>, marks: &mut Marks, now: Now) -> Derived {
    let settings = objects.settings;
    let mut derived = Derived {
        inventory: Inventory {
            cluster: settings.cluster.clone(),
            pn_cidr: settings.pn_cidr,
            nodes: BTreeMap::new(),
            vantages: BTreeMap::new(),
            targets: Targets::default(),
        },
        scrapes: Vec::new(),
        gateways: Vec::new(),
        runners: BTreeMap::new(),
    };
    machines(objects, &mut derived);
    let excuses = Excuses { objects, now };
    match settings.profile {
        Profile::Kura => {
            for instance in objects.instances() {
                if let Some(target) = target(objects, instance, &excuses, marks) {
                    derived.gateways.extend(gateway(instance, &target));
                    derived.inventory.targets.insert(target.subject(), target);
                }
            }
            derived.scrapes = objects.pods().filter_map(|p| scrape(objects, p)).collect();
        }
        Profile::Generic => {
            for service in objects.services() {
                let targets = of_service(objects, service, &excuses, marks);
                let keyed = targets.into_iter().map(|t| (t.subject(), t));
                derived.inventory.targets.extend(keyed);
            }
        }
    }
    derived
}

/// Nodes as targets and vantages, hosts as vantages, runner VMs as a count.
fn machines(objects: &Objects<'_>, derived: &mut Derived) {
    let inventory = &mut derived.inventory;
    for node in objects.nodes() {
        let name = node.meta.key.name.as_str();
        let vantage = if objects.is_mac(node) {
            Host::new(name).ok().map(|host| (Vantage::Host(host), None))
        } else if let (Ok(name), Some(address)) = (Node::new(name), objects.pn_address(node)) {
            let target = NodeTarget {
                name: name.clone(),
                address,
                ready: node.ready,
            };
            inventory.nodes.insert(name.clone(), target);
            Some((Vantage::Node(name), Some(address)))
        } else {
            None
        };
        if let Some((vantage, address)) = vantage {
            let expected = ExpectedVantage {
                vantage: vantage.clone(),
                address,
            };
            inventory.vantages.insert(vantage, expected);
        }
    }
    for pod in objects.runners() {
        let running = pod.phase.as_deref() == Some("Running") && pod.meta.deleted.is_none();
        let host = pod.node.as_deref().and_then(|n| Host::new(n).ok());
        if let Some(host) = host.filter(|_| running) {
            *derived.runners.entry(host).or_default() += 1;
        }
    }
}

fn target(
    objects: &Objects<'_>,
    instance: &InstanceObject,
    excuses: &Excuses<'_, '_>,
    marks: &mut Marks,
) -> Option<AccountTarget> {
    if !objects.serves_builds(instance) {
        return None;
    }
    let pod = objects.primary(instance);
    let address = view::address(objects.settings, instance)?;
    Some(AccountTarget {
        account: Account::new(said(instance.account.as_ref())?).ok()?,
        tenant: said(instance.tenant.as_ref()).and_then(|t| Tenant::new(t).ok()),
        instance: Instance::new(instance.meta.key.name.as_str()).ok()?,
        kind: TargetKind::Nodeport,
        node: owner(objects, address, pod)?,
        address,
        port: view::port(instance)?,
        excuse: excuses.of_instance(instance, pod, marks),
        metrics: None,
        // The pod's is the one in force; the instance's comes with the next pod.
        egress_cap: pod.and_then(|p| p.egress_cap).or(instance.egress_cap),
    })
}

/// Who answers for the address: of several claimants the pod's node, of none the pod's node too
/// (the address itself is then a contradiction that is named).
fn owner(
    objects: &Objects<'_>,
    address: core::net::Ipv4Addr,
    pod: Option<&PodObject>,
) -> Option<Node> {
    let home = pod.and_then(|p| p.node.as_deref());
    let claimants = objects.claimants(address);
    let mut names = claimants.iter().map(|n| n.meta.key.name.as_str());
    let name = match home {
        Some(home) if names.clone().any(|n| n == home) => home,
        _ => names.next().or(home)?,
    };
    Node::new(name).ok()
}

/// `https://NAME[:PORT]`, of which nothing else is used.
fn gateway(instance: &InstanceObject, target: &AccountTarget) -> Option<Gateway> {
    let url = said(instance.private_url.as_ref())?;
    let rest = url.strip_prefix("https://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|p| *p > 0)?),
        None => (authority, 443),
    };
    // A host name is a name; an address or anything with a user part is not.
    Account::new(host).ok()?;
    Some(Gateway {
        account: target.account.clone(),
        instance: target.instance.clone(),
        node: target.node.clone(),
        host: host.to_owned(),
        port,
        address: target.address,
    })
}

fn scrape(objects: &Objects<'_>, pod: &PodObject) -> Option<Scrape> {
    let names = &objects.settings.names;
    let meta = &pod.meta;
    if meta
        .annotations
        .get("prometheus.io/scrape")
        .is_some_and(|v| v == "false")
    {
        return None;
    }
    let address: core::net::IpAddr = said(pod.address.as_ref())?.parse().ok()?;
    if address.is_unspecified() || address.is_multicast() {
        return None;
    }
    let asked = meta.annotations.get("prometheus.io/port-name");
    let port = pod.ports.get(asked.unwrap_or(&names.port)).copied();
    let path = said(meta.annotations.get("prometheus.io/path"))
        .filter(|path| path.starts_with('/') && path.is_ascii() && path.len() < 200);
    Some(Scrape {
        namespace: meta.key.namespace.clone(),
        pod: meta.key.name.clone(),
        address,
        port: port.unwrap_or(CACHE_PORT),
        path: path.unwrap_or("/metrics").to_owned(),
        account: said(meta.labels.get(&names.account_label)).and_then(|a| Account::new(a).ok()),
        instance: said(meta.labels.get(&names.instance_label)).and_then(|i| Instance::new(i).ok()),
        node: pod.node.as_deref().and_then(|n| Node::new(n).ok()),
        ready: pod.ready == Some(true) && meta.deleted.is_none(),
    })
}

/// One target per node that runs an endpoint of the Service and has a PN address.
fn of_service(
    objects: &Objects<'_>,
    service: &ServiceObject,
    excuses: &Excuses<'_, '_>,
    marks: &mut Marks,
) -> Vec<AccountTarget> {
    let settings = objects.settings;
    let key = &service.meta.key;
    let port =
        view::node_port(settings, service).filter(|_| service.kind.as_deref() == Some("NodePort"));
    let label = said(service.meta.labels.get(&settings.names.account_label));
    let account = Account::new(label.unwrap_or(&key.name));
    let (Some(port), Ok(account)) = (port, account) else {
        return Vec::new();
    };
    let mut homes: Vec<&str> = objects
        .endpoints(service)
        .iter()
        .filter_map(|e| e.node.as_deref())
        .collect();
    homes.sort_unstable();
    homes.dedup();
    let several = homes.len() > 1;
    let on = |home: &&str| {
        let node = objects.node(home)?;
        let name = if several {
            format!("{}.{home}", key.name)
        } else {
            key.name.clone()
        };
        Some(AccountTarget {
            account: account.clone(),
            tenant: None,
            instance: Instance::new(name).ok()?,
            kind: TargetKind::Nodeport,
            node: Node::new(*home).ok()?,
            address: objects.pn_address(node)?,
            port,
            excuse: None,
            metrics: None,
            egress_cap: None,
        })
    };
    let mut targets: Vec<AccountTarget> = homes.iter().filter_map(on).collect();
    for target in &mut targets {
        target.excuse = excuses.of_service(service, target.node.as_str(), marks);
    }
    targets
}
