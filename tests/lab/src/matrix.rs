//! Every row of the fault table, made really where the lab can, fed through the wire where not.
//!
//! The rows and their scenarios stand in `pnwatch_fleet::rows`. A row becomes real by itself as
//! soon as the lab has one of its name ([`crate::expect`]), or a drill that plays it; until then
//! its scenario is run: its evidence goes through the real wire into the real engine, on a
//! virtual clock. Besides the rows there are pairs: two of them at once ([`crate::pairs`]).

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use pnwatch_core::fault::Severity;
use pnwatch_fleet::rows::{Loudness, ROWS, Row};
use pnwatch_fleet::scenario::Scenario;
use serde::Serialize;

use crate::drills::{self, Drill, Performance};
use crate::judge::Outcome;
use crate::{expect, pairs};

/// Phases of a scenario that is fed: each with other clocks and delays.
const PHASES: u64 = 5;

/// What makes a row really.
#[derive(Debug, Clone, Copy)]
pub enum Real {
    /// A fault that is made, and its one page.
    Fault(&'static expect::Row),
    /// A story with more than one page.
    Drill(&'static Drill),
}

/// Rows that take their time, and the drill that plays each.
const PLAYED: [(&str, &str); 3] = [
    ("F2a", "lease_runs_out"),
    ("F33", "dhcp_silent"),
    ("F40", "all_silent"),
];

impl Real {
    fn of(row: &Row) -> Option<Self> {
        let played = PLAYED.iter().find(|(id, _)| *id == row.id);
        let drill = played.and_then(|(_, name)| drills::drill(name));
        let fault = || expect::row(row.id).map(Self::Fault);
        drill.map(Self::Drill).or_else(fault)
    }

    /// Whether its exporters must read the objects of a cluster.
    pub fn needs_cluster(self) -> bool {
        matches!(self, Self::Fault(row) if row.needs_cluster())
    }
}

/// A row, and what makes it in the lab, if anything does.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The row.
    pub row: &'static Row,
    /// Makes it really.
    pub real: Option<Real>,
}

/// Every row, or those that are named.
pub fn entries(only: &[String]) -> Result<Vec<Entry>> {
    if let Some(unknown) = only.iter().find(|id| !ROWS.iter().any(|r| r.id == **id)) {
        bail!("{unknown:?} is no row of docs/faults.md");
    }
    let wanted = ROWS
        .iter()
        .filter(|row| only.is_empty() || only.iter().any(|id| id == row.id));
    Ok(wanted
        .map(|row| Entry {
            row,
            real: Real::of(row),
        })
        .collect())
}

/// What came of one row.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// The row.
    pub fault: String,
    /// `real` or `recorded`.
    pub evidence: &'static str,
    /// The scenario of the lab or the fleet that made it.
    pub made_by: String,
    /// Whether everything was as it should be.
    pub as_expected: bool,
    /// What was not.
    pub wrong: Vec<String>,
    /// From the fault until the finding was open, the slowest run.
    pub detected_s: Option<f64>,
    /// From the fault until the webhook had the page; only of real rows.
    pub paged_s: Option<f64>,
    /// Alerts that nobody should have got.
    pub false_pages: usize,
}

impl From<(&Row, Outcome)> for Line {
    fn from((row, outcome): (&Row, Outcome)) -> Self {
        Self {
            fault: row.id.to_owned(),
            evidence: "real",
            made_by: format!("lab {}", outcome.fault),
            as_expected: outcome.as_expected,
            wrong: outcome.wrong,
            detected_s: outcome.detected_s,
            paged_s: outcome.paged_s,
            false_pages: outcome.false_pages,
        }
    }
}

impl From<(&Row, Performance)> for Line {
    fn from((row, played): (&Row, Performance)) -> Self {
        Self {
            fault: row.id.to_owned(),
            evidence: "real",
            made_by: format!("drill {}", played.fault),
            as_expected: played.as_expected,
            wrong: played.wrong,
            detected_s: None,
            // Its pages come when its leases and patience say, not after a fault.
            paged_s: None,
            false_pages: played.false_pages,
        }
    }
}

impl From<pairs::Outcome> for Line {
    fn from(outcome: pairs::Outcome) -> Self {
        let (one, other) = outcome.pair;
        let paged_s = match outcome.paged_s {
            (Some(one), Some(other)) => Some(one.max(other)),
            (one, other) => one.or(other),
        };
        Self {
            fault: format!("{one}+{other}"),
            evidence: "real",
            made_by: format!("lab {one} and {other} at once"),
            as_expected: outcome.as_expected,
            wrong: outcome.wrong,
            detected_s: None,
            paged_s,
            false_pages: outcome.false_pages,
        }
    }
}

