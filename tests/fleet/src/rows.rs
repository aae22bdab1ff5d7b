//! Every row of the fault table, and the scenario that shows it alone.
//!
//! What must come of it stands in the scenario file. The lab's matrix makes each row really,
//! but for those of [`FED`], whose scenario it feeds through the wire.

/// One row and its scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The incident id of docs/faults.md.
    pub id: &'static str,
    /// The scenario file, without its ending.
    pub scenario: &'static str,
    /// How loud it is.
    pub loudness: Loudness,
}

/// How loud a row is at its worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loudness {
    /// Critical: it pages.
    Pages,
    /// Named, without a page.
    Named,
    /// Nothing may be said.
    Silent,
}

use Loudness::{Named, Pages, Silent};

const fn row(id: &'static str, scenario: &'static str, loudness: Loudness) -> Row {
    Row {
        id,
        scenario,
        loudness,
    }
}

/// Rows that no lab on Linux makes, and why: their evidence is fed through the wire.
pub const FED: [(&str, &str); 2] = [
    (
        "F5",
        "a property of the gate, which asks the exporter and dials nothing; `pnwatch-lab gate` asks it during real faults",
    ),
    (
        "F13",
        "only macOS denies a program the local network; its errors are recorded",
    ),
];

/// Every row, in the order of the table.
pub const ROWS: &[Row] = &[
    row("F1", "f01_interface_missing", Pages),
    row("F2", "f02_address_lost", Pages),
    row("F2a", "f02a_lease_not_renewed", Pages),
    row("F3", "f03_vm_nat_missing", Pages),
    row("F4", "f04_then_vms", Pages),
    row("F5", "f05_gate_asks", Silent),
    row("F6", "f06_not_dispatched", Named),
    row("F7", "f07_vm_network_dead", Pages),
    row("F8", "f08_vantage_silent", Named),
    row("F9", "f09_vm_nat_bursts", Pages),
    row("F10", "f10_host_interface_missing", Pages),
    row("F11", "f11_host_address_lost", Pages),
    row("F12", "f12_node_ports_filtered", Pages),
    row("F13", "f13_local_network_denied", Named),
    row("F14", "f14_public_dip", Silent),
    row("F15", "f15_policy_drops_node", Silent),
    row("F16", "f16_shedding", Named),
    row("F17", "f17_pod_hung", Pages),
    row("F18", "f18_status_stale", Named),
    row("F19", "f19_endpoint_stale", Pages),
    row("F20", "f20_draining", Named),
    row("F21", "f21_address_wrong", Pages),
    row("F22", "f22_address_conflict", Pages),
    row("F23", "f23_wrong_tenant", Pages),
    row("F24", "f24_host_dead", Named),
    row("F25", "f25_saturated", Named),
    row("F26", "f26_binding_missing", Named),
    row("F27", "f27_never_ready", Named),
    row("F28", "f28_duplicate_claim", Named),
    row("F29", "f29_node_down", Pages),
    row("F30", "f30_nodeport_not_served", Pages),
    row("F31", "f31_network_down", Pages),
    row("F32", "f32_node_isolated", Pages),
    row("F33", "f33_dhcp_silent", Pages),
    row("F34", "f34_answered_by_other", Pages),
    row("F35", "f35_node_lossy", Named),
    row("F36", "f36_large_packets_lost", Pages),
    row("F37", "f37_host_states_full", Pages),
    row("F38", "f38_node_route_wrong", Pages),
    row("F39", "f39_gateway_tls", Pages),
    row("F40", "f40_blind_for_long", Pages),
];
