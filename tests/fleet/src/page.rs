//! docs/faults.md: the fault table for people, made from the rows, the scenario files and the
//! committed decision table, so that it cannot lag behind them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use pnwatch_core::diagnosis::table;
use pnwatch_core::diagnosis::trace::Hold;
use pnwatch_core::fault::{ROWS, Row};

use crate::rows::FED;
use crate::scenario::Scenario;

const HEAD: &str = "# Faults

Made by `cargo run -p pnwatch-fleet -- --page docs/faults.md`; a test compares. Change
`core/src/fault/rows.rs`, the scenario files or `core/src/diagnosis/table.rs` instead.

A finding has an identity, (cluster, blame, subject), fixed when it opens. Fault, confidence,
evidence and repair sharpen in place and never open a second alert. It closes on fresh success of
what failed, held for five seconds (doubling per relapse, up to five minutes). Without evidence it
stays open and says since when it is blind.

`evidence` says where the evidence comes from: *real*: a collector of the prober measures it;
*recorded*: it is typed and fed through the wire, only another platform can have its collector;
*fed*: another judge (discovery, correlation, budgets, bandwidth) finds it and hands it in.
`scenarios` are files in tests/scenarios: what is done to the network there, and what must be open
at which second.

| id | fault | blame | severity | alert | evidence | what tells it apart | scenarios |
|---|---|---|---|---|---|---|---|
";

const MADE: &str = "
## Made really

`pnwatch-lab matrix` makes each of these rows with real sockets, links, daemons and notifications,
alone, and looks at its page, its end and at what nobody should have got; docs/recorded-runs.md has
the figures. Only these are fed through the wire from their scenario:

| id | why |
|---|---|
";

const TABLE: &str = "
## The decisions

Every combination of signs that names a fault, as the code decides it (signs that make no
difference are `*`; `a|b` means either). What is not listed names nothing. The same as the rules
above, multiplied out by a test, so that a change of a rule shows what it changes.

```text
";

const TAIL: &str = "```
";

const DECISIONS: &str = include_str!("../../../core/src/diagnosis/table.golden.txt");

const RULES: &str = "
## The rules

Each table is asked with its signs; the first row whose conditions all hold decides, and `–` under
*names* means that it keeps silent and no later row is asked. `pnwatch explain` shows for a thing of
yours which rows were asked, which decided, and on which sign the others failed.

- *reach*: `nobody` reaches it and at least one is sure (no success for a second from first to last
  miss); `some` do, some do not; `all` who have evidence do; `unknown`: no evidence.
- *link*: what the machine says of its own PN leg, once it has held for 500 ms; `silent`: nothing
  newer than the fault.
- *witnesses*, *targets*: how many have evidence: `zero`, `one`, `many`. With one witness its own
  fault cannot be told from the target's.
- *prober*: `reporting`, `fell_silent` together with the fault, or `absent` (silent before, or too
  early to tell).
";

const HOLDS: &str = "
## What is held back

Everything that keeps a sign, a witness or a name back, so that a cause hides its consequences and
what is late is not mistaken for what is gone.

| rule | why |
|---|---|
";

/// The ordered rows of every table.
fn rules(text: &mut String) {
    text.push_str(RULES);
    for (title, lines) in table::tables() {
        let _ = writeln!(
            text,
            "\n### {title}\n\n| rule | when | names | why |\n|---|---|---|---|"
        );
        for line in lines {
            let names = line.names.map_or("–".to_owned(), |n| {
                format!("**{}** {} ({})", n.fault, n.severity, n.confidence)
            });
            let when: Vec<String> = line.when.iter().map(|w| w.replace('|', " or ")).collect();
            let (id, because) = (line.id, line.because);
            let _ = writeln!(text, "| {id} | {} | {names} | {because} |", when.join("; "));
        }
    }
    text.push_str(HOLDS);
    for hold in Hold::ALL {
        let _ = writeln!(text, "| {hold} | {} |", hold.because());
    }
}

/// Which rows are only fed.
fn made(text: &mut String) {
    text.push_str(MADE);
    for (id, why) in FED {
        let _ = writeln!(text, "| {id} | {why} |");
    }
}

/// The page. `scenarios` is the folder of the scenario files.
pub fn page(scenarios: &Path) -> Result<String> {
    let by_row = by_row(scenarios)?;
    let mut text = HEAD.to_owned();
    for row in ROWS {
        let _ = writeln!(text, "{}", line(row, by_row.get(named(row))));
    }
    made(&mut text);
    rules(&mut text);
    text.push_str(TABLE);
    text.push_str(DECISIONS);
    text.push_str(TAIL);
    Ok(text)
}

/// What scenario files call a row: its id, or where it has none its fault.
pub fn named(row: &Row) -> &'static str {
    if row.id.is_empty() {
        row.fault.as_label()
    } else {
        row.id
    }
}

fn line(row: &Row, scenarios: Option<&Vec<String>>) -> String {
    let id = if row.id.is_empty() { "–" } else { row.id };
    let severity = row
        .severity
        .map_or("by what is left", pnwatch_core::fault::Severity::as_label);
    let alert = row.fault.alert(row.blame);
    format!(
        "| {id} | {} | {} | {severity} | {} | {} | {} | {} |",
        row.fault,
        row.blame,
        alert.map_or("–", pnwatch_core::fault::Alert::as_label),
        row.proof,
        row.told_by,
        scenarios.map_or("–".to_owned(), |names| names.join(", ")),
    )
}

/// The scenario files of each row, in the words that they use for rows. `folder` is theirs.
pub fn by_row(folder: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        let scenario = Scenario::parse(&text).with_context(|| path.display().to_string())?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        for row in scenario.rows {
            all.entry(row).or_default().push(name.clone().into_owned());
        }
    }
    for names in all.values_mut() {
        names.sort();
    }
    Ok(all)
}
