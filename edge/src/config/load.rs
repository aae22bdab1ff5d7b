//! Reading a file, tolerantly or strictly.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::files;
use super::problem::{Problem, Severity};
use super::section::{Findings, FromNode as _, Place};
use super::top::Config;
use super::tree::Node;

/// Largest accepted configuration file in bytes.
const MAX_CONFIG: u64 = 1 << 20;

/// A configuration that can be used, and what was ignored in it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Unknown keys.
    pub warnings: Vec<Warning>,
}

/// Something that was ignored.
pub type Warning = Problem;

/// Why a configuration or inventory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read {path}: {source}; {}", advice(source))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is too large or no text.
    #[error("{path}: {why}")]
    NotText {
        /// The file.
        path: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// The content is wrong.
    #[error("{}", join(problems))]
    Invalid {
        /// Every error, in the order of reading.
        problems: Vec<Problem>,
    },
}

fn advice(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::NotFound => "name an existing file",
        std::io::ErrorKind::PermissionDenied => "let this user read it",
        std::io::ErrorKind::IsADirectory => "name the file in it",
        _ => "check the path and the disk",
    }
}

fn join(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}

pub(super) fn read_bounded(path: &Path, most: u64) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let not_text = |why: String| ConfigError::NotText {
        path: path.to_owned(),
        why,
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > most {
        let why = format!("larger than {} MiB; is it the right file?", most >> 20);
        return Err(not_text(why));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        not_text(format!(
            "not UTF-8 text from byte {at} on; is it the right file?"
        ))
    })
}

/// Reads the text of a configuration; nothing is taken from the environment. Problems carry no
/// file name.
pub fn parse(text: &str) -> (Option<Config>, Vec<Problem>) {
    let (config, findings) = parse_all(text, Environment::default());
    (config, findings.problems)
}

pub(super) fn parse_all(text: &str, environment: Environment) -> (Option<Config>, Findings) {
    let mut findings = Findings {
        environment,
        ..Findings::default()
    };
    let node = match Node::parse(text) {
        Ok(node) => node,
        Err(problem) => {
            findings.problems.push(problem);
            return (None, findings);
        }
    };
    let place = Place {
        path: String::new(),
        line: 0,
    };
    let config = Config::from_node(&node, &place, &mut findings);
    (config, findings)
}

/// Reads a configuration for running: unknown keys are warnings, anything else that is wrong
/// is an error. Files that it names are not looked at.
pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
    let text = read_bounded(path, MAX_CONFIG)?;
    let (config, findings) = parse_all(&text, Environment::of_process());
    let (errors, warnings): (Vec<_>, Vec<_>) = findings
        .problems
        .into_iter()
        .map(|problem| problem.in_file(path))
        .partition(|problem| problem.severity == Severity::Error);
    match config {
        Some(config) if errors.is_empty() => Ok(Loaded { config, warnings }),
        _ => Err(ConfigError::Invalid { problems: errors }),
    }
}

/// Reads a configuration strictly: everything that is wrong with it and with the files that it
/// names. Empty = it can be used as it stands.
pub fn check(path: &Path) -> Result<Vec<Problem>, ConfigError> {
    let text = read_bounded(path, MAX_CONFIG)?;
    let (config, findings) = parse_all(&text, Environment::of_process());
    let mut problems = findings.problems;
    if let Some(config) = config {
        problems.extend(files::problems(&config).into_iter().map(|mut problem| {
            problem.line = findings.lines.get(&problem.path).copied().unwrap_or(0);
            problem
        }));
    }
    // A person walks through the file once, from top to bottom.
    problems.sort_by_key(|problem| problem.line);
    Ok(problems
        .into_iter()
        .map(|problem| problem.in_file(path))
        .collect())
}
