//! The view as metric families: a pure projection, read at scrape time.

use std::collections::BTreeMap;

use pnwatch_core::fault::{Blame, Severity};
use pnwatch_core::link::DeviceState;
use pnwatch_core::metric::{self, MetricKind, PROBER_PREFIX};
use pnwatch_core::subject::Subject;
use pnwatch_core::view::{PathView, VantageView, View};

use super::devices;
use super::family::Exposition;
use crate::alert::Standing;
use crate::owner::Snapshot;
use crate::tally::{GateAnswer, Ingested, PageRefusal, PlanAnswer, Tally};

/// Most different names among the probers' own metrics; more are a sign of something else.
const MAX_PROBER_METRICS: usize = 256;

/// Everything that `/metrics` says.
pub fn project(snapshot: &Snapshot, tally: &Tally, standings: &[Standing]) -> Exposition {
    let view = &snapshot.view;
    let mut out = Exposition::new(&view.cluster);
    out.add(&metric::BUILD_INFO, |f| {
        f.push(&[env!("CARGO_PKG_VERSION")], 1.0);
    });
    out.add(&metric::START_TIME, |f| {
        f.push(&[], view.started_at.as_unix_seconds_f64());
    });
    checks(&mut out, snapshot);
    states(&mut out, view);
    findings(&mut out, view);
    vantages(&mut out, view);
    links(&mut out, snapshot);
    devices::project(&mut out, view);
    own(&mut out, tally);
    alertmanagers(&mut out, tally, standings);
    probers(&mut out, view);
    out
}

fn name<T: AsRef<str>>(name: Option<&T>) -> &str {
    name.map_or("", AsRef::as_ref)
}

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

fn checks(out: &mut Exposition, snapshot: &Snapshot) {
    let checks = &snapshot.checks;
    out.add(&metric::CHECKS, |f| {
        for (key, seen) in &checks.outcomes {
            for (outcome, count) in [
                ("reached", seen.reached),
                ("unreached", seen.unreached),
                ("unmeasured", seen.unmeasured),
            ] {
                f.push(
                    &[
                        key.vantage_kind.as_label(),
                        name(key.account.as_ref()),
                        name(key.node.as_ref()),
                        key.layer.as_label(),
                        outcome,
                    ],
                    count as f64,
                );
            }
        }
    });
    out.add(&metric::CHECK_FAILURES, |f| {
        for (key, seen) in &checks.outcomes {
            for (cause, count) in &seen.causes {
                f.push(
                    &[
                        key.vantage_kind.as_label(),
                        name(key.account.as_ref()),
                        name(key.node.as_ref()),
                        key.layer.as_label(),
                        cause.as_label(),
                    ],
                    *count as f64,
                );
            }
        }
    });
    for (metric, trips) in [
        (&metric::CHECK_DURATION, &checks.durations),
        (&metric::CHECK_KERNEL_RTT, &checks.kernel),
    ] {
        out.add(metric, |f| {
            for (key, durations) in trips {
                f.push_durations(
                    &[
                        key.vantage_kind.as_label(),
                        name(key.account.as_ref()),
                        key.layer.as_label(),
                    ],
                    durations,
                );
            }
        });
    }
}

fn states(out: &mut Exposition, view: &View) {
    out.add(&metric::PATHS, |f| f.push(&[], view.paths.len() as f64));
    if view.paths.len() <= metric::MAX_PATH_SERIES {
        path_states(out, view);
    }
    out.add(&metric::TARGET_EXPECTED, |f| {
        for seen in &view.targets {
            let t = &seen.target;
            let labels = [
                t.account.as_str(),
                t.instance.as_str(),
                t.kind.as_label(),
                t.node.as_str(),
            ];
            f.push(&labels, 1.0);
        }
    });
    out.add(&metric::TARGET_STATE, |f| {
        for seen in &view.targets {
            let t = &seen.target;
            let labels = [
                t.account.as_str(),
                t.instance.as_str(),
                t.kind.as_label(),
                t.node.as_str(),
            ];
            f.push(&labels, seen.verdict.as_metric());
        }
    });
    out.add(&metric::NODE_STATE, |f| {
        for node in &view.nodes {
            f.push(&[node.node.as_str()], node.verdict.as_metric());
        }
    });
}

