//! A finding as Markdown, for a ticket or a chat. What others named is put into code spans:
//! no name can make a link, a heading or a mention of it.

use std::fmt::Write as _;

use pnwatch_core::finding::Finding;
use pnwatch_core::time::{Timestamp, spoken};

use super::headline::phrase;

/// Most lines of evidence.
const MAX_LINES: usize = 24;

/// `finding` as Markdown (`CommonMark` 0.31).
pub(super) fn markdown(finding: &Finding, now: Timestamp) -> String {
    let mut out = String::new();
    // Writing into a string does not fail.
    let _ = writeln!(
        out,
        "**{}: {}**\n",
        finding.severity.as_label(),
        quiet(&phrase(finding))
    );
    let _ = writeln!(out, "{}\n", quiet(&finding.summary));
    let until = finding.closed_at.unwrap_or(now);
    let lasted = spoken(until.since(finding.started_at));
    let _ = writeln!(
        out,
        "- since {}{}\n- blame {} · fault {} · confidence {}\n- finding {}",
        code(&finding.started_at.to_string()),
        match finding.closed_at {
            Some(closed) => format!(", closed {} after {lasted}", code(&closed.to_string())),
            None => format!(", for {lasted} and still open"),
        },
        code(finding.identity.blame.as_label()),
        code(finding.fault.as_label()),
        code(&finding.confidence.to_string()),
        code(&finding.id),
    );
    for (what, names) in [
        ("accounts", list(&finding.accounts)),
        ("vantages", list(&finding.vantages)),
    ] {
        if !names.is_empty() {
            let _ = writeln!(out, "- {what}: {names}");
        }
    }
    if !finding.evidence.is_empty() {
        out.push_str("\nEvidence:\n\n");
        for line in finding.evidence.iter().take(MAX_LINES) {
            let layer = line.layer.map_or("–", |layer| layer.as_label());
            let _ = writeln!(
                out,
                "- {layer}: {} ({} before)",
                quiet(&line.text),
                spoken(until.since(line.seen_at))
            );
        }
    }
    if let Some(repair) = &finding.repair {
        let _ = writeln!(out, "\n{}: {}", quiet(&repair.place), quiet(&repair.text));
        if let Some(command) = &repair.command {
            let _ = writeln!(out, "\n```sh\n{}\n```", command.replace("```", "` ` `"));
        }
    }
    out
}

fn list<T: std::fmt::Display>(names: &[T]) -> String {
    const MOST: usize = 12;
    let mut told: Vec<String> = names
        .iter()
        .take(MOST)
        .map(|name| code(&name.to_string()))
        .collect();
    if names.len() > MOST {
        told.push(format!("and {} more", names.len() - MOST));
    }
    told.join(", ")
}

/// As a code span; a backtick cannot end it.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('`', "'").replace('\n', " "))
}

/// As plain text: what Markdown would act on is escaped (`CommonMark` §2.4).
fn quiet(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|' | '!' | '@' | '~' => {
                out.push('\\');
                out.push(c);
            }
            '\n' | '\r' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{code, quiet};

    #[test]
    fn names_stay_text() {
        assert_eq!(code("a`b\nc"), "`a'b c`");
        assert_eq!(
            quiet("[x](http://e) <b> @all # *"),
            "\\[x\\](http://e) \\<b\\> \\@all \\# \\*"
        );
    }
}
