//! An explanation on a terminal of 80 columns.

use super::Explanation;
use crate::time::Timestamp;
use crate::time::spoken;

/// Columns of a line.
const WIDTH: usize = 80;

/// The explanation as text: every line at most 80 columns, nothing but printable characters.
pub fn render(explanation: &Explanation) -> String {
    let mut page = Page::default();
    page.line(
        0,
        &format!("{} on {}", explanation.about, explanation.cluster),
    );
    page.line(2, &explanation.verdict);
    page.section("Open findings", explanation.findings.is_empty());
    for open in &explanation.findings {
        let alert = open.alertname.as_deref().unwrap_or("no alert");
        let age = spoken(explanation.at.since(open.started_at));
        page.line(
            2,
            &format!("{}: {}, {alert}, for {age}", open.of, open.names),
        );
        page.line(6, &open.id);
    }
    page.section("Evidence", explanation.evidence.is_empty());
    for evidence in &explanation.evidence {
        let layer = evidence.layer.map_or("-", |l| l.as_label());
        let who = evidence
            .vantage
            .as_ref()
            .map_or_else(String::new, |v| format!("{v}: "));
        let age = spoken(told(explanation.at).since(told(evidence.seen_at)));
        page.item(layer, &format!("{who}{} ({age} ago)", evidence.text));
    }
    page.section("Rules applied", explanation.applied.is_empty());
    for applied in &explanation.applied {
        let names = applied.names.as_deref().unwrap_or("keeps silent");
        page.line(2, &format!("{}: {} → {names}", applied.of, applied.rule));
        page.line(6, &applied.because);
        if !applied.signs.is_empty() {
            page.line(6, &format!("signs: {}", applied.signs.join(", ")));
        }
    }
    page.section("Held back", explanation.held.is_empty());
    for held in &explanation.held {
        page.line(2, &format!("{}: {}", held.of, held.rule));
        page.line(6, &held.because);
    }
    page.section("Rules rejected", explanation.rejected.is_empty());
    for rejected in &explanation.rejected {
        let names = rejected.names.as_deref().unwrap_or("keeps silent");
        page.line(2, &format!("{}: {} ({names})", rejected.of, rejected.rule));
        page.line(
            6,
            &format!(
                "needs {} = {}, saw {}",
                rejected.sign, rejected.wants, rejected.saw
            ),
        );
    }
    page.section("Missing to be surer", explanation.missing.is_empty());
    for missing in &explanation.missing {
        page.line(2, missing);
    }
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn section(&mut self, title: &str, empty: bool) {
        self.text.push('\n');
        self.line(0, title);
        if empty {
            self.line(2, "none");
        }
    }

    fn item(&mut self, mark: &str, text: &str) {
        self.wrapped(&format!("  {mark:<9}"), 11, text);
    }

    fn line(&mut self, indent: usize, text: &str) {
        self.wrapped(&" ".repeat(indent), indent, text);
    }

    /// Words after `first`, later lines under them. A word longer than a line is cut in pieces.
    fn wrapped(&mut self, first: &str, indent: usize, text: &str) {
        let mut line = first.to_owned();
        let mut width = first.chars().count();
        let mut fresh = true;
        let room = WIDTH - indent;
        let clean: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        for word in clean.split_whitespace() {
            let letters: Vec<char> = word.chars().collect();
            for piece in letters.chunks(room) {
                let needed = piece.len() + usize::from(!fresh);
                if width + needed > WIDTH {
                    self.push(&line);
                    line = " ".repeat(indent);
                    width = indent;
                    fresh = true;
                }
                if !fresh {
                    line.push(' ');
                    width += 1;
                }
                line.extend(piece);
                width += piece.len();
                fresh = false;
            }
        }
        self.push(&line);
    }

    fn push(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }
}

/// As it is written in JSON, in whole milliseconds: so that both say the same age.
fn told(at: Timestamp) -> Timestamp {
    let nanos = at.as_unix_nanos();
    Timestamp::from_unix_nanos(nanos - nanos % 1_000_000)
}