fn path_states(out: &mut Exposition, view: &View) {
    let nodes: BTreeMap<Subject, &str> = view
        .targets
        .iter()
        .map(|t| (t.target.subject(), t.target.node.as_str()))
        .collect();
    out.add(&metric::PATH_STATE, |f| {
        for PathView { key, verdict, .. } in &view.paths {
            let vantage = key.vantage.to_string();
            let (account, instance, kind, node) = match &key.subject {
                Subject::Node(node) => ("", "", "", node.as_str()),
                Subject::Control => ("", "", "", ""),
                Subject::Account(account, instance, kind) => (
                    account.as_str(),
                    instance.as_str(),
                    kind.as_label(),
                    nodes.get(&key.subject).copied().unwrap_or_default(),
                ),
                // A witness, no target; and the labels could not tell two of them apart.
                Subject::Neighbour(_) => continue,
            };
            let layer = key.layer.as_label();
            let labels = [vantage.as_str(), account, instance, kind, node, layer];
            f.push(&labels, verdict.as_metric());
        }
    });
}

fn findings(out: &mut Exposition, view: &View) {
    out.add(&metric::FINDING_ACTIVE, |f| {
        for finding in &view.open {
            let labels = [
                finding.identity.blame.as_label(),
                finding.identity.subject.as_str(),
                finding.fault.as_label(),
                finding.severity.as_label(),
                name(finding.node.as_ref()),
                name(finding.host.as_ref()),
                name(finding.account.as_ref()),
            ];
            f.push(&labels, 1.0);
        }
    });
    out.add(&metric::FINDINGS_OPEN, |f| {
        for blame in Blame::ALL {
            for severity in Severity::ALL {
                let count = view
                    .open
                    .iter()
                    .filter(|o| o.identity.blame == *blame && o.severity == *severity)
                    .count();
                f.push(&[blame.as_label(), severity.as_label()], count as f64);
            }
        }
    });
}

fn vantages(out: &mut Exposition, view: &View) {
    let labelled: Vec<(String, &VantageView)> = view
        .vantages
        .iter()
        .map(|v| (v.vantage.to_string(), v))
        .collect();
    out.add(&metric::VANTAGE_EXPECTED, |f| {
        for (vantage, seen) in labelled.iter().filter(|(_, v)| v.expected) {
            f.push(&[vantage, seen.vantage.kind().as_label()], 1.0);
        }
    });
    out.add(&metric::VANTAGE_REPORTING, |f| {
        for (vantage, seen) in &labelled {
            let kind = seen.vantage.kind().as_label();
            f.push(&[vantage, kind], flag(seen.reporting));
        }
    });
    out.add(&metric::VANTAGE_LAST_REPORT, |f| {
        for (vantage, seen) in &labelled {
            if let Some(last) = seen.last_report {
                let kind = seen.vantage.kind().as_label();
                f.push(&[vantage, kind], last.as_unix_seconds_f64());
            }
        }
    });
}

fn links(out: &mut Exposition, snapshot: &Snapshot) {
    let view = &snapshot.view;
    let links: Vec<_> = view
        .vantages
        .iter()
        .filter_map(|v| Some((v.vantage.to_string(), v, v.link.as_ref()?)))
        .collect();
    out.add(&metric::LINK_UP, |f| {
        for (vantage, _, link) in &links {
            f.push(
                &[vantage, &link.device],
                flag(link.state == DeviceState::Up),
            );
        }
    });
    out.add(&metric::LINK_ADDRESS_INFO, |f| {
        for (vantage, _, link) in &links {
            let mut addresses: Vec<_> = link.addresses.iter().map(|a| a.address).collect();
            addresses.sort_unstable();
            addresses.dedup();
            for address in addresses {
                f.push(&[vantage, &link.device, &address.to_string()], 1.0);
            }
        }
    });
    // Of who is silent nobody knows whether it was renewed: absent, and not run out.
    let leases = || links.iter().filter(|(_, seen, _)| seen.reporting);
    out.add(&metric::LINK_LEASE_REMAINING, |f| {
        for (vantage, seen, link) in leases() {
            if let Some(lease) = link.lease(snapshot.pn_cidr) {
                // As old as the report that told it.
                let age = seen.last_report.map(|at| view.at.since(at));
                let left = lease.remaining.saturating_sub(age.unwrap_or_default());
                f.push(&[vantage, &link.device], left.as_secs_f64());
            }
        }
    });
    out.add(&metric::LINK_LEASE_DURATION, |f| {
        for (vantage, _, link) in leases() {
            if let Some(lease) = link.lease(snapshot.pn_cidr) {
                f.push(&[vantage, &link.device], lease.granted.as_secs_f64());
            }
        }
    });
}

