//! What the lab tells people: its faults, the ways into it, the sum of its runs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::drills::DRILLS;
use crate::expect::all;
use crate::judge::Outcome;
use crate::lab::Lab;
use crate::monitoring::{ALERTMANAGER_ADDRESS, PROMETHEUS_ADDRESS};

/// The table of faults.
pub fn list() -> String {
    let mut text = String::new();
    for row in all() {
        let leads_to = row.expected.map_or("silence".to_owned(), |expected| {
            let goal = row
                .bar_s
                .map_or(String::new(), |bar| format!(" within {bar} s"));
            format!(
                "{} {} {} {} ({}){goal}",
                expected.severity,
                expected.alertname,
                expected.blame,
                expected.subject,
                expected.fault.join(" or ")
            )
        });
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:<16}{}\n{:16}-> {leads_to}",
            row.name, row.about, ""
        );
    }
    text.push_str("drills: what watches is away or slow while faults come and go\n");
    for drill in &DRILLS {
        let _ = writeln!(text, "{:<20}{}", drill.name, drill.about);
    }
    text
}

/// How to look around in a lab that is up.
pub fn ways_in(lab: &Lab, dir: &Path) -> String {
    let mut text = format!("the lab is up; its directory is {}\n", dir.display());
    for name in lab.namespaces() {
        let _ = writeln!(text, "  ip netns exec {name} bash");
    }
    let exporter = lab.network.exporter.name();
    let _ = writeln!(
        text,
        "in {exporter}: Prometheus {PROMETHEUS_ADDRESS}, Alertmanager {ALERTMANAGER_ADDRESS}, webhook {}",
        lab.monitoring.webhook.url()
    );
    if lab.daemons.is_some() {
        let _ = writeln!(
            text,
            "  ip netns exec {exporter} curl -s http://127.0.0.1:9761/v1/findings"
        );
    }
    let _ = writeln!(
        text,
        "end it with ctrl-C or: pnwatch-lab down --dir {}",
        dir.display()
    );
    text
}

/// Runs, worst and median per fault, and the total.
pub fn summary(outcomes: &[Outcome]) -> String {
    let mut by_fault: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        by_fault.entry(outcome.fault).or_default().push(outcome);
    }
    let mut text = String::new();
    for (fault, runs) in &by_fault {
        let right = runs.iter().filter(|run| run.as_expected).count();
        let _ = write!(text, "{fault}: {right}/{} as expected", runs.len());
        for (what, times) in [
            ("detected", times(runs, |run| run.detected_s)),
            ("paged", times(runs, |run| run.paged_s)),
            ("resolved", times(runs, |run| run.resolved_s)),
            ("sharpened", times(runs, |run| run.sharpened_s)),
        ] {
            if let (Some(worst), Some(median)) = (times.last(), median(&times)) {
                let _ = write!(text, "; {what} worst {worst:.2} s, median {median:.2} s");
            }
        }
        text.push('\n');
    }
    let right = outcomes
        .iter()
        .filter(|outcome| outcome.as_expected)
        .count();
    let late = outcomes
        .iter()
        .filter(|outcome| !outcome.is_in_time())
        .count();
    let false_pages: usize = outcomes.iter().map(|outcome| outcome.false_pages).sum();
    let worst = times(&outcomes.iter().collect::<Vec<_>>(), |run| run.paged_s);
    let worst = worst
        .last()
        .map_or("-".to_owned(), |worst| format!("{worst:.2} s"));
    let _ = writeln!(
        text,
        "{right}/{} as expected, {late} late, {false_pages} false pages, worst page {worst}",
        outcomes.len()
    );
    text
}

/// The times that there are, sorted.
fn times(runs: &[&Outcome], pick: impl Fn(&Outcome) -> Option<f64>) -> Vec<f64> {
    let mut times: Vec<f64> = runs.iter().filter_map(|run| pick(run)).collect();
    times.sort_by(f64::total_cmp);
    times
}

/// The middle of sorted values; of an even number the mean of the two in the middle.
fn median(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len().checked_sub(1)?) / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1.0]), Some(1.0));
        assert_eq!(median(&[1.0, 2.0]), Some(1.5));
        assert_eq!(median(&[1.0, 2.0, 9.0]), Some(2.0));
    }

    #[test]
    fn the_list_names_every_row() {
        let text = list();
        assert!(all().all(|row| text.contains(row.about)));
        assert!(text.contains(
            "critical PNNodeUnreachable node prod-kura-fleet-1 (address_lost) within 2 s"
        ));
    }
}
