//! Somebody is away while faults come and go.

use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::Stage;
use super::story::Key;
use crate::daemons::exporter_name;
use crate::faults::{node, path};
use crate::topology::{
    EXPORTERS, HOSTS, NODE, NODE_MGMT, PODS, host_mgmt, host_vantage, node_vantage,
};
use crate::wait;

/// By when a page must have come: three times the slowest goal, and a margin.
const PAGE_DEADLINE: Duration = Duration::from_secs(30);
/// By when a resolution must have come: the hold-down, a group interval, three times.
const RESOLVE_DEADLINE: Duration = Duration::from_mins(1);
/// How long a state is left alone, so that what it drags along would show.
const LINGER: Duration = Duration::from_secs(8);

pub(super) fn node_page() -> Key {
    ("PNNodeUnreachable", NODE.to_owned(), "critical")
}

fn account_page() -> Key {
    (
        "PNAccountUnreachable",
        PODS[0].account.to_owned(),
        "critical",
    )
}

impl Stage<'_> {
    fn until_told(&self, key: &Key, status: &str) -> Result<()> {
        let patience = if status == "firing" {
            PAGE_DEADLINE
        } else {
            RESOLVE_DEADLINE
        };
        let monitoring = &self.lab.monitoring;
        self.story
            .wait_for(monitoring, (key, status), patience)
            .map(drop)
    }

    /// The node loses its address; the page must come.
    pub(super) fn lose_address(&mut self) -> Result<()> {
        let at = node::delete_address(self.lab)?;
        self.story.must_tell(node_page(), Some(at));
        Ok(())
    }

    pub(super) fn recover_address(&mut self) -> Result<()> {
        self.story.ends("PNNodeUnreachable");
        node::recover_address(self.lab)
    }

    /// One account's pod hangs; the page must come.
    fn hang_pod(&mut self) -> Result<()> {
        let at = path::hang_pod(self.lab)?;
        self.story.must_tell(account_page(), Some(at));
        Ok(())
    }

    fn heal_pod(&mut self) -> Result<()> {
        self.story.ends("PNAccountUnreachable");
        path::heal_pod(self.lab)
    }

    fn kill_exporter(&mut self) -> Result<()> {
        self.lab.processes.kill(&exporter_name(0))
    }

    fn start_exporter(&mut self) -> Result<()> {
        let daemons = self.lab.daemons.as_ref().context("no pnwatch")?;
        daemons.start_exporter(&mut self.lab.processes, 0)?;
        daemons.wait_exporter(&mut self.lab.processes, 0)
    }

    /// The exporter's own id of the open finding about `subject`.
    fn finding_of(&self, subject: &str) -> Result<Option<String>> {
        wait::polled(PAGE_DEADLINE, || {
            let Ok(open) = self.lab.findings()?.open() else {
                return Ok(None);
            };
            let found = open.into_iter().find(|finding| finding.subject == subject);
            Ok(found.map(|finding| finding.id))
        })
    }
}

/// Killed once while the fault lasts, and once just as it is healed.
pub(super) fn exporter_killed(stage: &mut Stage<'_>) -> Result<()> {
    stage.lose_address()?;
    stage.until_told(&node_page(), "firing")?;
    let before = stage.finding_of(NODE)?;
    stage.kill_exporter()?;
    stage.start_exporter()?;
    let after = stage.finding_of(NODE)?;
    if before.is_none() || before != after {
        stage.story.wrong(format!(
            "the finding was {before:?} before the kill and {after:?} after it"
        ));
    }
    wait::pass(LINGER)?;
    stage.recover_address()?;
    stage.kill_exporter()?;
    stage.start_exporter()?;
    stage.until_told(&node_page(), "resolved")
}

/// An account's pod hangs early in the absence and stays so; the node's address is away for a
/// sixth of it in the middle (longer than a path without measurements knows anything: without an
/// address no pod is asked). The account must be told as old as it is, the node not at all.
pub(super) fn exporter_away(stage: &mut Stage<'_>) -> Result<()> {
    stage.kill_exporter()?;
    let gone = Timestamp::now();
    wait::pass(stage.away / 12)?;
    stage.hang_pod()?;
    wait::pass(stage.away / 6)?;
    node::delete_address(stage.lab)?;
    wait::pass(stage.away / 6)?;
    node::recover_address(stage.lab)?;
    let so_far = Timestamp::now().duration_since(gone).unsigned_abs();
    wait::pass(stage.away.saturating_sub(so_far))?;
    stage.start_exporter()?;
    stage.until_told(&account_page(), "firing")?;
    wait::pass(LINGER)?;
    stage.heal_pod()?;
    stage.until_told(&account_page(), "resolved")
}

