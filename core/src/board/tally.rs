//! Who reaches what, counted from the paths of the board.

use core::time::Duration;

use super::{Board, Path};
use crate::name::Vantage;
use crate::outcome::Layer;
use crate::path::Verdict;
use crate::subject::Subject;
use crate::time::Tick;

/// By how much the times of two reports may disagree: ages are counted from a report's arrival,
/// and reports take their time. A success that is newer by less proves nothing.
pub const SKEW: Duration = Duration::from_millis(300);

/// A prober that has just started again, or got no time, has told of no miss because it has
/// not looked: the slowest check comes every two seconds, and its report within one more.
const CHECKED_LATELY: Duration = Duration::from_millis(3200);

fn checked_lately(path: &Path, now: Tick) -> bool {
    let newest = path.state.newest();
    newest.is_some_and(|newest| now.since(newest) <= CHECKED_LATELY)
}

/// Who reaches a subject, who does not, and who cannot tell yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Vantages with a success that started after the onset.
    pub reached: Vec<Vantage>,
    /// Vantages that miss it and had no success since the onset.
    pub missing: Vec<Vantage>,
    /// How many of the missing are `Down`.
    pub down: usize,
    /// Vantages that report and have told of no miss, but of no success since the onset
    /// either. A miss is told at once: past the naming wait their quiet means success.
    pub quiet: Vec<Vantage>,
    /// Start of the first miss.
    pub onset: Option<Tick>,
    /// When the outage of those that are `Down` began, also where nothing was measured since.
    pub began: Option<Tick>,
    /// When the first `Down` was known.
    pub down_seen: Option<Tick>,
    /// Newest evidence of all.
    pub newest: Option<Tick>,
}

impl Board {
    /// Who reaches `subject` at `layer` among those for whom `credible` holds.
    ///
    /// `since`: successes must have started after it to count, and by more than [`SKEW`];
    /// `None` = after the first miss.
    pub fn tally(
        &self,
        subject: &Subject,
        layer: Layer,
        since: Option<Tick>,
        now: Tick,
        credible: impl Fn(&Vantage, &Path) -> bool,
    ) -> Tally {
        let paths = self.paths_to(subject, layer);
        self.tally_over(paths.filter(|(v, p)| credible(v, p)), since, now)
    }

    /// As [`Board::tally`], of one vantage alone.
    pub fn tally_of(
        &self,
        own: &Vantage,
        subject: &Subject,
        layer: Layer,
        since: Option<Tick>,
        now: Tick,
    ) -> Tally {
        let path = self.path(own, subject, layer).map(|p| (own, p));
        self.tally_over(path.into_iter(), since, now)
    }

    fn tally_over<'a>(
        &'a self,
        paths: impl Iterator<Item = (&'a Vantage, &'a Path)>,
        since: Option<Tick>,
        now: Tick,
    ) -> Tally {
        let paths: Vec<(&Vantage, &Path, Verdict)> = paths
            .map(|(v, p)| (v, p, p.state.verdict_at(now, &self.limits)))
            .collect();
        let mut tally = Tally {
            onset: paths
                .iter()
                .filter(|(_, _, verdict)| verdict.is_missing())
                .filter_map(|(_, p, _)| p.state.missing_since())
                .min(),
            down_seen: paths
                .iter()
                .filter(|(_, _, verdict)| *verdict == Verdict::Down)
                .filter_map(|(_, p, _)| p.down_seen)
                .min(),
            began: paths
                .iter()
                .filter(|(_, _, verdict)| *verdict == Verdict::Down)
                .filter_map(|(_, p, _)| p.state.outage_began())
                .min(),
            newest: paths.iter().filter_map(|(_, p, _)| p.state.newest()).max(),
            ..Tally::default()
        };
        let onset = since.or(tally.onset).map(|onset| onset.after(SKEW));
        for (vantage, path, verdict) in paths {
            match verdict {
                Verdict::Down | Verdict::Suspect => {
                    tally.missing.push(vantage.clone());
                    tally.down += usize::from(verdict == Verdict::Down);
                }
                Verdict::Up | Verdict::Degraded
                    if onset.is_none_or(|o| path.state.last_success() > Some(o)) =>
                {
                    tally.reached.push(vantage.clone());
                }
                Verdict::Up | Verdict::Degraded
                    if self.told_lately(vantage, now) && checked_lately(path, now) =>
                {
                    tally.quiet.push(vantage.clone());
                }
                _ => {}
            }
        }
        tally
    }
}
