//! GitHub Actions: annotations as workflow commands, the step summary, outputs.
//!
//! A step shows at most ten annotations of a kind; the rest is in the summary (at most 1 MiB).
//! What comes off the network is escaped as the runner's toolkit does, or a name could become a
//! command.

use std::fmt::Write as _;
use std::io::Write as _;

use super::ask::Reason;
use super::tell::{Told, text};
use crate::client::failure::{Failure, code};
use crate::client::monitor::clean;

/// Annotations per step that are shown.
pub(super) const MAX_ANNOTATIONS: usize = 10;

/// Standard output: annotations, then the text.
pub(super) fn commands(told: &Told) -> String {
    let mut out = String::new();
    let kind = if told.exit_code() == 0 {
        "warning"
    } else {
        "error"
    };
    let mut reasons = told.reasons();
    if told.exit_code() == 0 && told.overridden.is_none() {
        reasons.clear();
    }
    let mut lines: Vec<String> = Vec::new();
    if let Some(reason) = &told.overridden {
        let headline = told.end.headline();
        lines.push(format!("OVERRIDDEN: {reason} (the gate said: {headline})"));
    }
    lines.extend(reasons.iter().map(Reason::sentence));
    if lines.len() > MAX_ANNOTATIONS {
        let more = lines.len() - (MAX_ANNOTATIONS - 1);
        lines.truncate(MAX_ANNOTATIONS - 1);
        lines.push(format!("{more} more reasons are in the step summary"));
    }
    for line in lines {
        let title = property(&format!("pnwatch gate: {}", told.verdict()));
        let _ = writeln!(out, "::{kind} title={title}::{}", data(&clean(&line)));
    }
    out + &text(told)
}

/// Step summary and outputs, where the runner names files for them.
pub(super) fn write_files(told: &Told) -> Result<(), Failure> {
    append("GITHUB_STEP_SUMMARY", &summary(told))?;
    append("GITHUB_OUTPUT", &outputs(told))
}

/// Markdown.
pub(super) fn summary(told: &Told) -> String {
    let mut out = String::new();
    let mark = if told.exit_code() == 0 { "✅" } else { "❌" };
    let _ = writeln!(out, "### {mark} pnwatch gate: {}\n", told.verdict());
    if let Some(reason) = &told.overridden {
        let _ = writeln!(out, "> **The gate was overridden:** {}\n", markdown(reason));
    }
    let _ = writeln!(out, "{}\n", markdown(&told.end.headline()));
    let reasons = told.reasons();
    if !reasons.is_empty() {
        out.push_str("| condition | about | what |\n| --- | --- | --- |\n");
        for reason in reasons {
            let cells = [&reason.rule, &reason.about, &reason.text].map(|cell| markdown(cell));
            let _ = writeln!(out, "| {} |", cells.join(" | "));
        }
    }
    out
}

pub(super) fn outputs(told: &Told) -> String {
    format!(
        "verdict={}\nok={}\noverridden={}\nheadline={}\n",
        told.verdict(),
        told.exit_code() == 0,
        told.overridden.is_some(),
        clean(&told.end.headline())
    )
}

fn append(variable: &str, text: &str) -> Result<(), Failure> {
    let Some(file) = std::env::var_os(variable).filter(|name| !name.is_empty()) else {
        return Ok(());
    };
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&file)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| {
            let line = format!("${variable}: cannot write {}: {error}", file.display());
            Failure::new(code::UNAVAILABLE, line)
        })
}

/// The value of a workflow command.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// A property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Text in a Markdown table: nothing in it is markup.
fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in clean(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            // A name must not notify anybody.
            '@' => out.push_str("&#64;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}