/// One fault is known before Alertmanager goes and ends meanwhile; another begins meanwhile.
pub(super) fn alertmanager_away(stage: &mut Stage<'_>) -> Result<()> {
    stage.lose_address()?;
    stage.until_told(&node_page(), "firing")?;
    wait::pass(LINGER)?;
    stage.lab.stop_alertmanager()?;
    let gone = Timestamp::now();
    wait::pass(stage.away / 12)?;
    stage.recover_address()?;
    // Apart from the hold-down: what begins while another clears may hide behind it.
    wait::pass(stage.away / 3)?;
    stage.hang_pod()?;
    let so_far = Timestamp::now().duration_since(gone).unsigned_abs();
    wait::pass(stage.away.saturating_sub(so_far))?;
    stage.lab.resume_alertmanager()?;
    stage.until_told(&account_page(), "firing")?;
    stage.until_told(&node_page(), "resolved")?;
    wait::pass(LINGER)?;
    stage.heal_pod()?;
    stage.until_told(&account_page(), "resolved")
}

/// Nothing passes between the second exporter and the machines at `cut`.
fn cut(stage: &Stage<'_>, cut: &[std::net::Ipv4Addr]) -> Result<()> {
    let exporter = EXPORTERS[1];
    let cut: Vec<String> = cut.iter().map(ToString::to_string).collect();
    let cut = cut.join(", ");
    stage.lab.network.switch.nft(&format!(
        "table bridge lab_cut {{\n  chain c {{\n    type filter hook forward priority 0;\n\
         \x20   ip saddr {{ {cut} }} ip daddr {exporter} drop\n\
         \x20   ip saddr {exporter} ip daddr {{ {cut} }} drop\n  }}\n}}\n"
    ))
}

fn mend(stage: &Stage<'_>) -> Result<()> {
    stage
        .lab
        .network
        .switch
        .nft("table bridge lab_cut\ndelete table bridge lab_cut\n")
}

/// The second exporter does not hear the node and one host.
pub(super) fn half_cut(stage: &mut Stage<'_>) -> Result<()> {
    // It is true that this replica does not hear them, and it wakes nobody.
    stage.story.may_tell("PNVantageSilent", node_vantage());
    stage.story.may_tell("PNVantageSilent", host_vantage(0));
    cut(stage, &[NODE_MGMT, host_mgmt(0)])?;
    while_cut(stage)
}

/// The second exporter hears nobody: it alone is blind, and says nothing of the rest.
pub(super) fn all_cut(stage: &mut Stage<'_>) -> Result<()> {
    let mut all = vec![NODE_MGMT];
    all.extend((0..HOSTS).map(host_mgmt));
    cut(stage, &all)?;
    while_cut(stage)
}

fn while_cut(stage: &mut Stage<'_>) -> Result<()> {
    wait::pass(stage.away / 3)?;
    stage.lose_address()?;
    stage.until_told(&node_page(), "firing")?;
    wait::pass(stage.away / 3)?;
    stage.recover_address()?;
    stage.until_told(&node_page(), "resolved")?;
    // A second fault that the return of the cut one falls into.
    stage.hang_pod()?;
    stage.until_told(&account_page(), "firing")?;
    wait::pass(stage.away / 3)?;
    mend(stage)?;
    wait::pass(LINGER * 2)?;
    stage.heal_pod()?;
    stage.until_told(&account_page(), "resolved")
}

/// A host's prober, then the node's, each back at once.
pub(super) fn probers_killed(stage: &mut Stage<'_>) -> Result<()> {
    stage.lose_address()?;
    stage.until_told(&node_page(), "firing")?;
    let daemons = stage.lab.daemons.as_ref().context("no pnwatch")?;
    let probers = [daemons.host_prober(0)?, daemons.node_prober()?];
    for prober in probers {
        stage.lab.processes.kill(&prober.process())?;
        wait::pass(LINGER)?;
        let daemons = stage.lab.daemons.as_ref().context("no pnwatch")?;
        daemons.start_prober(&mut stage.lab.processes, &prober)?;
        daemons.wait_prober(&mut stage.lab.processes, &prober)?;
        wait::pass(LINGER)?;
    }
    stage.recover_address()?;
    stage.until_told(&node_page(), "resolved")
}
