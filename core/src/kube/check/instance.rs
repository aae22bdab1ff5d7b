//! One instance against its own fields, its Service, its pod's node and its policies:
//! F18 (`status_stale`), F19 (`endpoint_stale`).

use core::net::Ipv4Addr;

use super::{Case, object, tick_of};
use super::{policy, ready, shared};
use crate::diagnosis::Diagnosis;
use crate::fault::{Blame, Fault, Severity};
use crate::kube::marks::Marks;
use crate::kube::object::{InstanceObject, Kind, quoted, said};
use crate::kube::view::{self, Objects};
use crate::name::{Account, Instance, Node};
use crate::time::{Now, Tick, spoken};

pub(super) fn check(
    objects: &Objects<'_>,
    marks: &mut Marks,
    now: Now,
    found: &mut Vec<Diagnosis>,
) {
    let serving: Vec<&InstanceObject> = objects
        .instances()
        .filter(|i| i.meta.deleted.is_none() && objects.serves_builds(i))
        // A hostile name is named by whoever could not read the object.
        .filter(|i| Instance::new(i.meta.key.name.as_str()).is_ok())
        .collect();
    let old: Vec<&InstanceObject> = serving
        .iter()
        .copied()
        .filter(|i| stands_still(objects, i, now))
        .collect();
    // A stopped controller is one finding, not one per instance.
    let stopped = old.len() >= 3 && old.len() * 2 > serving.len();
    if stopped {
        found.push(controller(&old, serving.len(), now).told(now));
    }
    for instance in &serving {
        let mut lines = Lines::new(objects, instance, marks, now);
        lines.status();
        lines.service();
        lines.policies();
        if !stopped && old.contains(instance) {
            lines.standing_still();
        }
        found.extend(lines.stale());
        found.extend(endpoint(objects, instance, marks, now));
        found.extend(ready::never(objects, instance, marks, now));
    }
    shared::check(objects, &serving, marks, now, found);
}

fn stands_still(objects: &Objects<'_>, instance: &InstanceObject, now: Now) -> bool {
    let limit = objects.settings.times.reconcile;
    instance
        .last_reconciled
        .is_some_and(|last| now.wall.since(last) > limit)
}

fn controller(old: &[&InstanceObject], of: usize, now: Now) -> Case {
    let newest = old.iter().filter_map(|i| i.last_reconciled).max();
    let since = newest.unwrap_or(now.wall);
    Case {
        blame: Blame::ControlPlane,
        subject: Kind::Instance.as_label().to_owned(),
        fault: Fault::StatusStale,
        severity: Severity::Warning,
        since: tick_of(since, now),
        summary: format!(
            "{} of {of} KuraInstances have an old status.lastReconciledAt (the newest is {} old): their controller stands still, so what they say may be wrong",
            old.len(),
            spoken(now.wall.since(since)),
        ),
        evidence: old
            .iter()
            .filter_map(|i| {
                let last = i.last_reconciled?;
                Some(format!(
                    "{}: status.lastReconciledAt {last}",
                    object("KuraInstance", &i.meta.key)
                ))
            })
            .collect(),
        look: (
            "in the cluster".into(),
            "see whether the controller of KuraInstances runs, and what its log says".into(),
        ),
    }
}

/// The F18 lines of one instance: several contradictions are one finding.
struct Lines<'m, 'o, 'a> {
    objects: &'o Objects<'a>,
    instance: &'o InstanceObject,
    marks: &'m mut Marks,
    now: Now,
    since: Option<Tick>,
    texts: Vec<String>,
}

impl<'m, 'o, 'a> Lines<'m, 'o, 'a> {
    fn new(
        objects: &'o Objects<'a>,
        instance: &'o InstanceObject,
        marks: &'m mut Marks,
        now: Now,
    ) -> Self {
        Self {
            objects,
            instance,
            marks,
            now,
            since: None,
            texts: Vec::new(),
        }
    }

