//! What Prometheus answered in each state, kept for `dashboards/draw`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Moment;
use super::prometheus::Said;
use super::query::{Board, Query, Values};
use super::story::State;
use crate::findings::Finding;

/// A recording, as it is written.
#[derive(Debug)]
pub struct Record {
    about: Value,
    states: Map<String, Value>,
}

impl Record {
    /// An empty one of a lab with so many exporters, and what is chosen for variables.
    pub fn begin(exporters: usize, scrape: Duration, chosen: &Values) -> Self {
        let about = json!({
            "made_by": concat!("pnwatch-lab ", env!("CARGO_PKG_VERSION"), " boards"),
            "at": Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
            "exporters": exporters,
            "scrape_s": scrape.as_secs(),
            "chosen": chosen,
        });
        Self {
            about,
            states: Map::new(),
        }
    }

    /// A state and what is told in it.
    pub fn state(&mut self, state: &State, moment: Moment, open: &[Finding]) {
        let open: Vec<String> = open
            .iter()
            .map(|f| format!("{} {} {} ({})", f.blame, f.subject, f.fault, f.severity))
            .collect();
        let told = json!({
            "about": state.about, "from": moment.from, "at": moment.at, "findings": open,
            "boards": {},
        });
        self.states.insert(state.name.to_owned(), told);
    }

    /// One query's answers; refused ones are not kept.
    pub fn answer(&mut self, asked: (&State, &Board, &Query), now: &Said, range: &Said) {
        let (state, board, query) = asked;
        let result = |said: &Said| said.as_ref().map_or(Value::Null, |d| d["result"].clone());
        if let Some(state) = self.states.get_mut(state.name) {
            state["boards"][&board.uid][&query.place][&query.name] =
                json!({ "instant": result(now), "range": result(range) });
        }
    }

    /// Writes it.
    pub fn write(&self, file: &Path) -> Result<()> {
        let text = json!({ "about": self.about, "states": self.states }).to_string();
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    }
}
