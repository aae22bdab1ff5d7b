//! End to end with the real Prometheus and Alertmanager as they are shipped to be configured: who
//! is told, how often, and who is not. Each story breaks the node in its own circumstances and
//! counts what arrives at the webhook.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use crate::daemons::Daemons;
use crate::expect::{Allowed, Expected, Row, row};
use crate::faults::{Fault, fault};
use crate::http;
use crate::judge::{Notified, count, first, seconds_between, unexpected};
use crate::lab::Lab;
use crate::monitoring::ALERTMANAGER_ADDRESS;
use crate::topology::{CLUSTER, NODE};
use crate::wait;

/// What happens beside the fault.
#[derive(Debug, Clone, Copy)]
pub struct Story {
    /// The name that `pnwatch-lab pages` takes.
    pub name: &'static str,
    /// What happens, in a few words.
    pub about: &'static str,
    /// Exporters that it needs.
    pub exporters: usize,
    tell: fn(&mut Lab, &mut Told) -> Result<()>,
}

/// All stories, the short ones first.
pub const STORIES: [Story; 6] = [
    Story {
        name: "push",
        about: "one page by push, one resolved",
        exporters: 1,
        tell: push,
    },
    Story {
        name: "flapping",
        about: "it breaks three times, each time again before the hold-down is over",
        exporters: 1,
        tell: flapping,
    },
    Story {
        name: "silence",
        about: "an operator's silence is respected while the finding opens and closes",
        exporters: 1,
        tell: silence,
    },
    Story {
        name: "inhibition",
        about: "while the network is known to be down nobody is told of a node, then they are",
        exporters: 1,
        tell: inhibition,
    },
    Story {
        name: "replica",
        about: "one of two exporters dies in the middle of the fault",
        exporters: 2,
        tell: replica,
    },
    Story {
        name: "backup",
        about: "nothing can be pushed: the rules page once",
        exporters: 1,
        tell: backup,
    },
];

/// The story called `name`.
pub fn story(name: &str) -> Option<&'static Story> {
    STORIES.iter().find(|story| story.name == name)
}

/// What came of a story, one line of JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Told {
    /// The story.
    pub story: &'static str,
    /// From the fault to the page.
    pub paged_s: Option<f64>,
    /// From the repair to its resolution.
    pub resolved_s: Option<f64>,
    /// Notifications of the page.
    pub notifications: Notified,
    /// What was not as it must be.
    pub wrong: Vec<String>,
}

/// A page by push: two seconds, three times (the goal itself is a recorded figure).
const PAGE_DEADLINE: Duration = Duration::from_secs(6);
/// Hold-down and `group_interval` are five seconds each; detection and lease besides; three times.
const RESOLVE_DEADLINE: Duration = Duration::from_secs(45);
/// Scrape, evaluation and `group_wait` of 30 s, three times.
const BACKUP_DEADLINE: Duration = Duration::from_mins(2);
/// `max_over_time` of three minutes, scrape, evaluation, `group_interval` of a minute; and half.
const BACKUP_END_DEADLINE: Duration = Duration::from_secs(400);
/// How long one waits for what must not come: longer than the pushed route's `group_interval`.
const LINGER: Duration = Duration::from_secs(12);
/// Broken and repaired for so long when it flaps: confirmed, and never through the hold-down.
const FLAP: Duration = Duration::from_secs(2);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs one story.
pub fn run(lab: &mut Lab, story: &'static Story) -> Result<Told> {
    let exporters = lab.daemons.as_ref().map_or(0, Daemons::replicas);
    ensure!(
        exporters >= story.exporters,
        "{} needs --exporters {}",
        story.name,
        story.exporters
    );
    let mut told = Told {
        story: story.name,
        ..Told::default()
    };
    let pushes = story.name != "backup";
    let daemons = lab.daemons.as_mut().context("no pnwatch")?;
    daemons.set_push(pushes);
    lab.start_daemons()?;
    let result = (story.tell)(lab, &mut told);
    lab.daemons.as_mut().context("no pnwatch")?.set_push(true);
    result?;
    Ok(told)
}

fn f1() -> Result<(Fault, &'static Row, Expected)> {
    let row = row("F1").context("there is no F1")?;
    let expected = row.expected.context("F1 pages")?;
    Ok((fault("F1")?, row, expected))
}

/// Breaks, and waits for the page if one must come.
fn break_it(lab: &mut Lab, fault: &Fault) -> Result<Timestamp> {
    (fault.inject)(lab).context("F1 cannot be injected")
}

