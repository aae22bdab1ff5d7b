//! Why failures of a target do not count now, each reason with a deadline after which they do.

use super::marks::Marks;
use super::object::{InstanceObject, Meta, PodObject, ServiceObject};
use super::view::Objects;
use crate::inventory::Excuse;
use crate::time::{Now, Timestamp};

/// Reads reasons for one target.
pub(super) struct Excuses<'o, 'a> {
    pub(super) objects: &'o Objects<'a>,
    pub(super) now: Now,
}

impl<'a> Excuses<'_, 'a> {
    /// Of an instance on the node of its pod: the reason that holds longest.
    pub(super) fn of_instance(
        &self,
        instance: &InstanceObject,
        pod: Option<&'a PodObject>,
        marks: &mut Marks,
    ) -> Option<Excuse> {
        let times = &self.objects.settings.times;
        let mut all = Vec::new();
        let node = pod
            .and_then(|p| p.node.as_deref())
            .and_then(|name| self.objects.node(name));
        let nodes = node.map(|n| ("node", &n.meta));
        for (what, meta) in [("instance", &instance.meta)].into_iter().chain(nodes) {
            if self.is_paused(meta) {
                let first = marks.since(format!("paused {what} {}", meta.key.name), self.now);
                all.push(excuse("paused", first.wall.after(times.paused)));
            }
        }
        if let Some(until) = self.going(&instance.meta, "instance", marks) {
            all.push(excuse("deleting", until));
        }
        if let Some(pod) = pod {
            if let Some(until) = self.going(&pod.meta, "pod", marks) {
                all.push(excuse("draining", until));
            }
            all.extend(self.rolling(pod));
        }
        if let Some(service) = self.objects.service(instance) {
            all.extend(self.terminating(service, None, marks));
        }
        self.longest(all)
    }

    /// Of a Service's endpoint on one node.
    pub(super) fn of_service(
        &self,
        service: &ServiceObject,
        node: &str,
        marks: &mut Marks,
    ) -> Option<Excuse> {
        let times = &self.objects.settings.times;
        let mut all = Vec::new();
        if self.is_paused(&service.meta) {
            let first = marks.since(
                format!("paused service {}", service.meta.key.name),
                self.now,
            );
            all.push(excuse("paused", first.wall.after(times.paused)));
        }
        all.extend(self.terminating(service, Some(node), marks));
        self.longest(all)
    }

    fn longest(&self, all: Vec<Excuse>) -> Option<Excuse> {
        all.into_iter()
            .filter(|e| self.now.wall < e.until)
            .max_by_key(|e| e.until)
    }

    fn is_paused(&self, meta: &Meta) -> bool {
        let name = &self.objects.settings.names.paused_annotation;
        meta.annotations.get(name).is_some_and(|v| v != "false")
    }

    /// The deadline of something that is being deleted: when it is to be gone and some more,
    /// never later than the limit after it was first seen so.
    fn going(&self, meta: &Meta, what: &str, marks: &mut Marks) -> Option<Timestamp> {
        let times = &self.objects.settings.times;
        let due = meta.deleted?.after(times.grace);
        let uid = meta.uid.as_deref().unwrap_or_default();
        let key = format!("deleting {what} {} {uid}", meta.key.name);
        let first = marks.since(key, self.now);
        Some(due.max(first.wall).min(first.wall.after(times.drain)))
    }

    /// A pod that was replaced: until it is ready and a little longer, never beyond its limit.
    fn rolling(&self, pod: &PodObject) -> Option<Excuse> {
        let times = &self.objects.settings.times;
        // A birthday in the future is no reason.
        let born = pod
            .meta
            .created
            .filter(|born| *born <= self.now.wall.after(times.grace))?;
        let limit = born.after(times.rolling);
        let until = match (pod.ready, pod.ready_since) {
            (Some(true), Some(since)) => limit.min(since.after(times.grace)),
            _ => limit,
        };
        Some(excuse("rolling", until))
    }

    fn terminating(
        &self,
        service: &ServiceObject,
        node: Option<&str>,
        marks: &mut Marks,
    ) -> Option<Excuse> {
        let key = &service.meta.key;
        let endpoints = self.objects.endpoints(service).iter();
        let mut endpoints = endpoints.filter(|e| node.is_none() || e.node.as_deref() == node);
        endpoints.any(|e| e.terminating == Some(true)).then(|| {
            let node = node.unwrap_or_default();
            let first = marks.since(format!("terminating {} {node}", key.name), self.now);
            excuse(
                "draining",
                first.wall.after(self.objects.settings.times.drain),
            )
        })
    }
}

fn excuse(reason: &str, until: Timestamp) -> Excuse {
    Excuse {
        reason: reason.to_owned(),
        until,
    }
}
