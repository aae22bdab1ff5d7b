//! Scenario files: timelines as data, with what must be open at which instant.
//!
//! A scenario runs once per phase: each run shifts clocks, reports and checks against one
//! another by another seed, and faults by up to a second, so that luck proves nothing.

use core::time::Duration;
use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use pnwatch_core::diagnosis::explain::{About, Explanation};
use pnwatch_core::diagnosis::rule::InForce;
use pnwatch_core::fault::{Alert, Blame, Fault, Severity};
use pnwatch_core::finding::{Change, Finding, Identity};
use pnwatch_core::gate::Verdict;
use pnwatch_core::time::Timestamp;
use serde::Deserialize;

use crate::fault::{Break, Target};
use crate::rng::Rng;
use crate::sim::{Setup, Sim, Step, wall_at};
use crate::world::Size;

/// A scenario as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is about, in a sentence.
    pub about: String,
    /// Rows of the fault table that it proves.
    #[serde(default)]
    pub rows: Vec<String>,
    /// How many runs, each with its own phases.
    #[serde(default = "twenty")]
    pub phases: u64,
    /// How long each run lasts.
    #[serde(with = "humantime_text")]
    pub lasts: Duration,
    /// Who there is.
    #[serde(default)]
    pub world: Who,
    /// What is done.
    #[serde(default)]
    pub step: Vec<Written>,
    /// What must be open, and when.
    #[serde(default)]
    pub expect: Vec<Expect>,
    /// How many findings are opened over the whole run; `None` = not counted.
    pub opened: Option<usize>,
    /// How many are closed; if not given, as many as are opened.
    pub closed: Option<usize>,
}

fn twenty() -> u64 {
    20
}

/// Who there is.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Who {
    /// Cache nodes.
    pub nodes: u8,
    /// Mac hosts.
    pub hosts: u8,
    /// VMs on each host.
    pub vms: u8,
    /// Accounts over all nodes.
    pub accounts: u16,
    /// Each account has an https gateway besides.
    pub gateways: bool,
    /// Exporters, each judging for itself.
    pub exporters: usize,
    /// Longest time that a report takes, milliseconds.
    pub delay_ms: u64,
}

impl Default for Who {
    fn default() -> Self {
        Self {
            nodes: 1,
            hosts: 3,
            vms: 1,
            accounts: 2,
            gateways: false,
            exporters: 1,
            delay_ms: 50,
        }
    }
}

/// One thing that is done to the network. Exactly one of `break`, `repair`, `blip` is given.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// When, since the begin.
    #[serde(with = "humantime_text")]
    at: Duration,
    /// To whom.
    target: Target,
    /// Broken from then on.
    r#break: Option<Break>,
    /// Repaired from then on.
    repair: Option<Break>,
    /// Broken for `lasts` only.
    blip: Option<Break>,
    /// How much, where that matters.
    #[serde(default)]
    value: u64,
    /// How long a blip lasts.
    #[serde(default, with = "humantime_option")]
    lasts: Option<Duration>,
    /// Done again every so often,
    #[serde(default, with = "humantime_option")]
    every: Option<Duration>,
    /// this many times in all.
    #[serde(default = "once")]
    times: u32,
}

fn once() -> u32 {
    1
}

/// What must be open at an instant.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// When, since the begin.
    #[serde(with = "humantime_text")]
    at: Duration,
    /// Exactly these.
    open: Vec<Wanted>,
    /// These may be open besides.
    #[serde(default)]
    perhaps: Vec<Wanted>,
    /// What the gate says of all accounts, if given.
    #[serde(default, deserialize_with = "verdict")]
    gate: Option<Verdict>,
}

fn verdict<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Verdict>, D::Error> {
    let text = String::deserialize(d)?;
    let read = Verdict::from_label(&text);
    let wrong = || {
        serde::de::Error::custom(format!(
            "gate must be open, closed or unknown, not {text:?}"
        ))
    };
    read.map(Some).ok_or_else(wrong)
}

/// A finding as it must look.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Whose fault.
    blame: Blame,
    /// Which one.
    subject: String,
    /// One of these, if given.
    #[serde(default)]
    fault: Vec<Fault>,
    /// How much it matters, if given.
    severity: Option<Severity>,
    /// Its alert, if given.
    alertname: Option<Alert>,
    /// When it began, since the begin, if given: its own start is within [`TRUE_WITHIN`] of that.
    #[serde(default, with = "humantime_option")]
    began: Option<Duration>,
}

/// How far a finding's own start may be from the truth: the pace of checks, and a report's way.
const TRUE_WITHIN: Duration = Duration::from_millis(1500);

impl Wanted {
    fn is(&self, finding: &Finding) -> bool {
        self.blame == finding.identity.blame
            && self.subject == finding.identity.subject
            && (self.fault.is_empty() || self.fault.contains(&finding.fault))
            && self.severity.is_none_or(|s| s == finding.severity)
            && self.alertname.is_none_or(|a| Some(a) == finding.alertname)
    }
}

mod humantime_text {
    use core::time::Duration;
    use serde::{Deserialize, Deserializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(d)?;
        humantime::parse_duration(&text).map_err(serde::de::Error::custom)
    }
}

