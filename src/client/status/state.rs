//! What `/v1/view` and `/v1/findings` say, as far as it is shown. Total: what is missing or does
//! not read is left out, and what is unknown is unknown, never well.

use core::time::Duration;

use pnwatch_core::time::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::client::monitor::clean;

/// How bad it is, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Worst {
    Critical,
    Unknown,
    Fine,
}

impl Worst {
    pub(super) fn exit_code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Critical => 1,
            Self::Unknown => 2,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) cluster: String,
    pub(super) at: Option<Timestamp>,
    pub(super) findings: Vec<Finding>,
    pub(super) nodes: Vec<Node>,
    pub(super) targets: Vec<Target>,
    pub(super) vantages: Vec<Vantage>,
}

#[derive(Debug)]
pub(super) struct Finding {
    pub(super) severity: String,
    pub(super) blame: String,
    pub(super) id: String,
    pub(super) summary: String,
    pub(super) age: Option<Duration>,
    pub(super) blind: Option<Duration>,
    pub(super) clearing: bool,
    pub(super) accounts: usize,
    pub(super) repair: Option<String>,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) address: String,
    pub(super) verdict: String,
}

#[derive(Debug)]
pub(super) struct Target {
    pub(super) account: String,
    pub(super) instance: String,
    pub(super) node: String,
    pub(super) verdict: String,
    pub(super) witnesses: u64,
    pub(super) reached_by: u64,
    pub(super) newest: Option<Duration>,
    /// Why its silence is excused now.
    pub(super) excuse: Option<String>,
}

#[derive(Debug)]
pub(super) struct Vantage {
    pub(super) name: String,
    pub(super) expected: bool,
    pub(super) reporting: bool,
    pub(super) stopping: bool,
    pub(super) last: Option<Duration>,
}

impl Vantage {
    /// Whether it sees what a build sees.
    pub(super) fn is_client(&self) -> bool {
        self.name.starts_with("host/") || self.name.starts_with("vm/")
    }
}

fn text(value: &Value, key: &str) -> String {
    clean(value[key].as_str().unwrap_or_default())
}

fn read<T: DeserializeOwned>(value: &Value) -> Option<T> {
    T::deserialize(value).ok()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

impl State {
    pub(super) fn read(view: &Value, findings: &Value) -> Self {
        let at: Option<Timestamp> = read(&view["at"]);
        let since = |value: &Value| {
            let then: Timestamp = read(value)?;
            Some(at?.since(then))
        };
        let seconds = |value: &Value| Duration::try_from_secs_f64(value.as_f64()?).ok();
        let finding = |it: &Value| Finding {
            severity: text(it, "severity"),
            blame: text(it, "blame"),
            id: text(it, "id"),
            summary: text(it, "summary"),
            age: since(&it["started_at"]),
            blind: since(&it["blind_since"]),
            clearing: !it["clearing_since"].is_null(),
            accounts: list(&it["accounts"]).len(),
            repair: it["repair"]["command"].as_str().map(clean),
        };
        // A pod that said itself that it drains; past its deadline that is more than info.
        let drains = |account: &str| {
            list(&findings["data"]).iter().any(|it| {
                let of = |key: &str, word: &str| it[key].as_str() == Some(word);
                of("fault", "draining") && of("severity", "info") && of("account", account)
            })
        };
        let target = |it: &Value| {
            let of = &it["target"];
            let draining = drains(of["account"].as_str().unwrap_or_default());
            let until: Option<Timestamp> = read(&of["excuse"]["until"]);
            let excused = matches!((until, at), (Some(until), Some(at)) if at < until);
            Target {
                account: text(of, "account"),
                instance: text(of, "instance"),
                node: text(of, "node"),
                verdict: text(it, "verdict"),
                witnesses: it["witnesses"].as_u64().unwrap_or(0),
                reached_by: it["reached_by"].as_u64().unwrap_or(0),
                newest: seconds(&it["newest_age_s"]),
                excuse: excused
                    .then(|| text(&of["excuse"], "reason"))
                    .or_else(|| draining.then(|| "draining".to_owned())),
            }
        };
        let vantage = |it: &Value| Vantage {
            name: text(it, "vantage"),
            expected: it["expected"].as_bool().unwrap_or(false),
            reporting: it["reporting"].as_bool().unwrap_or(false),
            stopping: it["stopping"].as_bool().unwrap_or(false),
            last: since(&it["last_report"]),
        };
        let node = |it: &Value| Node {
            name: text(it, "node"),
            address: text(it, "address"),
            verdict: text(it, "verdict"),
        };
        Self {
            cluster: text(view, "cluster"),
            at,
            findings: list(&findings["data"]).iter().map(finding).collect(),
            nodes: list(&view["nodes"]).iter().map(node).collect(),
            targets: list(&view["targets"]).iter().map(target).collect(),
            vantages: list(&view["vantages"]).iter().map(vantage).collect(),
        }
    }

    /// How bad it is.
    pub(super) fn worst(&self) -> Worst {
        let down = |t: &&Target| t.verdict == "down" && t.excuse.is_none();
        if self.findings.iter().any(|f| f.severity == "critical")
            || self.targets.iter().any(|t| down(&t))
        {
            return Worst::Critical;
        }
        // Suspect lasts a second: it is neither well nor confirmed.
        let seen =
            |t: &Target| t.excuse.is_some() || matches!(t.verdict.as_str(), "up" | "degraded");
        let sighted = self.vantages.iter().any(|v| v.is_client() && v.reporting);
        let well = sighted
            && !self.targets.is_empty()
            && self.targets.iter().all(seen)
            && !self.findings.iter().any(|f| f.blame == "monitor");
        if well { Worst::Fine } else { Worst::Unknown }
    }

    /// What cannot be seen now, as a sentence.
    pub(super) fn blindness(&self) -> Option<&'static str> {
        if self.targets.is_empty() {
            return Some("the inventory has no account: there is nothing to watch");
        }
        let sighted = self.vantages.iter().any(|v| v.is_client() && v.reporting);
        (!sighted).then_some("no client vantage reports: nothing is known of what builds see")
    }
}
