//! Every query and variable of the boards against a real Prometheus that is fed by the lab: each
//! must have an answer in some state, an answer names nobody who is not there, and two exporters
//! answer as one.
//!
//! [`query`] is what boards ask, [`answer`] what can be right, [`story`] the states, and
//! [`record`] keeps the answers for pictures.

pub mod answer;
mod facts;
pub mod prometheus;
pub mod query;
pub mod record;
pub mod story;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use self::answer::Series;
use self::facts::FACTS;
use self::prometheus::Range;
use self::query::{Board, Query, Values, Variable, fill, of_replica, of_time, several};
use self::record::Record;
use self::story::{STATES, Stage, State};
use crate::daemons::Daemons;
use crate::lab::Lab;
use crate::monitoring::METRICS_PORT;
use crate::second;
use crate::topology::{CLUSTER, EXPORTERS, HOSTS, NODE, PODS, host_vantage};

/// How often the lab's Prometheus scrapes.
const SCRAPE: Duration = Duration::from_secs(5);
/// Points of a panel, about as wide as it is.
const POINTS: u32 = 1_000;
/// The series of findings: none is open where all is well.
const FINDINGS: &str = "pnwatch_finding_active{";
/// The one family that is counted per replica on purpose.
const COUNTED: &str = "(pnwatch_build_info{";

/// How the boards are asked.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// The folder of the boards.
    pub dashboards: &'a Path,
    /// How long each state lasts after it has been told.
    pub phase: Duration,
    /// Where to write what Prometheus answered.
    pub record: Option<&'a Path>,
    /// What to choose for variables, by name, in what is written.
    pub chosen: Values,
}

/// What became of one query or variable, a line of JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The board's uid.
    pub board: String,
    /// The panel's title, `annotation NAME`, or `variable NAME`.
    pub panel: String,
    /// Which of its queries.
    pub query: String,
    /// What is asked, variables not yet filled in.
    pub expr: String,
    /// Series of the answer with "All", by state.
    pub series: BTreeMap<&'static str, usize>,
    /// Whether a range had an answer too.
    pub range: bool,
    /// Whether a choice of one value had an answer too.
    pub one_value: bool,
    /// What was not as it must be.
    pub wrong: BTreeSet<String>,
}

impl Line {
    fn of(board: &Board, query: &Query) -> Self {
        Self {
            board: board.uid.clone(),
            panel: query.panel.clone(),
            query: query.name.clone(),
            expr: query.expr.clone(),
            ..Self::default()
        }
    }

    /// What is only known at the end: an answer that never came.
    fn close(&mut self) {
        let ever = self.series.values().any(|series| *series > 0);
        for (had, what) in [
            (ever, "no answer in any state"),
            (self.range, "no answer over a range"),
            (self.one_value, "no answer for one value of a variable"),
        ] {
            if !had {
                self.wrong.insert(what.to_owned());
            }
        }
    }
}

/// Asks everything in every state; tells a line for each query and variable. True if nothing is
/// wrong.
pub fn run(
    lab: &mut Lab,
    options: &Options<'_>,
    tell: &mut dyn FnMut(&Value) -> Result<()>,
) -> Result<bool> {
    let boards = read_boards(options.dashboards)?;
    let mut questions = Questions::of(&boards, &options.chosen);
    let exporters = lab.daemons.as_ref().map_or(0, Daemons::replicas);
    let mut record = Record::begin(exporters, SCRAPE, &options.chosen);
    let mut stage = Stage::set(lab)?;
    let began = Timestamp::now();
    for state in STATES.iter().filter(|state| state.exporters <= exporters) {
        (state.enter)(&mut stage, lab, options.phase)
            .with_context(|| format!("the state {} did not come about", state.name))?;
        let at = Moment::now(began);
        record.state(state, at, &lab.findings()?.open()?);
        questions.ask(lab, (state, at), &mut record)?;
        (state.leave)(&mut stage, lab)
            .with_context(|| format!("the state {} cannot be left", state.name))?;
    }
    drop(stage);
    let lines = questions.close();
    let mut fine = true;
    for line in &lines {
        tell(&serde_json::to_value(line)?)?;
        fine &= line.wrong.is_empty();
    }
    if let Some(file) = options.record {
        record.write(file)?;
    }
    let wrong: usize = lines.iter().map(|line| line.wrong.len()).sum();
    tell(&json!({
        "boards": boards.len(), "asked": lines.len(), "exporters": exporters,
        "states": STATES.iter().filter(|s| s.exporters <= exporters).map(|s| s.name).collect::<Vec<_>>(),
        "took_s": Timestamp::now().duration_since(began).as_secs(),
        "wrong": if wrong == 0 { vec![] } else { vec![format!("{wrong} faults in the lines above")] },
    }))?;
    Ok(fine)
}

