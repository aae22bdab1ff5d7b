//! Burn rates: one table of windows and budget shares from which every factor is derived.
//!
//! The method is multiwindow, multi-burn-rate alerting (Google, *The Site Reliability Workbook*,
//! chapter 5): a tier pages when a long window has spent its share of the period's budget *and* a
//! short one says that it still burns. Factors are never written down: `share × period / long`.
//! Code, rules, docs and tests read the same [`Table`].

use core::time::Duration;

use crate::fault::Severity;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The period over which budgets count: 28 days, so that every period has four of each weekday.
pub const PERIOD: Duration = Duration::from_secs(28 * DAY);

/// Thousandths of a whole.
const PERMILLE: f64 = 1000.0;

/// How much of all events must be good, in parts per million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Objective(u32);

impl Objective {
    /// Reachability of an account from one kind of vantage: 99.95 %.
    pub const REACHABILITY: Self = Self(999_500);
    /// `/up` answered within 10 ms, seen from hosts: 99 %.
    pub const LATENCY: Self = Self(990_000);

    /// The objective of `ppm` good events in a million; `None` unless it leaves some budget and
    /// asks for something (0 < ppm < 1,000,000).
    pub fn from_ppm(ppm: u32) -> Option<Self> {
        (ppm > 0 && ppm < 1_000_000).then_some(Self(ppm))
    }

    /// Good events as a ratio, 0 to 1.
    pub fn ratio(self) -> f64 {
        f64::from(self.0) / 1e6
    }

    /// Bad events that the objective allows, as a ratio.
    pub fn budget(self) -> f64 {
        f64::from(1_000_000_u32.saturating_sub(self.0)) / 1e6
    }

    /// How fast `bad` of `total` events spend the budget: 1 spends it exactly within the period.
    /// `None` when nothing was measured: no event is not a good event.
    pub fn burn_rate(self, bad: u64, total: u64) -> Option<f64> {
        (total > 0).then(|| bad.min(total) as f64 / total as f64 / self.budget())
    }
}

/// One tier: how much of the period's budget may go in the long window before somebody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tier {
    /// How loudly it is told.
    pub severity: Severity,
    /// The share of the period's budget, in thousandths.
    pub share_permille: u16,
    /// The window that must have spent the share.
    pub long: Duration,
    /// The window that must still burn, so that the alert ends soon after the trouble.
    pub short: Duration,
}

impl Tier {
    /// The burn rate above which both windows must be.
    pub fn factor(&self, period: Duration) -> f64 {
        f64::from(self.share_permille) / PERMILLE * period.as_secs_f64() / self.long.as_secs_f64()
    }

    /// How long after a fault that makes `bad_ratio` of all events bad, in otherwise clean
    /// windows, this tier fires; `None` = never.
    pub fn detection(
        &self,
        period: Duration,
        objective: Objective,
        bad_ratio: f64,
    ) -> Option<Duration> {
        let burn = bad_ratio.clamp(0.0, 1.0) / objective.budget();
        let factor = self.factor(period);
        (burn > factor).then(|| self.long.mul_f64(factor / burn))
    }
}

const fn tier(severity: Severity, share_permille: u16, long: u64, short: u64) -> Tier {
    Tier {
        severity,
        share_permille,
        long: Duration::from_secs(long),
        short: Duration::from_secs(short),
    }
}

/// The tiers as shipped: 2 % in 1 h and 5 % in 6 h page, 10 % in 1 d and in 3 d warn; each short
/// window is a twelfth of its long one.
pub const TIERS: [Tier; 4] = [
    tier(Severity::Critical, 20, HOUR, 5 * MINUTE),
    tier(Severity::Critical, 50, 6 * HOUR, 30 * MINUTE),
    tier(Severity::Warning, 100, DAY, 2 * HOUR),
    tier(Severity::Warning, 100, 3 * DAY, 6 * HOUR),
];

/// Why a table is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// There was no tier.
    #[error("a burn-rate table needs at least one tier")]
    Empty,
    /// The windows of a tier are not in order.
    #[error("tier {tier}: windows must rise, 1 s <= short < long < period")]
    Windows {
        /// Which, from 0.
        tier: usize,
    },
    /// The share of a tier is out of range, or would fire without any trouble.
    #[error("tier {tier}: the share must be 1 to 1000 thousandths of the budget")]
    Share {
        /// Which, from 0.
        tier: usize,
    },
}

/// A period and its tiers, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    period: Duration,
    tiers: Vec<Tier>,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            period: PERIOD,
            tiers: TIERS.to_vec(),
        }
    }
}

impl Table {
    /// A table of `tiers` over `period`.
    pub fn new(period: Duration, tiers: Vec<Tier>) -> Result<Self, TableError> {
        if tiers.is_empty() {
            return Err(TableError::Empty);
        }
        for (index, tier) in tiers.iter().enumerate() {
            if tier.short < Duration::from_secs(1) || tier.short >= tier.long || tier.long >= period
            {
                return Err(TableError::Windows { tier: index });
            }
            if !(1..=1000).contains(&tier.share_permille) {
                return Err(TableError::Share { tier: index });
            }
        }
        Ok(Self { period, tiers })
    }

    /// The period over which budgets count.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// The tiers, as given.
    pub fn tiers(&self) -> &[Tier] {
        &self.tiers
    }

    /// Every window that a tier reads, shortest first: what the ledger publishes.
    pub fn windows(&self) -> Vec<Duration> {
        let mut windows: Vec<_> = self.tiers.iter().flat_map(|t| [t.short, t.long]).collect();
        windows.sort_unstable();
        windows.dedup();
        windows
    }

