//! `pnwatch gate`: asks the exporter whether a pipeline may go on, and says so by exit code.
//!
//! 0 open · 1 closed · 2 no verdict · 64 usage · 69 monitor unreachable · 75 no answer in time ·
//! 78 configuration. Nothing but a well-formed answer that says open, or an override with a
//! reason, is 0.
//!
//! - [`ask`]: the question, the calls, and what an answer means.
//! - [`tell`]: text, JSON and `JUnit`; [`github`]: annotations, step summary, outputs.

mod ask;
mod github;
mod tell;
#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use pnwatch_core::gate::{MAX_REASON, Query, duration, reason};
use pnwatch_edge::http::{Client, ClientSettings};

use self::ask::{Asker, End};
use self::tell::Told;
use super::failure::{Failure, code};
use super::monitor::{base, clean, runtime};

/// How long an overridden gate waits for the monitor's word.
const OVERRIDE_PATIENCE: Duration = Duration::from_secs(3);
/// The longest wait in all.
const MAX_TIMEOUT: Duration = Duration::from_hours(6);

/// How the answer is told on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One object; `version` 1.
    Json,
    /// A test report.
    Junit,
    /// Workflow commands, step summary and outputs of GitHub Actions.
    Github,
}

/// Ask the exporter whether a pipeline may go on
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the exporter's page listener is [default: `$PNWATCH_URL`]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// An account that must be reachable; may be repeated
    #[arg(long, value_name = "NAME")]
    account: Vec<String>,
    /// A node whose accounts must be reachable; may be repeated
    #[arg(long, value_name = "NAME")]
    node: Vec<String>,
    /// Every account must be reachable
    #[arg(long)]
    all: bool,
    /// Reachable without a break for this long
    #[arg(long = "for", value_name = "DURATION")]
    held_for: Option<String>,
    /// Client vantages with fresh evidence that each target needs
    #[arg(long, value_name = "N")]
    min_vantages: Option<String>,
    /// Share of the selected targets that must be measured, above 0 up to 1
    #[arg(long, value_name = "SHARE")]
    coverage: Option<String>,
    /// Greatest age of evidence
    #[arg(long, value_name = "DURATION")]
    fresh: Option<String>,
    /// Evidence must be newer than this (RFC 3339): when the deploy was done
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Share of every error budget of the selected accounts that must be left, like 0.1
    #[arg(long, value_name = "SHARE")]
    budget: Option<String>,
    /// Checks must fail no more often since this time (RFC 3339) than in the half hour before:
    /// when the deploy began
    #[arg(long, value_name = "TIME")]
    baseline: Option<String>,
    /// Have the vantages check the selected accounts now; needs the exporter's gate token
    /// (`--token-file`)
    #[arg(long)]
    active: bool,
    /// Wait for an open gate at most this long; without it the gate is asked once
    #[arg(long, value_name = "DURATION", value_parser = timeout, default_value = "0s")]
    timeout: Duration,
    /// A file that holds a bearer token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificate authorities instead of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// How to tell the answer
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Go on whatever the gate says, for this reason; works with the monitor down
    #[arg(long = "override", value_name = "REASON", value_parser = because)]
    overridden: Option<String>,
}

fn timeout(text: &str) -> Result<Duration, String> {
    duration(text)
        .filter(|read| *read <= MAX_TIMEOUT)
        .ok_or_else(|| "write a duration like 30s or 5m, at most 6h".to_owned())
}

fn because(text: &str) -> Result<String, String> {
    let wanted = || format!("give a reason of 1 to {MAX_REASON} characters on one line");
    reason(text).map(ToOwned::to_owned).ok_or_else(wanted)
}

impl Args {
    /// The parameters of the question, in the API's words.
    fn parameters(&self) -> Vec<(&'static str, &str)> {
        let mut all: Vec<(&'static str, &str)> = Vec::new();
        if self.all {
            all.push(("all", "1"));
        }
        all.extend(self.account.iter().map(|name| ("account", name.as_str())));
        all.extend(self.node.iter().map(|name| ("node", name.as_str())));
        if self.active {
            all.push(("active", "1"));
        }
        for (name, value) in [
            ("for", &self.held_for),
            ("min_vantages", &self.min_vantages),
            ("coverage", &self.coverage),
            ("fresh", &self.fresh),
            ("since", &self.since),
            ("budget", &self.budget),
            ("baseline", &self.baseline),
            ("override", &self.overridden),
        ] {
            all.extend(value.as_deref().map(|value| (name, value)));
        }
        all
    }
}

/// Asks, waits, tells.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let parameters = args.parameters();
    let query = Query::from_parameters(parameters.iter().copied()).map_err(|error| {
        Failure::new(code::USAGE, format!("{error}; see `pnwatch gate --help`"))
    })?;
    let waited = std::time::Instant::now();
    let end = ask(args, &parameters);
    let told = Told {
        selection: query.selector.to_string(),
        end,
        waited: waited.elapsed(),
        overridden: args.overridden.clone(),
    };
    let text = match args.format {
        Format::Text => tell::text(&told),
        Format::Json => tell::json(&told),
        Format::Junit => tell::junit(&told),
        Format::Github => github::commands(&told),
    };
    say(&text)?;
    if args.format == Format::Github || told.overridden.is_some() {
        github::write_files(&told)?;
    }
    finish(&told)
}

/// The end, whatever goes wrong on the way: an override must work then too.
fn ask(args: &Args, parameters: &[(&'static str, &str)]) -> End {
    let url = match base(args.url.as_deref()) {
        Ok(url) => url,
        Err(why) => return End::misused(code::USAGE, why),
    };
    let client = match Client::new(ClientSettings {
        ca_file: args.ca_file.clone(),
        token_file: args.token_file.clone(),
        body_limit: 1 << 20,
        ..ClientSettings::default()
    }) {
        Ok(client) => client,
        Err(error) => return End::misused(code::CONFIG, error.to_string()),
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(why) => return End::misused(code::UNAVAILABLE, why),
    };
    let asker = Asker {
        client: &client,
        url: &url,
        parameters,
    };
    let end = runtime.block_on(async {
        if args.overridden.is_some() {
            asker.once(OVERRIDE_PATIENCE).await
        } else {
            asker.until_open(args.timeout, progress).await
        }
    });
    runtime.shutdown_background();
    end
}

/// One line on standard error, so that a log shows what is waited for.
fn progress(line: &str) {
    eprintln!("pnwatch gate: {}", clean(line));
}

fn say(text: &str) -> Result<(), Failure> {
    std::io::stdout()
        .write_all(text.as_bytes())
        // Fail-closed: a pipeline that cannot show the answer must not go on by it.
        .map_err(|error| Failure::new(code::UNAVAILABLE, format!("cannot write: {error}")))
}

fn finish(told: &Told) -> Result<(), Failure> {
    if let Some(reason) = &told.overridden {
        eprintln!(
            "pnwatch gate: OVERRIDDEN, going on: {reason} (the gate said: {})",
            clean(&told.end.headline())
        );
        return Ok(());
    }
    match told.end.exit_code() {
        0 => Ok(()),
        code => Err(Failure::new(
            code,
            format!("gate: {}", clean(&told.end.headline())),
        )),
    }
}
