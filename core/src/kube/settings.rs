//! Names and times that the system under watch may change: all configurable, none assumed.

use core::time::Duration;

use crate::link::Cidr;
use crate::name::Cluster;

/// What kind of system is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// `KuraInstance` objects, one cache per account.
    Kura,
    /// Any `NodePort` Service that the label selector finds.
    Generic,
}

/// How objects are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Which network; never read from the objects.
    pub cluster: Cluster,
    /// The PN's address range; addresses outside are never dialled.
    pub pn_cidr: Cidr,
    /// What kind of system.
    pub profile: Profile,
    /// Names.
    pub names: Names,
    /// Times.
    pub times: Times,
}

macro_rules! names {
    ($($(#[$doc:meta])* $field:ident => $default:literal,)+) => {
        /// Names of labels, annotations and ports.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Names { $($(#[$doc])* pub $field: String,)+ }

        impl Default for Names {
            fn default() -> Self {
                Self { $($field: $default.to_owned(),)+ }
            }
        }
    };
}

names!(
    /// Node label: the PN address, as the provider's IPAM says.
    pn_address_label => "tuist.dev/pn-ipv4",
    /// Taint of cache nodes.
    cache_taint => "tuist.dev/runner-cache",
    /// Node label that tells Mac hosts.
    runtime_label => "tuist.dev/runtime",
    /// Its value on a Mac host.
    runtime => "tart",
    /// Label of the account on pods and Services.
    account_label => "tuist.dev/account",
    /// Label of the instance on pods.
    instance_label => "app.kubernetes.io/instance",
    /// What the name of an instance's `NodePort` Service ends with.
    service_suffix => "-external",
    /// Name of the port that serves builds.
    port => "http",
    /// What the region of instances that serve builds ends with.
    region_suffix => "-runners",
    /// Annotation of what is paused on purpose.
    paused_annotation => "cluster.x-k8s.io/paused",
    /// Name of the CRD whose schema must not prune the fields.
    definition => "kurainstances.kura.tuist.dev",
);

/// How long things may take before they count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// A contradiction between objects, while controllers catch up.
    pub settle: Duration,
    /// An endpoint that differs from where the pod runs.
    pub endpoint: Duration,
    /// `lastReconciledAt` without a change.
    pub reconcile: Duration,
    /// An instance that does not become ready.
    pub ready: Duration,
    /// Draining (260 s is a legal drain of the cache).
    pub drain: Duration,
    /// A pod that was replaced.
    pub rolling: Duration,
    /// Paused by an annotation.
    pub paused: Duration,
    /// How long after Ready a new pod is still excused.
    pub grace: Duration,
}

impl Default for Times {
    fn default() -> Self {
        let minutes = |m: u64| Duration::from_secs(m * 60);
        Self {
            settle: minutes(1),
            endpoint: Duration::from_secs(30),
            reconcile: minutes(60),
            ready: minutes(10),
            drain: minutes(5),
            rolling: minutes(5),
            paused: minutes(240),
            grace: Duration::from_secs(15),
        }
    }
}
