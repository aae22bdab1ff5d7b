//! `pnwatch rules`: writes the alerting rules, or proves that written ones are fresh.
//!
//! Nothing runs concurrently; nothing is contacted.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pnwatch_core::burn::{TIERS, Table};
use pnwatch_core::rules::{Form, Settings, emit, grafana, groups};

use super::failure::{Failure, code};

/// Most of a file that `--check` reads, in bytes: ten times what is generated.
const MAX_FILE: u64 = 4 << 20;

/// Exit code when a file differs from what would be written, as `diff` has it.
const STALE: u8 = 1;

/// Which file to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A rule file for Prometheus or Mimir's ruler.
    Prometheus,
    /// A `PrometheusRule` object for the Prometheus operator.
    Prometheusrule,
    /// Grafana-managed alerts, as a provisioning file.
    Grafana,
}

impl Format {
    const ALL: [Self; 3] = [Self::Prometheus, Self::Prometheusrule, Self::Grafana];

    /// The file that holds this format in a directory of rules.
    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::Prometheus => "rules.yaml",
            Self::Prometheusrule => "prometheusrule.yaml",
            Self::Grafana => "grafana-rules.json",
        }
    }

    fn render(self, settings: &Settings) -> String {
        match self {
            Self::Prometheus => emit::prometheus(&groups(settings, Form::Recorded)),
            Self::Prometheusrule => emit::prometheus_rule(&groups(settings, Form::Recorded)),
            Self::Grafana => grafana::provisioning(&groups(settings, Form::Inline)),
        }
    }
}

/// Write the recording and alerting rules, or check written ones.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which rules to print.
    #[arg(long, value_enum, default_value = "prometheus", conflicts_with_all = ["check", "write"])]
    format: Format,
    /// Compare the three files in DIR with what would be written; exit 1 if one differs.
    #[arg(long, value_name = "DIR", conflicts_with = "write")]
    check: Option<PathBuf>,
    /// Write all three files into DIR.
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    /// Where the runbooks are served (`runbook_url` of every alert).
    #[arg(long, value_name = "URL", value_parser = base_url)]
    runbooks: Option<String>,
    /// Where Grafana is served (`dashboard_url` of every alert).
    #[arg(long, value_name = "URL", value_parser = base_url)]
    grafana: Option<String>,
    /// The period of the budgets, in whole days: as `serve.slo.period` of the exporter
    #[arg(long, value_name = "DURATION", value_parser = period, default_value = "28d")]
    period: Table,
}

/// The shipped tiers over another period. The exporter takes the same ones.
fn period(text: &str) -> Result<Table, String> {
    const DAY: Duration = Duration::from_hours(24);
    let wanted = || "write 4d to 28d, in whole days".to_owned();
    let read = humantime::parse_duration(text).map_err(|_| wanted())?;
    let days = read.as_secs() / DAY.as_secs();
    if read != DAY * u32::try_from(days).unwrap_or(0) || !(4..=28).contains(&days) {
        return Err(wanted());
    }
    Table::new(read, TIERS.to_vec()).map_err(|error| error.to_string())
}

/// A URL that can stand in an annotation: http or https, printable, no quote and no template.
fn base_url(text: &str) -> Result<String, String> {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let fits = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '{' | '}' | '`' | '$');
    match rest {
        Some(rest) if !rest.is_empty() && rest.len() <= 1024 && rest.chars().all(fits) => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => Err("give an http:// or https:// URL without spaces, quotes, braces and $".to_owned()),
    }
}

/// Runs `pnwatch rules`; a stale file is a failure with exit code 1.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    write_to(args, &mut std::io::stdout().lock())
}

fn write_to(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let mut settings = Settings {
        burn: args.period.clone(),
        ..Settings::default()
    };
    if let Some(url) = &args.runbooks {
        settings.runbooks.clone_from(url);
    }
    if let Some(url) = &args.grafana {
        settings.grafana.clone_from(url);
    }
    let said = if let Some(dir) = &args.check {
        check(dir, &settings)?
    } else if let Some(dir) = &args.write {
        write(dir, &settings)?
    } else {
        args.format.render(&settings)
    };
    out.write_all(said.as_bytes())
        .map_err(|error| Failure::new(code::UNAVAILABLE, format!("cannot write: {error}")))
}

