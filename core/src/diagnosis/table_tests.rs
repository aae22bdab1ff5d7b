//! Exhaustive over every combination of signs: invariants, and the table itself as a text that
//! a person can read and a change must change (`table.golden.txt`; it is what
//! the failure of `the_table_is_the_committed_one` prints between its marks).

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::*;
use crate::diagnosis::rule::Rule;
use crate::fault::Blame;

fn touched(reach: Reach) -> bool {
    matches!(reach, Reach::All | Reach::Some)
}

#[test]
fn a_node_is_blamed_only_with_ground() {
    let mut faults = BTreeSet::new();
    for signs in NodeSigns::every() {
        let Some(named) = node(signs) else { continue };
        faults.insert(named.fault);
        let bad_link = !matches!(signs.link, LinkSign::Fine | LinkSign::Silent);
        let nobody = signs.arp == Reach::Nobody || signs.ports == Reach::Nobody;
        let other = signs.answer != ArpAnswer::Owner;
        assert!(bad_link || nobody || other, "{signs:?}");
        let full = named.fault == Fault::StateExhausted;
        assert_eq!(named.severity, Severity::Critical, "{signs:?}");
        assert!(named.fault.alert(Blame::Node).is_some());
        // A connection that succeeds since, with ARP silent, means that nobody suffers.
        if signs.arp == Reach::Nobody && touched(signs.ports) && !other {
            assert_eq!(named.fault, Fault::AddressWrong, "{signs:?}");
        }
        // What a machine says of itself is sure; what is inferred is not.
        if matches!(named.fault, Fault::InterfaceMissing | Fault::AddressLost) {
            assert_eq!(named.confidence, Confidence::High);
            assert!(!touched(signs.arp) && !touched(signs.ports));
        }
        if named.fault == Fault::NodeUnreachable {
            assert_ne!(named.confidence, Confidence::High, "{signs:?}");
        }
        if matches!(signs.witnesses, Witnesses::Zero | Witnesses::One)
            && signs.link == LinkSign::Silent
            && signs.prober != ProberSign::FellSilent
            && !signs.not_ready
            && !other
            && !full
        {
            assert_eq!(named.confidence, Confidence::Low, "{signs:?}");
        }
    }
    assert_eq!(
        faults,
        BTreeSet::from([
            Fault::InterfaceMissing,
            Fault::AddressLost,
            Fault::AddressWrong,
            Fault::RouteWrong,
            Fault::L2Isolated,
            Fault::NodeUnreachable,
            Fault::NodeDown,
            Fault::NodeportNotServed,
            Fault::AddressConflict,
            Fault::AnsweredByOther,
            Fault::StateExhausted,
        ])
    );
}

#[test]
fn silence_of_a_node_is_never_overlooked() {
    for signs in NodeSigns::every() {
        let dead = signs.arp == Reach::Nobody && !touched(signs.ports);
        if dead {
            assert!(node(signs).is_some(), "{signs:?}");
        }
        let healthy = matches!(signs.link, LinkSign::Fine | LinkSign::Silent)
            && signs.arp == Reach::All
            && signs.ports == Reach::All
            && signs.answer == ArpAnswer::Owner;
        if healthy {
            assert_eq!(node(signs), None, "{signs:?}");
        }
    }
}

#[test]
fn a_host_is_blamed_by_its_own_word_or_by_comparison_alone() {
    for signs in HostSigns::every() {
        let Some(named) = host(signs) else { continue };
        let own = !matches!(signs.link, LinkSign::Fine | LinkSign::Silent);
        let own = own || signs.states == Room::Full;
        assert!(own || signs.denied || touched(signs.others), "{signs:?}");
        if signs.denied {
            assert_eq!(named.severity, Severity::Warning, "{signs:?}");
        }
        if signs.link == LinkSign::Fine && !signs.denied {
            let misses = [signs.arp, signs.ports];
            let any = misses
                .iter()
                .any(|r| matches!(r, Reach::Nobody | Reach::Some));
            assert!(any, "{signs:?}");
        }
    }
}

#[test]
fn an_excused_account_never_pages_except_for_another_tenant() {
    for signs in AccountSigns::every() {
        let Some(named) = account(signs) else {
            continue;
        };
        let dead = signs.tcp == Reach::Nobody || signs.http == Reach::Nobody;
        assert!(dead, "{signs:?}");
        // No drain changes a name.
        let name = named.fault == Fault::GatewayBroken && signs.answer == AnswerSign::Name;
        if signs.excused && named.fault != Fault::WrongTenant && !name {
            assert_eq!(named.severity, Severity::Info, "{signs:?}");
            assert_eq!(named.fault.alert(Blame::Account), None);
        }
        if named.fault == Fault::PodDead {
            assert!(touched(signs.tcp), "{signs:?}");
        }
    }
}

#[test]
fn vms_accuse_their_host_only_where_it_succeeds() {
    for signs in VmSigns::every() {
        let accused = signs.ports == Reach::Nobody && touched(signs.host);
        let pages = vms(signs).filter(|n| n.severity == Severity::Critical);
        assert_eq!(pages.is_some(), accused, "{signs:?}");
        if let Some(named) = pages.filter(|_| signs.states == Room::Enough) {
            let dead = signs.control == Reach::Nobody;
            assert_eq!(named.fault == Fault::VmNetworkDead, dead, "{signs:?}");
        }
        // A filter that is wrong while nobody suffers is told, and pages nobody.
        if !accused && signs.ports != Reach::Nobody {
            let wrong = signs.filter != FilterSign::Fine;
            assert_eq!(vms(signs).is_some(), wrong, "{signs:?}");
        }
    }
}