    /// Adds a line once it has held long enough. `what` tells it from the instance's others.
    fn add(&mut self, what: &str, text: String) {
        let key = &self.instance.meta.key;
        let first = self.marks.since(
            format!("stale {}/{} {what}", key.namespace, key.name),
            self.now,
        );
        if self.now.tick.since(first.tick) >= self.objects.settings.times.settle {
            self.since = Some(self.since.map_or(first.tick, |since| since.min(first.tick)));
            self.texts.push(text);
        }
    }

    fn standing_still(&mut self) {
        if let Some(last) = self.instance.last_reconciled {
            let age = spoken(self.now.wall.since(last));
            self.since = Some(tick_of(last, self.now));
            self.texts
                .push(format!("status.lastReconciledAt is {last}, {age} ago"));
        }
    }

    fn status(&mut self) {
        let instance = self.instance;
        if instance.expose.is_none() {
            self.add(
                "expose",
                format!(
                    "spec.exposeNodePort is absent, although {} is there: an old CRD drops it without a word",
                    if said(instance.node_address.as_ref()).is_some() { "status.nodeAddress" } else { "spec.region of build caches" },
                ),
            );
        }
        // Before it is ready the fields are rightly empty: that is `never_ready`.
        if instance.phase.as_deref() == Some("Ready") || view::port(instance).is_some() {
            self.address();
        }
        if instance.phase.as_deref() == Some("Ready") && view::port(instance).is_none() {
            let fields = "status.nodePortCache and status.nodePortHTTP are empty, although spec.exposeNodePort is on and status.phase is Ready: builds are handed no endpoint";
            self.add("port", fields.to_owned());
        }
        for (field, name) in [
            ("spec.accountHandle", instance.account.as_ref()),
            ("spec.tenantID", instance.tenant.as_ref()),
        ] {
            match said(name) {
                None => self.add(
                    field,
                    format!("{field} is empty: whose cache this is cannot be told"),
                ),
                Some(name) if Account::new(name).is_err() => {
                    self.add(
                        field,
                        format!("{field} {:?} is no usable name", quoted(name)),
                    );
                }
                Some(_) => {}
            }
        }
        if let Some(url) = said(instance.private_url.as_ref())
            && !url.starts_with("https://")
        {
            self.add(
                "url",
                format!("status.privateURL {:?} is no https URL", quoted(url)),
            );
        }
    }

    fn address(&mut self) {
        let pn = self.objects.settings.pn_cidr;
        match said(self.instance.node_address.as_ref()) {
            None => self.add(
                "address",
                "status.nodeAddress is empty, although spec.exposeNodePort is on: builds are handed no endpoint".into(),
            ),
            Some(text) if text.parse::<Ipv4Addr>().is_err() => {
                self.add("address", format!("status.nodeAddress {:?} is no IPv4 address", quoted(text)));
            }
            Some(text) if view::address(self.objects.settings, self.instance).is_none() => {
                self.add("address", format!("status.nodeAddress {} lies outside the PN {pn}", quoted(text)));
            }
            Some(_) => {}
        }
    }

    fn service(&mut self) {
        if !self.objects.knows(Kind::Service) || view::port(self.instance).is_none() {
            return;
        }
        let name = format!(
            "{}{}",
            self.instance.meta.key.name, self.objects.settings.names.service_suffix
        );
        match self.objects.service(self.instance) {
            None => self.add(
                "service",
                format!("Service {name} does not exist, although a NodePort is handed out"),
            ),
            Some(service) if service.kind.as_deref() != Some("NodePort") => {
                let kind = service.kind.as_deref().unwrap_or("empty");
                self.add(
                    "service",
                    format!(
                        "Service {name}: spec.type is {}, not NodePort",
                        quoted(kind)
                    ),
                );
            }
            Some(_) => {}
        }
    }

    fn policies(&mut self) {
        let Some(pod) = self.objects.primary(self.instance) else {
            return;
        };
        if let Some((policy, field)) = policy::refusing(self.objects, pod) {
            let pn = self.objects.settings.pn_cidr;
            self.add(
                "policy",
                format!(
                    "NetworkPolicy {policy}: {field} does not admit the PN {pn} on port {}: what it denies looks like a timeout",
                    self.objects.settings.names.port
                ),
            );
        }
        if let Some(cidrs) = &self.instance.client_cidrs
            && !policy::any_covers(cidrs, self.objects.settings.pn_cidr)
        {
            let pn = self.objects.settings.pn_cidr;
            let listed = quoted(&cidrs.join(", "));
            self.add(
                "cidrs",
                format!("spec.clientCIDRs [{listed}] does not cover the PN {pn}"),
            );
        }
    }