fn check(dir: &Path, settings: &Settings) -> Result<String, Failure> {
    let mut stale = Vec::new();
    for format in Format::ALL {
        let path = dir.join(format.file());
        let found = read(&path)?;
        if let Some(line) = first_difference(&found, &format.render(settings)) {
            stale.push(format!(
                "{}: differs from line {line} on; write it anew with: pnwatch rules --write {}",
                path.display(),
                dir.display()
            ));
        }
    }
    if stale.is_empty() {
        return Ok(format!("{}: fresh\n", dir.display()));
    }
    Err(Failure::of_lines(STALE, stale.into_iter()))
}

fn write(dir: &Path, settings: &Settings) -> Result<String, Failure> {
    let mut said = String::new();
    for format in Format::ALL {
        let path = dir.join(format.file());
        fs::write(&path, format.render(settings)).map_err(|error| {
            Failure::new(
                code::UNAVAILABLE,
                format!("cannot write {}: {error}", path.display()),
            )
        })?;
        let _ = writeln!(said, "{}: written", path.display());
    }
    Ok(said)
}

fn read(path: &Path) -> Result<String, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::new(
            code::NO_INPUT,
            format!("cannot read {}: {error}", path.display()),
        )
    };
    let file = fs::File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    file.take(MAX_FILE)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    Ok(text)
}

/// The first line, from 1, in which two texts differ.
fn first_difference(a: &str, b: &str) -> Option<usize> {
    if a == b {
        return None;
    }
    let common = a
        .split('\n')
        .zip(b.split('\n'))
        .take_while(|(a, b)| a == b)
        .count();
    Some(common + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(check: Option<&Path>, write: Option<&Path>) -> Args {
        Args {
            format: Format::Prometheus,
            check: check.map(Path::to_owned),
            write: write.map(Path::to_owned),
            runbooks: None,
            grafana: None,
            period: Table::default(),
        }
    }

    #[test]
    fn another_period_has_other_factors_in_every_form() {
        for bad in ["3d", "29d", "5d 1h", "x", "0s"] {
            assert!(period(bad).is_err(), "{bad}");
        }
        let settings = Settings {
            burn: period("14d").unwrap(),
            ..Settings::default()
        };
        for format in Format::ALL {
            let text = format.render(&settings);
            // 2 % of 14 days in an hour, 5 % in six; the 28 days' are twice that.
            assert!(text.contains("> 6.72") && text.contains("> 2.8"), "{text}");
            assert!(
                !text.contains("> 13.44") && !text.contains("> 5.6"),
                "{text}"
            );
            assert!(
                text.contains("14-day budget") && !text.contains("28-day"),
                "{text}"
            );
        }
        // A file for one period is stale for another.
        let dir = tempfile::tempdir().unwrap();
        let mut out = Vec::new();
        let of = |period: &str, check: Option<&Path>, write: Option<&Path>| Args {
            period: super::period(period).unwrap(),
            ..with(check, write)
        };
        write_to(&of("14d", None, Some(dir.path())), &mut out).unwrap();
        write_to(&of("14d", Some(dir.path()), None), &mut out).unwrap();
        let stale = write_to(&of("28d", Some(dir.path()), None), &mut out);
        assert_eq!(stale.unwrap_err().exit_code(), STALE);
    }

    #[test]
    fn what_is_written_is_fresh_and_one_changed_byte_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut out = Vec::new();
        write_to(&with(None, Some(dir.path())), &mut out).unwrap();
        let check = with(Some(dir.path()), None);
        write_to(&check, &mut out).unwrap();
        for format in Format::ALL {
            let path = dir.path().join(format.file());
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text.replacen("critical", "Critical", 1)).unwrap();
            assert_eq!(write_to(&check, &mut out).unwrap_err().exit_code(), STALE);
            fs::write(&path, text).unwrap();
        }
        fs::remove_file(dir.path().join("rules.yaml")).unwrap();
        let failure = write_to(&check, &mut out).unwrap_err();
        assert_eq!(failure.exit_code(), code::NO_INPUT);
    }

    #[test]
    fn a_base_url_cannot_carry_a_template_or_a_quote() {
        assert_eq!(
            base_url("https://w.example/x/").unwrap(),
            "https://w.example/x"
        );
        for bad in [
            "",
            "w.example",
            "ftp://x",
            "https://",
            "https://a b",
            "https://{{x}}",
            "https://a\"b",
        ] {
            assert!(base_url(bad).is_err(), "{bad}");
        }
    }
}
