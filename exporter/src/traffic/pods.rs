//! All watched pods over time.

use std::collections::BTreeMap;

use pnwatch_core::correlate::PodSight;
use pnwatch_core::name::Instance;
use pnwatch_core::time::Now;
use pnwatch_core::traffic::{Pod, Settings};

use super::{PodTarget, Sample};

/// All watched pods over time. Bounded by the targets.
#[derive(Debug, Default)]
pub struct Pods {
    pods: BTreeMap<Instance, (PodTarget, Pod)>,
    settings: Settings,
}

impl Pods {
    /// None yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            pods: BTreeMap::new(),
            settings,
        }
    }

    /// Replaces the targets; pods that stay keep their history, also when they moved.
    pub fn set_targets(&mut self, targets: &[PodTarget]) {
        let mut old = std::mem::take(&mut self.pods);
        for target in targets {
            let history = old
                .remove(&target.instance)
                .map_or_else(Pod::default, |(_, pod)| pod);
            self.pods
                .insert(target.instance.clone(), (target.clone(), history));
        }
    }

    /// Takes a sample in; one of a pod that is not watched is ignored.
    pub fn apply(&mut self, sample: Sample) {
        let Some((_, pod)) = self.pods.get_mut(&sample.instance) else {
            return;
        };
        match sample.result {
            Ok(scrape) => pod.observe(scrape, sample.at, &self.settings),
            Err(_) => pod.failed(sample.at),
        }
    }

    /// What they carry as of `now`.
    pub fn sights(&self, now: Now) -> Vec<PodSight> {
        self.pods
            .values()
            .map(|(target, pod)| PodSight {
                account: target.account.clone(),
                instance: target.instance.clone(),
                node: target.node.clone(),
                traffic: pod.read(now, &self.settings),
            })
            .collect()
    }
}
