//! What is broken, what must be found of it, and whether the story came true. Pure.

use std::collections::BTreeMap;

use pnwatch_core::fault::Fault;
use pnwatch_core::finding::Finding;
use pnwatch_standin::Fault as Standing;

/// One fault of the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(super) enum Act {
    /// A full accept queue: SYNs are dropped without an answer.
    BlackHole,
    /// The port answers for another tenant.
    WrongTenant,
    /// The port accepts and the cache behind it never answers.
    PodDead,
    /// Nothing listens.
    Refused,
    /// The cache answers 500.
    ServerError,
    /// What answers is not HTTP.
    NotHttp,
}

impl Act {
    /// How a stand-in is told to do it.
    pub(super) fn standin(self) -> Standing {
        match self {
            Self::BlackHole => Standing::AcceptQueueFull,
            Self::WrongTenant => Standing::WrongTenant,
            Self::PodDead => Standing::Hang,
            Self::Refused => Standing::StopListening,
            Self::ServerError => Standing::Http500,
            Self::NotHttp => Standing::NotHttp,
        }
    }

    /// What must be found.
    pub(super) fn expected(self) -> Fault {
        match self {
            Self::BlackHole | Self::Refused => Fault::AccountUnreachable,
            Self::WrongTenant => Fault::WrongTenant,
            Self::PodDead | Self::ServerError | Self::NotHttp => Fault::PodDead,
        }
    }

    /// What is done, as a person says it.
    pub(super) fn deed(self) -> &'static str {
        match self {
            Self::BlackHole => "its accept queue fills up: SYNs vanish, as in a black hole",
            Self::WrongTenant => "its port answers for another tenant",
            Self::PodDead => "its pod hangs: connections are accepted and never answered",
            Self::Refused => "nothing listens on its port any more",
            Self::ServerError => "its cache answers 500",
            Self::NotHttp => "something that is not HTTP answers on its port",
        }
    }
}

/// The faults of one performance, in order.
#[derive(Debug, Default)]
pub(super) struct Script {
    acts: Vec<Act>,
}

impl Script {
    pub(super) fn of(acts: impl IntoIterator<Item = Act>) -> Self {
        Self {
            acts: acts.into_iter().collect(),
        }
    }

    pub(super) fn acts(&self) -> &[Act] {
        &self.acts
    }
}

#[derive(Debug)]
struct Entry {
    account: String,
    found: bool,
    closed: bool,
}

/// What was broken, what was found, and what should not have been.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    acts: BTreeMap<Act, Entry>,
    strangers: Vec<String>,
}

impl Ledger {
    pub(super) fn broken(&mut self, act: Act, account: &str) {
        let entry = Entry {
            account: account.to_owned(),
            found: false,
            closed: false,
        };
        self.acts.insert(act, entry);
    }

    fn of(&mut self, finding: &Finding) -> Option<(Act, &mut Entry)> {
        let account = finding.account.as_ref()?;
        self.acts
            .iter_mut()
            .find(|(_, entry)| entry.account == account.as_str())
            .map(|(act, entry)| (*act, entry))
    }

    pub(super) fn seen(&mut self, finding: &Finding) {
        match self.of(finding) {
            Some((act, entry)) if finding.fault == act.expected() => entry.found = true,
            // Sharpening may still name it rightly.
            Some(_) => {}
            None => self.strangers.push(finding.summary.clone()),
        }
    }

    pub(super) fn closed(&mut self, finding: &Finding) {
        if let Some((_, entry)) = self.of(finding) {
            entry.closed = true;
        }
    }

    pub(super) fn is_found(&self, act: Act) -> bool {
        self.acts.get(&act).is_some_and(|entry| entry.found)
    }

    /// Everything that was broken is found and closed again.
    pub(super) fn is_settled(&self) -> bool {
        self.acts.values().all(|entry| entry.found && entry.closed)
    }

    /// What did not come true, one line each.
    pub(super) fn untrue(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .acts
            .iter()
            .filter(|(_, entry)| !(entry.found && entry.closed))
            .map(|(act, entry)| {
                let what = if entry.found { "closed" } else { "found" };
                format!(
                    "the story did not come true: {} of account {} was not {what} in time",
                    act.expected(),
                    entry.account
                )
            })
            .collect();
        lines.extend(
            self.strangers
                .iter()
                .map(|s| format!("the story did not come true: nobody broke this: {s}")),
        );
        lines
    }

    pub(super) fn summary(&self) -> String {
        match self.acts.len() {
            0 => "nothing was broken, and nothing was found".to_owned(),
            1 => "1 of 1 fault found, named and closed".to_owned(),
            n => format!("{n} of {n} faults found, named and closed"),
        }
    }
}
