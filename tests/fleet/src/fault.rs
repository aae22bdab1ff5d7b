//! What can be done to the network, and to whom.

use core::fmt;
use core::str::FromStr;

use pnwatch_core::name::{Account, Host, Node, Vantage};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What is broken. `target` says whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Break {
    /// Node, host: the PN device is deleted.
    InterfaceGone,
    /// Node, host: the PN device loses its address.
    AddressGone,
    /// Node: the PN device holds another address than the label says.
    AddressWrong,
    /// Node, host: no carrier on the PN device.
    CarrierLost,
    /// Node, host: cut off upstream (VLAN pruned); every local fact is right.
    Isolated,
    /// Node, host: the whole machine is off, its prober with it.
    MachineDead,
    /// Node: the datapath serves no `NodePort`.
    PortsNotServed,
    /// Node, host: the lease is not renewed; `value` seconds of an hour are left, then the
    /// address goes.
    LeaseStuck,
    /// Node, host: a static address, without a lease.
    StaticAddress,
    /// Node: policy drops what the node itself dials.
    PolicyDropsNode,
    /// Node, host: reports do not get through to the exporters.
    ReportsLost,
    /// Node, host, VM: the prober says goodbye and stops.
    ProberStopped,
    /// Node, host, VM: the prober is killed.
    ProberKilled,
    /// Node, host, VM: the machine sleeps, or the prober is not scheduled.
    ProberStalled,
    /// Host: `value` percent of packets are lost, each way.
    Loss,
    /// Host: a fifth of its packets to node `value`, and a fifth of those back, are lost: its share
    /// of a bond there crosses the bad link.
    BondLoss,
    /// Host: its connections to node `value` are dropped, for the same reason.
    BondDrop,
    /// Host: connections to all `NodePort`s are dropped on the way out.
    PortsFiltered,
    /// Host: the NAT rule of its VMs is gone.
    VmNatGone,
    /// Host: its VMs have no network at all.
    VmNetworkDead,
    /// Host: it does not reach anything off the PN.
    ControlDead,
    /// Host: macOS denies its prober the local network.
    LocalNetworkDenied,
    /// Host: ARP requests from it get lost, connections pass.
    ArpLost,
    /// Account: packets to its port are dropped.
    PortDropped,
    /// Account: its port refuses.
    PortRefused,
    /// Account: its pod accepts and never answers.
    PodHung,
    /// Account: its pod answers with 500.
    PodErrors,
    /// Account: `value` percent of its answers, here and there, are 500.
    PodStutters,
    /// Account: its port answers for another tenant.
    WrongTenant,
    /// Account: `/ready` says draining.
    Draining,
    /// Node: two machines answer ARP for its address.
    AddressConflict,
    /// Node: another machine answers ARP for its address.
    AnsweredByOther,
    /// Node, host: PN traffic leaves by another device.
    RouteWrong,
    /// Node, host: the table of connections is full; new ones die.
    StatesFull,
    /// Host: its packet filter keeps an old, empty or doubled rule set; its VMs are cut off
    /// if `value` is not zero.
    FilterStale,
    /// Node: throughput stands at `value` Mbit/s after a burst.
    Clamped,
    /// Node, host, account: large packets do not pass.
    LargeLost,
    /// Account: its gateway's name leads elsewhere.
    GatewayName,
    /// Account: TLS with its gateway fails.
    GatewayTls,
    /// Account: nothing comes back from its gateway's port.
    GatewayFiltered,
    /// Account: its instance's status has no address and no port.
    StatusEmpty,
    /// Account: its pod runs on node `value`, while the old endpoint is handed out.
    EndpointStale,
    /// Account: its instance never becomes ready, and no endpoint was ever published.
    NeverReady,
    /// Node: it has no provider id.
    Unbound,
    /// Node: another node carries the same address label.
    LabelTwice,
    /// Account: nobody uses its endpoint although jobs run.
    NotDispatched,
    /// Account: its public traffic stops while peers go on.
    TrafficStops,
    /// Account: `value` percent of its requests are answered 503.
    Sheds,
    /// Network: all public counters stand still (a controller rollout).
    PublicDip,
    /// Network: nothing passes.
    Down,
    /// Exporter: it restarts; open findings are read back.
    Restart,
    /// Exporter: it is away; its probers keep what they saw, and tell it when it is back.
    Away,
    /// Exporter: its wall clock jumps by `value` seconds.
    ClockStep,
}

/// To whom it is done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The private network.
    Network,
    /// The exporters.
    Exporter,
    /// A machine or VM: `node/…`, `host/…`, `vm/…`.
    Machine(Vantage),
    /// `account/…`.
    Account(Account),
}

impl Target {
    /// The node, if it is one.
    pub fn node(&self) -> Option<&Node> {
        match self {
            Self::Machine(Vantage::Node(node)) => Some(node),
            _ => None,
        }
    }

    /// The host, if it is one.
    pub fn host(&self) -> Option<&Host> {
        match self {
            Self::Machine(Vantage::Host(host)) => Some(host),
            _ => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network => f.write_str("network"),
            Self::Exporter => f.write_str("exporter"),
            Self::Machine(vantage) => write!(f, "{vantage}"),
            Self::Account(account) => write!(f, "account/{account}"),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            None if text == "network" => Ok(Self::Network),
            None if text == "exporter" => Ok(Self::Exporter),
            Some(("account", name)) => Account::new(name)
                .map(Self::Account)
                .map_err(|e| e.to_string()),
            _ => text
                .parse()
                .map(Self::Machine)
                .map_err(|e: pnwatch_core::name::NameError| {
                    format!("{text:?}: {e}, or account/NAME, network, exporter")
                }),
        }
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