fn read_boards(dir: &Path) -> Result<Vec<Board>> {
    let mut boards = Vec::new();
    let listed =
        std::fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    for entry in listed {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            let text = std::fs::read_to_string(&path)?;
            let json: Value = serde_json::from_str(&text)
                .with_context(|| format!("{} is no JSON", path.display()))?;
            boards.push(Board::read(&json).with_context(|| path.display().to_string())?);
        }
    }
    ensure!(!boards.is_empty(), "there is no board in {}", dir.display());
    boards.sort_by(|a, b| a.uid.cmp(&b.uid));
    Ok(boards)
}

/// When the boards are asked.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// When the first state began, and now; Unix seconds.
    pub from: f64,
    /// Now.
    pub at: f64,
}

impl Moment {
    fn now(began: Timestamp) -> Self {
        let seconds = |at: Timestamp| at.as_millisecond() as f64 / 1e3;
        Self {
            from: seconds(began),
            at: seconds(Timestamp::now()),
        }
    }

    fn length(self) -> Duration {
        Duration::from_secs_f64((self.at - self.from).max(1.0))
    }

    fn range(self) -> Range {
        Range {
            from: self.from,
            to: self.at,
            step: SCRAPE.as_secs(),
        }
    }
}

/// Who and what is in the lab, by the labels that name it.
fn known() -> BTreeMap<&'static str, BTreeSet<String>> {
    let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let mut vantages: BTreeSet<String> = (0..HOSTS).map(host_vantage).collect();
    vantages.extend([NODE, second::NODE].map(|node| format!("node/{node}")));
    [
        ("cluster", of(&[CLUSTER])),
        ("node", of(&[NODE, second::NODE])),
        (
            "account",
            of(&[PODS[0].account, PODS[1].account, second::OTHER.account]),
        ),
        ("vantage", vantages),
    ]
    .into()
}

/// All boards, and what is known of each of their questions.
struct Questions<'a> {
    boards: &'a [Board],
    variables: Vec<Line>,
    queries: Vec<Line>,
    facts: Vec<usize>,
    chosen: &'a Values,
}

impl<'a> Questions<'a> {
    fn of(boards: &'a [Board], chosen: &'a Values) -> Self {
        let variable = |board: &Board, variable: &Variable| Line {
            board: board.uid.clone(),
            panel: format!("variable {}", variable.name),
            query: variable.label.clone(),
            expr: variable.selector.clone(),
            // Its values are all of one kind.
            range: true,
            one_value: true,
            ..Line::default()
        };
        let each = |board: &'a Board| board.variables.iter().map(move |v| variable(board, v));
        let queries = |board: &'a Board| board.queries.iter().map(|q| Line::of(board, q));
        Self {
            boards,
            variables: boards.iter().flat_map(each).collect(),
            queries: boards.iter().flat_map(queries).collect(),
            facts: vec![0; FACTS.len()],
            chosen,
        }
    }

    fn ask(&mut self, lab: &Lab, now: (&State, Moment), record: &mut Record) -> Result<()> {
        let boards = self.boards;
        let (mut variables, mut queries) = (0, 0);
        for board in boards {
            let mut filled = of_time(now.1.length(), POINTS, SCRAPE);
            let mut values: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
            for variable in &board.variables {
                let said = self.ask_variable(lab, now, (variables, variable, &filled))?;
                let all = variable
                    .all
                    .clone()
                    .unwrap_or_else(|| several(said.iter().map(String::as_str)));
                filled.insert(variable.name.clone(), all);
                values.insert(&variable.name, said);
                variables += 1;
            }
            for query in &board.queries {
                let question = Question {
                    index: queries,
                    board,
                    query,
                    all: &filled,
                    values: &values,
                };
                self.ask_query(lab, now, question, record)?;
                queries += 1;
            }
        }
        Ok(())
    }

