//! What macOS' commands and kernel print.

use core::net::Ipv4Addr;

use pnwatch_core::link::MAX_ADDRESSES;
use pnwatch_core::wire::{LinkReport, Report};
use pnwatch_prober::mac::apart::{self, Answer, Question, Said};
use pnwatch_prober::mac::facts::{self, Anchors, LegOutputs, PfOutputs};
use pnwatch_prober::mac::parse;

use crate::site::{inventory, now, pn};

fn is_device(name: &str) -> bool {
    (1..16).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic())
}

/// `ifconfig DEVICE`.
pub(crate) fn ifconfig(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let found = parse::ifconfig::interface(&text, "vlan0");
    if let Some(found) = &found {
        assert!(found.addresses.len() <= MAX_ADDRESSES);
        assert!(found.addresses.iter().all(|(_, length)| *length <= 32));
        assert!(found.parent.as_deref().is_none_or(is_device));
        let _ = found.state();
    }
    travels(&LegOutputs {
        ifconfig: &text,
        ..LegOutputs::default()
    });
    found.is_some()
}

/// `route -n get ADDRESS`, `netstat -rn` and `netstat -bdnI DEVICE`.
pub(crate) fn route(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let found = parse::route::get(&text);
    if let Some(found) = &found {
        assert!(found.device.as_deref().is_some_and(is_device));
    }
    let routes = parse::netstat::routes(&text);
    assert!(routes.len() <= 1024);
    assert!(routes.iter().all(|route| is_device(&route.device)));
    assert!(
        parse::netstat::default_device(&text)
            .as_deref()
            .is_none_or(is_device)
    );
    let counted = parse::netstat::device_counters(&text, "vlan0");
    travels(&LegOutputs {
        route: Some((Ipv4Addr::new(172, 16, 0, 2), &text)),
        ..LegOutputs::default()
    });
    found.is_some() || !routes.is_empty() || counted.is_some()
}

/// `ipconfig getpacket`, `ipconfig getsummary`, and a lease file.
pub(crate) fn ipconfig(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let packet = parse::ipconfig::packet(&text);
    let summary = parse::ipconfig::summary(&text);
    assert!(summary.state.as_ref().is_none_or(|state| state.len() <= 24));
    let kept = parse::ipconfig::lease_file(&text);
    travels(&LegOutputs {
        ifconfig: "vlan0: flags=8843<UP,RUNNING> mtu 1500\n\tinet 172.16.0.11 netmask 0xfffffc00\n",
        summary: &text,
        lease_file: &text,
        ..LegOutputs::default()
    });
    packet.address.is_some() || summary.start.is_some() || kept.is_some()
}

/// `arp -an`.
pub(crate) fn arp(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let found = parse::arp::neighbours(&text);
    assert!(found.len() <= 4096);
    assert!(found.iter().all(|n| is_device(&n.device)));
    !found.is_empty()
}

/// `pfctl -s …`.
pub(crate) fn pf(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let (admissions, nats) = (
        parse::pf::admissions(&text, pn()),
        parse::pf::nats(&text, pn()),
    );
    assert!(admissions.len() <= 64 && nats.len() <= 64);
    let entries = parse::pf::entries(&text);
    assert!(entries as usize <= parse::MAX_LINES);
    let said = Some(text.as_ref());
    let outputs = PfOutputs {
        info: said,
        memory: said,
        main: said,
        rules: said,
        sources: said,
        nat: said,
        errors: &text,
    };
    let mut leg = facts::leg(("vlan0", Some(18)), pn(), &LegOutputs::default(), now());
    leg.facts.filter = Some(facts::filter(&outputs, Anchors::default(), pn(), "vlan0"));
    arrives(leg.report(now().tick));
    let info = parse::pf::info(&text);
    let told = [info.states, parse::pf::states_limit(&text)];
    let complains = parse::pf::complaint(&text).is_some();
    let rules = admissions.len() + nats.len() + entries as usize;
    told.iter().any(Option::is_some) || complains || rules > 0
}

/// BPF records and `tcp_connection_info`.
pub(crate) fn kernel(bytes: &[u8]) -> bool {
    let mut total = 0;
    for record in parse::kernel::records(bytes) {
        total += record.frame.len();
    }
    assert!(total <= bytes.len());
    let _ = parse::kernel::connection_rtt(bytes);
    if let Some(name) = parse::kernel::boot_session(&String::from_utf8_lossy(bytes)) {
        assert!(name.is_ascii() && name.len() <= 64);
    }
    total > 0
}

/// What goes to the process without rights, and what may come back. A question and an answer,
/// with a line between them; the question alone is answered by our own reader.
pub(crate) fn apart(bytes: &[u8]) -> bool {
    let mut parts = bytes.splitn(2, |b| *b == b'\n');
    let Some(question) = parts
        .next()
        .and_then(|q| serde_json::from_slice::<Question>(q).ok())
    else {
        return false;
    };
    let own = apart::answer(&question);
    // The reader passes its own check, but for a device that no reader is ever asked about.
    if is_device(&question.device) {
        assert!(apart::is_possible(&question, &own), "{question:?} {own:?}");
    }
    let other = parts
        .next()
        .and_then(|a| serde_json::from_slice::<Answer>(a).ok());
    if let Some(answer) = other.filter(|answer| apart::is_possible(&question, answer))
        && let (Answer::Leg { facts, arp }, Said::Leg { .. }) = (answer, &question.said)
        && is_device(&question.device)
    {
        let leg = apart::leg(facts, arp, Some(7), question.pn, now());
        arrives(leg.report(now().tick));
    }
    true
}

/// Whatever the commands say, the report that comes of it is one that an exporter takes.
fn travels(outputs: &LegOutputs<'_>) {
    let leg = facts::leg(("vlan0", Some(18)), pn(), outputs, now());
    arrives(leg.report(now().tick));
}

fn arrives(link: LinkReport) {
    let report = Report {
        version: pnwatch_core::wire::REPORT_VERSION,
        cluster: inventory().cluster.clone(),
        vantage: "host/mini-1".parse().expect("a name"),
        boot_id: "b-1".to_owned(),
        seq: 1,
        plan_id: None,
        sent_at: now().wall,
        stopping: false,
        history: false,
        behind: false,
        paths: Vec::new(),
        link: Some(link),
        ready: Vec::new(),
        counters: Vec::new(),
        devices: Vec::new(),
        witness: None,
        large: Vec::new(),
        vms: Vec::new(),
    };
    let read = Report::from_json(&report.to_json());
    assert_eq!(read.as_ref().map(|r| &r.link), Ok(&report.link));
}