fn page(
    lab: &mut Lab,
    expected: &Expected,
    (status, from): (&str, usize),
    patience: Duration,
) -> Result<Option<Timestamp>> {
    wait::polled(patience, || {
        lab.processes.check_all()?;
        let arrived = lab.monitoring.webhook.since(from);
        Ok(first(&arrived, expected, status).map(|(at, _)| at))
    })
}

/// Counts what came, and what should not have come.
fn tally(lab: &Lab, told: &mut Told, row: &Row, expected: &Expected, from: usize) {
    let arrived = lab.monitoring.webhook.since(from);
    told.notifications = Notified {
        firing: count(&arrived, expected, "firing"),
        resolved: count(&arrived, expected, "resolved"),
    };
    for (_, alert) in unexpected(&arrived, row) {
        let (name, subject) = (alert.label("alertname"), alert.label("subject"));
        told.wrong
            .push(format!("a false page: {name} of {subject}"));
    }
}

fn once(told: &mut Told) {
    let Notified { firing, resolved } = told.notifications;
    if (firing, resolved) != (1, 1) {
        let line = format!("{firing} firing and {resolved} resolved, not one of each");
        told.wrong.push(line);
    }
}

/// Breaks, waits for the page, goes through `meanwhile`, heals, waits for the end, counts.
fn through(
    lab: &mut Lab,
    told: &mut Told,
    meanwhile: impl FnOnce(&mut Lab, &Fault) -> Result<()>,
) -> Result<()> {
    let (fault, row, expected) = f1()?;
    let from = lab.monitoring.webhook.count();
    let at = break_it(lab, &fault)?;
    let paged = page(lab, &expected, ("firing", from), PAGE_DEADLINE)?;
    told.paged_s = paged.map(|paged| seconds_between(at, paged));
    if paged.is_none() {
        told.wrong.push("no page came".into());
    }
    let outcome = meanwhile(lab, &fault);
    (fault.heal)(lab).context("F1 cannot be healed")?;
    outcome?;
    let repaired = Timestamp::now();
    let resolved = page(lab, &expected, ("resolved", from), RESOLVE_DEADLINE)?;
    told.resolved_s = resolved.map(|at| seconds_between(repaired, at));
    wait::pass(LINGER)?;
    tally(lab, told, row, &expected, from);
    once(told);
    Ok(())
}

fn push(lab: &mut Lab, told: &mut Told) -> Result<()> {
    through(lab, told, |lab, _| {
        // Whoever is woken has something to click and something to type.
        let arrived = lab.monitoring.webhook.since(0);
        let (_, alert) = first(&arrived, &f1()?.2, "firing").context("no page")?;
        let text = |name: &str| alert.annotations.get(name).cloned().unwrap_or_default();
        ensure!(
            text("summary").contains(NODE),
            "the page does not name the node"
        );
        let spoken = text("description");
        ensure!(
            spoken.contains("Builds of every account"),
            "who suffers? {spoken}"
        );
        let typed = spoken.contains("Type: ") || spoken.contains("\n    ");
        ensure!(typed, "what is to be typed? {spoken}");
        let runbook = "http://127.0.0.1:9761/runbooks/PNNodeUnreachable.md#";
        ensure!(
            text("runbook_url").starts_with(runbook),
            "no runbook: {alert:?}"
        );
        wait::pass(LINGER)
    })
}

fn flapping(lab: &mut Lab, told: &mut Told) -> Result<()> {
    through(lab, told, |lab, fault| {
        for _ in 0..2 {
            (fault.heal)(lab)?;
            wait::pass(FLAP)?;
            break_it(lab, fault)?;
            wait::pass(FLAP)?;
        }
        Ok(())
    })
}

fn replica(lab: &mut Lab, told: &mut Told) -> Result<()> {
    through(lab, told, |lab, _| {
        // Its watcher goes with it.
        lab.findings = None;
        lab.processes.kill("serve-0")?;
        wait::pass(LINGER * 2)
    })
}

fn alertmanager(lab: &Lab, path: &str, body: &serde_json::Value) -> Result<()> {
    let answer = http::request(
        &lab.network.exporter,
        "POST",
        ALERTMANAGER_ADDRESS,
        path,
        &body.to_string(),
        REQUEST_TIMEOUT,
    )?;
    if answer.status != 200 {
        bail!(
            "Alertmanager says {} to {path}: {}",
            answer.status,
            answer.text()
        );
    }
    Ok(())
}

fn after(seconds: i64) -> Result<String> {
    let at = Timestamp::now().checked_add(jiff::SignedDuration::from_secs(seconds))?;
    Ok(at.to_string())
}

