//! One run of one fault: break, watch, heal, judge.

use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use crate::expect::{Expected, Row};
use crate::faults::{self, Fault};
use crate::judge::{Also, Mark, Outcome, Times, first, judge, seconds_between};
use crate::lab::Lab;
use crate::wait;

/// By when a page must have come: three times the slowest goal, and a margin for one without a goal.
const PAGE_DEADLINE: Duration = Duration::from_secs(45);
/// As [`PAGE_DEADLINE`] for what is only asked once a minute.
const SLOW_PAGE_DEADLINE: Duration = Duration::from_secs(100);
/// Rows whose evidence comes once a minute, or takes two windows.
const SLOW: [&str; 3] = ["F6", "F22", "F36"];
/// How long the fault is left alone after its page, so that what it drags along would show:
/// longer than Alertmanager's `group_interval` for pushed findings.
const LINGER: Duration = Duration::from_secs(6);
/// By when a healed fault must be resolved: hold-down and group interval, three times.
const RESOLVE_DEADLINE: Duration = Duration::from_mins(1);
/// The same where faults repeat: hold-down doubles per relapse, up to five minutes.
const RELAPSE_DEADLINE: Duration = Duration::from_mins(7);
/// By when a finding must have sharpened once the evidence is back.
const SHARPEN_DEADLINE: Duration = Duration::from_secs(30);

/// How a run is made.
#[derive(Debug, Clone, Copy)]
pub struct RunOptions {
    /// How long a scenario that must stay silent lasts.
    pub quiet_for: Duration,
    /// Whether to start exporters and probers with empty state before the run. Without it a
    /// fault that is repeated meets the longer hold-down of a relapse.
    pub fresh: bool,
    /// Whether exporters read the objects of a cluster instead of a file, whatever the row says.
    pub cluster: bool,
}

/// Runs one row, heals it whatever happens, and judges.
pub fn run(lab: &mut Lab, row: &'static Row, options: RunOptions) -> Result<Outcome> {
    if options.cluster || row.needs_cluster() {
        lab.discover().context("the cluster did not come up")?;
    }
    if options.fresh || lab.findings.is_none() {
        lab.start_daemons()
            .context("pnwatch did not come up healthy")?;
    }
    let fault = faults::fault(row.name)?;
    let mark = Mark {
        notifications: lab.monitoring.webhook.count(),
        at: Timestamp::now(),
    };
    let mut also = Also::default();
    let times = attempt(lab, row, &fault, options, (mark, &mut also));
    if let (Ok(_), Some(daemons)) = (&times, &lab.daemons) {
        also.wrong.extend(daemons.not_ready(&lab.processes));
    }
    let heal_ordered = Timestamp::now();
    let healed = (fault.heal)(lab).with_context(|| format!("{} cannot be healed", row.name));
    let times = times?;
    healed?;
    settle(lab, row, mark, options)?;
    if let Some(after) = fault.after {
        after(lab, heal_ordered, &mut also)?;
    }
    let times = Times {
        healed: heal_ordered,
        ..times
    };
    let mut outcome = judge(lab, row, mark, times)?;
    outcome.add(also);
    Ok(outcome)
}

/// From healthy to the point where the fault may be healed.
fn attempt(
    lab: &mut Lab,
    row: &Row,
    fault: &Fault,
    options: RunOptions,
    (mark, also): (Mark, &mut Also),
) -> Result<Times> {
    (fault.prepare)(lab).with_context(|| format!("{} cannot be prepared", row.name))?;
    let at = (fault.inject)(lab).with_context(|| format!("{} cannot be injected", row.name))?;
    let mut times = Times {
        fault: at,
        sharpened_s: None,
        quiet_s: None,
        healed: at,
    };
    let Some(expected) = row.expected else {
        match fault.disturb {
            Some(disturb) => disturb(lab, options.quiet_for)?,
            None => wait::pass(options.quiet_for)?,
        }
        times.quiet_s = Some(seconds_between(at, Timestamp::now()));
        lab.write_state(row.name)?;
        if let Some(look) = fault.also {
            look(lab, at, also)?;
        }
        return Ok(times);
    };
    // A page that does not come is a result, not an error of the lab.
    let deadline = if SLOW.contains(&row.name) {
        SLOW_PAGE_DEADLINE
    } else {
        PAGE_DEADLINE
    };
    let paged = wait::polled(deadline, || {
        lab.processes.check_all()?;
        let arrived = lab.monitoring.webhook.since(mark.notifications);
        Ok(first(&arrived, &expected, "firing").map(|_| ()))
    })?;
    if let Some(look) = fault.also {
        look(lab, at, also)?;
    }
    if paged.is_some()
        && let Some(sharpen) = fault.sharpen
    {
        let back = Timestamp::now();
        sharpen(lab)?;
        times.sharpened_s = wait_until_sharp(lab, &expected)?.map(|at| seconds_between(back, at));
    }
    wait::pass(LINGER)?;
    lab.write_state(row.name)?;
    Ok(times)
}

fn wait_until_sharp(lab: &mut Lab, expected: &Expected) -> Result<Option<Timestamp>> {
    wait::polled(SHARPEN_DEADLINE, || {
        let open = lab.findings()?.open()?;
        let sharp = open.iter().any(|finding| {
            finding.blame == expected.blame
                && finding.subject == expected.subject
                && expected.fault.contains(&finding.fault.as_str())
        });
        Ok(sharp.then(Timestamp::now))
    })
}

/// Waits for the end of every finding and of the notifications that belong to it.
fn settle(lab: &mut Lab, row: &Row, mark: Mark, options: RunOptions) -> Result<()> {
    let deadline = if options.fresh {
        RESOLVE_DEADLINE
    } else {
        RELAPSE_DEADLINE
    };
    if let Some(expected) = row.expected {
        wait::polled(deadline, || {
            lab.processes.check_all()?;
            let arrived = lab.monitoring.webhook.since(mark.notifications);
            let fired = first(&arrived, &expected, "firing").is_some();
            let resolved = first(&arrived, &expected, "resolved").is_some();
            Ok((!fired || resolved).then_some(()))
        })?;
    }
    wait::polled(deadline, || {
        Ok(lab.findings()?.open()?.is_empty().then_some(()))
    })?;
    // What Alertmanager still holds back would come within its group interval.
    wait::pass(LINGER)
}
