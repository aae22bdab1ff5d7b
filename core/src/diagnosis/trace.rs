//! What was asked on the way to a diagnosis, for whoever wants to know why.
//!
//! Suppression is explicit: everything that keeps a sign or a name back is a [`Hold`], applied
//! through [`Case::holds`], so that it can be told, and taken away to see that a test notices.

use std::cell::RefCell;

use super::rule::{InForce, Rule, Signs, decide};
use super::scope::Case;
use super::table::Named;
use crate::fault::Blame;
use crate::outcome::labels;

labels!(
    /// What keeps a sign, a witness or a name back.
    Hold {
        /// A bad link that has not held yet.
        LinkFlush => "hold_link_flush",
        /// A link that is right again, while its checks have not followed.
        LinkRecovers => "hold_link_recovers",
        /// What a cluster node's own connects, or a VM, say of what others share.
        NodeVantage => "hold_node_vantage",
        /// What a vantage said that does not report.
        SilentVantage => "hold_silent_vantage",
        /// What a vantage misses whose own host is to blame.
        BlamedHost => "hold_blamed_host",
        /// What an open finding explains until it closes.
        OpenFinding => "hold_open_finding",
        /// What the network explains.
        NetworkDown => "hold_network_down",
        /// Names, while it is undecided whether the network is down.
        NetworkUndecided => "hold_network_undecided",
        /// What a node's fault explains.
        NodeDown => "hold_node_down",
        /// What a node's filter explains.
        NodeFilter => "hold_node_filter",
        /// What an account's own fault explains.
        AccountDown => "hold_account_down",
        /// What a host's own fault explains of its VMs.
        HostDown => "hold_host_down",
        /// Names, while witnesses have not told yet.
        NamingWait => "hold_naming_wait",
        /// A fault that ports alone show, just after ARP came back.
        NodeSettles => "hold_node_settles",
        /// A host's misses, just after it came back.
        HostSettles => "hold_host_settles",
        /// A relabelling of what is on its way back.
        Healing => "hold_healing",
        /// A host's short misses, begun together with what another is blamed for.
        SharedOnset => "hold_shared_onset",
        /// A drain, rollout, pause or maintenance before its deadline.
        Excuse => "hold_excuse",
        /// An account, while its node's filter is undecided.
        FilterUndecided => "hold_filter_undecided",
        /// A silent vantage on a machine that is blamed.
        VantageOfBlamed => "hold_vantage_of_blamed",
        /// Silent vantages, while none at all is heard, and just after somebody is again.
        JustSighted => "hold_just_sighted",
        /// A vantage that said goodbye, for its grace.
        Goodbye => "hold_goodbye",
        /// Whether a silent vantage's machine is lost, while its neighbours' misses are fresh.
        FreshLoss => "hold_fresh_loss",
        /// A lease of a machine that is blamed.
        LeaseOfBlamed => "hold_lease_of_blamed",
        /// The first overdue lease, while others may join it.
        LeaseJoins => "hold_lease_joins",
        /// A lease that a silent DHCP server explains.
        SilentServer => "hold_silent_server",
        /// A host's bad paths to what is reached badly by everybody, until that closes.
        IllTarget => "hold_ill_target",
        /// A host's packet filter, while its VMs have not told yet whether they suffer.
        VmsUntold => "hold_vms_untold",
        /// Lost connections of a host that loses packets anyway.
        LossyHost => "hold_lossy_host",
        /// A host's misses of what loses packets for everybody.
        LossyTarget => "hold_lossy_target",
        /// Loss on paths of what is blamed.
        LossOfBlamed => "hold_loss_of_blamed",
    }
);