fn silence(lab: &mut Lab, told: &mut Told) -> Result<()> {
    let (fault, row, expected) = f1()?;
    let body = json!({
        "matchers": [{ "name": "node", "value": NODE, "isRegex": false, "isEqual": true }],
        "startsAt": after(-1)?, "endsAt": after(600)?,
        "createdBy": "pnwatch-lab", "comment": "planned work",
    });
    alertmanager(lab, "/api/v2/silences", &body)?;
    let from = lab.monitoring.webhook.count();
    break_it(lab, &fault)?;
    let opened = wait::polled(PAGE_DEADLINE, || {
        let open = lab.findings()?.open()?;
        Ok(open.iter().any(|f| f.subject == NODE).then_some(()))
    })?;
    if opened.is_none() {
        told.wrong
            .push("a silence silences the page, not the finding".into());
    }
    wait::pass(LINGER)?;
    (fault.heal)(lab)?;
    wait::polled(RESOLVE_DEADLINE, || {
        Ok(lab.findings()?.open()?.is_empty().then_some(()))
    })?;
    wait::pass(LINGER)?;
    tally(lab, told, row, &expected, from);
    if told.notifications != Notified::default() {
        told.wrong
            .push("somebody was told in spite of the silence".into());
    }
    Ok(())
}

fn inhibition(lab: &mut Lab, told: &mut Told) -> Result<()> {
    let (fault, row, expected) = f1()?;
    let network = |ends: String| -> Result<serde_json::Value> {
        Ok(json!([{
            "labels": { "alertname": "PNNetworkDown", "cluster": CLUSTER, "blame": "network",
                "subject": "PN", "severity": "critical" },
            "annotations": { "summary": "another exporter says that the network is down" },
            "startsAt": after(-5)?, "endsAt": ends,
        }]))
    };
    alertmanager(lab, "/api/v2/alerts", &network(after(600)?)?)?;
    wait::pass(Duration::from_secs(2))?;
    let from = lab.monitoring.webhook.count();
    let at = break_it(lab, &fault)?;
    wait::pass(LINGER)?;
    let arrived = lab.monitoring.webhook.since(from);
    if let Some((early, _)) = first(&arrived, &expected, "firing") {
        let after_s = seconds_between(at, early);
        told.wrong.push(format!(
            "told of the node after {after_s:.1} s beside its cause"
        ));
    }
    // The cause is over and the node is still broken: now it is news.
    let lifted = Timestamp::now();
    alertmanager(lab, "/api/v2/alerts", &network(after(-1)?)?)?;
    let paged = page(lab, &expected, ("firing", from), RESOLVE_DEADLINE)?;
    told.paged_s = paged.map(|paged| seconds_between(lifted, paged));
    (fault.heal)(lab)?;
    let repaired = Timestamp::now();
    let resolved = page(lab, &expected, ("resolved", from), RESOLVE_DEADLINE)?;
    told.resolved_s = resolved.map(|at| seconds_between(repaired, at));
    wait::pass(LINGER)?;
    let allowed: &'static [Allowed] = &[Allowed {
        alertname: "PNNetworkDown",
        subject: "PN",
    }];
    let row = Row { allowed, ..*row };
    tally(lab, told, &row, &expected, from);
    once(told);
    Ok(())
}

/// What the rules say of the same fault, and what they say of the push.
const BACKUP: Expected = Expected {
    blame: "node",
    subject: NODE,
    severity: "critical",
    alertname: "PNNodeUnreachableBackup",
    fault: &["interface_missing"],
};

fn backup(lab: &mut Lab, told: &mut Told) -> Result<()> {
    let (fault, _, _) = f1()?;
    let allowed: &'static [Allowed] = &[Allowed {
        alertname: "PNPushFailing",
        subject: "",
    }];
    let row = Row {
        name: "backup",
        about: "",
        expected: Some(BACKUP),
        allowed,
        bar_s: None,
    };
    let from = lab.monitoring.webhook.count();
    let at = break_it(lab, &fault)?;
    let paged = page(lab, &BACKUP, ("firing", from), BACKUP_DEADLINE)?;
    told.paged_s = paged.map(|paged| seconds_between(at, paged));
    // Longer than the route's group_interval of a minute.
    wait::pass(Duration::from_secs(75))?;
    (fault.heal)(lab)?;
    let repaired = Timestamp::now();
    let resolved = page(lab, &BACKUP, ("resolved", from), BACKUP_END_DEADLINE)?;
    told.resolved_s = resolved.map(|at| seconds_between(repaired, at));
    wait::pass(LINGER)?;
    tally(lab, told, &row, &BACKUP, from);
    once(told);
    Ok(())
}
