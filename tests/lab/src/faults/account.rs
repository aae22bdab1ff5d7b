//! Faults of one account's pod that need no counters, with their rows.

use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;

use super::path::heal_pod;
use super::{Fault, NONE};
use crate::expect::{Expected, Row, silent};
use crate::judge::Also;
use crate::lab::Lab;
use crate::topology::PODS;
use crate::wait;

/// By when a drain must be named: three checks of `/ready`.
const NAMED: Duration = Duration::from_secs(10);

/// The rows of these faults.
pub const ROWS: [Row; 2] = [
    silent(
        "F20",
        "one account's pod drains, then refuses: excused until its deadline",
    ),
    Row {
        name: "F23",
        about: "one account's port answers for another tenant",
        expected: Some(Expected {
            blame: "account",
            subject: PODS[0].account,
            severity: "critical",
            alertname: "PNWrongTenant",
            fault: &["wrong_tenant"],
        }),
        allowed: &[],
        bar_s: Some(6.0),
    },
];

/// What each of [`ROWS`] does.
pub(super) fn fault(name: &str) -> Option<Fault> {
    Some(match name {
        "F20" => Fault {
            inject: |lab| set(lab, r#"{"kind":"draining"}"#),
            disturb: Some(refuse),
            also: Some(drain_is_named),
            heal: heal_pod,
            ..NONE
        },
        "F23" => Fault {
            inject: |lab| set(lab, r#"{"kind":"wrong_tenant"}"#),
            heal: heal_pod,
            ..NONE
        },
        _ => return None,
    })
}

/// The time is the order's: its answer comes after the fact.
fn set(lab: &mut Lab, fault: &str) -> Result<Timestamp> {
    let ordered = Timestamp::now();
    lab.network.set_pod_fault(0, fault)?;
    Ok(ordered)
}

/// After the drain's first half its port is closed, as at the end of every rollout.
fn refuse(lab: &mut Lab, lasts: Duration) -> Result<()> {
    wait::pass(lasts / 2)?;
    lab.network
        .set_pod_fault(0, r#"{"kind":"stop_listening"}"#)?;
    wait::pass(lasts / 2)
}

/// The finding is there, and tells nobody.
fn drain_is_named(lab: &mut Lab, _: Timestamp, also: &mut Also) -> Result<()> {
    let mut last = Vec::new();
    let named = wait::polled(NAMED, || {
        last = lab.findings()?.open()?;
        let drains = |f: &crate::findings::Finding| {
            f.subject == PODS[0].account && f.fault == "draining" && f.severity == "info"
        };
        Ok(last.iter().any(drains).then_some(()))
    })?;
    let open: Vec<String> = last
        .iter()
        .map(|f| format!("{} {} ({})", f.subject, f.fault, f.severity))
        .collect();
    also.note(
        named.is_some() && last.len() == 1,
        format!("open while it drains and refuses: {open:?}"),
    );
    Ok(())
}
