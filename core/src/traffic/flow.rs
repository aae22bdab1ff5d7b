//! One counter's increases over time: rate now, rate before it fell silent, usual gaps.

use core::time::Duration;
use std::collections::VecDeque;

use crate::time::Tick;

/// Most steps kept for the rate of the window.
const MAX_STEPS: usize = 128;

/// One counter's increases over time.
#[derive(Debug, Clone, Default)]
pub struct Flow {
    /// (end of step, its length, increase), within the window.
    steps: VecDeque<(Tick, Duration, f64)>,
    last_increase: Option<Tick>,
    /// Increases and seconds, both fading with the same time constant: their ratio is the rate.
    faded: (f64, f64),
    /// The rate as of the last increase.
    before: Option<f64>,
    /// Longest pause between two increases, fading by half per day.
    usual_gap: Duration,
    ever: bool,
}

/// Time constant of the rate before silence, seconds.
const MEMORY_S: f64 = 600.0;
/// Half-life of the longest pause, seconds.
const GAP_HALF_LIFE_S: f64 = 86_400.0;

impl Flow {
    /// Takes one step in: it ended at `at`, took `length`, and the counter rose by `increase`.
    pub fn step(&mut self, at: Tick, length: Duration, increase: f64, window: Duration) {
        let seconds = length.as_secs_f64();
        let fade = (-seconds / MEMORY_S).exp();
        self.faded = (
            self.faded.0 * fade + increase,
            self.faded.1 * fade + seconds,
        );
        self.usual_gap = self
            .usual_gap
            .mul_f64((-seconds * core::f64::consts::LN_2 / GAP_HALF_LIFE_S).exp());
        if increase > 0.0 {
            if let Some(last) = self.last_increase {
                // The pause may have been up to one step shorter: it ended inside this one.
                let gap = at.since(last).saturating_sub(length);
                self.usual_gap = self.usual_gap.max(gap);
            }
            self.last_increase = Some(at);
            self.ever = true;
            self.before = (self.faded.1 > 0.0).then(|| self.faded.0 / self.faded.1);
        }
        self.steps.push_back((at, length, increase));
        while self
            .steps
            .front()
            .is_some_and(|(end, ..)| at.since(*end) > window || self.steps.len() > MAX_STEPS)
        {
            self.steps.pop_front();
        }
    }

    /// Forgets the pauses and steps that a restart of the process may have made.
    pub fn interrupted(&mut self) {
        self.steps.clear();
        self.last_increase = None;
    }

    /// Requests per second over the window; zero without steps.
    pub fn rate(&self) -> f64 {
        let (sum, seconds) =
            self.steps
                .iter()
                .fold((0.0, 0.0), |(sum, seconds), (_, length, increase)| {
                    (sum + increase, seconds + length.as_secs_f64())
                });
        if seconds > 0.0 { sum / seconds } else { 0.0 }
    }

    /// Sum of the increases within the window.
    pub fn sum(&self) -> f64 {
        self.steps.iter().map(|(_, _, increase)| increase).sum()
    }

    /// Increase of the newest step.
    pub fn newest(&self) -> Option<f64> {
        self.steps.back().map(|(_, _, increase)| *increase)
    }

    /// End of the newest step that had an increase, in this run of the process.
    pub fn last_increase(&self) -> Option<Tick> {
        self.last_increase
    }

    /// Mean rate over about ten minutes up to the last increase; `None` if there was none.
    pub fn before(&self) -> Option<f64> {
        self.before
    }

    /// The longest pause that this counter made on its own lately.
    pub fn usual_gap(&self) -> Duration {
        self.usual_gap
    }

    /// Whether it ever rose while watched.
    pub fn ever(&self) -> bool {
        self.ever
    }
}