fn own(out: &mut Exposition, tally: &Tally) {
    out.add(&metric::INGEST_REPORTS, |f| {
        for result in Ingested::ALL {
            f.push(&[result.as_label()], tally.ingested_so_far(*result) as f64);
        }
    });
    out.add(&metric::PAGE_REFUSALS, |f| {
        for why in PageRefusal::ALL {
            f.push(&[why.as_label()], tally.page_refused_so_far(*why) as f64);
        }
    });
    out.add(&metric::PLAN_REQUESTS, |f| {
        for answer in PlanAnswer::ALL {
            f.push(&[answer.as_label()], tally.plans_so_far(*answer) as f64);
        }
    });
    out.add(&metric::GATE_ANSWERS, |f| {
        for answer in GateAnswer::ALL {
            f.push(&[answer.as_label()], tally.gate_so_far(*answer) as f64);
        }
    });
    out.add(&metric::GATE_OVERRIDES, |f| {
        f.push(&[], tally.gate_overrides_so_far() as f64);
    });
    out.add(&metric::GATE_WAITING, |f| {
        f.push(&[], tally.gate_waiting() as f64);
    });
    out.add(&metric::TOKEN_FILES_UNREADABLE, |f| {
        f.push(&[], tally.tokens_unreadable() as f64);
    });
    out.add(&metric::CONFIG_LOAD_SUCCESS, |f| {
        f.push(&[], flag(tally.config_good()));
    });
    out.add(&metric::TLS_LOAD_SUCCESS, |f| {
        f.push(&[], flag(tally.tls_good()));
    });
    let (good, at) = tally.inventory();
    out.add(&metric::INVENTORY_LOAD_SUCCESS, |f| {
        f.push(&[], flag(good));
    });
    out.add(&metric::INVENTORY_LOAD_TIME, |f| {
        f.push(&[], at.as_unix_seconds_f64());
    });
    out.add(&metric::INVENTORY_STALE_SINCE, |f| {
        f.push(&[], tally.inventory_stale().as_unix_seconds_f64());
    });
}

fn alertmanagers(out: &mut Exposition, tally: &Tally, standings: &[Standing]) {
    out.add(&metric::ALERTMANAGER_LAST_SUCCESS, |f| {
        for standing in standings {
            let at = standing.last_success().as_unix_seconds_f64();
            f.push(&[standing.name()], at);
        }
    });
    out.add(&metric::ALERTMANAGER_POSTS, |f| {
        for standing in standings {
            let (accepted, failed) = standing.posts();
            f.push(&[standing.name(), "accepted"], accepted as f64);
            f.push(&[standing.name(), "failed"], failed as f64);
        }
    });
    out.add(&metric::ALERTMANAGER_REJECTED, |f| {
        for standing in standings {
            f.push(&[standing.name()], standing.rejected() as f64);
        }
    });
    out.add(&metric::ALERTMANAGER_SILENT, |f| {
        f.push(&[], flag(tally.silent()));
    });
}

/// The probers' own metrics under one name each; `_total` marks a counter. The wire check has
/// bounded their characters and number.
fn probers(out: &mut Exposition, view: &View) {
    let mut by_name: BTreeMap<&str, BTreeMap<String, f64>> = BTreeMap::new();
    for seen in &view.vantages {
        for counter in &seen.counters {
            if by_name.len() < MAX_PROBER_METRICS || by_name.contains_key(counter.name.as_str()) {
                by_name
                    .entry(&counter.name)
                    .or_default()
                    .insert(seen.vantage.to_string(), counter.value);
            }
        }
    }
    for (counter, values) in by_name {
        let kind = if counter.ends_with("_total") {
            MetricKind::Counter
        } else {
            MetricKind::Gauge
        };
        let full = format!("{PROBER_PREFIX}{counter}");
        let help = "As the vantage's prober reports it of itself.";
        out.add_named(&full, help, kind, &["vantage"], |f| {
            for (vantage, value) in values {
                f.push(&[&vantage], value);
            }
        });
    }
}
