//! The rows: what breaks, how, and what must be seen of it.

use anyhow::Result;

use super::wire::{NODE_DEVICE, NODE_PORT_NAME, OWN_DEVICE, Wire};

/// Whether the neighbour's entry is there when the fault begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Neighbour {
    /// Nothing was sent before.
    Cold,
    /// A check succeeded just before.
    Warm,
}

/// What is expected of a row: cause or `reached`, ARP, own link, receiver.
pub(super) type Expected = (&'static str, &'static str, &'static str, &'static str);

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its number in the table of socket causes, with a letter where it has variants.
    pub name: &'static str,
    /// What is wrong.
    pub about: &'static str,
    /// The port that is dialled.
    pub port: u16,
    /// Dialled without binding to the device, as a VM does.
    pub unbound: bool,
    /// Breaks it.
    pub inject: fn(&Wire) -> Result<()>,
    /// What must be seen with a cold neighbour, and with a warm one.
    pub expected: [Expected; 2],
}

const OK: &str = "reached";
const FINE: &str = "fine";
const ANSWERED: &str = "link fine; SYN answered";
const SYN_REPEATED: &str = "link fine; SYN came, answer lost";
const UNANSWERED: &str = "link fine; SYN came, unanswered";
const QUEUE: &str = "link fine; SYN came, unanswered; accept queue full";
const NEVER: &str = "link fine; no SYN came";

const fn row(
    name: &'static str,
    about: &'static str,
    port: u16,
    inject: fn(&Wire) -> Result<()>,
    expected: Expected,
) -> Row {
    Row {
        name,
        about,
        port,
        unbound: false,
        inject,
        expected: [expected, expected],
    }
}

#[expect(clippy::unnecessary_wraps, reason = "has the type of an injection")]
fn nothing(_: &Wire) -> Result<()> {
    Ok(())
}

/// A rule on what comes in at the node.
fn input(wire: &Wire, rule: &str) -> Result<()> {
    wire.node.nft(&format!(
        "table inet t {{\n chain c {{\n type filter hook input priority 0\n tcp dport 31001 {rule}\n }}\n}}\n"
    ))
}

/// A rule at the prober's own machine.
fn own(wire: &Wire, hook: &str, rule: &str) -> Result<()> {
    wire.own.nft(&format!(
        "table inet t {{\n chain c {{\n type filter hook {hook} priority 0\n {rule}\n }}\n}}\n"
    ))
}

fn lose_address(wire: &Wire) -> Result<()> {
    wire.node
        .ip(&format!("addr flush dev {NODE_DEVICE}"))
        .map(drop)
}

fn cut_cable(wire: &Wire) -> Result<()> {
    wire.switch
        .ip(&format!("link set {NODE_PORT_NAME} down"))
        .map(drop)
}

fn blackhole(wire: &Wire) -> Result<()> {
    wire.own.ip("route add blackhole 172.16.0.2/32").map(drop)
}

fn own_cable(wire: &Wire) -> Result<()> {
    wire.own
        .ip(&format!("link set {OWN_DEVICE} down"))
        .map(drop)
}