/// What a lease is named by its numbers.
fn by_numbers(left: f64, granted: f64) -> Option<Named> {
    lease(LeaseSigns {
        left: lease_sign(left, granted),
        server_silent: false,
    })
}

#[test]
fn a_lease_informs_warns_and_pages_at_its_marks() {
    let hour = 3600.0;
    for (left, severity) in [
        (1800.0, None),
        (1621.0, None),
        (1620.0, Some(Severity::Info)),
        (1081.0, Some(Severity::Info)),
        (1080.0, Some(Severity::Warning)),
        (451.0, Some(Severity::Warning)),
        (450.0, Some(Severity::Critical)),
        (0.0, Some(Severity::Critical)),
    ] {
        assert_eq!(
            by_numbers(left, hour).map(|n| n.severity),
            severity,
            "{left}"
        );
    }
    // A day's lease pages half an hour before its end at the latest: 12.5 % come first.
    assert_eq!(
        by_numbers(10_800.0, 86_400.0).unwrap().severity,
        Severity::Critical
    );
    // Two hours: 30 minutes are 25 %, which is under 30 %.
    assert_eq!(
        by_numbers(1800.0, 7200.0).unwrap().severity,
        Severity::Critical
    );
    // Ten seconds: nothing but the shares counts.
    assert_eq!(by_numbers(5.0, 10.0), None);
    for bad in [(0.0, 0.0), (5.0, -1.0), (f64::NAN, 10.0)] {
        assert!(by_numbers(bad.0, bad.1).is_none_or(|n| n.severity <= Severity::Critical));
    }
}

/// A line of the golden text: one word per sign, and what it means.
type Line = (Vec<String>, String);

/// Merges signs that make no difference: `a|b` means either, `*` any.
fn merged(rows: &[Line], dimension: usize) -> Vec<Line> {
    let Some((words, _)) = rows.first() else {
        return Vec::new();
    };
    if dimension == words.len() {
        return rows.to_vec();
    }
    let mut values: Vec<&String> = Vec::new();
    for (words, _) in rows {
        if !values.contains(&&words[dimension]) {
            values.push(&words[dimension]);
        }
    }
    let mut groups: Vec<(Vec<String>, Vec<Line>)> = Vec::new();
    for value in &values {
        let of: Vec<Line> = rows
            .iter()
            .filter(|(words, _)| words[dimension] == **value)
            .map(|(words, name)| {
                let mut words = words.clone();
                words[dimension] = String::new();
                (words, name.clone())
            })
            .collect();
        let below = merged(&of, dimension + 1);
        match groups.iter_mut().find(|(_, lines)| *lines == below) {
            Some((names, _)) => names.push((*value).clone()),
            None => groups.push((vec![(*value).clone()], below)),
        }
    }
    let mut lines = Vec::new();
    for (names, below) in groups {
        let word = if names.len() == values.len() && names.len() > 1 {
            "*".to_owned()
        } else {
            names.join("|")
        };
        for (mut words, name) in below {
            words[dimension].clone_from(&word);
            lines.push((words, name));
        }
    }
    lines
}

fn section(text: &mut String, title: &str, rows: &[Line]) {
    let _ = writeln!(text, "# {title}");
    for (words, name) in merged(rows, 0) {
        if name != "-" {
            let _ = writeln!(text, "{}: {name}", words.join(", "));
        }
    }
}

fn rows<S: Signs>(text: &mut String, title: &str, rules: &'static [Rule<S>]) {
    let all = S::every();
    let line = |signs: &S| -> Line {
        let name = crate::diagnosis::rule::named(rules, signs);
        let name = name.map_or("-".to_owned(), |n| {
            format!("{} {} {}", n.fault, n.severity, n.confidence)
        });
        let words = signs.words().into_iter();
        (words.map(|(_, word)| word.to_owned()).collect(), name)
    };
    let signs: Vec<&str> = all[0].words().iter().map(|(sign, _)| *sign).collect();
    let lines: Vec<Line> = all.iter().map(line).collect();
    section(text, &format!("{title}: {}", signs.join(", ")), &lines);
}

fn golden() -> String {
    let mut text = String::new();
    rows(&mut text, "the monitor", MONITOR);
    rows(&mut text, "a host", HOST);
    rows(&mut text, "the network", NETWORK);
    rows(&mut text, "a cache node", NODE);
    rows(&mut text, "a node's filter", FILTER);
    rows(&mut text, "the VMs of a host", VMS);
    rows(&mut text, "one account's target", ACCOUNT);
    rows(&mut text, "a vantage that does not report", SILENT);
    rows(&mut text, "the DHCP server", SERVER);
    rows(&mut text, "one lease", LEASE);
    rows(&mut text, "what is reached badly", QUALITY);
    text
}

/// Every decision at once: one changed cell of the table changes this.
#[test]
fn the_table_is_the_committed_one() {
    let now = golden();
    let committed = include_str!("table.golden.txt");
    let mut lines = now.lines().zip(committed.lines());
    let first = lines.find(|(now, committed)| now != committed);
    assert!(
        now == committed,
        "-----8<-----\n{now}-----8<-----\nthe table differs from table.golden.txt ({} lines now, {} committed); first: {first:?}",
        now.lines().count(),
        committed.lines().count(),
    );
}

/// A row that no signs reach, or that a later one would answer for in the same words everywhere,
/// is no row.
#[test]
fn each_row_of_each_table_counts_and_has_a_name_of_its_own() {
    let mut ids = BTreeSet::new();
    for (title, lines) in tables() {
        for line in lines {
            assert!(ids.insert(line.id), "{title}: {} twice", line.id);
            assert!(
                missed_under(line.id).is_some(),
                "{} changes nothing",
                line.id
            );
            assert!(
                !line.because.is_empty() && !line.when.is_empty(),
                "{}",
                line.id
            );
        }
    }
}