mod humantime_option {
    use core::time::Duration;
    use serde::Deserializer;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Option<Duration>, D::Error> {
        super::humantime_text::deserialize(d).map(Some)
    }
}

/// What came of all runs of one scenario.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// From the first break to the first finding, per run that had both.
    pub opened_after: Vec<Duration>,
    /// What was not as expected, one line each.
    pub misses: Vec<String>,
    /// Findings that alert and that the scenario names nowhere.
    pub false_pages: usize,
}

impl Scenario {
    /// What the gate must say over the run, in order.
    pub fn gate(&self) -> Vec<Verdict> {
        let mut expects: Vec<&Expect> = self.expect.iter().collect();
        expects.sort_by_key(|e| e.at);
        expects.iter().filter_map(|e| e.gate).collect()
    }

    /// Reads a scenario; unknown keys, contradictions and impossible times are errors.
    pub fn parse(text: &str) -> Result<Self> {
        let scenario: Self = toml::from_str(text).context("not a scenario")?;
        for step in &scenario.step {
            let given = [step.r#break, step.repair, step.blip];
            let given = given.iter().flatten().count();
            ensure!(
                given == 1,
                "a step needs exactly one of break, repair, blip"
            );
            ensure!(
                step.blip.is_some() == step.lasts.is_some(),
                "a blip needs `lasts`, and nothing else has it"
            );
            ensure!(
                (step.times > 1) == step.every.is_some(),
                "`every` and `times` go together"
            );
        }
        for expect in &scenario.expect {
            ensure!(
                expect.at <= scenario.lasts,
                "an expectation lies past the end ({:?})",
                scenario.lasts
            );
        }
        ensure!(!scenario.about.is_empty(), "say what it is about");
        ensure!(
            !scenario.expect.is_empty() || scenario.opened.is_some(),
            "a scenario that expects nothing proves nothing"
        );
        Ok(scenario)
    }

    fn steps(&self, shift: Duration) -> Vec<Step> {
        let mut steps = Vec::new();
        for written in &self.step {
            for n in 0..written.times {
                let at = written.at + written.every.unwrap_or_default() * n + shift;
                let step = |at, value, what| Step {
                    at,
                    value,
                    what,
                    target: written.target.clone(),
                };
                if let Some(what) = written.r#break {
                    steps.push(step(at, Some(written.value), what));
                }
                if let Some(what) = written.repair {
                    steps.push(step(at, None, what));
                }
                if let (Some(what), Some(lasts)) = (written.blip, written.lasts) {
                    steps.push(step(at, Some(written.value), what));
                    steps.push(step(at + lasts, None, what));
                }
            }
        }
        steps.sort_by_key(|s| s.at);
        steps
    }

    /// Runs every phase, but at most `most`.
    pub fn run(&self, most: u64) -> Outcome {
        self.run_under(most, InForce::default())
    }

    /// As [`Scenario::run`], with the rules in `force`; ends at the first phase with a miss
    /// where one is taken away.
    pub fn run_under(&self, most: u64, force: InForce) -> Outcome {
        let mut outcome = Outcome::default();
        for seed in 1..=self.phases.min(most) {
            self.run_phase((seed, force), &mut outcome, false);
            if force != InForce::default() && !outcome.misses.is_empty() {
                break;
            }
        }
        outcome
    }

    /// The loudest finding that it expects.
    pub fn loudest(&self) -> Option<Severity> {
        let wanted = self.expect.iter().flat_map(|e| &e.open);
        wanted.filter_map(|w| w.severity).max()
    }

    /// Why the first phase judges as it does when, at the last instant at which anything must
    /// be open, whatever must be open first. A silent scenario is asked of `otherwise`.
    pub fn explanation(&self, otherwise: &str) -> Result<Explanation> {
        let seed = 1;
        let shift = shift(seed);
        let mut sim = Sim::new(self.setup((seed, InForce::default())), self.steps(shift));
        let loud = self.expect.iter().filter(|e| !e.open.is_empty());
        let at = loud.max_by_key(|e| e.at).or(self.expect.last());
        let at = at.context("a scenario that expects something at an instant")?;
        sim.run_until(at.at + shift);
        let wanted = at.open.first();
        let open = sim.open(0);
        let found = wanted.and_then(|w| open.iter().find(|f| w.is(f)));
        let about = match found {
            Some(f) => About::of(f.identity.blame, &f.identity.subject)
                .or_else(|| f.account.clone().map(About::Account))
                .or_else(|| f.node.clone().map(About::Node))
                .or_else(|| About::read(&f.identity.subject, &sim.world.inventory).ok()),
            None => About::read(otherwise, &sim.world.inventory).ok(),
        };
        let about = about.context("nobody to ask about")?;
        sim.explain(0, &about)
            .with_context(|| format!("{about} is not known"))
    }

    fn setup(&self, (seed, force): (u64, InForce)) -> Setup {
        let who = self.world;
        Setup {
            size: Size {
                nodes: who.nodes,
                hosts: who.hosts,
                vms: who.vms,
                accounts: who.accounts,
                gateways: who.gateways,
            },
            exporters: who.exporters,
            delay_ms: (who.delay_ms / 5, who.delay_ms),
            seed,
            force,
        }
    }