impl Hold {
    /// Why, as a sentence.
    pub fn because(self) -> &'static str {
        match self {
            Self::LinkFlush => {
                "DHCP clients flush and add again: a bad link counts once it has held for 500 ms"
            }
            Self::LinkRecovers => {
                "its link has just become right; misses that began before are not held against it"
            }
            Self::NodeVantage => {
                "only hosts are witnesses: a cluster node's packets take another policy path, and code \
                 in a VM is a customer's"
            }
            Self::SilentVantage => "what a vantage said that does not report says nothing of now",
            Self::BlamedHost => "a host that is itself to blame accuses nobody",
            Self::OpenFinding => {
                "an open finding explains what began while it lasted, until it closes"
            }
            Self::NetworkDown => "the network is down: what is missed is its doing",
            Self::NetworkUndecided => "the network itself may be down: only link evidence may name",
            Self::NodeDown => "its node is to blame",
            Self::NodeFilter => "its node's filter is to blame",
            Self::AccountDown => "the account itself is down: no host is to blame for missing it",
            Self::HostDown => "its host is to blame",
            Self::NamingWait => "witnesses have not told yet; naming waits up to 500 ms for them",
            Self::NodeSettles => {
                "ARP has only just come back; connections follow it by up to four seconds"
            }
            Self::HostSettles => {
                "it has only just come back; its connections follow by up to four seconds"
            }
            Self::Healing => "it is on its way back: what passes by meanwhile is no new cause",
            Self::SharedOnset => {
                "its misses began with those of all others, whom something else is blamed for"
            }
            Self::Excuse => "a drain, rollout, pause or maintenance excuses it until its deadline",
            Self::FilterUndecided => {
                "other ports of its node are suspect too; its filter may be to blame"
            }
            Self::VantageOfBlamed => "its machine or the network is blamed already",
            Self::JustSighted => {
                "nobody is heard, which is one finding and not many, or somebody is again just now: the others get their time"
            }
            Self::Goodbye => "it said goodbye; it may be away for two minutes",
            Self::FreshLoss => "its neighbours have only just begun to miss it",
            Self::LeaseOfBlamed => "its machine is blamed already",
            Self::LeaseJoins => {
                "it is overdue since two seconds at most: vantages report a second apart, and others may be too"
            }
            Self::SilentServer => "the DHCP server is silent for several machines",
            Self::IllTarget => {
                "what is reached badly by everybody explains who reaches it badly, until it closes"
            }
            Self::VmsUntold => {
                "its filter has only just changed, and VMs run: they tell within eight seconds whether they suffer"
            }
            Self::LossyHost => "it loses packets at layer 2 as well: no filter of ports does that",
            Self::LossyTarget => {
                "packets to it are lost for everybody: to miss it is no sign against a host"
            }
            Self::LossOfBlamed => "what is lost there is somebody's fault already",
        }
    }
}

/// A row that was asked and did not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The row.
    pub rule: &'static str,
    /// What it would have named.
    pub names: Option<Named>,
    /// The sign that it failed on.
    pub sign: &'static str,
    /// What it wanted there.
    pub wants: String,
    /// What was there.
    pub saw: &'static str,
}

/// One step on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A table was asked.
    Asked {
        /// Of whom.
        about: (Blame, String),
        /// With which signs.
        signs: Vec<(&'static str, &'static str)>,
        /// The row that decided, what it names, and why.
        applied: Option<(&'static str, Option<Named>, &'static str)>,
        /// The rows before it, or all.
        refused: Vec<Refused>,
    },
    /// Something was held back.
    Held {
        /// About whom: the name of a vantage, node, account.
        about: String,
        /// What.
        hold: Hold,
    },
}

/// Collects steps; a step is kept once.
#[derive(Debug, Default)]
pub struct Trace(RefCell<Vec<Step>>);

impl Trace {
    /// What was collected.
    pub fn into_steps(self) -> Vec<Step> {
        self.0.into_inner()
    }

    fn push(&self, step: Step) {
        let mut steps = self.0.borrow_mut();
        if !steps.contains(&step) {
            steps.push(step);
        }
    }
}

impl Case<'_> {
    /// Asks a table.
    pub(super) fn ask<S: Signs>(
        &self,
        rules: &'static [Rule<S>],
        signs: &S,
        (blame, subject): (Blame, &str),
    ) -> Option<Named> {
        let decided = decide(rules, signs, self.force);
        if let Some(trace) = self.trace {
            trace.push(asked(
                rules,
                signs,
                (blame, subject.to_owned()),
                (decided, self.force),
            ));
        }
        decided.and_then(|rule| rule.names)
    }

    /// Whether `hold` keeps back what concerns `about`, given that its condition `applies`.
    pub(super) fn holds(&self, hold: Hold, about: &impl ToString, applies: bool) -> bool {
        let held = applies && self.force.has(hold.as_label());
        if let Some(trace) = self.trace.filter(|_| held) {
            trace.push(Step::Held {
                about: about.to_string(),
                hold,
            });
        }
        held
    }

    /// Whether somebody wants to know why: then even what is fine is asked.
    pub(super) fn is_traced(&self) -> bool {
        self.trace.is_some()
    }
}

fn asked<S: Signs>(
    rules: &'static [Rule<S>],
    signs: &S,
    about: (Blame, String),
    (decided, force): (Option<&'static Rule<S>>, InForce),
) -> Step {
    let before = rules
        .iter()
        .filter(|rule| force.has(rule.id))
        .take_while(|rule| decided.is_none_or(|d| d.id != rule.id));
    let refused = before.filter_map(|rule| {
        let failed = rule.fails(signs)?;
        Some(Refused {
            rule: rule.id,
            names: rule.names,
            sign: failed.sign,
            wants: (failed.wants)(),
            saw: (failed.saw)(signs),
        })
    });
    Step::Asked {
        about,
        signs: signs.words(),
        applied: decided.map(|rule| (rule.id, rule.names, rule.because)),
        refused: refused.collect(),
    }
}