/// All rows, in the order of the table of causes.
pub const ROWS: [Row; 21] = [
    row("1", "healthy", 31001, nothing, (OK, OK, FINE, ANSWERED)),
    row(
        "2",
        "HTTP 500",
        31002,
        nothing,
        ("http_5xx", OK, FINE, ANSWERED),
    ),
    row(
        "3",
        "port closed",
        31003,
        nothing,
        ("refused", OK, FINE, UNANSWERED),
    ),
    row(
        "4",
        "SYN dropped by the node",
        31001,
        |w| input(w, "drop"),
        ("syn_unanswered", OK, FINE, UNANSWERED),
    ),
    row(
        "4b",
        "SYN dropped before the node",
        31001,
        |w| own(w, "output", "tcp dport 31001 drop"),
        ("syn_unanswered", OK, FINE, NEVER),
    ),
    row(
        "5",
        "SYN-ACK lost",
        31001,
        |w| own(w, "input", "tcp sport 31001 drop"),
        ("syn_unanswered", OK, FINE, SYN_REPEATED),
    ),
    row(
        "6",
        "reject, port unreachable",
        31001,
        |w| input(w, "reject with icmp port-unreachable"),
        ("port_unreachable", OK, FINE, UNANSWERED),
    ),
    row(
        "7",
        "reject, host unreachable",
        31001,
        |w| input(w, "reject with icmp host-unreachable"),
        ("host_unreachable", OK, FINE, UNANSWERED),
    ),
    row(
        "8",
        "reject, administratively prohibited",
        31001,
        |w| input(w, "reject with icmp admin-prohibited"),
        ("admin_prohibited", OK, FINE, UNANSWERED),
    ),
    // Rows 9 and 10 are one fault: the neighbour's entry makes the difference on the socket.
    Row {
        name: "9/10",
        about: "the node's PN address lost",
        port: 31001,
        unbound: false,
        inject: lose_address,
        expected: [
            (
                "neighbour_unresolved",
                "arp_unanswered",
                FINE,
                "link address_lost; no SYN came",
            ),
            (
                "syn_unanswered",
                "arp_unanswered",
                FINE,
                "link address_lost; SYN came, unanswered",
            ),
        ],
    },
    Row {
        name: "11",
        about: "the node's cable dead",
        port: 31001,
        unbound: false,
        inject: cut_cable,
        expected: [
            (
                "neighbour_unresolved",
                "arp_unanswered",
                FINE,
                "link no_carrier; no SYN came",
            ),
            (
                "syn_unanswered",
                "arp_unanswered",
                FINE,
                "link no_carrier; no SYN came",
            ),
        ],
    },
    row(
        "11b",
        "the prober's own device down",
        31001,
        own_cable,
        (
            "unmeasured:no_device",
            "unmeasured:no_device",
            "admin_down",
            NEVER,
        ),
    ),
    row(
        "12",
        "accept queue full",
        31012,
        nothing,
        ("syn_unanswered", OK, FINE, QUEUE),
    ),
    row(
        "13",
        "accepts, then hangs",
        31013,
        nothing,
        ("no_first_byte", OK, FINE, ANSWERED),
    ),
    row(
        "14",
        "accepts, then closes",
        31014,
        nothing,
        ("connection_closed", OK, FINE, ANSWERED),
    ),
    row(
        "14b",
        "accepts, then resets",
        31114,
        nothing,
        ("connection_reset", OK, FINE, ANSWERED),
    ),
    row(
        "15",
        "the body stalls",
        31015,
        nothing,
        ("transfer_stalled", OK, FINE, ANSWERED),
    ),
    row(
        "16",
        "not HTTP",
        31016,
        nothing,
        ("not_http", OK, FINE, ANSWERED),
    ),
    row(
        "16b",
        "another tenant",
        31017,
        nothing,
        ("wrong_tenant", OK, FINE, ANSWERED),
    ),
    Row {
        unbound: true,
        ..row(
            "17",
            "blackhole route here, dialled without binding",
            31001,
            blackhole,
            ("route_missing", OK, "route_wrong", NEVER),
        )
    },
    row(
        "17b",
        "blackhole route here, dialled by the device",
        31001,
        blackhole,
        (OK, OK, "route_wrong", ANSWERED),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_the_table_is_there_and_no_two_rows_expect_the_same() {
        for number in 1..=17 {
            let is = |row: &Row| {
                let mut names = row.name.split('/');
                names.any(|name| name.trim_end_matches('b') == number.to_string())
            };
            assert!(ROWS.iter().any(is), "{number}");
        }
        for temperature in 0..2 {
            for (index, row) in ROWS.iter().enumerate() {
                for other in &ROWS[index + 1..] {
                    assert_ne!(
                        row.expected[temperature], other.expected[temperature],
                        "{} and {}",
                        row.name, other.name
                    );
                }
            }
        }
    }
}
