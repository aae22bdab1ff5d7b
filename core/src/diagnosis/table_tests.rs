//! Exhaustive over every combination of signs: invariants, and the table itself as a text that
//! a person can read and a change must change (`table.golden.txt`; it is what
//! the failure of `the_table_is_the_committed_one` prints between its marks).

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::*;
use crate::fault::Blame;

fn node_signs() -> Vec<NodeSigns> {
    let mut all = Vec::new();
    for &link in LinkSign::ALL {
        for &arp in Reach::ALL {
            for &answer in ArpAnswer::ALL {
                for &ports in Reach::ALL {
                    for &targets in Witnesses::ALL {
                        for &witnesses in Witnesses::ALL {
                            for &prober in ProberSign::ALL {
                                for not_ready in [false, true] {
                                    all.push(NodeSigns {
                                        link,
                                        arp,
                                        answer,
                                        ports,
                                        targets,
                                        witnesses,
                                        prober,
                                        not_ready,
                                    });
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    all
}

fn host_signs() -> Vec<HostSigns> {
    let mut all = Vec::new();
    for &link in LinkSign::ALL {
        for &arp in Reach::ALL {
            for &ports in Reach::ALL {
                for &others in Reach::ALL {
                    for &control in Reach::ALL {
                        for denied in [false, true] {
                            all.push(HostSigns {
                                link,
                                arp,
                                ports,
                                others,
                                control,
                                denied,
                            });
                        }
                    }
                }
            }
        }
    }
    all
}

fn account_signs() -> Vec<AccountSigns> {
    let mut all = Vec::new();
    for &tcp in Reach::ALL {
        for &http in Reach::ALL {
            for &answer in AnswerSign::ALL {
                for excused in [false, true] {
                    for &witnesses in Witnesses::ALL {
                        all.push(AccountSigns {
                            tcp,
                            http,
                            answer,
                            excused,
                            witnesses,
                        });
                    }
                }
            }
        }
    }
    all
}

fn vm_signs() -> Vec<VmSigns> {
    let mut all = Vec::new();
    for &ports in Reach::ALL {
        for &control in Reach::ALL {
            for &host in Reach::ALL {
                all.push(VmSigns {
                    ports,
                    control,
                    host,
                });
            }
        }
    }
    all
}

fn touched(reach: Reach) -> bool {
    matches!(reach, Reach::All | Reach::Some)
}

#[test]
fn a_node_is_blamed_only_with_ground() {
    let mut faults = BTreeSet::new();
    for signs in node_signs() {
        let Some(named) = node(signs) else { continue };
        faults.insert(named.fault);
        let bad_link = !matches!(signs.link, LinkSign::Fine | LinkSign::Silent);
        let nobody = signs.arp == Reach::Nobody || signs.ports == Reach::Nobody;
        let other = signs.answer != ArpAnswer::Owner;
        assert!(bad_link || nobody || other, "{signs:?}");
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
        ])
    );
}

#[test]
fn silence_of_a_node_is_never_overlooked() {
    for signs in node_signs() {
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
    for signs in host_signs() {
        let Some(named) = host(signs) else { continue };
        let own = !matches!(signs.link, LinkSign::Fine | LinkSign::Silent);
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
    for signs in account_signs() {
        let Some(named) = account(signs) else {
            continue;
        };
        let dead = signs.tcp == Reach::Nobody || signs.http == Reach::Nobody;
        assert!(dead, "{signs:?}");
        if signs.excused && named.fault != Fault::WrongTenant {
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
    for signs in vm_signs() {
        let named = vms(signs);
        let accused = signs.ports == Reach::Nobody && touched(signs.host);
        assert_eq!(named.is_some(), accused, "{signs:?}");
        if let Some(named) = named {
            let dead = signs.control == Reach::Nobody;
            assert_eq!(named.fault == Fault::VmNetworkDead, dead, "{signs:?}");
        }
    }
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
        assert_eq!(lease(left, hour).map(|n| n.severity), severity, "{left}");
    }
    // A day's lease pages half an hour before its end at the latest: 12.5 % come first.
    assert_eq!(
        lease(10_800.0, 86_400.0).unwrap().severity,
        Severity::Critical
    );
    // Two hours: 30 minutes are 25 %, which is under 30 %.
    assert_eq!(lease(1800.0, 7200.0).unwrap().severity, Severity::Critical);
    // Ten seconds: nothing but the shares counts.
    assert_eq!(lease(5.0, 10.0), None);
    for bad in [(0.0, 0.0), (5.0, -1.0), (f64::NAN, 10.0)] {
        assert!(lease(bad.0, bad.1).is_none_or(|n| n.severity <= Severity::Critical));
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

fn golden() -> String {
    let mut text = String::new();
    let name = |named: Option<Named>| {
        named.map_or("-".to_owned(), |n| {
            format!("{} {} {}", n.fault, n.severity, n.confidence)
        })
    };
    let words = |all: &[&dyn core::fmt::Display]| all.iter().map(ToString::to_string).collect();
    let rows = |s: &NodeSigns| -> Line {
        let ready = if s.not_ready { "not_ready" } else { "ready" };
        (
            words(&[
                &s.link,
                &s.answer,
                &s.arp,
                &s.ports,
                &s.targets,
                &s.prober,
                &ready,
                &s.witnesses,
            ]),
            name(node(*s)),
        )
    };
    let all: Vec<Line> = node_signs().iter().map(rows).collect();
    section(
        &mut text,
        "node: link, who answers ARP, ARP, ports, ports with evidence, prober, kubernetes, witnesses",
        &all,
    );
    let rows = |s: &HostSigns| -> Line {
        let denied = if s.denied { "denied" } else { "allowed" };
        let words = words(&[&denied, &s.link, &s.others, &s.arp, &s.ports, &s.control]);
        (words, name(host(*s)))
    };
    let all: Vec<Line> = host_signs().iter().map(rows).collect();
    section(
        &mut text,
        "host: prober, link, others, ARP, ports, control",
        &all,
    );
    let rows = |s: &AccountSigns| -> Line {
        let excused = if s.excused { "excused" } else { "not_excused" };
        let words = words(&[&s.tcp, &s.http, &s.answer, &excused, &s.witnesses]);
        (words, name(account(*s)))
    };
    let all: Vec<Line> = account_signs().iter().map(rows).collect();
    section(
        &mut text,
        "account: connections, answers, what comes back, excuse, witnesses",
        &all,
    );
    let rows = |s: &VmSigns| -> Line { (words(&[&s.ports, &s.host, &s.control]), name(vms(*s))) };
    let all: Vec<Line> = vm_signs().iter().map(rows).collect();
    section(
        &mut text,
        "VMs of a host: their ports, their host's ports, their control",
        &all,
    );
    let rows = |heard: &Reach| -> Line { (words(&[heard]), name(Some(silent_vantage(*heard)))) };
    let all: Vec<Line> = Reach::ALL.iter().map(rows).collect();
    section(
        &mut text,
        "a vantage that does not report: who hears its machine",
        &all,
    );
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
