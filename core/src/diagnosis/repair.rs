//! What to type next: a command only where its precondition was measured.
//!
//! Names and devices come validated into this module, and are shell-quoted besides.

use core::net::Ipv4Addr;

use super::table::Flaw;
use crate::fault::{Blame, Fault};
use crate::finding::Repair;
use crate::inventory::AccountTarget;
use crate::link::{DeviceState, LinkFacts};
use crate::name::{Host, Node, Vantage};

/// `text` as one word of a POSIX shell (XCU 2.2.2).
pub fn shell_quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':');
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "every arm of the tables below is an Option; so each row stays one call"
)]
fn repair(place: String, command: Option<String>, text: &str) -> Option<Repair> {
    Some(Repair {
        place,
        command,
        text: text.to_owned(),
    })
}

/// For a cache node.
pub fn node(
    fault: Fault,
    node: &Node,
    address: Ipv4Addr,
    facts: Option<&LinkFacts>,
) -> Option<Repair> {
    let place = format!("on node {node}");
    match fault {
        Fault::InterfaceMissing | Fault::AddressLost => repair(
            place,
            Some("systemctl restart tuist-pn0.service".into()),
            "re-creates pn0 and asks for its address by DHCP; then see that `ip -br addr show \
             pn0` shows it",
        ),
        Fault::AddressWrong => {
            let held = facts.and_then(|f| f.addresses.first())?.address;
            repair(
                place,
                Some("rm /var/lib/tuist/pn0-cidr && systemctl restart tuist-pn0.service".into()),
                &format!(
                    "drops the cached {held} and asks DHCP again; {address} is what Kubernetes \
                     hands out: if DHCP insists on {held}, correct the node's label instead"
                ),
            )
        }
        Fault::L2Isolated => repair(
            place,
            None,
            "the VLAN is pruned or changed upstream: compare the VLAN id of pn0 (`ip -d link \
             show pn0`) with the provider's attachment of this server",
        ),
        Fault::NodeportNotServed => repair(
            place,
            None,
            "the datapath is not attached to pn0 (likely after pn0 was re-created): restart the \
             Cilium agent pod of this node",
        ),
        Fault::AddressConflict | Fault::AnsweredByOther => repair(
            place,
            device_up(facts).map(|d| format!("arping -D -c 3 -I {d} {address}")),
            "asks who else has the address (a reply names the MAC); find that machine in the \
             provider's IPAM and take the address from it, or free it for this node alone",
        ),
        Fault::PortFiltered => repair(
            place,
            None,
            "some ports are dropped and others are not: compare the node's firewall and the \
             accounts' NetworkPolicies (do they admit the PN's range?) with what changed last",
        ),
        Fault::StateExhausted => repair(
            place,
            facts
                .and_then(|f| f.filter.as_ref())
                .filter(|f| f.states.is_some() && f.states_limit.is_some())
                .map(|_| {
                    "sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max".into()
                }),
            "the table of connections is full: raise nf_conntrack_max, and see who opens them \
             (`conntrack -L | head`)",
        ),
        Fault::RouteWrong => {
            let device = facts.map(|f| shell_quoted(&f.device));
            repair(
                place,
                device.map(|d| format!("ip route get {address}; ip route show dev {d}")),
                "shows which route wins; remove the one that steals the PN's traffic",
            )
        }
        _ => repair(
            format!("about node {node}"),
            Some(format!(
                "kubectl get node {} -o wide",
                shell_quoted(node.as_str())
            )),
            "see whether the node lives; then its provider's console. If it lives: `ip -br addr \
             show pn0` there",
        ),
    }
}

/// The PN device, while it is there and up.
fn device_up(facts: Option<&LinkFacts>) -> Option<String> {
    let up = facts.filter(|f| f.state == DeviceState::Up);
    up.map(|f| shell_quoted(&f.device))
}

