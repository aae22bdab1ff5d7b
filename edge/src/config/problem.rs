//! What is wrong with a configuration, one line each.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

/// How bad a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The daemon goes on without it: an unknown key.
    Warning,
    /// The daemon cannot start.
    Error,
}

/// One thing that is wrong, where it stands, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is at run time; `pnwatch check` refuses both.
    pub severity: Severity,
    /// The file, empty until [`Problem::in_file`] names it.
    pub file: PathBuf,
    /// The line in the file, 1 = first; 0 = the file as a whole.
    pub line: u64,
    /// The key's path, like `serve.listen.page`; empty = the file as a whole.
    pub path: String,
    /// What is wrong and what to write instead, one line.
    pub message: String,
    /// Whether a file that the configuration names could not be read (exit code 66).
    pub unreadable: bool,
}

impl Problem {
    pub(super) fn error(path: &str, line: u64, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: PathBuf::new(),
            line,
            path: path.to_owned(),
            message: message.into(),
            unreadable: false,
        }
    }

    pub(super) fn warning(path: &str, line: u64, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(path, line, message)
        }
    }

    pub(super) fn unreadable(path: &str, line: u64, message: impl Into<String>) -> Self {
        Self {
            unreadable: true,
            ..Self::error(path, line, message)
        }
    }

    pub(super) fn in_file(mut self, file: &Path) -> Self {
        file.clone_into(&mut self.file);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.as_os_str().is_empty() {
            write!(f, "{}:", self.file.display())?;
            if self.line > 0 {
                write!(f, "{}:", self.line)?;
            }
            f.write_str(" ")?;
        } else if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if !self.path.is_empty() {
            write_plain(f, &self.path)?;
            f.write_str(": ")?;
        }
        write_plain(f, &self.message)
    }
}

/// Names and values stand in it as somebody wrote them: a control character is told as its
/// escape, so that a line stays one line and a terminal stays as it is.
fn write_plain(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    text.chars().try_for_each(|c| {
        if c.is_control() {
            write!(f, "{}", c.escape_default())
        } else {
            f.write_char(c)
        }
    })
}