/// Feeds a row's scenario through the wire. `scenarios` is the folder of the files.
pub fn feed(row: &Row, scenarios: &Path) -> Result<Line> {
    let path = scenarios.join(format!("{}.toml", row.scenario));
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let scenario = Scenario::parse(&text).with_context(|| path.display().to_string())?;
    let outcome = scenario.run(PHASES);
    let mut wrong = outcome.misses;
    wrong.extend(contradiction(row, scenario.loudest()));
    Ok(Line {
        fault: row.id.to_owned(),
        evidence: "recorded",
        made_by: format!("{}.toml", row.scenario),
        as_expected: wrong.is_empty() && outcome.false_pages == 0,
        wrong,
        detected_s: outcome.opened_after.iter().max().map(Duration::as_secs_f64),
        paged_s: None,
        false_pages: outcome.false_pages,
    })
}

/// Whether what a row is made by expects something else than the row promises.
fn contradiction(row: &Row, loudest: Option<Severity>) -> Option<String> {
    let fits = match row.loudness {
        Loudness::Pages => loudest == Some(Severity::Critical),
        Loudness::Named => loudest.is_some_and(|s| s < Severity::Critical),
        Loudness::Silent => loudest.is_none(),
    };
    let is = loudest.map_or("nothing", Severity::as_label);
    (!fits).then(|| format!("{:?} is promised, {is} is expected", row.loudness))
}

/// All lines in one sentence: `N/N as expected, R real, 0 false pages, worst page S s`.
#[derive(Debug, Clone, Copy)]
pub struct Summary<'a>(pub &'a [Line]);

impl Summary<'_> {
    /// Whether every row was as it should be.
    pub fn is_fine(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|l| l.as_expected && l.false_pages == 0)
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.0;
        let right = lines.iter().filter(|l| l.as_expected).count();
        let real = lines.iter().filter(|l| l.evidence == "real").count();
        let pages: usize = lines.iter().map(|l| l.false_pages).sum();
        let worst = lines.iter().filter_map(|l| l.paged_s).reduce(f64::max);
        let worst = worst.map_or("-".to_owned(), |s| format!("{s:.2} s"));
        let all = lines.len();
        write!(
            f,
            "{right}/{all} as expected, {real} real, {pages} false pages, worst page {worst}"
        )
    }
}

#[cfg(test)]
mod tests {
    use pnwatch_fleet::rows::FED;

    use super::*;

    fn scenario(row: &Row) -> Scenario {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
        let path = folder.join(format!("{}.toml", row.scenario));
        Scenario::parse(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    #[test]
    fn the_lab_makes_what_the_fault_table_calls_made() {
        for entry in entries(&[]).unwrap() {
            let fed = FED.iter().any(|(id, _)| *id == entry.row.id);
            assert_eq!(entry.real.is_none(), fed, "{}", entry.row.id);
        }
        for (_, name) in PLAYED {
            assert!(drills::drill(name).is_some(), "{name}");
        }
    }

    #[test]
    fn what_the_lab_makes_is_as_loud_as_the_table_says() {
        for entry in entries(&[]).unwrap() {
            // A drill tells its own story.
            let Some(Real::Fault(real)) = entry.real else {
                continue;
            };
            let mut loudest = real.expected.and_then(|e| Severity::from_label(e.severity));
            if entry.row.loudness == Loudness::Named && loudest.is_none() {
                // Named without any alert: the row looks at the findings itself.
                loudest = scenario(entry.row).loudest();
                assert_eq!(loudest, Some(Severity::Info), "{}", entry.row.id);
            }
            assert_eq!(contradiction(entry.row, loudest), None, "{}", entry.row.id);
        }
        assert!(entries(&["F99".to_owned()]).is_err());
        assert_eq!(entries(&["F1".to_owned()]).unwrap().len(), 1);
    }

    #[test]
    fn every_scenario_is_as_loud_as_the_table_says() {
        for row in ROWS {
            let scenario = scenario(row);
            assert_eq!(contradiction(row, scenario.loudest()), None, "{}", row.id);
            assert!(scenario.rows.iter().any(|id| id == row.id), "{}", row.id);
        }
    }

    #[test]
    fn the_last_line_says_it_all() {
        let line = |evidence, as_expected, paged_s, false_pages| Line {
            fault: "F1".to_owned(),
            evidence,
            made_by: String::new(),
            as_expected,
            wrong: Vec::new(),
            detected_s: None,
            paged_s,
            false_pages,
        };
        let fine = [
            line("real", true, Some(1.25), 0),
            line("recorded", true, None, 0),
        ];
        let said = Summary(&fine);
        assert!(said.is_fine());
        assert_eq!(
            said.to_string(),
            "2/2 as expected, 1 real, 0 false pages, worst page 1.25 s"
        );
        assert!(!Summary(&[line("real", false, None, 0)]).is_fine());
        assert!(!Summary(&[line("real", true, None, 1)]).is_fine());
        assert!(!Summary(&[]).is_fine());
    }
}
