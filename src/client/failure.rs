//! What ends the process: lines for a person and an exit code for a machine.

use std::error::Error;
use std::process::ExitCode;

use pnwatch_edge::config::ConfigError;

/// Exit codes (sysexits.h).
pub(crate) mod code {
    /// The command line was wrong.
    pub(crate) const USAGE: u8 = 64;
    /// A file to read could not be read.
    pub(crate) const NO_INPUT: u8 = 66;
    /// Something that is needed cannot be had now: the runtime, a signal, a port.
    pub(crate) const UNAVAILABLE: u8 = 69;
    /// A fault of the program itself.
    pub(crate) const SOFTWARE: u8 = 70;
    /// The configuration was wrong.
    pub(crate) const CONFIG: u8 = 78;
}

/// Lines to print and a code to exit with.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    lines: Vec<String>,
}

impl Failure {
    /// One line.
    pub(crate) fn new(code: u8, line: impl Into<String>) -> Self {
        Self {
            code,
            lines: vec![line.into()],
        }
    }

    /// One line per fault.
    pub(crate) fn of_lines(code: u8, lines: impl Iterator<Item = String>) -> Self {
        Self {
            code,
            lines: lines.collect(),
        }
    }

    /// The error with its causes as one line.
    pub(crate) fn from_error(code: u8, error: &(dyn Error + 'static)) -> Self {
        let mut line = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            let said = cause.to_string();
            // Many errors say their cause already.
            if !line.contains(&said) {
                line = format!("{line}: {said}");
            }
            next = cause.source();
        }
        Self::new(code, line)
    }

    /// A configuration that cannot be used, one line per problem.
    pub(crate) fn from_config(error: &ConfigError) -> Self {
        match error {
            ConfigError::Unreadable { .. } => Self::new(code::NO_INPUT, error.to_string()),
            ConfigError::NotText { .. } => Self::new(code::CONFIG, error.to_string()),
            ConfigError::Invalid { problems } => {
                Self::of_lines(code::CONFIG, problems.iter().map(ToString::to_string))
            }
        }
    }

    /// The exit code.
    #[cfg(test)]
    pub(crate) fn exit_code(&self) -> u8 {
        self.code
    }

    /// Prints the lines; gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        for line in &self.lines {
            eprintln!("pnwatch: {}", line.replace(['\n', '\r'], " "));
        }
        ExitCode::from(self.code)
    }
}
