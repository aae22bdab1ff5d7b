//! What one check saw. "Could not send" is not "no answer", and neither is "not measured".

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident => $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The metric label and wire word.
            pub fn as_label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// The value with this label, if there is one.
            pub fn from_label(label: &str) -> Option<Self> {
                match label { $($label => Some(Self::$variant),)+ _ => None }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.as_label())
            }
        }
    };
}
pub(crate) use labels;

labels!(
    /// The layer that a check exercises.
    Layer {
        /// The vantage's own PN interface, route, lease, filter.
        Link => "link",
        /// Address resolution on the PN (RFC 826).
        Arp => "arp",
        /// TCP handshake with the `NodePort`.
        Tcp => "tcp",
        /// `GET /up` on the same connection.
        Http => "http",
        /// What must answer when the PN does not.
        Control => "control",
    }
);

labels!(
    /// Why a target was not reached: a fact about the network or the target.
    Cause {
        /// No ARP reply within the deadline.
        ArpUnanswered => "arp_unanswered",
        /// The SYN never left: the neighbour entry did not resolve (`tcpi_total_retrans` = 0, then EHOSTUNREACH).
        NeighbourUnresolved => "neighbour_unresolved",
        /// SYNs left, nothing came back: dropped, or an accept queue that is full.
        SynUnanswered => "syn_unanswered",
        /// RST: nothing listens.
        Refused => "refused",
        /// ICMP 3/3: rejected by a filter, or no listener behind a UDP-like reject.
        PortUnreachable => "port_unreachable",
        /// ICMP 3/1 from a router or filter.
        HostUnreachable => "host_unreachable",
        /// ICMP 3/0.
        NetUnreachable => "net_unreachable",
        /// ICMP 3/9, 3/10, 3/13: policy.
        AdminProhibited => "admin_prohibited",
        /// Failed here without a packet: blackhole, unreachable or missing route.
        RouteMissing => "route_missing",
        /// Connected, then RST.
        ConnectionReset => "connection_reset",
        /// Connected, then closed without an answer.
        ConnectionClosed => "connection_closed",
        /// Connected and the request was acknowledged, but no first byte came.
        NoFirstByte => "no_first_byte",
        /// The answer began and stalled.
        TransferStalled => "transfer_stalled",
        /// What answered is not HTTP.
        NotHttp => "not_http",
        /// HTTP status 4xx on a probe route.
        Http4xx => "http_4xx",
        /// HTTP status 5xx on a probe route.
        Http5xx => "http_5xx",
        /// `/up` names another tenant.
        WrongTenant => "wrong_tenant",
        /// Another MAC answered than the node's prober reports.
        AnsweredByOther => "answered_by_other",
        /// Two MACs answered one broadcast.
        AddressConflict => "address_conflict",
        /// TLS failed (gateway targets).
        TlsFailed => "tls_failed",
        /// The name did not resolve, or not to the expected address (gateway targets).
        DnsFailed => "dns_failed",
        /// Nothing within a budget too short to say more.
        NoAnswer => "no_answer",
    }
);

labels!(
    /// Why nothing was measured: a fact about the prober, never about the target.
    Blind {
        /// The slot passed while an earlier check was still under way.
        Overrun => "overrun",
        /// The program did not run: the slot passed meanwhile, or nobody looked when the answer
        /// was due.
        Starved => "starved",
        /// The machine slept.
        Suspended => "suspended",
        /// The wall clock stepped.
        ClockStep => "clock_step",
        /// The socket needs a privilege that the process lacks.
        NoPrivilege => "no_privilege",
        /// The vantage has no PN device.
        NoDevice => "no_device",
        /// The PN device has no address to send from.
        NoSource => "no_source",
        /// Out of file descriptors, ports or memory.
        Exhausted => "exhausted",
        /// A cap on packets or in-flight checks held it back.
        Capped => "capped",
        /// The operating system denied this process the local network.
        LocalNetworkDenied => "local_network_denied",
        /// A peer spoke a value that this version does not know.
        Unrecognised => "unrecognised",
    }
);

/// What one check saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The target answered.
    Reached,
    /// The target did not answer as it should.
    Unreached(Cause),
    /// Nothing can be said of the target.
    Unmeasured(Blind),
    /// This layer has no meaning here.
    NotApplicable,
}

impl Outcome {
    /// The metric label `outcome`.
    pub fn as_label(self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::Unreached(_) => "unreached",
            Self::Unmeasured(_) => "unmeasured",
            Self::NotApplicable => "not_applicable",
        }
    }

    /// The cause, if unreached.
    pub fn cause(self) -> Option<Cause> {
        match self {
            Self::Unreached(cause) => Some(cause),
            _ => None,
        }
    }
}

/// On the wire: `reached`, `unreached:CAUSE`, `unmeasured:BLIND`, `not_applicable`.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreached(cause) => write!(f, "unreached:{cause}"),
            Self::Unmeasured(blind) => write!(f, "unmeasured:{blind}"),
            other => f.write_str(other.as_label()),
        }
    }
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Outcome {
    /// Total: a word of a newer peer reads as `Unmeasured(Unrecognised)`.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self::from_word(&text))
    }
}

impl Outcome {
    /// Reads the wire word; what this version does not know is `Unmeasured(Unrecognised)`.
    pub fn from_word(text: &str) -> Self {
        let known = match text.split_once(':') {
            None if text == "reached" => Some(Self::Reached),
            None if text == "not_applicable" => Some(Self::NotApplicable),
            Some(("unreached", word)) => Cause::from_label(word).map(Self::Unreached),
            Some(("unmeasured", word)) => Blind::from_label(word).map(Self::Unmeasured),
            _ => None,
        };
        known.unwrap_or(Self::Unmeasured(Blind::Unrecognised))
    }
}

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_label())
    }
}

impl Serialize for Layer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_label())
    }
}

impl<'de> Deserialize<'de> for Layer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_label(&text)
            .ok_or_else(|| serde::de::Error::custom(format!("unknown layer {text:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_reads_back_as_written() {
        let mut all = vec![Outcome::Reached, Outcome::NotApplicable];
        all.extend(Cause::ALL.iter().map(|c| Outcome::Unreached(*c)));
        all.extend(Blind::ALL.iter().map(|b| Outcome::Unmeasured(*b)));
        for outcome in all {
            assert_eq!(Outcome::from_word(&outcome.to_string()), outcome);
        }
    }

    #[test]
    fn a_word_of_a_newer_peer_is_unmeasured() {
        for word in ["unreached:quantum_loss", "perhaps", "", "reached:twice"] {
            assert_eq!(
                Outcome::from_word(word),
                Outcome::Unmeasured(Blind::Unrecognised)
            );
        }
    }
}
