//! Counters and gauges that the listeners and tasks of the exporter keep of themselves.
//!
//! Shared by all tasks, lock-free; read at scrape time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use pnwatch_core::time::Timestamp;

macro_rules! results {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident => $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every value: counters are zero-filled.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The metric label `result`.
            pub fn as_label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }
        }
    };
}

results!(
    /// What became of a report.
    Ingested {
        /// Judged by.
        Fresh => "fresh",
        /// Seen before; ignored.
        Duplicate => "duplicate",
        /// From before a restart or an absence; counted, never judged by.
        History => "history",
        /// No token, or one that is not known.
        Unauthorized => "unauthorized",
        /// The token of another vantage.
        Forbidden => "forbidden",
        /// Above the bounds of size.
        TooLarge => "too_large",
        /// Not gzip, not JSON, or not a report.
        Malformed => "malformed",
        /// Another version of the format.
        WrongVersion => "wrong_version",
        /// Of another cluster.
        WrongCluster => "wrong_cluster",
        /// The engine had no room; the prober sends again.
        Overloaded => "overloaded",
    }
);

results!(
    /// How a plan request was answered.
    PlanAnswer {
        /// With a plan.
        Given => "given",
        /// Nothing new within the wait.
        Unchanged => "unchanged",
        /// Not served.
        Refused => "refused",
    }
);

results!(
    /// What the gate said.
    GateAnswer {
        /// Go on.
        Open => "open",
        /// Stop: something is wrong.
        Closed => "closed",
        /// Stop: it cannot be told.
        Unknown => "unknown",
        /// The question does not read, or there is no room to wait.
        Refused => "refused",
    }
);

results!(
    /// Why the page listener did not serve a request.
    PageRefusal {
        /// Another name than this machine's on a loopback listener.
        Host => "host",
        /// Too many from one address.
        Rate => "rate",
        /// No reader's name and secret.
        Unauthorized => "unauthorized",
    }
);

/// All counters.
#[derive(Debug, Default)]
pub struct Tally {
    ingested: [AtomicU64; Ingested::ALL.len()],
    plans: [AtomicU64; PlanAnswer::ALL.len()],
    gate: [AtomicU64; GateAnswer::ALL.len()],
    page: [AtomicU64; PageRefusal::ALL.len()],
    gate_overrides: AtomicU64,
    gate_waiting: AtomicU64,
    tokens_unreadable: AtomicU64,
    config_bad: AtomicBool,
    tls_bad: AtomicBool,
    inventory_bad: AtomicBool,
    inventory_loaded: AtomicU64,
    inventory_stale: AtomicU64,
    silent: AtomicBool,
}

impl Tally {
    /// Counts one report.
    pub fn ingested(&self, result: Ingested) {
        self.ingested[result as usize].fetch_add(1, Relaxed);
    }

    /// How many reports ended so.
    pub fn ingested_so_far(&self, result: Ingested) -> u64 {
        self.ingested[result as usize].load(Relaxed)
    }

    /// Counts one plan request.
    pub fn plan(&self, answer: PlanAnswer) {
        self.plans[answer as usize].fetch_add(1, Relaxed);
    }

    /// How many plan requests were answered so.
    pub fn plans_so_far(&self, answer: PlanAnswer) -> u64 {
        self.plans[answer as usize].load(Relaxed)
    }

    /// Counts one answer of the gate.
    pub fn gate(&self, answer: GateAnswer) {
        self.gate[answer as usize].fetch_add(1, Relaxed);
    }

    /// How many questions to the gate ended so.
    pub fn gate_so_far(&self, answer: GateAnswer) -> u64 {
        self.gate[answer as usize].load(Relaxed)
    }

    /// Counts one refusal of the page listener.
    pub fn page_refused(&self, why: PageRefusal) {
        self.page[why as usize].fetch_add(1, Relaxed);
    }

    /// How many there were.
    pub fn page_refused_so_far(&self, why: PageRefusal) -> u64 {
        self.page[why as usize].load(Relaxed)
    }

    /// Counts one question whose asker goes on whatever the gate says.
    pub fn gate_overridden(&self) {
        self.gate_overrides.fetch_add(1, Relaxed);
    }

    /// How many there were.
    pub fn gate_overrides_so_far(&self) -> u64 {
        self.gate_overrides.load(Relaxed)
    }

    /// How many questions wait for the gate now.
    pub fn set_gate_waiting(&self, count: usize) {
        self.gate_waiting.store(count as u64, Relaxed);
    }

    /// As set last.
    pub fn gate_waiting(&self) -> u64 {
        self.gate_waiting.load(Relaxed)
    }

    /// How many token files cannot be read now.
    pub fn set_tokens_unreadable(&self, count: u64) {
        self.tokens_unreadable.store(count, Relaxed);
    }

    /// As set last.
    pub fn tokens_unreadable(&self) -> u64 {
        self.tokens_unreadable.load(Relaxed)
    }

    /// Whether the configuration as it is now could be used.
    pub fn set_config_good(&self, good: bool) {
        self.config_bad.store(!good, Relaxed);
    }

    /// As set last; good before.
    pub fn config_good(&self) -> bool {
        !self.config_bad.load(Relaxed)
    }

    /// Whether the listeners' certificate as it is now could be used.
    pub fn set_tls_good(&self, good: bool) {
        self.tls_bad.store(!good, Relaxed);
    }

    /// As set last; good before, and without a certificate.
    pub fn tls_good(&self) -> bool {
        !self.tls_bad.load(Relaxed)
    }

    /// The inventory was read.
    pub fn inventory_loaded(&self, at: Timestamp) {
        self.inventory_loaded.store(at.as_unix_nanos(), Relaxed);
        self.inventory_bad.store(false, Relaxed);
    }

    /// The inventory could not be read; the one before stays.
    pub fn inventory_failed(&self) {
        self.inventory_bad.store(true, Relaxed);
    }

    /// Whether the inventory as it is now could be used, and when the one in use was read.
    pub fn inventory(&self) -> (bool, Timestamp) {
        (
            !self.inventory_bad.load(Relaxed),
            Timestamp::from_unix_nanos(self.inventory_loaded.load(Relaxed)),
        )
    }

    /// Since when what the cluster's objects say is not fresh; `None` = it is.
    pub fn inventory_stale_since(&self, since: Option<Timestamp>) {
        let at = since.map_or(0, Timestamp::as_unix_nanos);
        self.inventory_stale.store(at, Relaxed);
    }

    /// As set last; the epoch while it is fresh.
    pub fn inventory_stale(&self) -> Timestamp {
        Timestamp::from_unix_nanos(self.inventory_stale.load(Relaxed))
    }

    /// Whether no vantage reports, so that no alert of the network is sent.
    /// Returns what it was before.
    pub fn set_silent(&self, silent: bool) -> bool {
        self.silent.swap(silent, Relaxed)
    }

    /// As set last.
    pub fn silent(&self) -> bool {
        self.silent.load(Relaxed)
    }
}
