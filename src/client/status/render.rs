//! Lines of at most 80 columns: headline, findings, then tables in which what is not well comes
//! first and the rest is counted.

use core::time::Duration;
use std::fmt::Write as _;

use pnwatch_core::time::spoken;

use super::state::{Finding, State, Target, Vantage, Worst};

/// Columns.
pub(super) const WIDTH: usize = 80;
/// Rows of one table; the rest is counted.
const ROWS: usize = 20;

/// Whether words are colored; the words themselves always say it too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint {
    pub(super) colored: bool,
}

impl Paint {
    /// `text` in the color of `word` (SGR, ECMA-48).
    fn of(self, word: &str, text: &str) -> String {
        let color = match word {
            "critical" | "down" | "silent" => 31,
            "warning" | "suspect" | "degraded" | "unknown" | "stopping" => 33,
            "up" | "reports" | "fine" => 32,
            _ => return text.to_owned(),
        };
        if self.colored {
            format!("\x1b[{color}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// The whole picture.
pub(super) fn render(state: &State, paint: Paint) -> String {
    let mut out = String::new();
    headline(&mut out, state, paint);
    for finding in state.findings.iter().take(ROWS) {
        describe(&mut out, finding, paint);
    }
    rest(&mut out, state.findings.len(), ROWS, "more findings");
    nodes(&mut out, state, paint);
    targets(&mut out, state, paint);
    vantages(&mut out, state, paint);
    out
}

fn headline(out: &mut String, state: &State, paint: Paint) {
    let word = match state.worst() {
        Worst::Critical => "critical",
        Worst::Unknown => "unknown",
        Worst::Fine => "fine",
    };
    let at = state.at.map_or_else(|| "?".to_owned(), |at| at.to_string());
    let cluster = cut(&state.cluster, 30);
    let shown = paint.of(word, &word.to_uppercase());
    let _ = writeln!(out, "{shown}  {cluster}  {at}");
    let up = state.targets.iter().filter(|t| t.verdict == "up").count();
    let reporting = state.vantages.iter().filter(|v| v.reporting).count();
    let open = match state.findings.len() {
        0 => "no open finding".to_owned(),
        1 => "1 open finding".to_owned(),
        n => format!("{n} open findings"),
    };
    let _ = writeln!(
        out,
        "{open} · {up} of {} targets up · {reporting} of {} vantages report",
        state.targets.len(),
        state.vantages.len()
    );
    if let Some(blind) = state.blindness() {
        wrap(out, "", blind);
    }
}

fn describe(out: &mut String, finding: &Finding, paint: Paint) {
    let mut head = finding.severity.to_uppercase();
    if let Some(age) = finding.age {
        let _ = write!(head, " for {}", spoken(age));
    }
    if finding.accounts > 0 {
        let _ = write!(head, " · {} account(s)", finding.accounts);
    }
    if finding.clearing {
        head.push_str(" · clearing");
    }
    if let Some(blind) = finding.blind {
        let _ = write!(head, " · no evidence for {}", spoken(blind));
    }
    let _ = writeln!(out, "\n{}", paint.of(&finding.severity, &cut(&head, WIDTH)));
    wrap(out, "  ", &finding.summary);
    if let Some(repair) = &finding.repair {
        // Never broken: it is there to be copied.
        let _ = writeln!(out, "  repair:\n{repair}");
    }
    let _ = writeln!(out, "  {}", cut(&finding.id, WIDTH - 2));
}

fn nodes(out: &mut String, state: &State, paint: Paint) {
    if state.nodes.is_empty() {
        return;
    }
    out.push_str("\nNODE                                      ADDRESS          VERDICT\n");
    let mut sorted: Vec<_> = state.nodes.iter().collect();
    sorted.sort_by_key(|node| node.verdict == "up");
    for node in sorted.iter().take(ROWS) {
        let name = cell(&node.name, 40);
        let address = cell(&node.address, 15);
        let verdict = paint.of(&node.verdict, &cut(&node.verdict, 20));
        let _ = writeln!(out, "{name}  {address}  {verdict}");
    }
    rest(out, sorted.len(), ROWS, "more nodes");
}

fn targets(out: &mut String, state: &State, paint: Paint) {
    if state.targets.is_empty() {
        return;
    }
    let header = row(
        ["ACCOUNT", "INSTANCE", "NODE", "BY", "AGE"],
        &cell("VERDICT", 8),
    );
    let _ = writeln!(out, "\n{header}");
    let mut sorted: Vec<&Target> = state.targets.iter().collect();
    sorted.sort_by_key(|target| target.verdict == "up");
    let bad = sorted.iter().filter(|t| t.verdict != "up").count();
    // All of few; of many, those that are not well.
    let shown = if sorted.len() <= ROWS {
        sorted.len()
    } else {
        bad.min(ROWS)
    };
    for target in sorted.iter().take(shown) {
        let word = if target.excuse.is_some() && target.verdict != "up" {
            "excused"
        } else {
            &target.verdict
        };
        let verdict = paint.of(word, &cell(word, 8));
        let by = format!("{}/{}", target.reached_by, target.witnesses);
        let age = target.newest.map_or_else(|| "-".to_owned(), short);
        let cells = [&target.account, &target.instance, &target.node, &by, &age];
        let _ = writeln!(out, "{}", row(cells.map(String::as_str), &verdict));
    }
    let what = if shown >= bad { "more, all up" } else { "more" };
    rest(out, sorted.len(), shown, what);
}

/// A target's row: 15 + 20 + 20 + 8 (the verdict, as it is) + 6 + 6 columns and their gaps.
fn row([account, instance, node, by, age]: [&str; 5], verdict: &str) -> String {
    let (account, instance, node) = (cell(account, 15), cell(instance, 20), cell(node, 20));
    let (by, age) = (cell(by, 6), cut(age, 6));
    format!("{account} {instance} {node} {verdict} {by} {age}")
}

/// An age in at most six columns.
fn short(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..100 => format!("{:.1} s", age.as_secs_f64()),
        100..6_000 => format!("{} min", seconds / 60),
        6_000..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn vantages(out: &mut String, state: &State, paint: Paint) {
    if state.vantages.is_empty() {
        return;
    }
    out.push_str("\nVANTAGE                                   STATE      LAST REPORT\n");
    let mut sorted: Vec<&Vantage> = state.vantages.iter().collect();
    sorted.sort_by_key(|vantage| vantage.reporting);
    let silent = sorted.iter().filter(|v| !v.reporting).count();
    let shown = if sorted.len() <= ROWS {
        sorted.len()
    } else {
        silent.min(ROWS)
    };
    for vantage in sorted.iter().take(shown) {
        let word = match (vantage.reporting, vantage.stopping) {
            (_, true) => "stopping",
            (true, false) => "reports",
            (false, false) => "silent",
        };
        let last = match vantage.last {
            Some(age) => format!("{} ago", spoken(age)),
            None => "never".to_owned(),
        };
        let extra = if vantage.expected {
            ""
        } else {
            ", not in the inventory"
        };
        let name = cell(&vantage.name, 40);
        let _ = writeln!(
            out,
            "{name}  {}  {}",
            paint.of(word, &cell(word, 9)),
            cut(&(last + extra), 27)
        );
    }
    let what = if shown >= silent {
        "more, all report"
    } else {
        "more"
    };
    rest(out, sorted.len(), shown, what);
}

fn rest(out: &mut String, all: usize, shown: usize, what: &str) {
    if all > shown {
        let _ = writeln!(out, "… and {} {what}", all - shown);
    }
}

/// At most `width` characters.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Exactly `width` characters. What is too long loses its middle: names of one fleet begin
/// alike and differ at their end.
fn cell(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return format!("{text:width$}");
    }
    let tail = width / 2;
    let head: String = text.chars().take(width - tail - 1).collect();
    let tail: String = text.chars().skip(count - tail).collect();
    format!("{head}…{tail}")
}

/// Breaks at blanks, and inside words that do not fit.
fn wrap(out: &mut String, indent: &str, text: &str) {
    let room = WIDTH - indent.len();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        if used > 0 && used + 1 + word.len() > room {
            let _ = writeln!(out, "{indent}{line}");
            line.clear();
            used = 0;
        }
        while word.len() > room {
            let head: String = word.drain(..room).collect();
            let _ = writeln!(out, "{indent}{head}");
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        used += word.len();
        line.extend(word);
    }
    if used > 0 {
        let _ = writeln!(out, "{indent}{line}");
    }
}
