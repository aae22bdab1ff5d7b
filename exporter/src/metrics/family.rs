//! Metric families built from descriptors: names, labels and types cannot drift from them.

use pnwatch_core::bandwidth::throughput::{self, Throughput};
use pnwatch_core::metric::{CLUSTER_LABEL, DURATION_BUCKETS, Descriptor, MetricKind};
use pnwatch_core::name::Cluster;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

use crate::checks::Durations;

/// What one `/metrics` answer is made of.
pub struct Exposition {
    cluster: String,
    families: Vec<MetricFamily>,
}

impl Exposition {
    /// Of one cluster, empty.
    pub fn new(cluster: &Cluster) -> Self {
        Self {
            cluster: cluster.to_string(),
            families: Vec::new(),
        }
    }

    /// Adds the samples that `fill` pushes. A family without samples is left out: the encoder
    /// refuses the whole answer for one.
    pub fn add(&mut self, metric: &Descriptor, fill: impl FnOnce(&mut Family<'_>)) {
        self.add_named(metric.name, metric.help, metric.kind, metric.labels, fill);
    }

    /// As [`Self::add`], for a name that is built at run time.
    pub fn add_named(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricKind,
        labels: &[&str],
        fill: impl FnOnce(&mut Family<'_>),
    ) {
        let mut family = Family {
            kind,
            cluster: &self.cluster,
            labels,
            samples: Vec::new(),
        };
        fill(&mut family);
        if family.samples.is_empty() {
            return;
        }
        let mut built = MetricFamily::default();
        built.set_name(name.to_owned());
        built.set_help(help.to_owned());
        built.set_field_type(match kind {
            MetricKind::Counter => MetricType::COUNTER,
            MetricKind::Gauge => MetricType::GAUGE,
            MetricKind::Histogram => MetricType::HISTOGRAM,
        });
        built.set_metric(family.samples);
        self.families.push(built);
    }

    /// The text format (version 0.0.4), or what the encoder found wrong.
    pub fn encode(&self) -> Result<String, prometheus::Error> {
        prometheus::TextEncoder::new().encode_to_string(&self.families)
    }
}

/// The samples of one metric while they are added.
pub struct Family<'a> {
    kind: MetricKind,
    cluster: &'a str,
    labels: &'a [&'a str],
    samples: Vec<Metric>,
}

impl Family<'_> {
    fn labelled(&self, values: &[&str]) -> Metric {
        debug_assert_eq!(values.len(), self.labels.len(), "{:?}", self.labels);
        let pair = |name: &str, value: &str| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value.to_owned());
            pair
        };
        let mut pairs = Vec::with_capacity(values.len() + 1);
        pairs.push(pair(CLUSTER_LABEL, self.cluster));
        pairs.extend(self.labels.iter().zip(values).map(|(n, v)| pair(n, v)));
        Metric::from_label(pairs)
    }

    /// One sample of a counter or gauge.
    pub fn push(&mut self, labels: &[&str], value: f64) {
        let mut metric = self.labelled(labels);
        if self.kind == MetricKind::Counter {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.samples.push(metric);
    }

    /// One sample of a histogram of durations.
    pub fn push_durations(&mut self, labels: &[&str], durations: &Durations) {
        let counts = DURATION_BUCKETS.into_iter().zip(durations.counts);
        self.push_histogram(labels, counts, durations.count(), durations.sum);
    }

    /// One sample of a histogram of throughput. Counts come from a report: they saturate.
    pub fn push_throughput(&mut self, labels: &[&str], seen: &Throughput) {
        let bounds = throughput::BOUNDS.iter().map(|bound| *bound as f64);
        let counts = bounds.zip(seen.seconds.iter().copied());
        let all = seen.seconds.iter();
        let all = all.fold(0u64, |sum, count| sum.saturating_add(*count));
        self.push_histogram(labels, counts, all, seen.bytes as f64);
    }

    /// `counts` are those between one bound and the next.
    fn push_histogram(
        &mut self,
        labels: &[&str],
        counts: impl Iterator<Item = (f64, u64)>,
        all: u64,
        sum: f64,
    ) {
        let mut metric = self.labelled(labels);
        let mut below = 0u64;
        let buckets = counts
            .map(|(bound, count)| {
                below = below.saturating_add(count);
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(bound);
                bucket.set_cumulative_count(below);
                bucket
            })
            .collect();
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(all);
        histogram.set_sample_sum(sum);
        metric.set_histogram(histogram);
        self.samples.push(metric);
    }
}
