//! The table of resources that the server knows. Anything else is a 404, as on a real server.

use std::sync::Arc;

/// One served resource: its address in the API and the rules by which its writes behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// API group, empty for the core group.
    pub group: String,
    /// The one served version.
    pub version: String,
    /// Plural name as it stands in paths, lower case.
    pub plural: String,
    /// Kind as it stands in objects.
    pub kind: String,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Whether there is a `/status` subresource; then main writes leave the status alone and status writes the rest.
    pub status: bool,
    /// Whether a create may bring its status along (a kubelet registers its Node that way).
    pub status_on_create: bool,
    /// Defined by a CRD: no strategic merge patch, and every list is atomic unless a rule says otherwise.
    pub custom: bool,
    /// Whether `metadata.generation` counts changes outside metadata and status.
    pub generation: bool,
    /// Whether an update may leave `metadata.resourceVersion` out.
    pub unconditional_update: bool,
    /// Whether an update of an object that is not there creates it.
    pub create_on_update: bool,
    /// Objects are answers and are never stored (`TokenReview`).
    pub virtual_only: bool,
}

impl Kind {
    /// A resource defined by a CRD: namespaced, with a status subresource and a generation.
    pub fn custom(group: &str, version: &str, plural: &str, kind: &str) -> Self {
        Self {
            group: group.into(),
            version: version.into(),
            plural: plural.into(),
            kind: kind.into(),
            namespaced: true,
            status: true,
            status_on_create: false,
            custom: true,
            generation: true,
            unconditional_update: false,
            create_on_update: false,
            virtual_only: false,
        }
    }

    /// A built-in resource: namespaced, without a status subresource or a generation.
    pub fn builtin(group: &str, version: &str, plural: &str, kind: &str) -> Self {
        Self {
            status: false,
            custom: false,
            generation: false,
            unconditional_update: true,
            ..Self::custom(group, version, plural, kind)
        }
    }

    /// The same, outside any namespace.
    #[must_use]
    pub fn cluster_scoped(mut self) -> Self {
        self.namespaced = false;
        self
    }

    fn with_status(mut self) -> Self {
        self.status = true;
        self
    }

    fn with_generation(mut self) -> Self {
        self.generation = true;
        self
    }

    fn creates_on_update(mut self) -> Self {
        self.create_on_update = true;
        self
    }

    /// `v1` or `group/version`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `nodes` or `leases.coordination.k8s.io`: how error messages and this crate's handles name it.
    pub fn resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// Where the objects are stored. Both Event APIs show one store, as on a real server.
    pub(crate) fn storage(&self) -> String {
        if self.group == "events.k8s.io" {
            self.plural.clone()
        } else {
            self.resource()
        }
    }
}

/// All served resources.
#[derive(Debug, Clone)]
pub(crate) struct Kinds(Vec<Arc<Kind>>);

impl Default for Kinds {
    fn default() -> Self {
        let b = Kind::builtin;
        let mut node = b("", "v1", "nodes", "Node").cluster_scoped().with_status();
        node.status_on_create = true;
        let mut review =
            b("authentication.k8s.io", "v1", "tokenreviews", "TokenReview").cluster_scoped();
        review.virtual_only = true;
        let mut lease = b("coordination.k8s.io", "v1", "leases", "Lease").creates_on_update();
        lease.unconditional_update = false;
        let mut crd = Kind::custom(
            "apiextensions.k8s.io",
            "v1",
            "customresourcedefinitions",
            "CustomResourceDefinition",
        )
        .cluster_scoped();
        crd.custom = false;
        Self(
            [
                node,
                b("", "v1", "namespaces", "Namespace")
                    .cluster_scoped()
                    .with_status(),
                b("", "v1", "pods", "Pod").with_status().with_generation(),
                b("", "v1", "services", "Service")
                    .with_status()
                    .creates_on_update(),
                b("", "v1", "configmaps", "ConfigMap"),
                b("", "v1", "events", "Event").creates_on_update(),
                b("events.k8s.io", "v1", "events", "Event").creates_on_update(),
                lease,
                b("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
                    .with_generation()
                    .creates_on_update(),
                b(
                    "networking.k8s.io",
                    "v1",
                    "networkpolicies",
                    "NetworkPolicy",
                )
                .with_generation(),
                review,
                crd,
                Kind::custom(
                    "kura.tuist.dev",
                    "v1alpha1",
                    "kurainstances",
                    "KuraInstance",
                ),
                Kind::custom("cluster.x-k8s.io", "v1beta1", "machines", "Machine"),
            ]
            .into_iter()
            .map(Arc::new)
            .collect(),
        )
    }
}

impl Kinds {
    /// Adds a resource, or replaces the one at the same group and plural.
    pub(crate) fn register(&mut self, kind: Kind) {
        self.0
            .retain(|k| k.group != kind.group || k.plural != kind.plural);
        self.0.push(Arc::new(kind));
    }

    pub(crate) fn at(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Kind>> {
        self.0
            .iter()
            .find(|k| k.group == group && k.version == version && k.plural == plural)
            .cloned()
    }

    /// By `plural` (the first group wins) or `plural.group`.
    pub(crate) fn named(&self, resource: &str) -> Option<Arc<Kind>> {
        self.0
            .iter()
            .find(|k| k.resource() == resource)
            .or_else(|| self.0.iter().find(|k| k.plural == resource))
            .cloned()
    }

    /// By what an object says of itself.
    pub(crate) fn of_object(&self, api_version: &str, kind: &str) -> Option<Arc<Kind>> {
        self.0
            .iter()
            .find(|k| k.kind == kind && k.api_version() == api_version)
            .cloned()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.0.iter()
    }
}