    /// Runs one phase and prints what was told and said.
    pub fn trace(&self, seed: u64, force: InForce) -> Outcome {
        let mut outcome = Outcome::default();
        self.run_phase((seed, force), &mut outcome, true);
        outcome
    }

    fn run_phase(&self, (seed, force): (u64, InForce), outcome: &mut Outcome, trace: bool) {
        let shift = shift(seed);
        let steps = self.steps(shift);
        let first = steps.iter().find(|s| s.value.is_some()).map(|s| s.at);
        let setup = self.setup((seed, force));
        let mut sim = Sim::new(setup, steps);
        sim.trace = trace;
        if trace {
            println!("faults are {:.3} s later than written", shift.as_secs_f64());
        }
        let mut miss = |judge: usize, what: String| {
            outcome
                .misses
                .push(format!("phase {seed}, exporter {judge}: {what}"));
        };
        let mut expects = self.expect.clone();
        expects.sort_by_key(|e| e.at);
        for expect in &expects {
            sim.run_until(expect.at + shift);
            for judge in 0..sim.judges() {
                compare((expect, shift), &sim.open(judge), |what| miss(judge, what));
                if let Some(wanted) = expect.gate {
                    let said = sim.gate(judge);
                    if said.verdict != wanted {
                        let at = expect.at;
                        miss(
                            judge,
                            format!("at {at:?}: the gate is not {wanted}: {said:?}"),
                        );
                    }
                }
            }
        }
        sim.run_until(self.lasts + shift);
        for judge in 0..sim.judges() {
            let said = sim.said(judge);
            let count = |change: Change| {
                let those = said.iter().filter(|s| s.transition.change == change);
                those.count()
            };
            let (opened, closed) = (count(Change::Opened), count(Change::Closed));
            if let Some(wanted) = self.opened
                && (opened, closed) != (wanted, self.closed.unwrap_or(wanted))
            {
                let lines: Vec<String> = said
                    .iter()
                    .map(|s| {
                        let f = &s.transition.finding;
                        let at = s.at.saturating_sub(shift).as_secs_f64();
                        let id: &Identity = &f.identity;
                        let what = &s.transition.change;
                        format!("{at:.2}s {what:?} {} {} {}", id.blame, id.subject, f.fault)
                    })
                    .collect();
                let lines = lines.join("; ");
                miss(judge, format!("opened {opened}, closed {closed}: {lines}"));
            }
            let opening = said.iter().find(|s| {
                s.transition.change == Change::Opened && first.is_some_and(|first| s.at >= first)
            });
            if let (Some(first), Some(opening)) = (first, opening) {
                outcome.opened_after.push(opening.at.saturating_sub(first));
            }
            let named = || {
                self.expect
                    .iter()
                    .flat_map(|e| e.open.iter().chain(&e.perhaps))
            };
            let opened = said.iter().map(|s| &s.transition);
            let opened = opened.filter(|t| t.change == Change::Opened);
            let beyond = opened.filter(|t| {
                let f = &t.finding;
                f.alertname.is_some()
                    && f.severity > Severity::Info
                    && !named()
                        .any(|w| w.blame == f.identity.blame && w.subject == f.identity.subject)
            });
            outcome.false_pages += beyond.count();
        }
    }
}

/// By how much one run's faults are later than written.
fn shift(seed: u64) -> Duration {
    Duration::from_millis(Rng::new(seed).between(0, 1000))
}

fn compare((expect, shift): (&Expect, Duration), open: &[Finding], mut miss: impl FnMut(String)) {
    let at = expect.at;
    let mut used = BTreeSet::new();
    for wanted in &expect.open {
        match open.iter().position(|f| wanted.is(f)) {
            Some(index) => {
                used.insert(index);
                let off = open
                    .get(index)
                    .zip(wanted.began)
                    .map(|(finding, began)| off(finding.started_at, wall_at(began + shift)));
                if let Some(off) = off.filter(|off| *off > TRUE_WITHIN) {
                    miss(format!(
                        "at {at:?}: the start of {wanted:?} is off by {off:?}"
                    ));
                }
            }
            None => miss(format!(
                "at {at:?}: {wanted:?} is not open; open: {}",
                list(open)
            )),
        }
    }
    for (index, finding) in open.iter().enumerate() {
        if !used.contains(&index) && !expect.perhaps.iter().any(|w| w.is(finding)) {
            miss(format!(
                "at {at:?}: open beyond expectation: {}",
                list(std::slice::from_ref(finding))
            ));
        }
    }
}

fn off(one: Timestamp, other: Timestamp) -> Duration {
    one.since(other).max(other.since(one))
}

/// Findings in one line.
pub fn list(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "nothing".into();
    }
    let lines: Vec<String> = findings
        .iter()
        .map(|f| {
            format!(
                "{} {} {} {} ({})",
                f.identity.blame, f.identity.subject, f.fault, f.severity, f.confidence
            )
        })
        .collect();
    lines.join(", ")
}