/// For a Mac host.
pub fn host(fault: Fault, host: &Host, facts: Option<&LinkFacts>) -> Option<Repair> {
    let place = format!("on host {host}");
    let device = facts
        .filter(|f| f.state == DeviceState::Up)
        .map(|f| shell_quoted(&f.device));
    match fault {
        Fault::AddressLost => repair(
            place,
            device.map(|d| format!("ipconfig set {d} DHCP")),
            "asks for the PN address again; then see `ipconfig getifaddr` of the device",
        ),
        Fault::InterfaceMissing => repair(
            place,
            None,
            "the PN VLAN is gone: create it again (networksetup -createVLAN pn en0 TAG, with the \
             tag of the provider's attachment)",
        ),
        Fault::VmNatMissing | Fault::FilterStale => repair(
            place,
            Some("pfctl -a com.apple/tuist.vmnat -s nat; pfctl -a tuist.runners -s rules".into()),
            "shows whether the NAT rule of the PN leg is loaded; reload the anchors if it is not",
        ),
        Fault::VmNetworkDead => repair(
            place,
            None,
            "vmnet's NAT died: restart the VM runtime when no job runs on this host",
        ),
        Fault::LocalNetworkDenied => repair(
            place,
            None,
            "allow the prober the local network (System Settings, Privacy & Security); builds are \
             not affected",
        ),
        _ => repair(
            place,
            None,
            "compare with a host that works: `ifconfig`, `route -n get` of the node's address, \
             `pfctl -s rules`",
        ),
    }
}

/// For an account.
pub fn account(fault: Fault, target: &AccountTarget) -> Option<Repair> {
    let instance = shell_quoted(target.instance.as_str());
    match fault {
        Fault::Draining => None,
        Fault::PodDead => repair(
            "with kubectl".into(),
            Some(format!("kubectl -n kura logs {instance}-0 --tail=50")),
            "the pod accepts and does not answer: read its log, then delete the pod if it hangs",
        ),
        Fault::WrongTenant => repair(
            "with kubectl".into(),
            Some(format!(
                "kubectl -n kura get svc {instance}-external -o yaml"
            )),
            "compare the Service's nodePort and selector with what the account was handed",
        ),
        _ => repair(
            "with kubectl".into(),
            Some(format!(
                "kubectl -n kura get pod {instance}-0 svc/{instance}-external \
                 kurainstance/{instance} -o wide"
            )),
            "does the pod run on the node that is handed out, and is it Ready? If all is right: \
             NetworkPolicy and the accept queue (`ss -lnt` in the pod)",
        ),
    }
}

/// For the private network.
pub fn network() -> Option<Repair> {
    repair(
        "at the provider".into(),
        None,
        "hosts cannot hear one another on the PN either: open a ticket for the private network \
         and stop handing out PN endpoints until it is back",
    )
}

/// For a vantage that does not report.
pub fn vantage(vantage: &Vantage) -> Option<Repair> {
    match vantage {
        Vantage::Node(node) => repair(
            "with kubectl".into(),
            Some(format!(
                "kubectl get pods -A -o wide --field-selector spec.nodeName={} | grep pnwatch",
                shell_quoted(node.as_str())
            )),
            "see why the prober's pod on this node does not run",
        ),
        Vantage::Host(host) | Vantage::Vm(host, _) => repair(
            format!("on host {host}"),
            Some("launchctl print system/dev.tuist.pnwatch | head -20".into()),
            "see whether the prober runs; its log is /var/log/tuist-pnwatch.log",
        ),
    }
}

/// For a monitor that sees nothing.
pub fn blind() -> Option<Repair> {
    repair(
        "on the exporter".into(),
        None,
        "no host's report arrives: check ingest (`pnwatch_ingest_reports_total` by result), its \
         tokens and the way from hosts to the exporter",
    )
}

/// For a DHCP server that answers nobody.
pub fn dhcp() -> Option<Repair> {
    repair(
        "at the provider".into(),
        None,
        "the DHCP server of the private network (169.254.169.254 on the cache nodes) answers no \
         renewal: call the provider; meanwhile hold each address by hand (`ip addr replace` \
         without a lifetime) before its lease ends",
    )
}

/// For a lease that is not renewed.
pub fn lease(vantage: &Vantage, device: &str) -> Option<Repair> {
    let device = shell_quoted(device);
    match vantage {
        Vantage::Node(node) => repair(
            format!("on node {node}"),
            Some("systemctl restart tuist-pn0.service".into()),
            "asks for the lease anew before it runs out; if DHCP does not answer, hold the \
             address by hand (`ip addr replace`) and call the provider",
        ),
        other => repair(
            format!("on {other}"),
            Some(format!("ipconfig set {device} DHCP")),
            "asks for the lease anew before it runs out",
        ),
    }
}

/// For what is reached badly.
pub fn quality(flaw: Flaw, blame: Blame, subject: &str) -> Option<Repair> {
    let place = format!("about {} {subject}", blame.as_label());
    match flaw {
        Flaw::Lossy => repair(
            place,
            None,
            "compare drop and error counters of its PN device (`ip -s link`), cable and switch port",
        ),
        Flaw::LargeLost => repair(
            place,
            None,
            "compare MTU along the way: `ip link` on both ends, and `ping -M do -s 1472` between \
             them",
        ),
    }
}