    /// The worst severity whose tier fires, given the burn rate of a window (`None` = unmeasured,
    /// which never fires).
    pub fn judge(&self, burn: impl Fn(Duration) -> Option<f64>) -> Option<Severity> {
        let above = |window, factor| burn(window).is_some_and(|rate| rate > factor);
        self.tiers
            .iter()
            .filter(|tier| {
                let factor = tier.factor(self.period);
                above(tier.long, factor) && above(tier.short, factor)
            })
            .map(|tier| tier.severity)
            .max()
    }
}

/// A window as its metric label: whole days, hours, minutes or seconds (`3d`, `6h`, `5m`).
pub fn window_label(window: Duration) -> String {
    let seconds = window.as_secs();
    for (unit, suffix) in [(DAY, "d"), (HOUR, "h"), (MINUTE, "m")] {
        if seconds >= unit && seconds.is_multiple_of(unit) {
            return format!("{}{suffix}", seconds / unit);
        }
    }
    format!("{seconds}s")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn factors_follow_period_and_share() {
        let days = |n: u64| Duration::from_secs(n * DAY);
        // 30 days gives the factors of the Workbook's table 5-8; 28 days gives ours.
        for (tier, workbook, ours) in [
            (TIERS[0], 14.4, 13.44),
            (TIERS[1], 6.0, 5.6),
            (TIERS[2], 3.0, 2.8),
            (TIERS[3], 1.0, 28.0 / 30.0),
        ] {
            assert!(close(tier.factor(days(30)), workbook), "{tier:?}");
            assert!(close(tier.factor(PERIOD), ours), "{tier:?}");
            assert_eq!(tier.long.as_secs(), 12 * tier.short.as_secs());
        }
    }

    #[test]
    fn a_dead_account_pages_in_half_a_minute_and_a_little_loss_never() {
        let found = TIERS[0].detection(PERIOD, Objective::REACHABILITY, 1.0);
        assert_eq!(found.unwrap().as_millis(), 24_192);
        let slow = |ratio| TIERS[3].detection(PERIOD, Objective::REACHABILITY, ratio);
        assert!(slow(0.000_4).is_none());
        assert!(slow(0.000_5).is_some());
        // Every tier must be able to fire at all under both objectives.
        for tier in TIERS {
            for objective in [Objective::REACHABILITY, Objective::LATENCY] {
                assert!(
                    tier.detection(PERIOD, objective, 1.0).is_some(),
                    "{tier:?} {objective:?}"
                );
            }
        }
    }

    #[test]
    fn both_windows_must_burn_and_unmeasured_never_does() {
        let table = Table::default();
        let hot = |hot: &[&str]| {
            let hot: Vec<String> = hot.iter().map(ToString::to_string).collect();
            table.judge(|w| {
                Some(if hot.contains(&window_label(w)) {
                    100.0
                } else {
                    0.0
                })
            })
        };
        assert_eq!(hot(&["1h", "5m"]), Some(Severity::Critical));
        assert_eq!(hot(&["1h"]), None);
        assert_eq!(hot(&["5m"]), None);
        assert_eq!(hot(&["6h", "30m"]), Some(Severity::Critical));
        assert_eq!(hot(&["1d", "2h"]), Some(Severity::Warning));
        assert_eq!(hot(&["3d", "6h"]), Some(Severity::Warning));
        assert_eq!(table.judge(|_| None), None);
        assert_eq!(Objective::REACHABILITY.burn_rate(0, 0), None);
        assert!(close(
            Objective::REACHABILITY.burn_rate(1, 2000).unwrap(),
            1.0
        ));
    }

    #[test]
    fn windows_are_named_as_people_write_them() {
        let labels: Vec<_> = Table::default()
            .windows()
            .into_iter()
            .map(window_label)
            .collect();
        assert_eq!(labels, ["5m", "30m", "1h", "2h", "6h", "1d", "3d"]);
        assert_eq!(window_label(Duration::from_secs(90)), "90s");
        assert_eq!(window_label(Duration::ZERO), "0s");
    }

    #[test]
    fn a_bad_table_is_refused_by_name() {
        let with = |change: fn(&mut Tier)| {
            let mut tiers = TIERS.to_vec();
            change(&mut tiers[1]);
            Table::new(PERIOD, tiers)
        };
        assert_eq!(Table::new(PERIOD, vec![]), Err(TableError::Empty));
        assert_eq!(
            with(|t| t.short = t.long),
            Err(TableError::Windows { tier: 1 })
        );
        assert_eq!(
            with(|t| t.long = PERIOD),
            Err(TableError::Windows { tier: 1 })
        );
        assert_eq!(
            with(|t| t.short = Duration::ZERO),
            Err(TableError::Windows { tier: 1 })
        );
        assert_eq!(
            with(|t| t.share_permille = 0),
            Err(TableError::Share { tier: 1 })
        );
        assert_eq!(
            with(|t| t.share_permille = 1001),
            Err(TableError::Share { tier: 1 })
        );
        assert_eq!(with(|_| ()), Ok(Table::default()));
        assert!(Objective::from_ppm(0).is_none() && Objective::from_ppm(1_000_000).is_none());
    }

    proptest! {
        #[test]
        fn spending_the_share_in_the_long_window_is_exactly_the_factor(
            share in 1u16..=1000, short in 1u64..1000, more in 1u64..100_000, rest in 1u64..10_000_000,
        ) {
            let long = Duration::from_secs(short + more);
            let period = long + Duration::from_secs(rest);
            let tier = Tier {
                severity: Severity::Warning,
                share_permille: share,
                long,
                short: Duration::from_secs(short),
            };
            let table = Table::new(period, vec![tier]).unwrap();
            let spent = tier.factor(table.period()) * long.as_secs_f64() / period.as_secs_f64();
            prop_assert!((spent - f64::from(share) / 1000.0).abs() < 1e-9);
        }
    }
}
