//! What the receiver itself saw: handshakes and DHCP on its PN device, who else claims its
//! address, and how full its kernel's tables are.
//!
//! A client that gets no answer cannot know where its SYN ended. The receiver can: the SYN never
//! came, it came and was not answered, or the answer left and was lost. Ages and counts are those
//! of the moment of sending, as everywhere on the wire.

use core::net::Ipv4Addr;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::link::{Cidr, Mac};
use crate::outcome::{Outcome, labels};
use crate::subject::Subject;

/// Most flows in one report; the busiest of the unanswered come first.
pub const MAX_FLOWS: usize = 256;
/// Most foreign claims in one report.
pub const MAX_CLAIMS: usize = 16;

/// The receiver's view of the last [`WitnessReport::window_us`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WitnessReport {
    /// What the counts cover, microseconds; less than usual after a start.
    pub window_us: u64,
    /// Handshakes, one entry per client, server and port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flows: Vec<FlowCount>,
    /// SYNs of flows that found no place in the list: what is not listed may have come.
    #[serde(default)]
    pub unlisted_syns: u64,
    /// Packets that the kernel dropped at the socket.
    #[serde(default)]
    pub dropped: u64,
    /// This machine's own DHCP exchange on the PN device.
    #[serde(default)]
    pub dhcp: DhcpCount,
    /// Other machines that claim this machine's PN address (RFC 5227 §2.4).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<Claim>,
    /// SYNs dropped because an accept queue of this machine's own namespace was full, within the
    /// window (`TcpExt: ListenOverflows`, proc(5)); `None` = not readable. Pods have their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen_overflows: Option<u64>,
    /// Tracked connections and their limit (`nf_conntrack_count`, `nf_conntrack_max`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conntrack: Option<Usage>,
    /// Connections that the kernel dropped because the table was full, within the window
    /// (`drop` and `early_drop` of `/proc/net/stat/nf_conntrack`).
    #[serde(default)]
    pub conntrack_drops: u64,
}

/// Handshakes of one client with one port of one server, as seen on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowCount {
    /// Who dialled.
    pub client: Ipv4Addr,
    /// Whom.
    pub server: Ipv4Addr,
    /// Which port, as on the wire (a `NodePort`).
    pub port: u16,
    /// SYNs in the window, repeated ones included.
    pub syns: u32,
    /// SYNs sent again from the same client port.
    #[serde(default)]
    pub repeats: u32,
    /// SYN-ACKs that went back.
    #[serde(default)]
    pub syn_acks: u32,
    /// Age of the last SYN, microseconds.
    pub syn_age_us: u64,
    /// Age of the last SYN-ACK, microseconds; `None` = none in the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syn_ack_age_us: Option<u64>,
}

/// A machine's own DHCP exchange (RFC 2131).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DhcpCount {
    /// Its requests since the last answer.
    #[serde(default)]
    pub unanswered: u32,
    /// Age of the first of them, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_us: Option<u64>,
    /// Age of the last answer, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_age_us: Option<u64>,
}

/// Another machine that answers for, or sends from, this machine's PN address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The address.
    pub address: Ipv4Addr,
    /// The other machine.
    pub mac: Mac,
    /// When it last did so, microseconds ago.
    pub age_us: u64,
}

/// How full a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Entries in use.
    pub used: u64,
    /// Most entries.
    pub limit: u64,
}

impl Usage {
    /// Whether less than a twentieth is left.
    pub fn is_exhausted(self) -> bool {
        self.limit > 0 && self.used.saturating_mul(20) >= self.limit.saturating_mul(19)
    }
}

/// What came of a bounded read of many segments (a probe route again, `/metrics`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargeRead {
    /// The account target.
    pub subject: Subject,
    /// What it saw: `Unreached(TransferStalled)` where `/up` is fine is what a lost large packet
    /// looks like.
    pub outcome: Outcome,
    /// Bytes of the body that arrived.
    pub bytes: u64,
    /// How often in a row it has now ended without success; zero after a success.
    pub misses: u32,
    /// Age of its start, microseconds.
    pub age_us: u64,
}

labels!(
    /// What a receiver says of the SYNs that a client misses the answers of.
    Arrival {
        /// None came: they were lost on the way here.
        NeverCame => "never_came",
        /// They came, and no answer left: dropped here, or an accept queue is full.
        Unanswered => "unanswered",
        /// The answer left: it was lost on the way back.
        AnswerLost => "answer_lost",
        /// Nobody watched, or not closely enough to say.
        Unwatched => "unwatched",
    }
);

impl Arrival {
    /// Which faults remain possible when a SYN stays unanswered, in words.
    pub fn remaining(self, queue_full: Option<bool>) -> &'static str {
        match (self, queue_full) {
            (Self::NeverCame, _) => {
                "the SYN is lost before the node: the client's own filter, or the network"
            }
            (Self::Unanswered, Some(true)) => "the node's accept queue is full",
            (Self::Unanswered, Some(false)) => {
                "the node drops the SYN (policy, or no local endpoint), or the accept queue inside \
                 the pod is full"
            }
            (Self::Unanswered, None) => {
                "the node drops the SYN (policy, or no local endpoint), or an accept queue is full"
            }
            (Self::AnswerLost, _) => {
                "the node's answer is lost on its way back: the network, or the client's filter"
            }
            (Self::Unwatched, _) => {
                "the SYN is lost before the node, the node drops it (policy, no local endpoint), \
                 an accept queue is full, or the answer is lost on its way back"
            }
        }
    }
}

impl WitnessReport {
    /// What became of the SYNs of `client` to `server`'s `port` in the `since` before the report.
    pub fn arrival(
        &self,
        (client, server, port): (Ipv4Addr, Ipv4Addr, u16),
        since: Duration,
    ) -> Arrival {
        let since = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        let flow = self
            .flows
            .iter()
            .find(|f| (f.client, f.server, f.port) == (client, server, port))
            .filter(|f| f.syn_age_us <= since);
        match flow {
            Some(flow) if flow.syn_ack_age_us.is_some_and(|age| age <= since) => {
                Arrival::AnswerLost
            }
            Some(_) => Arrival::Unanswered,
            // What was not kept may have come, and a window that is too short proves nothing.
            None if self.unlisted_syns > 0 || self.dropped > 0 || self.window_us < since => {
                Arrival::Unwatched
            }
            None => Arrival::NeverCame,
        }
    }

    /// Clients outside the PN whose SYNs arrived: a host forwards its VMs without translating.
    pub fn strays(&self, pn: Cidr) -> impl Iterator<Item = &FlowCount> {
        self.flows.iter().filter(move |f| !pn.contains(f.client))
    }

    /// Flows whose SYNs came twice or more and were never answered: real builds, or checks.
    pub fn unanswered(&self) -> impl Iterator<Item = &FlowCount> {
        self.flows.iter().filter(|f| f.syn_acks == 0 && f.syns > 1)
    }

    /// Whether an accept queue of the machine itself was full; `None` = it cannot tell.
    pub fn queue_full(&self) -> Option<bool> {
        self.listen_overflows.map(|count| count > 0)
    }
}

#[cfg(test)]
#[path = "witness_tests.rs"]
mod tests;
