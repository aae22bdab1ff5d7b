//! Every row of the fault table, made really where the lab can, fed through the wire where not.
//!
//! The rows and their scenarios stand in `pnwatch_fleet::rows`. A row becomes real by itself as
//! soon as the lab has one of its name ([`crate::expect`]); until then its scenario is run: its
//! evidence goes through the real wire into the real engine, on a virtual clock. Besides the rows
//! there are pairs: two of them at once ([`crate::pairs`]).

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use pnwatch_core::fault::Severity;
use pnwatch_fleet::rows::{Loudness, ROWS, Row};
use pnwatch_fleet::scenario::Scenario;
use serde::Serialize;

use crate::judge::Outcome;
use crate::{expect, pairs};

/// Phases of a scenario that is fed: each with other clocks and delays.
const PHASES: u64 = 5;

/// A row, and the row of the lab that makes it, if there is one.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The row.
    pub row: &'static Row,
    /// Makes it really.
    pub real: Option<&'static expect::Row>,
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
            real: expect::row(row.id),
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
    use super::*;

    #[test]
    fn what_the_lab_makes_is_as_loud_as_the_table_says() {
        for entry in entries(&[]).unwrap() {
            let Some(real) = entry.real else { continue };
            let loudest = real.expected.and_then(|e| Severity::from_label(e.severity));
            assert_eq!(contradiction(entry.row, loudest), None, "{}", entry.row.id);
        }
        assert!(entries(&["F99".to_owned()]).is_err());
        assert_eq!(entries(&["F1".to_owned()]).unwrap().len(), 1);
    }

    #[test]
    fn every_scenario_is_as_loud_as_the_table_says() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
        for row in ROWS {
            let path = folder.join(format!("{}.toml", row.scenario));
            let text = std::fs::read_to_string(&path).unwrap();
            let scenario = Scenario::parse(&text).unwrap();
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
