//! Drills: what watches breaks in the middle of a fault, or a fault takes its time. Each is a
//! small play with its own story of what must be told, by whom, when, and how often.
//!
//! A drill differs from a [`crate::faults::Fault`]: several things happen one after the other,
//! and more than one alert may be right.

mod away;
mod blind;
mod lease;
mod story;

use std::time::Duration;

use anyhow::{Context as _, Result};

pub use story::{Performance, Story, Told};

use crate::daemons::Setup;
use crate::delay::{Delay, Slowness};
use crate::lab::Lab;
use crate::wait;

/// How long after the last act a late or repeated notification would show: longer than
/// Alertmanager's `group_interval` for pushed findings.
const CURTAIN: Duration = Duration::from_secs(7);
/// By when all findings must be closed at the end.
const CLOSED_DEADLINE: Duration = Duration::from_mins(2);

/// One drill.
#[derive(Debug, Clone, Copy)]
pub struct Drill {
    /// The name that `pnwatch-lab run` takes.
    pub name: &'static str,
    /// What happens, in a few words.
    pub about: &'static str,
    /// How many exporters it needs.
    pub exporters: usize,
    /// How long what is away is away, unless `--for` says otherwise.
    pub away: Duration,
    /// How pnwatch is set up for it.
    pub setup: fn(&mut Setup),
    /// What happens.
    pub play: fn(&mut Stage<'_>) -> Result<()>,
}

/// All drills.
pub const DRILLS: [Drill; 11] = [
    Drill {
        name: "exporter_killed",
        about: "the exporter is killed (-9) and restarted twice while a fault lasts",
        play: away::exporter_killed,
        ..PLAIN
    },
    Drill {
        name: "exporter_away",
        about: "the exporter is away; one fault begins, another comes and goes meanwhile",
        play: away::exporter_away,
        ..PLAIN
    },
    Drill {
        name: "alertmanager_away",
        about: "Alertmanager is away; one fault ends, another begins meanwhile",
        play: away::alertmanager_away,
        ..PLAIN
    },
    Drill {
        name: "half_cut",
        about: "one of two exporters is cut off from half of the probers while a fault comes and goes",
        exporters: 2,
        play: away::half_cut,
        ..PLAIN
    },
    Drill {
        name: "all_cut",
        about: "one of two exporters is cut off from all probers while a fault comes and goes",
        exporters: 2,
        play: away::all_cut,
        ..PLAIN
    },
    Drill {
        name: "probers_killed",
        about: "a host's and the node's prober are killed (-9) and restarted while a fault lasts",
        play: away::probers_killed,
        ..PLAIN
    },
    Drill {
        name: "lease_runs_out",
        about: "the node's lease of --for (60 s): one answer lost, then a silent server, to its end",
        play: lease::runs_out,
        ..PLAIN
    },
    Drill {
        name: "dhcp_silent",
        about: "leases of --for (60 s) everywhere, and a server that falls silent for all (F33)",
        play: lease::server_silent,
        ..PLAIN
    },
    Drill {
        name: "all_silent",
        about: "all hosts' probers die: a warning at once, a page after the configured time (F40)",
        setup: blind::blind_setup,
        play: blind::all_silent,
        ..PLAIN
    },
    Drill {
        name: "asleep",
        about: "a host's and the node's prober get no time (SIGSTOP) for a while",
        away: Duration::from_secs(20),
        play: blind::asleep,
        ..PLAIN
    },
    Drill {
        name: "all_slow",
        about: "reports, plans and pushes take a second each way while a fault comes and goes",
        setup: blind::slow_setup,
        play: blind::all_slow,
        ..PLAIN
    },
];

const PLAIN: Drill = Drill {
    name: "",
    about: "",
    exporters: 1,
    away: Duration::from_mins(1),
    setup: |_| {},
    play: |_| Ok(()),
};

/// The drill called `name`.
pub fn drill(name: &str) -> Option<&'static Drill> {
    DRILLS.iter().find(|drill| drill.name == name)
}

/// Where a drill is played.
#[derive(Debug)]
pub struct Stage<'a> {
    /// The lab.
    pub lab: &'a mut Lab,
    /// What must be told.
    pub story: Story,
    /// How long what is away is away.
    pub away: Duration,
    /// How slow the wires are that the drill's setup names.
    pub slowness: Slowness,
}

/// Plays one drill on fresh daemons, and judges it.
pub fn perform(
    lab: &mut Lab,
    drill: &'static Drill,
    away: Option<Duration>,
) -> Result<Performance> {
    let mut setup = Setup::default();
    (drill.setup)(&mut setup);
    let slowness = Slowness::default();
    let exporter = lab.network.exporter.clone();
    let wires = setup.wires.iter();
    let wires: Vec<Delay> = wires
        .map(|(from, to)| Delay::start(&exporter, from, to, &slowness))
        .collect::<Result<_>>()?;
    lab.set_up(setup);
    lab.start_daemons()
        .context("pnwatch did not come up healthy")?;
    let away = away.unwrap_or(drill.away);
    let story = Story::begin(&lab.monitoring);
    let mut stage = Stage {
        lab,
        story,
        away,
        slowness,
    };
    let played = (drill.play)(&mut stage).with_context(|| format!("{} failed", drill.name));
    let Stage { story, .. } = stage;
    played?;
    let closed = wait::polled(CLOSED_DEADLINE, || {
        let open = lab.findings()?.open();
        Ok(open.is_ok_and(|open| open.is_empty()).then_some(()))
    })?;
    // What Alertmanager still holds back would come within its group interval.
    wait::pass(CURTAIN)?;
    let still_open = match closed {
        Some(()) => Vec::new(),
        None => lab.findings()?.open()?,
    };
    drop(wires);
    Ok(story.judge(drill.name, away, &lab.monitoring, &still_open))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expect::row;

    #[test]
    fn names_are_distinct_and_no_faults() {
        for (index, drill) in DRILLS.iter().enumerate() {
            assert!(row(drill.name).is_none(), "{}", drill.name);
            let later = DRILLS.iter().skip(index + 1);
            assert!(later.clone().all(|other| other.name != drill.name));
        }
    }
}
