//! What a page says of each alert when it is read aloud: what broke, who suffers, what to type.

use crate::fault::Alert;

/// The words of one alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    /// What broke: constant per alert, without a full stop.
    pub summary: &'static str,
    /// Who suffers, as a sentence.
    pub impact: &'static str,
    /// Where and what to type first, ending in a full stop.
    pub command: &'static str,
}

/// The words of `alert`.
pub fn of(alert: Alert) -> Words {
    let (summary, impact, command) = match alert {
        Alert::NodeUnreachable => (
            "A cache node cannot be reached on the private network",
            "Builds of every account on this node hang or take the slow public path.",
            "on that node, ip -br addr show pn0, then journalctl -u tuist-pn0 -n 50.",
        ),
        Alert::LeaseNotRenewed => (
            "A DHCP lease on the private network is not renewed",
            "Nobody suffers yet; when it runs out, everything behind that address goes dark.",
            "on that machine, ip -4 addr show pn0 (Mac: ipconfig getpacket vlan0), then look at the DHCP client's log.",
        ),
        Alert::HostPathBroken => (
            "Builds on one Mac host cannot reach the private network",
            "Every build on this host hangs or takes the slow public path; other hosts are fine.",
            "on that host, ifconfig vlan0, then sudo pfctl -a com.apple/tuist.vmnat -s nat.",
        ),
        Alert::EndpointNotDispatched => (
            "An account's cache endpoint works, but its builds do not use it",
            "Builds of this account run without the near cache: slow, not broken.",
            "kubectl -n kura get kurainstances -o wide, then compare with what the jobs got in TUIST_CACHE_ENDPOINT.",
        ),
        Alert::VantageSilent => (
            "A machine that pnwatch checks from does not report",
            "No build suffers by this; one pair of eyes is missing.",
            "on that Mac, tail -n 50 /var/log/tuist-pnwatch.log (cluster node: kubectl logs of its prober's pod).",
        ),
        Alert::AccountUnreachable => (
            "One account's cache cannot be reached on the private network",
            "Builds of this account hang or take the slow public path; other accounts are fine.",
            "kubectl -n kura get pods,svc,endpointslices -o wide, and look for this account.",
        ),
        Alert::Degraded => (
            "The cache is reached, but badly",
            "Builds are slow or retry.",
            "kubectl -n kura top pods; on the node, ip -s link show pn0.",
        ),
        Alert::ControlPlaneStale => (
            "Kubernetes objects of the cache contradict one another or stand still",
            "Nobody suffers yet; the next move of a pod or node will not be followed.",
            "kubectl -n kura get kurainstances -o yaml, and look at status and lastReconciledAt.",
        ),
        Alert::AddressConflict => (
            "Two machines answer for one address of the private network",
            "Builds reach the right node by chance: some hang, some do not.",
            "from a host, sudo arping -c 5 -I vlan0 the address, and read the MACs that answer.",
        ),
        Alert::WrongTenant => (
            "A cache endpoint answers for another tenant",
            "Builds of one account may read or write another account's cache: stop using the endpoint.",
            "kubectl -n kura get svc -o wide, and find who owns the NodePort.",
        ),
        Alert::Saturated => (
            "A link or its bandwidth cap is full",
            "Builds of the accounts that share it are slow.",
            "on the node, ip -s link show pn0 twice, ten seconds apart.",
        ),
        Alert::NetworkDown => (
            "The private network itself is down",
            "Every build in this cluster hangs or takes the slow public path.",
            "from one host, sudo arping -c 3 -I vlan0 another host's address; then the provider's status page.",
        ),
        Alert::MonitorBlind => (
            "pnwatch cannot see the private network",
            "Nobody is known to suffer, and nobody would be seen to.",
            "kubectl get pods -A -l app.kubernetes.io/name=pnwatch, then pnwatch status.",
        ),
        Alert::TrafficSilent => (
            "Public cache traffic of an account stopped while its internal traffic flows",
            "Builds of this account probably hang; no vantage is there to confirm it.",
            "from a build host, pnwatch once ADDRESS:NODEPORT of this account's endpoint.",
        ),
        Alert::BudgetBurn => (
            "An account's error budget burns, and no known fault explains it",
            "Builds of this account fail to reach the cache now and then.",
            "pnwatch explain followed by the account's name.",
        ),
    };
    Words {
        summary,
        impact,
        command,
    }
}
