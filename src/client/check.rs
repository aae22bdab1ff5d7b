//! `pnwatch check`: the configuration, strictly; with `--host` this machine besides.

use std::io::Write as _;

use pnwatch_edge::config;

use super::arguments::CheckArguments;
use super::failure::{Failure, code};

/// Prints every problem, or the default configuration.
pub(super) fn run(arguments: &CheckArguments) -> Result<(), Failure> {
    let Some(path) = &arguments.config else {
        return print(config::DEFAULT);
    };
    let problems = config::check(path).map_err(|error| Failure::from_config(&error))?;
    if problems.is_empty() {
        print(&format!("{}: good\n", path.display()))?;
        #[cfg(feature = "prober")]
        if arguments.host {
            return super::daemon::preflight(path, print);
        }
        return Ok(());
    }
    let code = if problems.iter().all(|problem| problem.unreadable) {
        code::NO_INPUT
    } else {
        code::CONFIG
    };
    Err(Failure::of_lines(
        code,
        problems.iter().map(ToString::to_string),
    ))
}

fn print(text: &str) -> Result<(), Failure> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::new(code::UNAVAILABLE, format!("cannot write: {error}")))
}
