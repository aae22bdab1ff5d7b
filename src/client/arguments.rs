//! The command line, read by clap, complained about in one line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use super::failure::{Failure, code};

/// Watches the reachability of a private network and names the culprit.
#[derive(Debug, Parser)]
#[command(name = "pnwatch", disable_help_subcommand = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the prober: check the private network from this machine and report
    #[cfg(feature = "prober")]
    Probe(ConfigFile),
    /// Read what VMs send, without rights; started by the prober alone
    #[cfg(feature = "prober")]
    #[command(hide = true)]
    RelayParser(RelayParserArguments),
    /// Read what macOS' commands say, without rights; started by the prober alone
    #[cfg(feature = "prober")]
    #[command(hide = true)]
    ReadOutputs,
    /// Run the exporter: take reports in, judge, publish and page
    #[cfg(feature = "exporter")]
    Serve(ConfigFile),
    /// Ask the exporter whether a pipeline may go on
    Gate(super::gate::Args),
    /// Check once, within a budget, whether this job's cache answers
    #[cfg(feature = "prober")]
    Once(super::once::Args),
    /// Show what the exporter knows
    Status(super::status::Args),
    /// Show why something is judged as it is
    Explain(super::explain::Args),
    /// Watch a small network on loopback break and recover
    #[cfg(feature = "demo")]
    Demo(super::demo::Args),
    /// Check a configuration file strictly, or print a complete one
    Check(CheckArguments),
    /// Write the recording and alerting rules, or check written ones
    Rules(super::rules::Args),
    /// Print completions of this command line for a shell
    Completions(CompletionsArguments),
}

/// Where the configuration is.
#[derive(Debug, Args)]
pub(super) struct ConfigFile {
    /// The configuration file (YAML)
    #[arg(long, value_name = "FILE")]
    pub(super) config: PathBuf,
}

/// Whom the relay's parser answers.
#[cfg(feature = "prober")]
#[derive(Debug, Args)]
pub(super) struct RelayParserArguments {
    /// The VMs' network
    #[arg(long, value_name = "CIDR")]
    pub(super) vms: pnwatch_core::link::Cidr,
}

/// What to check.
#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// The configuration file (YAML)
    #[arg(long, value_name = "FILE", required_unless_present = "print_default")]
    pub(super) config: Option<PathBuf>,
    /// Print a complete commented configuration
    #[arg(long, conflicts_with = "config")]
    pub(super) print_default: bool,
    /// Look at this machine besides: PN device, lease, route, packet filter, exporters
    #[cfg(feature = "prober")]
    #[arg(long, requires = "config")]
    pub(super) host: bool,
}

/// For whom.
#[derive(Debug, Args)]
pub(super) struct CompletionsArguments {
    /// The shell
    #[arg(value_enum)]
    pub(super) shell: clap_complete::Shell,
}

/// The completions of this command line for `shell`.
pub(super) fn completions(shell: clap_complete::Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), "pnwatch", &mut script);
    script
}

/// Reads the command line; `None` = it asked for help or the version, which was printed.
pub(super) fn read(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Option<Command>, Failure> {
    let command = CommandLine::command().version(env!("PNWATCH_VERSION"));
    let read = command
        .try_get_matches_from(arguments)
        .and_then(|matches| CommandLine::from_arg_matches(&matches));
    match read {
        Ok(line) => Ok(Some(line.command)),
        Err(error) if is_answer(error.kind()) => {
            // A reader that went away (`pnwatch --help | head`) is no fault.
            let _ = error.print();
            Ok(None)
        }
        Err(error) => Err(Failure::new(code::USAGE, complaint(&error))),
    }
}

fn is_answer(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
}

/// clap's complaint as one line.
fn complaint(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a command is missing; `pnwatch --help` lists them".to_owned();
    }
    if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand)
        && matches!(word.as_str(), "probe" | "serve" | "once")
    {
        return format!(
            "this build leaves the command `{word}` out; use the full build of pnwatch"
        );
    }
    let text = error.render().to_string();
    let said: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .collect();
    let said = said.join(" ");
    let said = said.strip_prefix("error: ").unwrap_or(&said);
    format!("{}; see `pnwatch --help`", said.replace(" tip: ", "; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        CommandLine::command().debug_assert();
    }
}