    fn ask_variable(
        &mut self,
        lab: &Lab,
        (state, moment): (&State, Moment),
        (index, variable, filled): (usize, &Variable, &Values),
    ) -> Result<BTreeSet<String>> {
        let line = self.variables.get_mut(index).context("no such line")?;
        let selector = fill(&variable.selector, filled)?;
        let asked = (selector.as_str(), variable.label.as_str());
        let said = prometheus::label_values(&lab.network.exporter, asked, moment.range())?;
        let values = said.unwrap_or_else(|refused| {
            line.wrong.insert(refused);
            BTreeSet::new()
        });
        line.series.insert(state.name, values.len());
        let truth = known().remove(variable.label.as_str());
        if let Some(truth) = truth.filter(|truth| *truth != values) {
            line.wrong
                .insert(format!("offers {values:?}; in the lab there are {truth:?}"));
        }
        Ok(values)
    }

    fn ask_query(
        &mut self,
        lab: &Lab,
        (state, moment): (&State, Moment),
        question: Question<'_>,
        record: &mut Record,
    ) -> Result<()> {
        let Question {
            index,
            board,
            query,
            all,
            ..
        } = question;
        let line = self.queries.get_mut(index).context("no such line")?;
        let prometheus = &lab.network.exporter;
        let expr = fill(&query.expr, all)?;
        let now = prometheus::instant(prometheus, &expr, moment.at)?;
        let range = prometheus::range(prometheus, &expr, moment.range())?;
        let mut filled = all.clone();
        for (name, value) in self.chosen.iter().filter(|(n, _)| all.contains_key(*n)) {
            filled.insert(name.clone(), several([value.as_str()]));
        }
        let chosen = fill(&query.expr, &filled)?;
        if chosen == expr {
            record.answer((state, board, query), &now, &range);
        } else {
            let now = prometheus::instant(prometheus, &chosen, moment.at)?;
            let range = prometheus::range(prometheus, &chosen, moment.range())?;
            record.answer((state, board, query), &now, &range);
        }
        let answer = series(line, now);
        line.range |= !series(line, range).is_empty();
        line.series.insert(state.name, answer.len());
        line.wrong
            .extend(answer::faults(&answer, &query.legend, &known()));
        if state.healthy && query.expr.contains(FINDINGS) && !answer.is_empty() {
            line.wrong
                .insert(format!("{}: a finding where all is well", state.name));
        }
        if !line.one_value {
            line.one_value = question.one_has_answer(lab, moment)?;
        }
        if state.healthy && state.name != "one-replica" {
            line.wrong.extend(replicas(lab, &expr, &answer, moment.at)?);
        }
        for (fact, met) in FACTS.iter().zip(&mut self.facts) {
            if !fact.is_of(board, query) || fact.state != state.name {
                continue;
            }
            *met += answer.len();
            let values: Vec<f64> = answer.iter().map(|series| series.value).collect();
            if !(fact.holds)(&values) {
                let what = format!("{}: {values:?} instead of {}", state.name, fact.words);
                line.wrong.insert(what);
            }
        }
        Ok(())
    }

    fn close(mut self) -> Vec<Line> {
        let mut lines = self.variables;
        lines.append(&mut self.queries);
        for line in &mut lines {
            line.close();
        }
        let unmet = FACTS.iter().zip(&self.facts).filter(|(_, met)| **met == 0);
        lines.extend(unmet.map(|(fact, _)| {
            Line {
                board: fact.board.to_owned(),
                panel: fact.asked.to_owned(),
                wrong: [format!(
                    "{}: nothing says {}; is there still such a panel?",
                    fact.state, fact.words
                )]
                .into(),
                ..Line::default()
            }
        }));
        lines
    }
}