    fn stale(self) -> Option<Diagnosis> {
        let first = self.texts.first()?;
        let name = &self.instance.meta.key;
        let more = match self.texts.len() {
            1 => String::new(),
            n => format!(" (and {} more)", n - 1),
        };
        let case = Case {
            blame: Blame::ControlPlane,
            subject: name.name.clone(),
            fault: Fault::StatusStale,
            severity: Severity::Warning,
            since: self.since?,
            summary: format!("{}: {first}{more}", object("KuraInstance", name)),
            evidence: self.texts,
            look: (
                "in the cluster".into(),
                format!(
                    "compare the object with what its controller should write: kubectl -n {} get kurainstance {} -o yaml",
                    name.namespace, name.name
                ),
            ),
        };
        let mut told = case.told(self.now);
        told.account = said(self.instance.account.as_ref()).and_then(|a| Account::new(a).ok());
        told.accounts = told.account.iter().cloned().collect();
        Some(told)
    }
}

/// F19: what is handed out is not where the pod is.
fn endpoint(
    objects: &Objects<'_>,
    instance: &InstanceObject,
    marks: &mut Marks,
    now: Now,
) -> Option<Diagnosis> {
    let account = Account::new(said(instance.account.as_ref())?).ok()?;
    let (mut texts, mut since) = (Vec::new(), None);
    let key = &instance.meta.key;
    let mut add = |what: &str, text: String| {
        let first = marks.since(
            format!("endpoint {}/{} {what}", key.namespace, key.name),
            now,
        );
        if now.tick.since(first.tick) >= objects.settings.times.endpoint {
            since = Some(since.map_or(first.tick, |s: Tick| s.min(first.tick)));
            texts.push(text);
        }
    };
    let home = objects
        .primary(instance)
        .filter(|pod| pod.meta.deleted.is_none())
        .and_then(|pod| Some((pod, objects.node(pod.node.as_deref()?)?)));
    let handed = view::address(objects.settings, instance);
    let field = &objects.settings.names.pn_address_label;
    if let (Some(handed), Some((pod, node))) = (handed, home)
        && let Some(real) = objects.pn_address(node)
        && real != handed
    {
        let holder = objects
            .claimants(handed)
            .first()
            .map_or("no node".to_owned(), |n| {
                format!("node {}", n.meta.key.name)
            });
        add(
            "address",
            format!(
                "status.nodeAddress is {handed} ({holder}), but pod {} runs on node {}, whose label {field} is {real}",
                pod.meta.key.name, node.meta.key.name
            ),
        );
    }
    if let (Some(port), Some(service)) = (view::port(instance), objects.service(instance))
        && let Some(real) = view::node_port(objects.settings, service)
        && real != port
    {
        add(
            "port",
            format!(
                "{} is {port}, but Service {}: spec.ports[name={}].nodePort is {real}",
                view::port_field(instance),
                service.meta.key.name,
                objects.settings.names.port
            ),
        );
    }
    let first = texts.first()?.clone();
    let case = Case {
        blame: Blame::Account,
        subject: account.to_string(),
        fault: Fault::EndpointStale,
        severity: Severity::Critical,
        since: since?,
        summary: format!(
            "account {account}: an old endpoint is handed out: {}: {first}",
            object("KuraInstance", key)
        ),
        evidence: texts,
        look: (
            "in the cluster".into(),
            "see why the controller of KuraInstances does not write the new endpoint; builds dial the old one until it does".into(),
        ),
    };
    let mut told = case.told(now);
    told.account = Some(account.clone());
    told.accounts = vec![account];
    told.address = handed;
    told.node = home.and_then(|(_, node)| Node::new(node.meta.key.name.as_str()).ok());
    Some(told)
}