/// One query and what its variables may be.
#[derive(Clone, Copy)]
struct Question<'a> {
    index: usize,
    board: &'a Board,
    query: &'a Query,
    all: &'a Values,
    values: &'a BTreeMap<&'a str, BTreeSet<String>>,
}

impl Question<'_> {
    /// Whether a choice of one value has an answer, for every variable in it.
    fn one_has_answer(&self, lab: &Lab, moment: Moment) -> Result<bool> {
        let mut answered = true;
        for (name, values) in self.values {
            let expr = &self.query.expr;
            if !expr.contains(&format!("${name}")) && !expr.contains(&format!("${{{name}")) {
                continue;
            }
            let mut found = false;
            for value in values {
                let mut filled = self.all.clone();
                filled.insert((*name).to_owned(), several([value.as_str()]));
                let expr = fill(expr, &filled)?;
                let said = prometheus::instant(&lab.network.exporter, &expr, moment.at)?;
                found |= said
                    .ok()
                    .and_then(|data| answer::read(&data))
                    .is_some_and(|series| !series.is_empty());
                if found {
                    break;
                }
            }
            answered &= found;
        }
        Ok(answered)
    }
}

/// The series of an answer; a refusal is what is wrong.
fn series(line: &mut Line, said: prometheus::Said) -> Vec<Series> {
    match said.map(|data| answer::read(&data)) {
        Ok(Some(series)) => series,
        Ok(None) => {
            line.wrong
                .insert("an answer that cannot be read".to_owned());
            Vec::new()
        }
        Err(refused) => {
            line.wrong.insert(refused);
            Vec::new()
        }
    }
}

/// How the answer of two exporters differs from those of each alone.
fn replicas(lab: &Lab, expr: &str, both: &[Series], at: f64) -> Result<Vec<String>> {
    let exporters = lab.daemons.as_ref().map_or(0, Daemons::replicas);
    if exporters < 2 {
        return Ok(Vec::new());
    }
    let mut alone = Vec::new();
    for address in EXPORTERS.iter().take(exporters) {
        let instance = format!("{address}:{METRICS_PORT}");
        let Some(expr) = of_replica(expr, &instance) else {
            return Ok(vec!["a selector without braces".to_owned()]);
        };
        let said = prometheus::instant(&lab.network.exporter, &expr, at)?;
        let read = said.ok().and_then(|data| answer::read(&data));
        alone.push(read.context("one replica's answer cannot be read")?);
    }
    Ok(answer::compare(both, &alone, expr.contains(COUNTED)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_that_never_had_an_answer_is_wrong() {
        let fine = Line {
            series: [("healthy", 0), ("outage", 2)].into(),
            range: true,
            one_value: true,
            ..Line::default()
        };
        let mut line = fine.clone();
        line.close();
        assert!(line.wrong.is_empty(), "{line:?}");
        for break_it in [
            |line: &mut Line| line.series.clear(),
            |line: &mut Line| line.range = false,
            |line: &mut Line| line.one_value = false,
        ] {
            let mut line = fine.clone();
            break_it(&mut line);
            line.close();
            assert_eq!(line.wrong.len(), 1, "{line:?}");
        }
    }

    #[test]
    fn the_shipped_boards_can_be_asked() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dashboards");
        let boards = read_boards(&dir).unwrap();
        assert!(boards.len() >= 5);
        for board in &boards {
            let mut values = of_time(Duration::from_mins(1), POINTS, SCRAPE);
            for variable in &board.variables {
                fill(&variable.selector, &values).unwrap();
                values.insert(variable.name.clone(), ".*".to_owned());
            }
            for query in &board.queries {
                let expr = fill(&query.expr, &values).unwrap();
                assert!(of_replica(&expr, "i").is_some(), "{}: {expr}", board.uid);
            }
        }
        for fact in &FACTS {
            let of = |board: &Board| board.queries.iter().any(|q| fact.is_of(board, q));
            let there = boards.iter().any(of);
            assert!(there, "{}: nothing asks {}", fact.board, fact.asked);
            assert!(STATES.iter().any(|state| state.name == fact.state));
        }
    }
}
